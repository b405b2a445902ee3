/** openapi — the published routes as an OpenAPI 3.1 document. @see https://spec.openapis.org/oas/v3.1.1.html */
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Route } from './routes/route.ts';

const ANY = ['get', 'post', 'put', 'patch', 'delete'];
const SECURITY = [{ bearer: [] }, { cookie: [] }];

export function openApiOf(routes: Route[], server: string): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const { method, path, action, auth, summary, multipart } of routes) {
    const names = [...path.matchAll(/[:*](\w+)/g)].map(([, name]) => name as string);
    const shown = path.replace(/[:*](\w+)/g, '{$1}');
    const methods = method === 'ANY' ? ANY : [method.toLowerCase()];
    for (const verb of methods) {
      const hasBody = verb !== 'get' && verb !== 'delete';
      paths[shown] = {
        ...paths[shown],
        [verb]: {
          operationId: methods.length > 1 ? `${action}.${verb}` : `${action}.${verb}.${shown.length}`,
          summary,
          tags: [action.split('.')[0]],
          ...(auth === 'optional'
            ? { security: [{}, ...SECURITY] }
            : { security: auth === 'apiKey' ? [...SECURITY, { apiKey: [] }] : SECURITY }),
          parameters: names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
          ...(hasBody
            ? {
                requestBody: {
                  content: {
                    'application/json': { schema: {} },
                    ...(multipart ? { 'multipart/form-data': { schema: { type: 'object' } } } : {}),
                  },
                },
              }
            : {}),
          responses: {
            200: { description: 'Done.' },
            default: { description: 'Refused.', content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } },
          },
        },
      };
    }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Prisme on Moleculer', version: '0.1.0' },
    servers: [{ url: server }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        cookie: { type: 'apiKey', in: 'cookie', name: 'access-token' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-prismeai-api-key' },
      },
      schemas: {
        Error: {
          type: 'object',
          required: ['error', 'message'],
          properties: { error: { type: 'string' }, message: { type: 'string' }, details: { type: 'object' } },
        },
      },
    },
  };
}
