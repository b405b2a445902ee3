/** identity — shapes of accounts, sessions and tokens. */
import {
  type ActionSchema,
  anything,
  date,
  flag,
  integer,
  listOf,
  map,
  maybeText,
  object,
  paging,
  ref,
  success,
  text,
  texts,
} from './schema.ts';

const signedIn = { allOf: [ref('User'), ref('Session')] };
const oneOrMore = (...required: string[]) => required.map((name) => ({ required: [name] }));

export const identity: Record<string, ActionSchema> = {
  'accounts.signup': {
    body: object({ email: text, password: text, firstName: maybeText, lastName: maybeText, language: maybeText }, ['email', 'password']),
    answer: { allOf: [ref('User'), object({ validation: text }, ['validation'])] },
  },
  'identity.login': { body: object({ email: text, password: text, expiresAfter: integer }, ['email', 'password']), answer: signedIn },
  'identity.anonymous': { body: object({ expiresAfter: { type: ['integer', 'null'], minimum: 1 }, orgSlug: text }), answer: signedIn },
  'identity.once': { query: { token: text }, answer: signedIn },
  'identity.logout': { body: object({ everywhere: flag }), answer: success },
  'identity.me': {
    answer: {
      allOf: [
        ref('User'),
        object({
          sessionId: text,
          expires: date,
          org: map,
          role: map,
          permissions: texts,
          organizations: listOf(map),
          orgSlugs: texts,
          membership: map,
        }),
      ],
    },
  },
  'mfa.prove': {
    body: object({ totp: text }, ['totp']),
    answer: object({ success: flag, recoveryCodes: texts, remainingRecoveryCodes: integer }, ['success']),
  },
  'mfa.set': {
    body: object({ method: { enum: ['totp', 'none'] }, currentPassword: text }, ['method', 'currentPassword']),
    answer: object({ secret: text, qrImage: text, url: text, method: text, isConfirmed: flag }),
  },
  'mfa.renewCodes': {
    body: object({ currentPassword: text }, ['currentPassword']),
    answer: object({ recoveryCodes: texts }, ['recoveryCodes']),
  },
  'users.updateOwn': { answer: ref('User') },
  'users.update': { answer: ref('User') },
  'users.updateMany': {
    body: object({ ids: texts, emails: texts, groups: texts, behaviour: map }),
    answer: object({ requestedCount: integer, matchedCount: integer, modifiedCount: integer }, [
      'requestedCount',
      'matchedCount',
      'modifiedCount',
    ]),
  },
  'users.mergeMeta': { body: map, answer: map },
  'users.removeMeta': { answer: map },
  'accounts.remove': { query: { token: text }, answer: success },
  'accounts.askDeletion': { answer: success },
  'accounts.validate': {
    body: { ...object({ email: text, token: text, language: maybeText }), anyOf: oneOrMore('email', 'token') },
    answer: success,
  },
  'accounts.password': {
    body: {
      ...object({ email: text, token: text, password: text, currentPassword: text, language: maybeText }),
      anyOf: oneOrMore('email', 'password'),
    },
    answer: map,
  },
  'photos.upload': { answer: ref('User') },
  'photos.get': { answerType: 'image/*' },
  'accessTokens.list': { answer: listOf(ref('AccessToken')) },
  'accessTokens.create': {
    body: object({ name: text, expiresAt: anything, scopes: texts }, ['name', 'expiresAt']),
    answer: ref('AccessToken'),
  },
  'accessTokens.remove': { answer: ref('AccessToken') },
  'contacts.search': {
    query: paging,
    body: map,
    answer: object({ size: integer, contacts: listOf(ref('Contact')) }, ['size', 'contacts']),
  },
  'tokens.jwks': { answer: ref('Jwks') },
  'tokens.rotate': { answer: object({ created: texts, deleted: texts }, ['created', 'deleted']) },
  'tokens.revoke': { answer: object({ created: texts, deleted: texts }, ['created', 'deleted']) },
};
