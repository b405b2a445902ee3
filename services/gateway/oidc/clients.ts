/**
 * clients — who may ask people to sign in here: the studio, the pages of each workspace, and what the installation configures or registers.
 *
 * The client of a workspace is not stored: it follows from the workspace (its id, slug, domains), so nothing has to be kept in step.
 */

import type { AdapterPayload, ClientMetadata } from 'oidc-provider';
import { SECOND } from '../../../mixins/shared/clock.ts';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../mixins/shared/json.ts';
import { lru } from '../../../mixins/shared/lru.ts';
import { SCOPES } from '../identity/scopes.ts';

/** Pages act for their visitors in their own workspace; they do not edit workspaces. */
export const PAGE_SCOPES = SCOPES.filter((scope) => !scope.startsWith('workspaces:'));
const REMEMBER_MS = 10 * SECOND;

export interface WorkspaceOfClient {
  id: string;
  slug: string;
  name?: string;
  customDomains?: string[];
}

export const isStudio = (clientId: unknown, { oidcStudioClientId }: Pick<Config, 'oidcStudioClientId'>): boolean =>
  clientId === oidcStudioClientId;

function studio(config: Config): ClientMetadata {
  const uris = config.consoleUrl.map((url) => new URL('/signin', url).href);
  return {
    client_id: config.oidcStudioClientId,
    client_name: 'Studio',
    token_endpoint_auth_method: 'none',
    application_type: 'web',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: uris,
    post_logout_redirect_uris: uris,
    resourceScopes: SCOPES.join(' '),
    isInternalClient: true,
  };
}

/** @throws ConfigurationError naming OIDC_CLIENTS */
function configured({ oidcClients }: Config): ClientMetadata[] {
  if (!oidcClients) return [];
  const problem = (message: string) =>
    fault('ConfigurationError', { message: `OIDC_CLIENTS ${message}`, data: { variable: 'OIDC_CLIENTS' } });
  let list: unknown;
  try {
    list = JSON.parse(oidcClients);
  } catch {
    throw problem('is not JSON: expected a list of client metadata.');
  }
  if (!Array.isArray(list)) throw problem('must be a list of client metadata.');
  list.forEach((entry, index) => {
    if (!isPlainObject(entry) || typeof entry.client_id !== 'string') throw problem(`[${index}].client_id is missing.`);
  });
  return list.map((entry) => ({ resourceScopes: PAGE_SCOPES.join(' '), ...entry }) as ClientMetadata);
}

/** Clients known from the start. */
export const staticClients = (config: Config): ClientMetadata[] => [studio(config), ...configured(config)];

function ofWorkspace({ id, slug, name, customDomains = [] }: WorkspaceOfClient, { apiUrl, pagesHost }: Config): ClientMetadata {
  const scheme = apiUrl.startsWith('https:') ? 'https:' : 'http:';
  const origins = [`${scheme}//${slug}${pagesHost}`, ...customDomains.map((domain) => `${scheme}//${domain}`)].filter((origin) =>
    URL.canParse(origin),
  );
  return {
    client_id: id,
    client_name: name ?? slug,
    token_endpoint_auth_method: 'none',
    application_type: 'web',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: origins.map((origin) => `${origin}/signin`),
    post_logout_redirect_uris: origins.flatMap((origin) => [`${origin}/signin`, `${origin}/`]),
    resourceScopes: PAGE_SCOPES.join(' '),
    workspaceSlug: slug,
    workspaceId: id,
  };
}

/** Finds the client of a workspace; remembered for seconds, so that a sign-in reads the workspace once. */
export function workspaceClients(
  config: Config,
  findWorkspace: (workspaceId: string) => Promise<WorkspaceOfClient>,
): (clientId: string) => Promise<AdapterPayload | undefined> {
  const known = lru<string, { metadata: AdapterPayload | null }>({ max: 1000, ttl: REMEMBER_MS });
  return async (clientId) => {
    if (!/^[\w-]{1,64}$/.test(clientId)) return undefined;
    const remembered = known.get(clientId);
    if (remembered) return remembered.metadata ?? undefined;
    let metadata: AdapterPayload | null = null;
    try {
      metadata = ofWorkspace(await findWorkspace(clientId), config) as AdapterPayload;
    } catch (error) {
      if (!isFault(error, 'ObjectNotFoundError')) throw error;
    }
    known.set(clientId, { metadata });
    return metadata ?? undefined;
  };
}
