/** system — answers that are not of a resource: is it alive, is it ready, who is it, which keys, what does it offer. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MINUTE } from '../../mixins/shared/clock.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { sendResult } from './answers.ts';
import type { Self } from './identity/core.mixin.ts';

/** One action of each part: when they can be reached, so can the platform. */
const PARTS = { gateway: 'identity.resolve', workspaces: 'workspaces.access', runtime: 'runtime.webhook', events: 'events.emit' };
const REMEMBER_MS = MINUTE / 2;

interface Module {
  module: string;
  driver: string;
}
type Check = [Module, () => Promise<unknown>];

const schemeOf = (url: string | undefined, fallback = 'sqlite'): string => url?.split(':')[0] ?? fallback;

/** Whether this gateway's own stores answer. */
async function ownModules(self: Self): Promise<JsonObject> {
  const { config, keys } = self.core;
  const checks: Check[] = [
    [{ module: 'database', driver: schemeOf(config.documentsUrl) }, () => self.documents.count('users', { id: '-' })],
    [{ module: 'sessionsRedis', driver: schemeOf(config.cacheUrl) }, () => self.cache.get('readiness')],
    [{ module: 'rateLimitsRedis', driver: schemeOf(config.cacheUrl) }, () => self.cache.increment('rate:{readiness}', 0, 1000)],
    [{ module: 'broker', driver: schemeOf(config.busUrl) }, () => self.bus.replay('', 'readiness', 1)],
    [
      { module: 'jwks', driver: 'RS256' },
      async () => {
        if (keys.kids().length === 0) throw new Error('There is no signing key.');
      },
    ],
  ];
  const modulesReady: Module[] = [];
  const errors: JsonObject[] = [];
  for (const [module, check] of checks) {
    try {
      await check();
      modulesReady.push(module);
    } catch (error) {
      errors.push({ ...module, error: (error as { type?: string }).type ?? 'Error', message: (error as Error).message });
    }
  }
  return { status: errors.length === 0 ? 'ready' : 'error', modulesReady, errors };
}

const PATHS = new Set([
  '/',
  '/sys/healthcheck',
  '/sys/ready',
  '/v2/openapi.json',
  '/v2/docs',
  '/oidc/jwks',
  '/.well-known/jwks.json',
  '/v2/readiness',
]);

export interface SystemRoutes {
  has(path: string): boolean;
  /** Whether the path was one of these; it is answered then. */
  serve(request: IncomingMessage, response: ServerResponse, path: string, isOperator: () => Promise<boolean>): Promise<boolean>;
}

export function systemRoutes(
  self: Self,
  documents: { json: () => JsonObject; page: () => { html: string; policy: string } },
): SystemRoutes {
  const { config, keys } = self.core;
  let remembered: { at: number; modules: JsonObject } | undefined;

  async function readiness(wanted: string | null, isOperator: () => Promise<boolean>): Promise<{ status: number; body: JsonObject }> {
    if (!remembered || remembered.at + REMEMBER_MS < Date.now()) remembered = { at: Date.now(), modules: await ownModules(self) };
    const names = wanted ? wanted.split(',').map((name) => name.trim()) : Object.keys(PARTS);
    // A balancer needs the verdict; drivers and messages are for those who run the platform.
    const { modules } = remembered;
    const details = await isOperator();
    const services: Record<string, JsonObject> = {};
    for (const [part, action] of Object.entries(PARTS)) {
      if (!names.includes(part)) continue;
      const isReachable = !(self.broker.registry.getActionEndpoints(action)?.hasAvailable() !== true);
      const isReady = isReachable && (part !== 'gateway' || modules.status === 'ready');
      services[part] = { status: isReady ? 'ready' : 'error', ...(details && part === 'gateway' ? { response: modules } : {}) };
    }
    const isReady = self.broker.started && Object.values(services).every(({ status }) => status === 'ready');
    if (!isReady) remembered = undefined;
    return { status: isReady ? 200 : 400, body: { status: isReady ? 'ready' : 'error', services } };
  }

  return {
    has: (path) => PATHS.has(path),
    async serve(request, response, path, isOperator) {
      if (request.method !== 'GET' && request.method !== 'HEAD') return false;
      const answer = (status: number, body: unknown) => {
        sendResult(response, body, { $statusCode: status });
        return true;
      };
      switch (path) {
        case '/sys/healthcheck':
          return answer(self.broker.started ? 200 : 503, { healthy: self.broker.started });
        case '/':
          return answer(200, { name: 'Prisme on Moleculer', api: config.apiUrl, documentation: `${config.apiUrl}/docs` });
        case '/v2/openapi.json':
          return answer(200, documents.json());
        case '/v2/docs': {
          const { html, policy } = documents.page();
          response.setHeader('content-security-policy', policy);
          response.setHeader('content-type', 'text/html; charset=utf-8');
          return answer(200, html);
        }
        case '/oidc/jwks':
        case '/.well-known/jwks.json':
          return answer(200, keys.jwks());
        case '/sys/ready':
        case '/v2/readiness': {
          const query = new URLSearchParams((request.url as string).split('?')[1] ?? '');
          const { status, body } = await readiness(query.get('services'), isOperator);
          return answer(path === '/sys/ready' && status !== 200 ? 503 : status, body);
        }
        default:
          return false;
      }
    },
  };
}

/** Whether a request proves itself with INTERNAL_API_KEY. */
export function hasInternalKey({ headers }: IncomingMessage, internalApiKey: string | undefined): boolean {
  if (!internalApiKey) return false;
  const given = Buffer.from(String(headers['x-prismeai-api-key'] ?? headers.authorization?.replace(/^bearer\s+/i, '') ?? ''));
  const expected = Buffer.from(internalApiKey);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
