/** providers-file — the outside sign-in providers of AUTH_PROVIDERS_CONFIG_PATH. A mistake stops the start and names its key. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { interpolate } from '../configuration/interpolate.ts';

export interface ExternalProvider {
  slug: string;
  name: string;
  icon?: string;
  issuer: string;
  clientId: string;
  clientSecret?: string;
  /** Without them the provider's own discovery document is read. */
  authorizationEndpoint?: string;
  tokenEndpoint?: string;
  jwksUri?: string;
  scopes: string;
  /** Every address this provider names is believed to be its user's. */
  trustsEmail: boolean;
  /** Mail domains whose people sign in here. */
  domains: string[];
  attributes: { email?: string; firstName?: string; lastName?: string };
}

const VARIABLE = 'AUTH_PROVIDERS_CONFIG_PATH';

/** @throws ConfigurationError with details { variable, problems: { key: message } } */
export async function readProviders({ authProvidersFile }: Pick<Config, 'authProvidersFile'>): Promise<ExternalProvider[]> {
  if (!authProvidersFile) return [];
  const problem = (message: string, cause?: unknown) =>
    fault('ConfigurationError', { message: `${VARIABLE}: ${message}`, data: { variable: VARIABLE }, cause });
  let parsed: unknown;
  try {
    parsed = parse(interpolate(await readFile(authProvidersFile, 'utf8')));
  } catch (error) {
    throw problem(`${authProvidersFile} cannot be read: ${(error as Error).message}`, error);
  }
  const entries = isPlainObject(parsed) && isPlainObject(parsed.providers) ? parsed.providers : undefined;
  if (!entries) throw problem("the file must hold 'providers': a map of name to provider.");
  return Object.entries(entries).map(([slug, entry]) => readProvider(slug, entry, problem));
}

function readProvider(slug: string, entry: unknown, problem: (message: string) => Error): ExternalProvider {
  const key = (path: string) => `providers.${slug}${path}`;
  if (!/^[\w-]{1,60}$/.test(slug) || slug === 'local' || slug === 'prismeai' || slug === 'anonymous')
    throw problem(`'${key('')}' is not a name a provider may have.`);
  if (!isPlainObject(entry)) throw problem(`'${key('')}' must be a map.`);
  const { type = 'oidc', config, attributesMapping = {}, name, icon, domains = [] } = entry as JsonObject;
  if (type !== 'oidc') throw problem(`'${key('.type')}' is '${String(type)}': only oidc is spoken here.`);
  if (!isPlainObject(config)) throw problem(`'${key('.config')}' must be a map.`);
  if (!isPlainObject(attributesMapping)) throw problem(`'${key('.attributesMapping')}' must be a map.`);
  if (!Array.isArray(domains) || !domains.every((domain) => typeof domain === 'string'))
    throw problem(`'${key('.domains')}' must be a list of texts.`);
  const text = (field: string, isRequired = false): string | undefined => {
    const value = config[field];
    if (value === undefined && !isRequired) return undefined;
    if (typeof value !== 'string' || value === '') throw problem(`'${key(`.config.${field}`)}' must be a text.`);
    return value;
  };
  const url = (field: string, isRequired = false): string | undefined => {
    const value = text(field, isRequired);
    if (value !== undefined && (!URL.canParse(value) || !/^https?:/.test(value)))
      throw problem(`'${key(`.config.${field}`)}' must be an http(s) address.`);
    return value;
  };
  const scopes = Array.isArray(config.scopes) ? config.scopes.join(' ') : (text('scopes') ?? 'openid email profile');
  const [authorizationEndpoint, tokenEndpoint, jwksUri] = [url('authorization_endpoint'), url('token_endpoint'), url('jwks_uri')];
  const given = [authorizationEndpoint, tokenEndpoint, jwksUri].filter(Boolean).length;
  if (given !== 0 && given !== 3)
    throw problem(
      `'${key('.config')}' needs all of authorization_endpoint, token_endpoint and jwks_uri, or none: then they are discovered.`,
    );
  const clientSecret = text('client_secret');
  return {
    slug,
    name: typeof name === 'string' ? name : slug,
    ...(typeof icon === 'string' ? { icon } : {}),
    issuer: url('issuer', true) as string,
    clientId: text('client_id', true) as string,
    ...(clientSecret ? { clientSecret } : {}),
    ...(given === 3 ? { authorizationEndpoint, tokenEndpoint, jwksUri } : {}),
    scopes: scopes.split(' ').includes('openid') ? scopes : `openid ${scopes}`,
    trustsEmail: config.trust_email === true,
    domains: (domains as string[]).map((domain) => domain.toLowerCase()),
    attributes: attributesMapping as ExternalProvider['attributes'],
  } as ExternalProvider;
}
