/** document — the published routes as an OpenAPI 3.1 document. @see https://spec.openapis.org/oas/v3.1.1.html */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Route } from '../routes/route.ts';
import { identity } from './identity.ts';
import { organisations } from './organisations.ts';
import { resources } from './resources.ts';
import { type ActionSchema, COMPONENTS, listOf, map, object, ref, text } from './schema.ts';

const ANY = ['get', 'post', 'put', 'patch', 'delete'];
const SECURITY = [{ bearer: [] }, { cookie: [] }];
export const SCHEMAS: Record<string, ActionSchema> = { ...identity, ...organisations, ...resources };

const schemaOf = (action: string): ActionSchema => (Object.hasOwn(SCHEMAS, action) ? (SCHEMAS[action] as ActionSchema) : {});

/** What is answered when a request is refused, whatever it is. */
const REFUSED = { description: 'Refused.', content: { 'application/json': { schema: ref('Error') } } };

function securityOf(auth: Route['auth']): JsonObject[] {
  if (auth === 'optional') return [{}, ...SECURITY, { apiKey: [] }];
  return auth === 'apiKey' ? [...SECURITY, { apiKey: [] }] : SECURITY;
}

function operation({ path, action, auth, summary, multipart, limits, raw, isRepeatable }: Route, verb: string, id: string): JsonObject {
  const { body, query = {}, params = {}, answer, answerType = 'application/json' } = schemaOf(action);
  const names = [...path.matchAll(/[:*](\w+)/g)].map(([, name]) => name as string);
  const hasBody = verb !== 'get' && verb !== 'delete';
  const limited = limits?.map(({ limit, windowS, key }) => `${limit} per ${windowS} s and ${key}`).join('; ');
  return {
    operationId: id,
    summary,
    ...(limited ? { description: `Limited to ${limited}.` } : {}),
    tags: [action.split('.')[0]],
    security: securityOf(auth),
    parameters: [
      ...names.map((name) => ({ name, in: 'path', required: true, schema: params[name] ?? text })),
      ...Object.entries(query).map(([name, schema]) => ({ name, in: 'query', schema })),
      ...(isRepeatable ? [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string', minLength: 1, maxLength: 255 } }] : []),
    ],
    ...(hasBody
      ? {
          requestBody: {
            content: {
              'application/json': { schema: body === null ? {} : (body ?? map) },
              ...(raw ? { 'application/x-www-form-urlencoded': { schema: {} }, 'text/plain': { schema: {} } } : {}),
              ...(multipart
                ? { 'multipart/form-data': { schema: object({ file: { type: 'string', contentMediaType: 'application/octet-stream' } }) } }
                : {}),
            },
          },
        }
      : {}),
    responses: {
      200: { description: 'Done.', content: { [answerType]: { schema: answer ?? {} } } },
      default: REFUSED,
    },
  };
}

const READINESS = object({ status: text, services: map }, ['status', 'services']);

/** Steps of signing in that redirect a browser: no action answers them (services/gateway/oidc). */
const REDIRECTS: Record<string, JsonObject> = {
  '/login/providers': {
    get: plain('Ways to sign in.', 'login.providers', object({ localSignin: { type: 'boolean' }, providers: listOf(map) })),
  },
  '/login/callback': { get: plain('Where an outside provider sends the browser back to.', 'login.callback') },
  '/readiness': {
    get: plain('Whether every node of every part can work; why not, for super admins.', 'readiness', READINESS, {
      400: { description: 'Not every part.', content: { 'application/json': { schema: READINESS } } },
    }),
  },
};

function plain(summary: string, operationId: string, schema: JsonObject = {}, more: JsonObject = {}): JsonObject {
  return {
    operationId,
    summary,
    tags: ['sign-in'],
    security: [{}],
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema } } },
      302: { description: 'Further.' },
      ...more,
      default: REFUSED,
    },
  };
}

export function openApiOf(routes: Route[], server: string): JsonObject {
  const paths: Record<string, JsonObject> = structuredClone(REDIRECTS);
  const ids = new Set<string>();
  for (const route of routes) {
    const shown = route.path.replace(/[:*](\w+)/g, '{$1}');
    const verbs = route.method === 'ANY' ? ANY : [route.method.toLowerCase()];
    for (const verb of verbs) {
      // Some actions answer several paths; an id stands once.
      let id = verbs.length > 1 ? `${route.action}.${verb}` : route.action;
      for (let n = 2; ids.has(id); n++) id = `${route.action}.${n}`;
      ids.add(id);
      paths[shown] = { ...paths[shown], [verb]: operation(route, verb, id) };
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Prisme on Moleculer',
      version: '0.1.0',
      description: 'Every answer carries x-correlation-id. Errors are { error, message, details } with a stable `error`.',
    },
    servers: [{ url: server }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        cookie: { type: 'apiKey', in: 'cookie', name: 'access-token' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-prismeai-api-key' },
      },
      schemas: COMPONENTS,
    },
  };
}
