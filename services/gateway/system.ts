/** system — answers that are not of a resource: is it alive, is it ready, who is it, which keys, what does it offer. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { sendResult } from './answers.ts';
import type { Self } from './identity/core.mixin.ts';
import { platformReadiness } from './readiness.ts';

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
  const readiness = platformReadiness(self);

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
        case '/sys/ready': {
          const { status, body } = await readiness.ofThisGateway();
          return answer(status === 200 ? 200 : 503, body);
        }
        case '/v2/readiness': {
          const query = new URLSearchParams((request.url as string).split('?')[1] ?? '');
          // The verdict is for everybody; drivers, nodes and errors are for those who run the platform.
          const { status, body } = await readiness.ofPlatform(query.get('services') || null, await isOperator());
          return answer(status, body);
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
