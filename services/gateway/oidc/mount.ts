/**
 * mount — the OpenID provider and sign-in with outside providers on the gateway's own server: which paths are theirs, and what happens around them.
 *
 * /oidc/…                          the provider (provider.ts), below its own steps:
 * /oidc/interaction/<uid>          where a person signs in when no studio does it (interactions.ts)
 * /oidc/interaction/<uid>/login    the credentials
 * /v2/login, /v2/login/callback    outside providers (external.ts)
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { issuerOf } from '../../../mixins/shared/config.ts';
import { isFault, toPublicError } from '../../../mixins/shared/errors.ts';
import { secretToken } from '../../../mixins/shared/ids.ts';
import type { Self } from '../identity/core.mixin.ts';
import { GATEWAY_SECRETS, type GatewaySecretRow, USERS, type UserRow } from '../identity/rows.ts';
import { announce, cookieText } from '../identity/signing-in.ts';
import type { GatewayResponse } from '../response.ts';
import { cookieOf } from '../sockets/handshake.ts';
import { type WorkspaceOfClient, workspaceClients } from './clients.ts';
import { type External, openExternal } from './external.ts';
import { createInteractions, type Interactions } from './interactions.ts';
import { pagePolicy, wrongPage } from './pages.ts';
import { createProvider } from './provider.ts';

export interface Visit {
  request: IncomingMessage;
  response: GatewayResponse;
  /** Without query. */
  path: string;
  ip: string | undefined;
}

export interface Oidc {
  /** Whether the path was one of theirs; it is answered then. */
  handle(visit: Visit): Promise<boolean>;
}

const DISCOVERY = '/.well-known/openid-configuration';
const DEFAULT_CONSOLE = 'studio.local.prisme.ai';

/** Signs the provider's cookies: made once, sealed in the document store, read by every gateway. */
async function cookieKeys(self: Self): Promise<string[]> {
  const aad = 'gatewaySecret/cookies';
  const read = () => self.documents.get<GatewaySecretRow>(GATEWAY_SECRETS.name, 'cookies');
  let row = await read();
  if (!row) {
    try {
      row = await self.documents.insert<GatewaySecretRow>(GATEWAY_SECRETS.name, {
        id: 'cookies',
        sealed: self.core.ring.seal(secretToken(32), aad),
      });
    } catch (error) {
      if (!isFault(error, 'AlreadyUsedError')) throw error;
      row = (await read()) as GatewaySecretRow;
    }
  }
  return [self.core.ring.open(row.sealed, aad)];
}

