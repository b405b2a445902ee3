/**
 * accounts — the life of an account: sign-up, proof of its address, forgotten password, deletion.
 *
 * State   users and one-time tokens (documents).
 * Emits   `gateway.signup.succeeded`, `gateway.users.updated`, `gateway.passwordReset.requested`, `gateway.passwordReset.succeeded`, `gateway.users.deleted`.
 * Mail    links lead to the studio, a page or a domain that may call the platform (`origin`, checked by the gateway), never to what a request claims.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { hexId } from '../../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { MEMBERS } from '../organisations/rows.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { emailOf, fieldsOf } from './fields.ts';
import { makeOneTime, useOneTime } from './one-time.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { ACCESS_TOKENS, ONE_TIME_TOKENS, shownUser, USERS, type UserRow } from './rows.ts';
import { assertMayTry, countFailure, limitByAddress } from './signing-in.ts';
import { assertPassword, createUser, userByEmail } from './users.ts';

type Ask<P = object> = Call<P & { body?: unknown; origin?: string }>;

const stamp = () => new Date().toISOString();

function linkTo(self: Self, origin: string | undefined, path: string, parameter: string, token: string): string {
  const url = new URL(path, origin ?? self.core.config.consoleUrl[0] ?? self.core.config.apiUrl);
  url.searchParams.set(parameter, token);
  return url.href;
}

async function sendValidation(self: Self, user: UserRow, origin: string | undefined, language?: string): Promise<void> {
  const link = linkTo(self, origin, '/signin', 'validationToken', await makeOneTime(self, user.id, 'validate'));
  self.core.mailer.post(user.email as string, { kind: 'validateAccount', name: user.firstName, link }, language ?? user.language);
}

/** Ends everything the account could still be used with. */
async function endAccess(self: Self, userId: string): Promise<void> {
  await self.core.sessions.endAll(userId);
  await self.documents.removeMany(ACCESS_TOKENS.name, { userId });
  await self.documents.removeMany(ONE_TIME_TOKENS.name, { userId });
  await self.documents.removeMany(MEMBERS.name, { userId });
  self.revoked({ userId });
}

/** A token of a mail and a new password: all sessions end, the address is proven. */
async function resetPassword(self: Self, ctx: Ask, token: string, password: string): Promise<JsonObject> {
  // Before the token is used up: a refused password must not cost the link.
  assertPassword(self, password);
  const userId = await useOneTime(self, token, 'reset');
  const user = await self.documents.get<UserRow>(USERS.name, userId);
  if (!user || user.status === 'deactivated') throw fault('InvalidOrExpiredToken');
  const isProven = user.status === 'pending' && self.core.config.accountValidation === 'email';
  const updated = await self.documents.update<UserRow>(USERS.name, userId, {
    set: {
      password: await hashPassword(password),
      emailVerified: true,
      updatedAt: stamp(),
      validFrom: Date.now(),
      ...(isProven ? { status: 'validated' } : {}),
    },
  });
  await self.core.sessions.endAll(userId);
  self.revoked({ userId });
  const { ip } = self.identityOf(ctx);
  await self.tell(ctx, 'gateway.passwordReset.succeeded', { email: user.email ?? '', ...(ip ? { ip } : {}) }, { userId });
  return shownUser(updated);
}

/** The answer is the same for known and unknown addresses. */
async function askReset(self: Self, ctx: Ask, email: string, language?: string): Promise<JsonObject> {
  const { ip } = self.identityOf(ctx);
  await limitByAddress(self, 'passwordReset', ip, self.core.config.ratePasswordReset);
  const user = await userByEmail(self, email);
  if (user && user.status !== 'deactivated') {
    const url = new URL(linkTo(self, ctx.params.origin, '/forgot', 'token', await makeOneTime(self, user.id, 'reset')));
    self.core.mailer.post(email, { kind: 'forgotPassword', name: user.firstName, link: url.href }, language ?? user.language);
  }
  await self.tell(ctx, 'gateway.passwordReset.requested', { email, ...(ip ? { ip } : {}) });
  return { success: true };
}

