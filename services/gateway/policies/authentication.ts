/** authentication — the credentials of a request, who they belong to, and whether a route accepts that. */
import type { IncomingMessage } from 'node:http';
import { identityKeysOf } from '../../../mixins/auth/auth.mixin.ts';
import type { Identity } from '../../../mixins/auth/identity.ts';
import type { NodeIdentityKeys } from '../../../mixins/auth/identity-keys.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { Credentials } from '../contract.ts';
import type { Self } from '../identity/core.mixin.ts';
import { isAccessToken, type Known, sha256 } from '../identity/resolver.ts';
import { assertScope } from '../identity/scopes.ts';
import { isOrganisationKey } from '../organisations/credentials.ts';
import type { Route } from '../routes/route.ts';
import { cookieOf } from '../sockets/handshake.ts';
import { SESSION_COOKIE } from './cookies.ts';

export type Guard = Pick<Route, 'auth' | 'beforeMfa' | 'sessionOnly'> & { action?: string; path?: string };

/** What runs may ask for in the name of who started them: their workspace and what belongs to it, never his account or his sessions. */
const OPEN_TO_RUNS = /^\/(workspaces|pages|files|apps)(\/|$)/;

export function credentialsOf(request: IncomingMessage, ip: string | undefined, correlationId: string): Credentials {
  const { authorization, cookie, origin } = request.headers;
  const one = (value: string | string[] | undefined) => (Array.isArray(value) ? value[0] : value);
  const cookieToken = cookieOf(cookie, SESSION_COOKIE);
  const legacyToken = one(request.headers['x-prismeai-token']);
  const apiKey = one(request.headers['x-prismeai-api-key']);
  const credentials: Credentials = { correlationId };
  if (authorization) credentials.authorization = authorization;
  // A page that may not say where it is from, such as one an automation wrote (answers.ts), has the cookies of its visitor only by chance.
  if (cookieToken && origin !== 'null') credentials.cookieToken = cookieToken;
  if (legacyToken) credentials.legacyToken = legacyToken;
  if (apiKey) credentials.apiKey = apiKey;
  if (ip) credentials.ip = ip;
  const run = one(request.headers['x-prismeai-run']);
  if (run) credentials.run = run;
  return credentials;
}

/**
 * Who calls; `null` for nobody, also for somebody whose second factor is still to come where nobody is asked for. Why a presented credential was
 * refused matters only where one is required.
 * @throws AuthenticationError · MissingMFA · ForbiddenError for a scope
 */
export async function authenticate(self: Self, guard: Guard, method: string, credentials: Credentials): Promise<Known | null> {
  const { auth, beforeMfa, sessionOnly, action, path } = guard;
  const isOpenTo = ({ needsMfa }: Known) => beforeMfa === true || (beforeMfa === 'setup' && needsMfa === 'setup');
  let known: Known | null = null;
  try {
    known = await self.core.resolver.resolve(credentials);
  } catch (error) {
    const isCertain =
      isAccessToken(credentials.authorization) || isAccessToken(credentials.legacyToken) || !isFault(error, 'AuthenticationError');
    if (isCertain || auth !== 'optional') throw error;
  }
  if (known?.claims.kind === 'delegated' && path !== undefined && !OPEN_TO_RUNS.test(path)) {
    if (auth !== 'optional') throw fault('AuthenticationError', { message: 'This route cannot be called by a run.' });
    known = null;
  }
  if (auth !== 'optional') {
    if (!known && !(auth === 'apiKey' && credentials.apiKey && !isOrganisationKey(credentials.apiKey)))
      throw fault('AuthenticationError', { message: 'No authentication token found' });
    if (known?.needsMfa && !isOpenTo(known)) throw fault('MissingMFA');
  }
  if (sessionOnly && known?.claims.kind === 'service')
    throw fault('AuthenticationError', { message: 'This route is for people: it cannot be called by a service account or a key.' });
  if (sessionOnly && known?.claims.via === 'accessToken')
    throw fault('AuthenticationError', { message: 'This route cannot be called with an access token.' });
  if (known && action) assertScope(known.scopes, action, method);
  return known?.needsMfa && !isOpenTo(known) ? null : known;
}

/** How deep the run is that sent the request under another credential; 0 for what no run has sent. */
function depthOf(self: Self, run: string): number {
  try {
    const { kind, depth } = self.core.tokens.verify(run);
    return (kind === 'delegated' && depth) || 0;
  } catch {
    return 0;
  }
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/** What was found out, signed for the services behind. */
export function identityOf(self: Self, known: Known | null, { apiKey, ip, run }: Credentials, correlationId: string): Identity {
  const key = apiKey && !isOrganisationKey(apiKey) ? apiKey : undefined;
  const claims: Writable<Parameters<NodeIdentityKeys['sign']>[0]> = known
    ? { correlationId, ...known.claims }
    : { correlationId, kind: 'none' };
  if (key && !known) claims.via = 'apiKey';
  if (key) claims.apiKeyHash = sha256(key);
  if (ip) claims.ip = ip;
  if (run) claims.depth = Math.max(claims.depth ?? 0, depthOf(self, run));
  return identityKeysOf(self.broker).sign(claims);
}
