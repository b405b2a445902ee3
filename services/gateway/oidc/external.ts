/**
 * external — signing in with an outside OpenID provider. SAML is not spoken here.
 *
 * Flow     GET /v2/login?provider=… → the provider → GET /v2/login/callback → back into the sign-in that was under way, or a session of ours.
 * State    in the cache for ten minutes, under the `state` the provider returns; used up by the first callback. A cookie binds it to the browser.
 * Checked  state, PKCE, nonce, issuer, audience, signature and times of the id token (openid-client). @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';
import type { Configuration as ClientConfiguration, ServerMetadata } from 'openid-client';
import { parse } from 'qs';
import { MINUTE, SECOND } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { secretToken } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Self } from '../identity/core.mixin.ts';
import { USERS, type UserRow } from '../identity/rows.ts';
import { announce, cookieText } from '../identity/signing-in.ts';
import { createUser, userByEmail } from '../identity/users.ts';
import { SIGN_IN_COOKIE } from '../policies/cookies.ts';
import { cookieOf } from '../sockets/handshake.ts';
import { finish, interactionOf } from './interactions.ts';
import type { Visit } from './mount.ts';
import { type ExternalProvider, readProviders } from './providers-file.ts';

const LIFE_MS = 10 * MINUTE;
const CLOCK_SKEW_S = 60;

interface Pending {
  provider: string;
  verifier: string;
  nonce: string;
  /** Hash of the browser's cookie. */
  browser: string;
  /** Interaction of our own provider that waits for the result. */
  interaction?: string;
}

export interface External {
  list(): { slug: string; type: 'oidc'; name: string }[];
  handle(visit: Visit, provider: () => Promise<Provider>): Promise<boolean>;
}

const hashOf = (value: string) => createHash('sha256').update(value).digest('hex');
const isSame = (a: string, b: string) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

function redirect(response: ServerResponse, location: string, cookies: string[] = []): void {
  response
    .writeHead(302, { location, 'content-length': '0', 'cache-control': 'no-store', ...(cookies.length ? { 'set-cookie': cookies } : {}) })
    .end();
}

const at = (claims: JsonObject, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => (value as JsonObject | undefined)?.[key], claims);
const textAt = (claims: JsonObject, path: string | undefined): string | undefined => {
  const value = path ? at(claims, path) : undefined;
  return typeof value === 'string' && value !== '' ? value.slice(0, 254) : undefined;
};