/** By somebody signed in, with his present password: his other sessions end. */
async function changePassword(self: Self, ctx: Ask, password: string, currentPassword: string | undefined): Promise<JsonObject> {
  const { userId, sessionId, kind, ip } = self.identityOf(ctx);
  if (!userId || kind !== 'user') throw fault('AuthenticationError');
  const user = (await self.documents.get<UserRow>(USERS.name, userId)) as UserRow;
  const name = user.email ?? userId;
  await assertMayTry(self, name, ip);
  if (user.password && !(await verifyPassword(currentPassword ?? '', user.password))) {
    await countFailure(self, name, ip);
    throw fault('AuthenticationError', { message: 'Incorrect password.' });
  }
  assertPassword(self, password);
  await self.documents.update<UserRow>(USERS.name, userId, { set: { password: await hashPassword(password), updatedAt: stamp() } });
  for (const ended of await self.core.sessions.endAll(userId, sessionId)) self.revoked({ sessionId: ended });
  await self.tell(ctx, 'gateway.users.updated', { user: { id: userId }, fields: ['password'] });
  return { success: true };
}

const accounts: ServiceSchema<object, any> = {
  name: 'accounts',
  mixins: [core()],

  actions: {
    /** POST /signup { email, password, firstName?, lastName?, language? } → the account; sign-in is a step of its own. */
    signup: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { password, firstName, lastName, language, ...given } = fieldsOf(
          ctx.params.body,
          ['email', 'password'],
          ['firstName', 'lastName', 'language'],
        );
        if (this.core.config.disableLocalSignup) throw fault('ForbiddenError', { message: 'Sign-up with a password is closed here.' });
        const email = emailOf(given.email);
        assertPassword(this, password);
        const { accountValidation } = this.core.config;
        const isByMail = accountValidation === 'email';
        const taken = async (known: UserRow): Promise<JsonObject> => {
          if (!isByMail) throw fault('AlreadyUsed', { message: 'This e-mail address is already used.', data: { field: 'email' } });
          // Whether an address has an account is told to its owner only.
          const link = new URL('/signin', ctx.params.origin ?? this.core.config.consoleUrl[0] ?? this.core.config.apiUrl).href;
          this.core.mailer.post(email, { kind: 'alreadyRegistered', name: known.firstName, link }, known.language);
          const id = hexId().slice(0, 24);
          const shape: UserRow = {
            ...profile,
            id,
            _rev: 1,
            status: 'pending',
            email,
            authData: { prismeai: { id, email } },
            createdAt: '',
            updatedAt: '',
          };
          return { ...shownUser(shape), validation: accountValidation };
        };
        const profile = { ...(firstName ? { firstName } : {}), ...(lastName ? { lastName } : {}), ...(language ? { language } : {}) };
        // The same work for a used address: the time of an answer does not tell either.
        const hash = await hashPassword(password);
        const known = await userByEmail(this, email);
        if (known) return taken(known);
        let user: UserRow;
        try {
          user = await createUser(this, {
            ...profile,
            email,
            password: hash,
            status: accountValidation === 'auto' ? 'validated' : 'pending',
            authData: {},
          });
        } catch (error) {
          if (!isFault(error, 'AlreadyUsedError')) throw error;
          return taken((await userByEmail(this, email)) as UserRow);
        }
        if (isByMail) await sendValidation(this, user, ctx.params.origin, language);
        const { ip } = this.identityOf(ctx);
        const shown = shownUser(user);
        await this.tell(ctx, 'gateway.signup.succeeded', { user: shown, ...(ip ? { ip } : {}) }, { userId: user.id });
        return { ...shown, validation: accountValidation };
      },
    },

    /** POST /user/validate { email, language? } sends the link again · { token } proves the address. */
    validate: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { token, language, ...given } = fieldsOf(ctx.params.body, [], ['token', 'email', 'language']);
        if (token !== undefined) {
          const userId = await useOneTime(this, token, 'validate');
          const user = await this.documents.get<UserRow>(USERS.name, userId);
          if (user?.status !== 'pending') throw fault('InvalidOrExpiredToken');
          const set = { status: 'validated', emailVerified: true, updatedAt: stamp() } as const;
          const updated = await this.documents.update<UserRow>(USERS.name, userId, { set }, user._rev);
          await this.tell(ctx, 'gateway.users.updated', { user: shownUser(updated), fields: ['status'] }, { userId });
          return { success: true };
        }
        if (given.email === undefined) throw fault('RequestValidationError', { message: 'Give a token, or the email to write to.' });
        const { ip } = this.identityOf(ctx);
        await limitByAddress(this, 'validation', ip, this.core.config.ratePasswordReset);
        const user = await userByEmail(this, emailOf(given.email));
        if (user?.status === 'pending' && this.core.config.accountValidation === 'email')
          await sendValidation(this, user, ctx.params.origin, language);
        return { success: true };
      },
    },

    /** POST /user/password { email, language? } asks for a link · { token, password } uses it · { currentPassword, password } in one's session. */
    password: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { token, password, currentPassword, language, ...given } = fieldsOf(
          ctx.params.body,
          [],
          ['token', 'password', 'currentPassword', 'email', 'language'],
        );
        if (password === undefined) {
          if (given.email === undefined)
            throw fault('RequestValidationError', { message: 'Give email, or token and password, or currentPassword and password.' });
          return askReset(this, ctx, emailOf(given.email), language);
        }
        return token === undefined ? changePassword(this, ctx, password, currentPassword) : resetPassword(this, ctx, token, password);
      },
    },

    /** DELETE /user: mails the link that DELETE /users/:userId?token= asks for. */
    askDeletion: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { userId, kind } = this.identityOf(ctx);
        const user = userId && kind === 'user' ? await this.documents.get<UserRow>(USERS.name, userId) : null;
        if (!user?.email) throw fault('AuthenticationError');
        const link = linkTo(this, ctx.params.origin, '/account/delete', 'validationToken', await makeOneTime(this, user.id, 'delete'));
        this.core.mailer.post(user.email, { kind: 'deleteAccount', name: user.firstName, link }, user.language);
        return { success: true };
      },
    },

    /** DELETE /users/:userId: by its owner with the token of the mail, or by a super admin. Sessions, tokens and links go with it. */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ userId: string; query?: { token?: unknown } }>): Promise<JsonObject> {
        const { userId, query } = ctx.params;
        const caller = this.identityOf(ctx);
        if (!caller.userId || caller.kind === 'delegated') throw fault('AuthenticationError');
        const isAdmin = caller.role === 'superadmin';
        if (!isAdmin) {
          if (caller.userId !== userId) throw fault('ForbiddenError', { message: 'You may delete your own account only.' });
          const token = isPlainObject(query) && typeof query.token === 'string' ? query.token : '';
          const owner = token ? await useOneTime(this, token, 'delete').catch(() => undefined) : undefined;
          if (owner !== userId)
            throw fault('ForbiddenError', {
              message: 'The token of the confirmation mail is missing, used or too old: ask with DELETE /user.',
            });
        }
        const user = await this.documents.get<UserRow>(USERS.name, userId);
        await endAccess(this, userId);
        if (!user || !(await this.documents.remove(USERS.name, userId)))
          throw fault('ObjectNotFoundError', { message: 'There is no such user.', data: { subjectType: 'users', id: userId } });
        if (user.email) this.core.mailer.post(user.email, { kind: 'accountDeleted', name: user.firstName }, user.language);
        await this.tell(ctx, 'gateway.users.deleted', { userId, ...(caller.ip ? { ip: caller.ip } : {}) });
        return { success: true };
      },
    },
  },
};

export default accounts;