/** Claims of an account for id tokens. */
function claimsOf({ email, emailVerified, firstName, lastName, photo, language, mfa, meta, authData }: UserRow) {
  const name = [firstName, lastName].filter(Boolean).join(' ');
  const claims = {
    firstName,
    lastName,
    photo,
    language,
    ...(name ? { name } : {}),
    given_name: firstName,
    family_name: lastName,
    picture: photo,
    locale: language,
    email,
    email_verified: email ? Boolean(emailVerified) : undefined,
    mfa: mfa ?? 'none',
    meta,
    authData,
  };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

export async function openOidc(self: Self): Promise<Oidc> {
  const { config, keys, sessions } = self.core;
  const issuer = new URL(issuerOf(config));
  const ancestors = ["'self'", ...config.consoleUrl].join(' ');
  const findClient = workspaceClients(config, (workspaceId) =>
    self.broker.call<WorkspaceOfClient, { workspaceId: string }>(
      'workspaces.resolve',
      { workspaceId },
      { meta: self.systemMeta() as object, retries: 2 },
    ),
  );
  const external: External = await openExternal(self);

  /** The provider's session becomes ours: the same id, the life of its newest token. */
  async function openSession({ uid, userId, hasSecondFactor, ip }: { uid: string; userId: string; hasSecondFactor: boolean; ip?: string }) {
    const ttlS = config.accessTokenMaxAgeS;
    const known = await sessions.find(uid);
    if (known && known.userId === userId) return sessions.prolong(known, ttlS);
    const user = await self.documents.get<UserRow>(USERS.name, userId);
    if (user?.status !== 'validated') return;
    const session = await sessions.start(userId, ttlS, { id: uid, ...(hasSecondFactor ? { mfa: true } : {}), ...(ip ? { ip } : {}) });
    await announce(self, user, session, ttlS);
  }

  const usesOwnPage =
    config.oidcSignInPage === 'own' ||
    (config.oidcSignInPage !== 'studio' &&
      config.consoleUrl.every((url) => URL.canParse(url) && new URL(url).hostname === DEFAULT_CONSOLE));

  function signInUrl(ctx: KoaContextWithOIDC, uid: string): string {
    if (usesOwnPage) return `/oidc/interaction/${uid}`;
    const { client, params } = ctx.oidc;
    const redirect = String(params?.redirect_uri ?? '');
    const base = client?.workspaceId && URL.canParse(redirect) ? new URL(redirect).origin : (config.consoleUrl[0] as string);
    const locale = /^(en|fr|es)$/.exec(String(params?.locale ?? params?.ui_locales ?? ''))?.[0];
    const url = new URL(locale ? `/${locale}/signin` : '/signin', base);
    url.searchParams.set('interaction', uid);
    return url.href;
  }

  const cookies = await cookieKeys(self);
  let made: { version: string; provider: Promise<Provider> } | undefined;
  function provider(): Promise<Provider> {
    const version = keys.kids().join(' ');
    if (made?.version !== version) {
      const created = createProvider({
        config,
        keys,
        stores: { cache: self.cache, documents: self.documents, findClient },
        cookieKeys: cookies,
        openSession,
        signInUrl,
        async findAccount(id) {
          const user = await self.documents.get<UserRow>(USERS.name, id);
          return user?.status === 'validated' ? { id, claims: claimsOf(user) } : null;
        },
        renderError(ctx, out) {
          const correlationId = (ctx.res as GatewayResponse).correlationId;
          const message = String(out.error_description ?? out.error);
          if (ctx.method === 'GET' && ctx.accepts('html', 'json') === 'html') {
            ctx.type = 'html';
            ctx.body = wrongPage(out.error, message, correlationId);
            return;
          }
          ctx.body = { error: out.error, message, details: {}, error_description: message };
        },
      }).then((provider) => withCookies(self, provider));
      made = { version, provider: created };
      created.catch(() => {
        made = undefined;
      });
    }
    return made?.provider as Promise<Provider>;
  }

  const interactions: Interactions = createInteractions(self, provider, external);

  /** Hands the request to the provider as if it were mounted by a framework. */
  async function pass({ request, response, ip }: Visit, url: string): Promise<void> {
    const { callback } = await prepared();
    (request as IncomingMessage & { originalUrl: string }).originalUrl = `/oidc${url}`;
    request.url = url;
    request.headers['x-forwarded-proto'] = issuer.protocol.slice(0, -1);
    request.headers['x-forwarded-host'] = issuer.host;
    request.headers['x-forwarded-for'] = ip ?? '';
    response.setHeader('content-security-policy', pagePolicy(ancestors));
    await callback(request, response);
  }

  const callbacks = new WeakMap<Provider, (request: IncomingMessage, response: ServerResponse) => Promise<void>>();
  async function prepared() {
    const current = await provider();
    let callback = callbacks.get(current);
    if (!callback) {
      callback = current.callback() as unknown as (request: IncomingMessage, response: ServerResponse) => Promise<void>;
      callbacks.set(current, callback);
    }
    return { callback };
  }

  return {
    async handle(visit) {
      const { request, path } = visit;
      if (path.startsWith('/v2/login') && (await external.handle(visit, provider))) return true;
      if (path === DISCOVERY) {
        await pass(visit, DISCOVERY);
        return true;
      }
      if (!path.startsWith('/oidc/')) return false;
      if (await interactions.handle(visit)) return true;
      await pass(visit, (request.url as string).slice('/oidc'.length));
      return true;
    },
  };
}

/** Around the provider's own steps: a token is also a cookie, and signing out ends the session at once, everywhere. */
function withCookies(self: Self, provider: Provider): Provider {
  const { config, sessions, resolver } = self.core;
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<void>) => {
    await next();
    const { route } = ctx.oidc ?? {};
    const body = ctx.body as { access_token?: unknown; expires_in?: unknown; error?: unknown; error_description?: string } | undefined;
    // RFC 6749 names two fields; clients of the platform read the other two.
    if (ctx.status >= 400 && typeof body?.error === 'string')
      ctx.body = { ...body, message: body.error_description ?? body.error, details: {} };
    if (route === 'token' && ctx.status === 200 && typeof body?.access_token === 'string' && ctx.oidc.entities.AccessToken?.accountId) {
      ctx.append('set-cookie', cookieText(config, body.access_token, Number(body.expires_in)));
      return;
    }
    if (route !== 'end_session_confirm' || ctx.status !== 303 || !ctx.oidc.params?.logout) return;
    const { session } = ctx.oidc;
    ctx.append('set-cookie', cookieText(config, undefined));
    const cookieToken = cookieOf(ctx.req.headers.cookie, 'access-token');
    const known = cookieToken ? await resolver.resolve({ cookieToken }).catch(() => null) : null;
    for (const [id, userId] of [
      [session?.uid, session?.accountId],
      [known?.sessionId, known?.userId],
    ]) {
      if (!id || !userId) continue;
      await sessions.end({ id, userId });
      self.revoked({ sessionId: id });
      await self.bus.send('gateway.logout.succeeded', { userId, sessionId: id }, { source: { userId, sessionId: id } });
    }
  });
  // Errors inside the provider are its answer; ours only when it is not one of its own.
  provider.on('server_error', (_ctx, error) => self.logger.error(`OpenID provider: ${toPublicError(error).message}`, error));
  return provider;
}
