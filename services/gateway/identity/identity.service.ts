/**
 * identity — signing in and out; who a credential belongs to.
 *
 * State   users (documents), sessions (cache).
 * Emits   `gateway.login.succeeded`, `gateway.login.failed`, `gateway.logout.succeeded`, `gateway.sessions.revoked`, `gateway.users.created`.
 */
import type { ServiceSchema } from 'moleculer';
import { HOUR, SECOND } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { newCorrelationId, secretToken } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { REPEATABLE } from '../../../mixins/shared/repeatable.ts';
import type { Credentials, Resolved } from '../contract.ts';
import { assertLetsAnonymousIn, shownStanding } from '../organisations/choosing.ts';
import { isOrganisationKey } from '../organisations/credentials.ts';
import { joinByRules } from '../organisations/joining.ts';
import { standingOf } from '../organisations/membership.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { emailOf, fieldsOf } from './fields.ts';
import { hashPassword } from './passwords.ts';
import { isSuperAdmin, sha256 } from './resolver.ts';
import { shownUser, USERS, type UserRow } from './rows.ts';
import { proveSecondFactor } from './second-factor.ts';
import { setCookie, signIn, userOfPassword } from './signing-in.ts';
import { createUser, userByEmail } from './users.ts';

const FIRST_ACCESS_KEY = 'identity:firstAccess';
const FIRST_ACCESS_MS = HOUR;
const MAX_ANONYMOUS_S = 30 * 24 * 3600;

/** The administrator this installation is made with. Two nodes that start at once make one. */
async function ensureFirstAdmin(self: Self): Promise<UserRow> {
  const { adminEmail, adminPassword } = self.core.config;
  const email = adminEmail ? emailOf(adminEmail) : 'admin@localhost';
  const known = await userByEmail(self, email);
  if (known) return known;
  try {
    const password = adminPassword ? await hashPassword(adminPassword) : undefined;
    return await createUser(self, {
      email,
      ...(password ? { password } : {}),
      firstName: 'Admin',
      lastName: 'Admin',
      status: 'validated',
      emailVerified: true,
      isFirstAdmin: true,
      authData: {},
    });
  } catch (error) {
    if (!isFault(error, 'AlreadyUsedError')) throw error;
    return (await userByEmail(self, email)) as UserRow;
  }
}

