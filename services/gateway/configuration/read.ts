/**
 * read — the YAML file of GATEWAY_CONFIG_PATH as checked data. All that is wrong is reported at once, each problem under its dotted key
 * (`pipelines.2.policies.0.rateLimit.limit`).
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { interpolate } from './interpolate.ts';

export type Target = { url: string } | { moleculer: string };

export interface Endpoint {
  paths: string[];
  pathRegexp?: string;
  methods?: string[];
  hosts: string[];
}

export interface Condition {
  paths?: string[];
  methods?: string[];
}

export interface AuthenticationPolicy {
  optional: boolean;
  allowApiKeyOnly: boolean;
  enforceMFA: boolean;
  injectUserIdHeader: boolean;
  csrf: { includeToken: boolean; validateToken: boolean };
}

export interface RateLimitPolicy {
  name: string;
  key: 'userId' | 'ip' | 'workspaceId';
  window: number;
  limit: number;
}

export interface ProxyPolicy {
  service: string;
  websockets: boolean;
  pathRewrite: [pattern: string, replacement: string][];
  router: [key: string, url: string][];
  timeout: number;
}

export type Policy = { match?: Condition } & (
  | { authentication: AuthenticationPolicy }
  | { rateLimit: RateLimitPolicy }
  | { proxy: ProxyPolicy }
  | { blacklist: { paths: string[] } }
);

export interface Pipeline {
  name: string;
  endpoints: string[];
  policies: Policy[];
}

export interface GatewayConfiguration {
  services: Record<string, Target>;
  endpoints: Record<string, Endpoint>;
  pipelines: Pipeline[];
  /** Changes of built-in rate limits by name; `limit: 0` switches one off. */
  limits: Record<string, { limit?: number; windowS?: number }>;
}

const VERBS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const PROXY_TIMEOUT_MS = 20_000;
export const EMPTY: GatewayConfiguration = { services: {}, endpoints: {}, pipelines: [], limits: {} };

/** Collects problems; each reader returns something usable, so that one mistake does not hide the next. */
class Reader {
  readonly problems: Record<string, string[]> = {};

  problem(key: string, message: string): void {
    this.problems[key] = [...(this.problems[key] ?? []), message];
  }
  map(value: unknown, key: string, isRequired = false): JsonObject {
    if (isPlainObject(value)) return value;
    if (value !== undefined && value !== null) this.problem(key, 'must be a map');
    else if (isRequired) this.problem(key, 'is required');
    return {};
  }
  text(value: unknown, key: string): string {
    if (typeof value === 'string' && value !== '') return value;
    this.problem(key, value === undefined ? 'is required' : 'must be a text');
    return '';
  }
  texts(value: unknown, key: string): string[] | undefined {
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string' && item !== '')) return value;
    this.problem(key, 'must be a list of at least one text');
    return undefined;
  }
  number(value: unknown, key: string, { min = 1, fallback }: { min?: number; fallback?: number } = {}): number {
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value === 'number' && Number.isFinite(value) && value >= min) return value;
    this.problem(key, value === undefined ? 'is required' : `must be a number of at least ${min}`);
    return min;
  }
  flag(value: unknown, key: string, fallback: boolean): boolean {
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') this.problem(key, 'must be true or false');
    return value === true;
  }
  known(map: JsonObject, names: string[], key: string): void {
    for (const name of Object.keys(map))
      if (!names.includes(name)) this.problem(`${key}.${name}`, `is not known; there are ${names.join(', ')}`);
  }
  pattern(value: string, key: string): void {
    try {
      new RegExp(value);
    } catch {
      this.problem(key, 'is not a regular expression');
    }
  }
  verbs(value: unknown, key: string): string[] | undefined {
    const verbs = this.texts(value, key)?.map((verb) => verb.toUpperCase());
    verbs?.forEach((verb, index) => {
      if (!VERBS.has(verb)) this.problem(`${key}.${index}`, `'${verb}' is not a method`);
    });
    return verbs;
  }
}

function readServices(read: Reader, value: unknown): Record<string, Target> {
  const services: Record<string, Target> = {};
  for (const [name, entry] of Object.entries(read.map(value, 'services'))) {
    const key = `services.${name}`;
    const map = read.map(entry, key, true);
    read.known(map, ['url', 'moleculer'], key);
    if (map.moleculer !== undefined) services[name] = { moleculer: read.text(map.moleculer, `${key}.moleculer`) };
    else {
      const url = read.text(map.url, `${key}.url`);
      if (url && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) read.problem(`${key}.url`, 'must be an http(s) address');
      services[name] = { url };
    }
  }
  return services;
}

