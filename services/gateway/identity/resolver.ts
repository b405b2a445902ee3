/**
 * resolver — credentials → who that is. Order: access token `at:…`, cookie, bearer; an API key goes beside or alone.
 *
 * What is found is remembered for a few seconds by the hash of the token, so that a busy client costs one look-up now and then; `forget` drops it at
 * once on this node, and the hint `identity.revoked` on the others.
 */
import { hash } from 'node:crypto';
import { frozenData } from '../../../mixins/auth/identity-keys.ts';
import { HOUR, SECOND } from '../../../mixins/shared/clock.ts';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { lru } from '../../../mixins/shared/lru.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import type { Credentials, Resolved } from '../contract.ts';
import { byOrganisationKey, byServiceAccount, isOrganisationKey } from '../organisations/credentials.ts';
import { ACCESS_TOKENS, type AccessTokenRow, USERS, type UserRow } from './rows.ts';
import type { Session, Sessions } from './sessions.ts';
import type { TokenClaims, Tokens } from './tokens.ts';

const REMEMBER_MS = 5 * SECOND;
const LAST_USE_EVERY_MS = 60 * SECOND;

type Claims = Omit<Resolved['claims'], 'correlationId'> & { correlationId?: string };

/** What the gateway needs beyond the contract. */
export interface Known {
  claims: Claims;
  expiresAt: number;
  /** CSRF token of the session. */
  csrf?: string;
  /** A second factor is still to come: it must be given, or set up first. */
  needsMfa?: 'proof' | 'setup';
  userId: string;
  sessionId?: string;
  /** What a limited credential may be used for. */
  scopes?: readonly string[];
}

export interface Resolver {
  /** @throws AuthenticationError · ServiceUnavailable */
  resolve(credentials: Credentials): Promise<Known | null>;
  /** Nothing named: everything, as when a key was revoked. */
  forget(what: { userId?: string; sessionId?: string }): void;
}

export const sha256 = (text: string): string => hash('sha256', text);

const bearerOf = (authorization: string | undefined): string | undefined => {
  if (authorization === undefined) return undefined;
  const token = authorization.replace(/^\s*bearer\s+/i, '').trim();
  return token === '' || /^bearer$/i.test(token) ? undefined : token;
};

export const isAccessToken = (text: string | undefined): boolean => Boolean(text && bearerOf(text)?.startsWith('at:'));

export const isSuperAdmin = (user: UserRow, config: Config): boolean => {
  if (user.isFirstAdmin) return true;
  if (!user.email || !user.emailVerified) return false;
  return [config.adminEmail, ...config.superAdminEmails].some((email) => email?.trim().toLowerCase() === user.email);
};

