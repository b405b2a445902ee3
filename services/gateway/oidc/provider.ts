/**
 * provider — the platform as an OpenID provider: node-oidc-provider over our stores, users, keys and sessions. It keeps nothing in memory that a second
 * gateway would miss. A change of the key ring makes a new provider; the old one ends with its last request.
 *
 * A token of it is worth what our session record says: the uid of the provider's session is the id of ours, made when the first token is issued.
 * @see https://openid.net/specs/openid-connect-core-1_0.html · https://github.com/panva/node-oidc-provider/blob/main/docs/README.md
 */
import type { Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { DAY, HOUR, SECOND } from '../../../mixins/shared/clock.ts';
import { type Config, issuerOf } from '../../../mixins/shared/config.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { SCOPES } from '../identity/scopes.ts';
import type { TokenKeyRing } from '../identity/token-keys.ts';
import { PROVIDER_COOKIES } from '../policies/cookies.ts';
import { type AdapterStores, createAdapter } from './adapter.ts';
import { staticClients } from './clients.ts';
import { signedOutPage, signOutPage } from './pages.ts';

export interface Account {
  id: string;
  claims: JsonObject;
}

export interface ProviderParts {
  config: Config;
  keys: TokenKeyRing;
  stores: AdapterStores;
  /** Signs cookies; the same at every gateway. */
  cookieKeys: string[];
  findAccount(id: string): Promise<Account | null>;
  /** A token is about to be issued for the provider's session `uid`: ours must exist. */
  openSession(session: { uid: string; userId: string; hasSecondFactor: boolean; ip?: string }): Promise<void>;
  /** Where a person signs in for `uid`. */
  signInUrl(ctx: KoaContextWithOIDC, uid: string): string;
  renderError: NonNullable<Configuration['renderError']>;
}

const days = (count: number) => (count * DAY) / SECOND;

const PROFILE = ['firstName', 'lastName', 'photo', 'language', 'name', 'given_name', 'family_name', 'picture', 'locale'];

/** Scopes a client may have of the API; a copy per request, so that no client sees another's. */
const resourceScopesOf = (client: { [name: string]: unknown }): string[] =>
  String(client.resourceScopes ?? '')
    .split(' ')
    .filter((scope) => (SCOPES as readonly string[]).includes(scope));

export async function createProvider(parts: ProviderParts): Promise<Provider> {
  // Loaded with the first request: most nodes of a cluster never sign anybody in.
  const { default: OidcProvider, errors } = await import('oidc-provider');
  const { config, keys, stores, cookieKeys } = parts;
  const isSecure = config.secureCookies || config.apiUrl.startsWith('https:');
  const cookies = { httpOnly: true, path: '/', sameSite: isSecure ? ('none' as const) : ('lax' as const), secure: isSecure, signed: true };

  const settings: Configuration = {
    adapter: createAdapter(stores) as unknown as NonNullable<Configuration['adapter']>,
    clients: staticClients(config),
    jwks: { keys: keys.privateJwks() as never },
    cookies: {
      keys: cookieKeys,
      names: PROVIDER_COOKIES,
      long: cookies,
      short: cookies,
    },
    claims: { openid: ['sub'], profile: PROFILE, email: ['email', 'email_verified'], settings: ['mfa', 'meta', 'authData'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'settings', ...SCOPES],
    // Clients read who signed in from the id token: userinfo takes no token meant for the API.
    conformIdTokenClaims: false,
    extraClientMetadata: { properties: ['allowedResources', 'resourceScopes', 'isInternalClient', 'workspaceSlug', 'workspaceId'] },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = signOutPage(form);
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = signedOutPage();
        },
      },
      registration: { enabled: Boolean(config.oidcRegistrationToken), initialAccessToken: config.oidcRegistrationToken ?? false },
      registrationManagement: { enabled: Boolean(config.oidcRegistrationToken) },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => config.apiUrl,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource, client) => {
          if (resource !== config.apiUrl) throw new errors.InvalidTarget();
          return {
            scope: resourceScopesOf(client as never).join(' '),
            audience: config.apiUrl,
            accessTokenTTL: config.accessTokenMaxAgeS,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'RS256' } },
          };
        },
      },
    },
    extraParams: ['locale'],
    pkce: { required: () => true },
    ttl: {
      AccessToken: config.accessTokenMaxAgeS,
      AuthorizationCode: 600,
      ClientCredentials: 600,
      IdToken: 3600,
      RefreshToken: days(1),
      Interaction: HOUR / SECOND,
      Session: days(30),
      Grant: days(30),
    },
    // Signing out ends refresh tokens too.
    expiresWithSession: () => true,
    // Without a prompt for consent nobody grants `offline_access`: clients of ours get one because they may have one.
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    clientBasedCORS: () => false,
    interactions: { url: (ctx, { uid }) => parts.signInUrl(ctx, uid) },
    renderError: parts.renderError,

    async findAccount(_ctx, sub) {
      const account = await parts.findAccount(sub);
      return account ? { accountId: account.id, claims: async () => ({ sub: account.id, ...account.claims }) } : undefined;
    },

    /** Whoever may be a client here was admitted by the installation or a workspace: people are not asked again what he may see. */
    async loadExistingGrant(ctx) {
      const { session, client, provider, requestParamOIDCScopes, requestParamClaims, requestParamScopes } = ctx.oidc;
      if (!session?.accountId || !client) return undefined;
      const known = session.grantIdFor(client.clientId);
      const grant =
        (known && (await provider.Grant.find(known))) || new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      if (grant.accountId !== session.accountId) return undefined;
      grant.addOIDCScope([...requestParamOIDCScopes].join(' '));
      grant.addOIDCClaims([...requestParamClaims]);
      const allowed = new Set(resourceScopesOf(client as never));
      grant.addResourceScope(config.apiUrl, [...requestParamScopes].filter((scope) => allowed.has(scope)).join(' '));
      await grant.save();
      return grant;
    },

    async extraTokenClaims(ctx, token) {
      if (token.kind !== 'AccessToken' || !token.accountId || !token.sessionUid) return undefined;
      const { AuthorizationCode, RefreshToken } = ctx.oidc.entities;
      const amr = (AuthorizationCode ?? RefreshToken)?.amr;
      await parts.openSession({
        uid: token.sessionUid,
        userId: token.accountId,
        hasSecondFactor: Boolean(amr?.includes('mfa')),
        ...(ctx.ip ? { ip: ctx.ip } : {}),
      });
      return { prismeaiSessionId: token.sessionUid };
    },
  };

  const provider = new OidcProvider(issuerOf(config), settings);
  // Addresses are made from API_URL, which mount.ts writes into these headers: what the request says of itself is not believed.
  provider.proxy = true;
  return provider;
}