const identity: ServiceSchema<object, any> = {
  name: 'identity',
  mixins: [core()],

  actions: {
    /** Credentials → claims to sign. @throws AuthenticationError for a presented token that is refused */
    resolve: {
      visibility: 'public',
      identity: 'any',
      retryPolicy: REPEATABLE,
      async handler(this: Self, ctx: Call<Credentials>): Promise<Resolved> {
        const { apiKey, ip, correlationId = newCorrelationId() } = ctx.params;
        const known = await this.core.resolver.resolve(ctx.params);
        const isKey = apiKey !== undefined && !isOrganisationKey(apiKey);
        const more = { ...(isKey ? { apiKeyHash: sha256(apiKey) } : {}), ...(ip ? { ip } : {}) };
        if (!known) return { claims: { kind: 'none', correlationId, ...(isKey ? { via: 'apiKey' as const } : {}), ...more } };
        if (known.needsMfa) throw fault('MissingMFA');
        // Who asks here is a socket: it reads and sends events for as long as it lives.
        for (const scope of ['events:read', 'events:write'])
          if (known.scopes && !known.scopes.includes(scope))
            throw fault('ForbiddenError', { message: `This credential lacks the scope '${scope}'.`, data: { scope } });
        return {
          claims: { ...known.claims, correlationId: known.claims.correlationId ?? correlationId, ...more },
          expiresAt: known.expiresAt,
        };
      },
    },

    /** POST /login { email, password } → the user with token, sessionId, expires. */
    login: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { password, expiresAfter, ...given } = fieldsOf(ctx.params.body, ['email', 'password'], ['expiresAfter']);
        const user = await userOfPassword(this, ctx, String(given.email), password);
        const { accessTokenMaxAgeS } = this.core.config;
        return signIn(this, ctx, user, { ttlS: Math.min(expiresAfter ?? accessTokenMaxAgeS, accessTokenMaxAgeS) });
      },
    },

    /** { email, password, totp? } → who that is and how he proved it, for the sign-in page of the OpenID provider. */
    checkPassword: {
      visibility: 'public',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ email: string; password: string; totp?: string }>): Promise<{ userId: string; amr: string[] }> {
        const { email, password, totp } = ctx.params;
        if (![email, password].every((value) => typeof value === 'string' && value !== '' && value.length <= 1000))
          throw fault('RequestValidationError', {
            message: 'Give login and password.',
            data: { problems: [{ path: 'login' }, { path: 'password' }] },
          });
        const user = await userOfPassword(this, ctx, email, password);
        if (!totp || user.mfa !== 'totp') return { userId: user.id, amr: ['pwd'] };
        await proveSecondFactor(this, user, totp, false);
        return { userId: user.id, amr: ['pwd', 'otp', 'mfa'] };
      },
    },

    /** POST /login/anonymous { expiresAfter?, orgSlug? } → a session without account, in an organisation that lets such people in. */
    anonymous: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ body: unknown; origin?: string }>): Promise<JsonObject> {
        const { expiresAfter, orgSlug } = fieldsOf(ctx.params.body ?? {}, [], ['expiresAfter', 'orgSlug']);
        if (orgSlug !== undefined) await assertLetsAnonymousIn(this, orgSlug, ctx.params.origin);
        const ttlS = Math.min(expiresAfter ?? this.core.config.accessTokenMaxAgeS, MAX_ANONYMOUS_S);
        const user = await createUser(this, { status: 'validated', authData: { anonymous: {} }, expiresAt: Date.now() + ttlS * SECOND });
        return signIn(this, ctx, user, { ttlS, isTransient: true, ...(orgSlug === undefined ? {} : { orgSlug }) });
      },
    },

    /** GET /me → the user with sessionId and expires. */
    me: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { userId, sessionId, kind } = this.identityOf(ctx);
        const user = userId ? await this.documents.get<UserRow>(USERS.name, userId) : null;
        if (!user || kind === 'system') throw fault('AuthenticationError');
        const session = sessionId && !sessionId.startsWith('at:') ? await this.core.sessions.find(sessionId) : null;
        if (session)
          ctx.meta.$responseHeaders = { ...ctx.meta.$responseHeaders, 'x-prismeai-csrf-token': session.csrf, 'cache-control': 'no-store' };
        await joinByRules(this, ctx, user);
        const standing = await standingOf(this.documents, user.id, session?.orgSlug, kind === 'anonymous');
        return {
          ...shownUser(user, { forSuperAdmin: isSuperAdmin(user, this.core.config) }),
          ...shownStanding(standing),
          createdAt: user.createdAt,
          updatedAt: user.updatedAt,
          sessionId,
          ...(session ? { expires: new Date(session.expiresAt).toISOString() } : {}),
        };
      },
    },

    /** POST /logout { everywhere? } */
    logout: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body?: { everywhere?: unknown } }>): Promise<JsonObject> {
        const { userId, sessionId } = this.identityOf(ctx);
        if (userId && ctx.params.body?.everywhere === true) {
          const ids = await this.core.sessions.endAll(userId);
          await this.documents.update<UserRow>(USERS.name, userId, { set: { validFrom: Date.now() } });
          this.revoked({ userId });
          await this.tell(ctx, 'gateway.sessions.revoked', { userId, sessionIds: ids });
        } else if (userId && sessionId && !sessionId.startsWith('at:')) {
          await this.core.sessions.end({ id: sessionId, userId });
          this.revoked({ sessionId });
          await this.tell(ctx, 'gateway.logout.succeeded', { userId, sessionId });
        }
        setCookie(this, ctx, undefined);
        return { success: true };
      },
    },

    /** GET /login/once?token=… → a session of the administrator; the link works once. */
    once: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ query?: { token?: unknown } }>): Promise<JsonObject> {
        const token = ctx.params.query?.token;
        const stored = await this.cache.get<{ hash: string; userId: string }>(FIRST_ACCESS_KEY);
        // Of two requests at once one only finds it to delete.
        if (typeof token !== 'string' || stored?.value.hash !== sha256(token) || !(await this.cache.delete(FIRST_ACCESS_KEY)))
          throw fault('InvalidOrExpiredToken', { message: 'This link was used or is too old; start the platform again for a new one.' });
        const user = await this.documents.get<UserRow>(USERS.name, stored.value.userId);
        if (!user) throw fault('InvalidOrExpiredToken');
        return signIn(this, ctx, user);
      },
    },

    /** The administrator's way in, for the start script of this very node: e-mail, and a one-time token when no password was set. */
    firstAccess: {
      visibility: 'protected',
      identity: 'system',
      async handler(this: Self): Promise<{ email: string; userId: string; token?: string }> {
        const user = await ensureFirstAdmin(this);
        const email = user.email as string;
        if (user.password) return { email, userId: user.id };
        const token = secretToken(24);
        await this.cache.set(FIRST_ACCESS_KEY, { hash: sha256(token), userId: user.id }, { ttlMs: FIRST_ACCESS_MS });
        return { email, userId: user.id, token };
      },
    },

    /** A session of the administrator, for the start script of this very node: it seeds the sample as a user would. */
    installerSession: {
      visibility: 'protected',
      identity: 'system',
      async handler(this: Self): Promise<{ token: string }> {
        const user = await ensureFirstAdmin(this);
        const session = await this.core.sessions.start(user.id, 60);
        return { token: this.core.tokens.sign({ sub: user.id, prismeaiSessionId: session.id }, 60) };
      },
    },
  },

  async started(this: Self) {
    await ensureFirstAdmin(this);
  },
};

export default identity;
