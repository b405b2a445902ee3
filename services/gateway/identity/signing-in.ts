/** signing-in — the steps every way of signing in ends with: a session, a token, the cookie, the fact on the bus; and the counting of failures. */
import { MINUTE, SECOND } from '../../../mixins/shared/clock.ts';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { SESSION_COOKIE } from '../policies/cookies.ts';
import type { Call, Self } from './core.mixin.ts';
import { hashPassword, isOutdated, verifyPassword } from './passwords.ts';
import { shownUser, USERS, type UserRow } from './rows.ts';
import type { Session } from './sessions.ts';
import { userByEmail } from './users.ts';

const WINDOW_MS = MINUTE;
/** From one address, over all accounts: a list of names tried with one password each. */
const FAILURES_PER_ADDRESS = 50;

export interface SignedIn extends JsonObject {
  token: string;
  sessionId: string;
  /** ISO date. */
  expires: string;
}

export interface SignInOptions {
  ttlS?: number;
  mfa?: boolean;
  /** The cookie ends with the browser session. */
  isTransient?: boolean;
  /** The organisation the session acts in. */
  orgSlug?: string;
}

/** Starts a session of `user`; sets the cookie. The user with `token`, `sessionId` and `expires`. */
export async function signIn(
  self: Self,
  ctx: Call,
  user: UserRow,
  { ttlS, mfa, isTransient = false, orgSlug }: SignInOptions = {},
): Promise<SignedIn> {
  const { config, sessions, tokens } = self.core;
  const lifeS = ttlS ?? config.accessTokenMaxAgeS;
  const { ip } = self.identityOf(ctx);
  const session = await sessions.start(user.id, lifeS, { ...(mfa ? { mfa } : {}), ...(ip ? { ip } : {}), ...(orgSlug ? { orgSlug } : {}) });
  const token = tokens.sign({ sub: user.id, prismeaiSessionId: session.id }, lifeS);
  const expires = new Date(session.expiresAt).toISOString();
  const shown = shownUser(user);
  await announce(self, user, session, lifeS, self.identityOf(ctx).correlationId);
  setCookie(self, ctx, token, isTransient ? undefined : lifeS);
  return { ...shown, token, sessionId: session.id, expires };
}

/** Tells the platform of a new session. Before the client hears of it: its first automation must find who it belongs to. */
export async function announce(
  self: Self,
  user: UserRow,
  { id, expiresAt, ip }: Session,
  lifeS: number,
  correlationId?: string,
): Promise<void> {
  await self.bus.send(
    'gateway.login.succeeded',
    {
      id: user.id,
      ...(user.email ? { email: user.email } : {}),
      ...(user.email && user.emailVerified ? { emailVerified: true } : {}),
      authData: shownUser(user).authData as JsonObject,
      ...(ip ? { ip } : {}),
      session: { id, expiresIn: lifeS, expires: new Date(expiresAt).toISOString() },
    },
    { source: { userId: user.id, sessionId: id, ...(correlationId ? { correlationId } : {}), ...(ip ? { ip } : {}) } },
  );
}

/** The cookie of a session as a header; `undefined` as token removes it. */
export function cookieText(config: Config, token: string | undefined, maxAgeS?: number): string {
  const isSecure = config.secureCookies || config.apiUrl.startsWith('https:');
  const life = token === undefined ? '; Max-Age=0' : maxAgeS === undefined ? '' : `; Max-Age=${maxAgeS}`;
  return `${SESSION_COOKIE}=${token ?? ''}; Path=/; HttpOnly; ${isSecure ? 'Secure; SameSite=None' : 'SameSite=Lax'}${life}`;
}

/** `undefined` as token removes the cookie. */
export function setCookie(self: Self, ctx: Call<any>, token: string | undefined, maxAgeS?: number): void {
  ctx.meta.$responseHeaders = {
    ...ctx.meta.$responseHeaders,
    'set-cookie': cookieText(self.core.config, token, maxAgeS),
    'cache-control': 'no-store',
  };
}

/**
 * The account of an e-mail and password. A hash of older parameters is replaced on the way.
 * @throws AuthenticationError · AccountDeactivated · ValidateEmailError · ManualValidateEmailError · TooManyRequests
 */
export async function userOfPassword(self: Self, ctx: Call<any>, given: string, password: string): Promise<UserRow> {
  const email = given.trim().toLowerCase();
  const { ip } = self.identityOf(ctx);
  const { config } = self.core;
  if (config.disableLocalSignin) throw fault('ForbiddenError', { message: 'Sign-in with a password is closed here.' });
  await assertMayTry(self, email, ip);
  const user = await userByEmail(self, email);
  if (!(await verifyPassword(password, user?.password)) || !user) {
    await countFailure(self, email, ip);
    await self.tell(ctx, 'gateway.login.failed', { email, ...(ip ? { ip } : {}) });
    throw fault('AuthenticationError', { message: 'Incorrect email or password.' });
  }
  if (user.status === 'deactivated') throw fault('AccountDeactivated');
  if (user.status === 'pending') throw fault(config.accountValidation === 'manual' ? 'ManualValidateEmailError' : 'ValidateEmailError');
  await forgetFailures(self, email);
  if (user.password && isOutdated(user.password))
    await self.documents.update<UserRow>(USERS.name, user.id, { set: { password: await hashPassword(password) } });
  return user;
}

/** Counts a request of an address in a minute. @throws TooManyRequests */
export async function limitByAddress(self: Self, name: string, ip: string | undefined, limit: number): Promise<void> {
  if (lockOut(self).isOff || limit <= 0) return;
  const { count, expiresInMs } = await self.cache.increment(`rate:{${name}:a:${ip ?? 'unknown'}}`, 1, WINDOW_MS);
  if (count > limit) throw fault('TooManyRequests', { data: { retryAfter: Math.max(1, Math.ceil(expiresInMs / SECOND)) } });
}

const failureKeys = (email: string, ip: string | undefined) => [`login-failures:{e:${email}}`, `login-failures:{a:${ip ?? 'unknown'}}`];

/** @throws TooManyRequests when the account or the address has failed too often */
export async function assertMayTry(self: Self, email: string, ip: string | undefined): Promise<void> {
  const { rateLoginLimit, isOff } = lockOut(self);
  if (isOff) return;
  const limits = [rateLoginLimit, FAILURES_PER_ADDRESS];
  for (const [index, key] of failureKeys(email, ip).entries()) {
    const { count, expiresInMs } = await self.cache.increment(key, 0, WINDOW_MS);
    if (count < (limits[index] as number)) continue;
    throw fault('TooManyRequests', {
      message: 'Too many failed sign-ins; retry later.',
      data: { retryAfter: Math.max(1, Math.ceil(expiresInMs / SECOND)) },
    });
  }
}

export async function countFailure(self: Self, email: string, ip: string | undefined): Promise<void> {
  if (lockOut(self).isOff) return;
  for (const key of failureKeys(email, ip)) await self.cache.increment(key, 1, WINDOW_MS);
}

export async function forgetFailures(self: Self, email: string): Promise<void> {
  await self.cache.delete(failureKeys(email, undefined)[0] as string);
}

const lockOut = (self: Self) => ({ rateLoginLimit: self.core.config.rateLogin, isOff: self.core.config.rateLimitDisabled });