function readEndpoints(read: Reader, value: unknown): Record<string, Endpoint> {
  const endpoints: Record<string, Endpoint> = {};
  for (const [name, entry] of Object.entries(read.map(value, 'endpoints'))) {
    const key = `endpoints.${name}`;
    const map = read.map(entry, key, true);
    read.known(map, ['path', 'paths', 'pathRegexp', 'methods', 'hosts'], key);
    const paths = read.texts(map.paths, `${key}.paths`) ?? (map.path === undefined ? [] : [read.text(map.path, `${key}.path`)]);
    const pathRegexp = map.pathRegexp === undefined ? undefined : read.text(map.pathRegexp, `${key}.pathRegexp`);
    if (paths.length === 0 && pathRegexp === undefined) read.problem(key, 'needs path, paths or pathRegexp');
    if (pathRegexp) read.pattern(pathRegexp, `${key}.pathRegexp`);
    const hosts = read.texts(map.hosts, `${key}.hosts`) ?? [];
    for (const [index, host] of hosts.entries()) read.pattern(host, `${key}.hosts.${index}`);
    const methods = read.verbs(map.methods, `${key}.methods`);
    endpoints[name] = { paths, ...(pathRegexp ? { pathRegexp } : {}), ...(methods ? { methods } : {}), hosts };
  }
  return endpoints;
}

const POLICIES: Record<string, (read: Reader, value: unknown, key: string, services: Record<string, Target>) => unknown> = {
  authentication(read, value, key): AuthenticationPolicy {
    const map = value === true || value === null ? {} : read.map(value, key);
    read.known(map, ['optional', 'allowApiKeyOnly', 'enforceMFA', 'injectUserIdHeader', 'csrf'], key);
    const csrf = read.map(map.csrf, `${key}.csrf`);
    read.known(csrf, ['includeToken', 'validateToken'], `${key}.csrf`);
    return {
      optional: read.flag(map.optional, `${key}.optional`, false),
      allowApiKeyOnly: read.flag(map.allowApiKeyOnly, `${key}.allowApiKeyOnly`, false),
      enforceMFA: read.flag(map.enforceMFA, `${key}.enforceMFA`, true),
      injectUserIdHeader: read.flag(map.injectUserIdHeader, `${key}.injectUserIdHeader`, true),
      csrf: {
        includeToken: read.flag(csrf.includeToken, `${key}.csrf.includeToken`, false),
        validateToken: read.flag(csrf.validateToken, `${key}.csrf.validateToken`, false),
      },
    };
  },
  rateLimit(read, value, key): RateLimitPolicy {
    const map = read.map(value, key, true);
    read.known(map, ['name', 'key', 'window', 'limit'], key);
    const by = read.text(map.key, `${key}.key`);
    if (by && !['userId', 'ip', 'workspaceId'].includes(by)) read.problem(`${key}.key`, 'must be userId, ip or workspaceId');
    return {
      name: read.text(map.name, `${key}.name`),
      key: by as RateLimitPolicy['key'],
      window: read.number(map.window, `${key}.window`),
      limit: read.number(map.limit, `${key}.limit`),
    };
  },
  proxy(read, value, key, services): ProxyPolicy {
    const map = read.map(value, key, true);
    read.known(map, ['service', 'websockets', 'pathRewrite', 'router', 'timeout'], key);
    const service = read.text(map.service, `${key}.service`);
    if (service && !Object.hasOwn(services, service)) read.problem(`${key}.service`, `there is no service '${service}'`);
    const pairs = (field: string): [string, string][] =>
      Object.entries(read.map(map[field], `${key}.${field}`)).map(([from, to]) => [
        from,
        typeof to === 'string' ? to : read.text(to, `${key}.${field}.${from}`),
      ]);
    const pathRewrite = pairs('pathRewrite');
    for (const [pattern] of pathRewrite) read.pattern(pattern, `${key}.pathRewrite.${pattern}`);
    const router = pairs('router');
    for (const [from, url] of router) if (!URL.canParse(url)) read.problem(`${key}.router.${from}`, 'must be an http(s) address');
    return {
      service,
      websockets: read.flag(map.websockets, `${key}.websockets`, false),
      pathRewrite,
      router,
      timeout: read.number(map.timeout, `${key}.timeout`, { fallback: PROXY_TIMEOUT_MS }),
    };
  },
  blacklist(read, value, key): { paths: string[] } {
    const map = read.map(value, key, true);
    read.known(map, ['paths'], key);
    if (map.paths === undefined) read.problem(`${key}.paths`, 'is required');
    const paths = read.texts(map.paths, `${key}.paths`) ?? [];
    for (const [index, path] of paths.entries()) read.pattern(path, `${key}.paths.${index}`);
    return { paths };
  },
};