export function createResolver({
  config,
  documents,
  sessions,
  tokens,
  onTokenUse,
}: {
  config: Config;
  documents: Documents;
  sessions: Sessions;
  tokens: Tokens;
  /** An access token is used again after an hour of silence, or for the first time. */
  onTokenUse?: (token: AccessTokenRow, ip: string | undefined) => void;
}): Resolver {
  const known = lru<string, Known>({ max: 20_000, ttl: REMEMBER_MS });
  let epoch = 0;
  const refuse = (message: string) => fault('AuthenticationError', { message });

  async function userOf(id: string | undefined): Promise<UserRow> {
    const user = id === undefined ? null : await documents.get<UserRow>(USERS.name, id);
    if (user?.status !== 'validated') throw refuse('This account does not exist or is not active.');
    return user;
  }

  const claimsOf = (user: UserRow, sessionId: string, via: Claims['via'], mfa: boolean): Claims => ({
    kind: user.email || user.isFirstAdmin || !user.authData?.anonymous ? 'user' : 'anonymous',
    userId: user.id,
    sessionId,
    ...(user.email ? { email: user.email } : {}),
    ...(user.email && user.emailVerified ? { emailVerified: true } : {}),
    ...(isSuperAdmin(user, config) ? { role: 'superadmin' as const } : {}),
    authData: frozenData(Object.keys(user.authData ?? {}).length > 0 ? user.authData : { prismeai: { id: user.id, email: user.email } }),
    mfa,
    via,
  });

  /** Where every password account must have a second factor, one without can only set it up. */
  function missingFactor({ mfa, password }: UserRow): Pick<Known, 'needsMfa'> {
    if (mfa === 'totp') return { needsMfa: 'proof' };
    return config.mfaForceLocal && password !== undefined ? { needsMfa: 'setup' } : {};
  }

  async function byAccessToken(token: string, ip: string | undefined): Promise<Known> {
    const [row] = await documents.find<AccessTokenRow>(ACCESS_TOKENS.name, { hash: sha256(token) }, { limit: 1 });
    if (!row) throw refuse('Invalid access token');
    if (row.expiresAt <= Date.now()) throw refuse('Expired access token');
    const user = await userOf(row.userId);
    const silentMs = Date.now() - (row.lastUsedAt ? Date.parse(row.lastUsedAt) : 0);
    if (silentMs > HOUR) onTokenUse?.(row, ip);
    if (silentMs > LAST_USE_EVERY_MS)
      void documents.update(ACCESS_TOKENS.name, row.id, { set: { lastUsedAt: new Date().toISOString() } }).catch(() => {});
    const sessionId = `at:${row.id}`;
    return {
      claims: claimsOf(user, sessionId, 'accessToken', true),
      expiresAt: row.expiresAt,
      userId: user.id,
      sessionId,
      ...(row.scopes ? { scopes: row.scopes } : {}),
    };
  }

  /** A run calling back: no session, seconds of life. */
  function byRunToken({ kind, sub, sessionId, workspaceId, correlationId, depth, isAway, exp }: TokenClaims): Known {
    const claims: Claims = {
      kind: 'delegated',
      ...(sub ? { userId: sub } : {}),
      ...(sessionId ? { sessionId } : {}),
      ...(workspaceId ? { sourceWorkspaceId: workspaceId } : {}),
      ...(isAway ? { isAway } : {}),
      ...(kind === 'workspace' && workspaceId ? { authenticatedWorkspaceId: workspaceId } : {}),
      ...(correlationId ? { correlationId } : {}),
      ...(depth === undefined ? {} : { depth }),
      via: 'jwt',
    };
    return { claims, expiresAt: exp * SECOND, userId: sub ?? '', ...(sessionId ? { sessionId } : {}) };
  }

  /** The studio acts as its user; every other client within its scopes. */
  const scopesOf = ({ client_id, scope }: TokenClaims): Pick<Known, 'scopes'> =>
    client_id === undefined || client_id === config.oidcStudioClientId ? {} : { scopes: (scope ?? '').split(' ').filter(Boolean) };

  async function byJwt(token: string, via: 'cookie' | 'jwt'): Promise<Known> {
    const claims = tokens.verify(token);
    if (claims.kind === 'serviceAccount') return byServiceAccount(documents, claims);
    if (claims.kind) return byRunToken(claims);
    if (!claims.prismeaiSessionId) throw refuse('This token belongs to no session.');
    const session: Session | null = await sessions.find(claims.prismeaiSessionId);
    if (!session || session.userId !== claims.sub) throw refuse('The session has ended.');
    const user = await userOf(session.userId);
    if (user.validFrom !== undefined && session.createdAt < user.validFrom) throw refuse('The session has ended.');
    return {
      claims: claimsOf(user, session.id, via, Boolean(session.mfa)),
      expiresAt: Math.min(session.expiresAt, claims.exp * SECOND),
      csrf: session.csrf,
      ...(session.mfa ? {} : missingFactor(user)),
      userId: user.id,
      sessionId: session.id,
      ...scopesOf(claims),
    };
  }

  return {
    async resolve({ authorization, cookieToken, legacyToken, apiKey, ip }) {
      const bearer = bearerOf(authorization);
      const access = bearer?.startsWith('at:') ? bearer : legacyToken?.startsWith('at:') ? legacyToken : undefined;
      // Beside a person's own credential a key of an organisation gives nothing: nobody gains rights by adding one.
      const orgKey = isOrganisationKey(apiKey) ? apiKey : undefined;
      const token = access ?? cookieToken ?? bearer ?? orgKey;
      if (!token) return null;
      const via = access ? 'accessToken' : cookieToken ? 'cookie' : bearer ? 'jwt' : 'orgKey';
      const key = sha256(`${via}|${token}`);
      const remembered = known.get(key);
      if (remembered && remembered.expiresAt > Date.now()) return remembered;
      try {
        const before = epoch;
        const found =
          via === 'orgKey'
            ? await byOrganisationKey(documents, token)
            : access
              ? await byAccessToken(access, ip)
              : await byJwt(token, via as 'cookie' | 'jwt');
        // What was read before a revocation is not remembered after it.
        if (before === epoch) known.set(key, found);
        return found;
      } catch (error) {
        if (isFault(error)) throw error;
        throw fault('ServiceUnavailable', { message: 'Sessions cannot be read at the moment.', cause: error });
      }
    },
    forget({ userId, sessionId }) {
      epoch++;
      if (!userId && !sessionId) known.clear();
      for (const [key, entry] of known.entries())
        if ((userId && entry.userId === userId) || (sessionId && entry.sessionId === sessionId)) known.delete(key);
    },
  };
}