export async function openExternal(self: Self): Promise<External> {
  const { config } = self.core;
  const providers = await readProviders(config);
  const callback = `${config.apiUrl}/login/callback`;
  const isSecure = config.secureCookies || config.apiUrl.startsWith('https:');
  const stateKey = (state: string) => `sign-in-state:{${state}}`;
  const clients = new Map<string, Promise<ClientConfiguration>>();

  async function connect(provider: ExternalProvider): Promise<ClientConfiguration> {
    const oidc = await import('openid-client');
    const { clientId, clientSecret, issuer } = provider;
    const authentication = clientSecret ? oidc.ClientSecretPost(clientSecret) : oidc.None();
    const isPlain = (url: string | undefined) => url?.startsWith('http:');
    const execute = isPlain(issuer) || isPlain(provider.tokenEndpoint) ? [oidc.allowInsecureRequests] : [];
    const metadata = { [oidc.clockTolerance]: CLOCK_SKEW_S };
    if (!provider.tokenEndpoint) return oidc.discovery(new URL(issuer), clientId, metadata, authentication, { execute, timeout: 10 });
    const server: ServerMetadata = {
      issuer,
      authorization_endpoint: provider.authorizationEndpoint as string,
      token_endpoint: provider.tokenEndpoint,
      jwks_uri: provider.jwksUri as string,
    };
    const configuration = new oidc.Configuration(server, clientId, metadata, authentication);
    for (const apply of execute) apply(configuration);
    return configuration;
  }

  /** Connected at the first use; a provider that was down is asked again at the next. */
  function clientOf(provider: ExternalProvider): Promise<ClientConfiguration> {
    let client = clients.get(provider.slug);
    if (!client) {
      client = connect(provider);
      clients.set(provider.slug, client);
      client.catch(() => clients.delete(provider.slug));
    }
    return client;
  }

  async function begin({ request, response }: Visit, slug: string, own: Provider): Promise<void> {
    const provider = providers.find((candidate) => candidate.slug === slug);
    if (!provider)
      throw fault('BadParametersError', {
        message: `There is no sign-in provider '${slug.slice(0, 60)}'.`,
        data: { provider: slug.slice(0, 60) },
      });
    const oidc = await import('openid-client');
    const client = await clientOf(provider).catch((cause) => {
      throw fault('UpstreamUnavailable', { message: `The sign-in provider '${slug}' does not answer.`, cause });
    });
    const interaction = await interactionOf(own, request, response).catch(() => undefined);
    const [state, verifier, nonce, browser] = [secretToken(24), oidc.randomPKCECodeVerifier(), oidc.randomNonce(), secretToken(24)];
    const pending: Pending = {
      provider: slug,
      verifier,
      nonce,
      browser: hashOf(browser),
      ...(interaction ? { interaction: interaction.uid } : {}),
    };
    await self.cache.set(stateKey(state), pending, { ttlMs: LIFE_MS });
    const url = oidc.buildAuthorizationUrl(client, {
      redirect_uri: callback,
      scope: provider.scopes,
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    const attributes = `Path=/v2/login; HttpOnly; SameSite=Lax; Max-Age=${LIFE_MS / SECOND}${isSecure ? '; Secure' : ''}`;
    redirect(response, url.href, [`${SIGN_IN_COOKIE}=${browser}; ${attributes}`]);
  }

  /** The state of this callback, used up. @throws InvalidOrExpiredToken */
  async function takePending({ request }: Visit, state: string): Promise<Pending> {
    const browser = cookieOf(request.headers.cookie, SIGN_IN_COOKIE);
    const pending = state ? (await self.cache.get<Pending>(stateKey(state)))?.value : undefined;
    if (!pending || !browser || !isSame(hashOf(browser), pending.browser) || !(await self.cache.delete(stateKey(state))))
      throw fault('InvalidOrExpiredToken', { message: 'This sign-in is not of this browser, was used, or took too long: begin again.' });
    return pending;
  }

  async function end(visit: Visit, own: Provider): Promise<void> {
    const { request, response, ip } = visit;
    const oidc = await import('openid-client');
    const url = new URL(request.url as string, config.apiUrl);
    const pending = await takePending(visit, url.searchParams.get('state') ?? '');
    const provider = providers.find(({ slug }) => slug === pending.provider);
    if (!provider) throw fault('InvalidOrExpiredToken');
    let claims: JsonObject;
    try {
      const tokens = await oidc.authorizationCodeGrant(await clientOf(provider), new URL(`${callback}${url.search}`), {
        pkceCodeVerifier: pending.verifier,
        expectedNonce: pending.nonce,
        expectedState: url.searchParams.get('state') as string,
        idTokenExpected: true,
      });
      claims = { ...tokens.claims() };
    } catch (cause) {
      await self.bus.send('gateway.login.failed', { provider: provider.slug, ...(ip ? { ip } : {}) }, { source: ip ? { ip } : {} });
      throw fault('AuthenticationError', {
        message: `The sign-in at '${provider.slug}' failed.`,
        data: { provider: provider.slug },
        cause,
      });
    }
    const user = await accountOf(provider, claims, ip);
    const amr = [provider.slug, ...(Array.isArray(claims.amr) && claims.amr.includes('mfa') ? ['mfa'] : [])];
    if (pending.interaction) {
      await interactionOf(own, request, response, pending.interaction);
      await finish(own, visit, user.id, amr, true);
      return;
    }
    const ttlS = config.accessTokenMaxAgeS;
    const session = await self.core.sessions.start(user.id, ttlS, { ...(amr.includes('mfa') ? { mfa: true } : {}), ...(ip ? { ip } : {}) });
    await announce(self, user, session, ttlS);
    const token = self.core.tokens.sign({ sub: user.id, prismeaiSessionId: session.id }, ttlS);
    redirect(response, config.consoleUrl[0] ?? config.apiUrl, [cookieText(config, token, ttlS)]);
  }

  /**
   * Whose account it is: one that this provider has opened before, else one with the same address, if the provider vouches for it, else a new one.
   * An account whose address was never proven may have been made by somebody else: its password does not survive.
   */
  async function accountOf(provider: ExternalProvider, claims: JsonObject, ip: string | undefined): Promise<UserRow> {
    const { slug, attributes } = provider;
    const id = String(claims.sub);
    const data = { [slug]: { ...claims, id } };
    const names = {
      firstName: textAt(claims, attributes.firstName ?? 'given_name'),
      lastName: textAt(claims, attributes.lastName ?? 'family_name'),
    };
    const profile = Object.fromEntries(Object.entries(names).filter(([, value]) => value !== undefined));
    const email = textAt(claims, attributes.email ?? 'email')
      ?.trim()
      .toLowerCase();
    const updatedAt = new Date().toISOString();
    const link = `${slug}|${id}`;
    const [known] = await self.documents.find<UserRow>(USERS.name, { externalIds: link }, { limit: 1 });
    if (known) {
      if (known.status !== 'validated') throw fault('AccountDeactivated');
      return self.documents.update<UserRow>(USERS.name, known.id, {
        set: { ...profile, authData: { ...known.authData, ...data }, updatedAt },
      });
    }
    const isVouched = claims.email_verified === true || provider.trustsEmail;
    const same = email ? await userByEmail(self, email) : null;
    if (same) {
      if (!isVouched)
        throw fault('AuthenticationError', {
          message:
            'This e-mail address has an account, and the provider does not say that the address is yours: sign in with your password.',
        });
      if (same.status === 'deactivated') throw fault('AccountDeactivated');
      const isUnproven = !same.emailVerified;
      const merged = await self.documents.update<UserRow>(
        USERS.name,
        same.id,
        {
          set: {
            status: 'validated',
            emailVerified: true,
            externalIds: [...(same.externalIds ?? []), link],
            authData: { ...(isUnproven ? {} : same.authData), ...data },
            updatedAt,
          },
          ...(isUnproven ? { unset: ['password', 'totp', 'pendingTotp', 'recoveryCodes', 'mfa'] } : {}),
        },
        same._rev,
      );
      if (isUnproven) {
        await self.core.sessions.endAll(same.id);
        self.revoked({ userId: same.id });
      }
      return merged;
    }
    const language = textAt(claims, 'locale')?.slice(0, 2);
    const user = await createUser(self, {
      ...profile,
      ...(email && isVouched ? { email, emailVerified: true } : {}),
      ...(language ? { language } : {}),
      status: 'validated',
      externalIds: [link],
      authData: data,
    });
    await self.bus.send(
      'gateway.signup.succeeded',
      { user: { id: user.id, ...(user.email ? { email: user.email } : {}), authData: { [slug]: { id } } }, ...(ip ? { ip } : {}) },
      { source: { userId: user.id } },
    );
    return user;
  }

  return {
    list: () => providers.map(({ slug, name }) => ({ slug, type: 'oidc', name })),
    async handle(visit, provider) {
      const { request, response, path } = visit;
      if (request.method !== 'GET') return false;
      if (path === '/v2/login/callback') {
        await end(visit, await provider());
        return true;
      }
      if (path === '/v2/login/providers') {
        const body = JSON.stringify({
          localSignin: !config.disableLocalSignin,
          localSignup: !config.disableLocalSignup,
          providers: providers.map(({ slug, name, icon }) => ({ slug, type: 'oidc', name, ...(icon ? { icon } : {}), meta: {} })),
        });
        response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(body);
        return true;
      }
      if (path !== '/v2/login' && path !== '/v2/login/oauth') return false;
      const query = parse((request.url as string).split('?')[1] ?? '', { depth: 0, parameterLimit: 20 });
      const domain = typeof query.domain === 'string' ? query.domain.toLowerCase() : undefined;
      if (domain !== undefined && query.provider === undefined) {
        const found = providers.find(({ domains }) => domains.includes(domain))?.slug ?? 'local';
        response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify({ provider: found }));
        return true;
      }
      await begin(visit, typeof query.provider === 'string' ? query.provider : '', await provider());
      return true;
    },
  };
}