function readPolicy(read: Reader, value: unknown, key: string, services: Record<string, Target>): Policy | undefined {
  const map = read.map(value, key, true);
  const names = Object.keys(map).filter((name) => name !== 'match');
  const [name] = names;
  if (names.length !== 1 || name === undefined) {
    read.problem(key, 'must hold exactly one policy');
    return undefined;
  }
  const reader = Object.hasOwn(POLICIES, name) ? POLICIES[name] : undefined;
  if (!reader) {
    read.problem(`${key}.${name}`, `is not a policy; there are ${Object.keys(POLICIES).join(', ')}`);
    return undefined;
  }
  const policy = { [name]: reader(read, map[name], `${key}.${name}`, services) } as Policy;
  if (map.match === undefined) return policy;
  const match = read.map(map.match, `${key}.match`);
  read.known(match, ['paths', 'methods'], `${key}.match`);
  const [paths, methods] = [read.texts(match.paths, `${key}.match.paths`), read.verbs(match.methods, `${key}.match.methods`)];
  return { ...policy, match: { ...(paths ? { paths } : {}), ...(methods ? { methods } : {}) } };
}

function readPipelines(
  read: Reader,
  value: unknown,
  { services, endpoints }: Pick<GatewayConfiguration, 'services' | 'endpoints'>,
): Pipeline[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    read.problem('pipelines', 'must be a list');
    return [];
  }
  const owner = new Map<string, number>();
  return value.map((entry, index): Pipeline => {
    const key = `pipelines.${index}`;
    const map = read.map(entry, key, true);
    read.known(map, ['name', 'endpoints', 'policies'], key);
    if (map.endpoints === undefined) read.problem(`${key}.endpoints`, 'is required');
    const used = read.texts(map.endpoints, `${key}.endpoints`) ?? [];
    used.forEach((name, at) => {
      if (!Object.hasOwn(endpoints, name)) read.problem(`${key}.endpoints.${at}`, `there is no endpoint '${name}'`);
      else if (owner.has(name))
        read.problem(`${key}.endpoints.${at}`, `the endpoint '${name}' belongs to pipelines.${owner.get(name)} already`);
      owner.set(name, index);
    });
    if (!Array.isArray(map.policies) || map.policies.length === 0) read.problem(`${key}.policies`, 'must be a list of at least one policy');
    const policies = (Array.isArray(map.policies) ? map.policies : []).map((policy, at) =>
      readPolicy(read, policy, `${key}.policies.${at}`, services),
    );
    return { name: read.text(map.name, `${key}.name`), endpoints: used, policies: policies.filter((policy) => policy !== undefined) };
  });
}

function readLimits(read: Reader, value: unknown): GatewayConfiguration['limits'] {
  const limits: GatewayConfiguration['limits'] = {};
  for (const [name, entry] of Object.entries(read.map(value, 'limits'))) {
    const key = `limits.${name}`;
    const map = read.map(entry, key, true);
    read.known(map, ['limit', 'window'], key);
    limits[name] = {
      ...(map.limit === undefined ? {} : { limit: read.number(map.limit, `${key}.limit`, { min: 0 }) }),
      ...(map.window === undefined ? {} : { windowS: read.number(map.window, `${key}.window`) }),
    };
  }
  return limits;
}

/** @throws ConfigurationError with details { problems: { key: messages } } */
export function readConfiguration(text: string, lookUp?: (name: string) => string | undefined): GatewayConfiguration {
  let parsed: unknown;
  try {
    parsed = parse(lookUp ? interpolate(text, lookUp) : interpolate(text)) ?? {};
  } catch (cause) {
    if (isFault(cause)) throw cause;
    throw fault('ConfigurationError', { message: `The gateway configuration is not YAML: ${(cause as Error).message}`, cause });
  }
  const read = new Reader();
  const root = read.map(parsed, 'file', true);
  read.known(root, ['services', 'endpoints', 'pipelines', 'limits'], 'file');
  const services = readServices(read, root.services);
  const endpoints = readEndpoints(read, root.endpoints);
  const pipelines = readPipelines(read, root.pipelines, { services, endpoints });
  const limits = readLimits(read, root.limits);
  const problems = Object.entries(read.problems);
  if (problems.length > 0)
    throw fault('ConfigurationError', {
      message: `The gateway configuration: ${problems.map(([key, [message]]) => `'${key}' ${message}`).join('; ')}.`,
      data: { problems: read.problems },
    });
  return { services, endpoints, pipelines, limits };
}

/** @throws ConfigurationError naming GATEWAY_CONFIG_PATH */
export function readConfigurationFile(path: string | undefined): GatewayConfiguration {
  if (!path) return EMPTY;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw fault('ConfigurationError', {
      message: `GATEWAY_CONFIG_PATH: '${path}' cannot be read: ${(cause as Error).message}`,
      data: { variable: 'GATEWAY_CONFIG_PATH' },
      cause,
    });
  }
  return readConfiguration(text);
}
