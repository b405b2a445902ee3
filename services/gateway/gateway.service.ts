/**
 * gateway — the only public port: every request passes the same policies in the same order and ends in one published action.
 *
 * Order   correlation id → security headers, CORS → route → credentials → authentication, second factor, CSRF → rate limits → body → call.
 * State   none of its own; sessions and counters live in the cache, so any gateway serves any request.
 * Calls   whatever routes/*.ts name; `runtime.cancel` when the client of a webhook leaves.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { CallingOptions, Context, ServiceSchema } from 'moleculer';
import ApiGateway from 'moleculer-web';
import qs from 'qs';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import type { CallMeta, Identity } from '../../mixins/auth/identity.ts';
import { MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { findHostileName, type JsonObject } from '../../mixins/shared/json.ts';
import type { WebhookAnswer } from '../runtime/contract.ts';
import { sendResult, sendWebhook } from './answers.ts';
import { type Connections, trackConnections } from './connections.ts';
import type { Credentials } from './contract.ts';
import { drained } from './drain.ts';
import { sendError } from './http-errors.ts';
import { type Self as CoreSelf, core } from './identity/core.mixin.ts';
import { isAccessToken, type Known, sha256 } from './identity/resolver.ts';
import { assertScope } from './identity/scopes.ts';
import { type Oidc, openOidc } from './oidc/mount.ts';
import { openApiOf } from './openapi.ts';
import { addressReader } from './policies/address.ts';
import { readBody } from './policies/body.ts';
import { CORRELATION_HEADER, correlationIdOf } from './policies/correlation.ts';
import { corsPolicy } from './policies/cors.ts';
import { checkCsrf } from './policies/csrf.ts';
import { applyHeaders, forwardedHeaders, securityHeaders } from './policies/headers.ts';
import { createLimiter, type Limiter } from './policies/rate-limit.ts';
import { compileRoutes, type Match, type Router } from './router.ts';
import { routes } from './routes/index.ts';
import type { Route } from './routes/route.ts';
import { cookieOf } from './sockets/handshake.ts';
import { attachSockets, type Sockets } from './sockets.ts';

interface Policies {
  router: Router;
  cors: ReturnType<typeof corsPolicy>;
  headers: Record<string, string>;
  addressOf: (request: IncomingMessage) => string | undefined;
  limiter: Limiter;
}

type Self = CoreSelf & {
  policies: Policies;
  server?: Server;
  sockets?: Sockets;
  oidc: Oidc;
  connections: Connections;
  httpHandler(request: IncomingMessage, response: ServerResponse): void;
  serve(ctx: Rest): Promise<void>;
};
type Rest = Context<{ req: IncomingMessage; res: ServerResponse }, CallMeta>;

/** Runs may take this long to answer; an action of the platform much less. */
const RUN_TIMEOUT_MS = 5 * MINUTE;
const CALL_TIMEOUT_MS = MINUTE;
/** Above the idle time-out of common balancers, so that they never reuse a connection this side has just closed. */
const KEEP_ALIVE_MS = 70 * SECOND;
const DRAIN_MS = 10 * SECOND;
const MAX_URL_CHARS = 16_000;
/** A read whose node dies is asked again of another one; the client notices a delay. */
const READ_RETRIES = 2;

/** One action of each part: when they can be reached, so can the platform. */
const PARTS = { gateway: 'identity.resolve', workspaces: 'workspaces.access', runtime: 'runtime.webhook', events: 'events.emit' };

const correlationOf = (response: ServerResponse) => String(response.getHeader(CORRELATION_HEADER) ?? '');

/** @param isForeign a query that an automation reads: its names are its own affair */
function queryOf(text: string, isForeign: boolean): JsonObject {
  if (!text) return {};
  const query = qs.parse(text, { depth: 5, parameterLimit: 200, arrayLimit: 100, allowPrototypes: false }) as JsonObject;
  const hostile = findHostileName(query);
  const refused = hostile ?? (isForeign ? undefined : findOperator(query));
  if (refused) throw fault('BadParametersError', { message: `The query parameter '${refused.slice(0, 60)}' is refused.` });
  return query;
}

/** A name such as `$ne`, at any depth: no parameter of ours is called so, but operators of databases are. */
function findOperator(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, item] of Object.entries(value)) {
    const found = name.startsWith('$') ? name : findOperator(item);
    if (found) return found;
  }
  return undefined;
}

function credentialsOf(request: IncomingMessage, ip: string | undefined, correlationId: string): Credentials {
  const { authorization, cookie } = request.headers;
  const one = (value: string | string[] | undefined) => (Array.isArray(value) ? value[0] : value);
  const cookieToken = cookieOf(cookie, 'access-token');
  const legacyToken = one(request.headers['x-prismeai-token']);
  const apiKey = one(request.headers['x-prismeai-api-key']);
  return {
    ...(authorization ? { authorization } : {}),
    ...(cookieToken ? { cookieToken } : {}),
    ...(legacyToken ? { legacyToken } : {}),
    ...(apiKey ? { apiKey } : {}),
    ...(ip ? { ip } : {}),
    correlationId,
  };
}

/** Who calls, and why a presented credential was refused: that matters only where one is required. */
async function authenticate(self: Self, route: Route, method: string, credentials: Credentials): Promise<Known | null> {
  let known: Known | null = null;
  try {
    known = await self.core.resolver.resolve(credentials);
  } catch (error) {
    const isCertain =
      isAccessToken(credentials.authorization) || isAccessToken(credentials.legacyToken) || !isFault(error, 'AuthenticationError');
    if (isCertain || route.auth !== 'optional') throw error;
  }
  if (route.auth !== 'optional') {
    if (!known && !(route.auth === 'apiKey' && credentials.apiKey))
      throw fault('AuthenticationError', { message: 'No authentication token found' });
    if (known?.needsMfa && !route.beforeMfa) throw fault('MissingMFA');
  }
  if (route.sessionOnly && known?.claims.via === 'accessToken')
    throw fault('AuthenticationError', { message: 'This route cannot be called with an access token.' });
  if (known) assertScope(known.scopes, route.action, method);
  return known?.needsMfa && !route.beforeMfa ? null : known;
}

function identityOf(self: Self, known: Known | null, { apiKey, ip }: Credentials, correlationId: string): Identity {
  const more = { ...(apiKey ? { apiKeyHash: sha256(apiKey) } : {}), ...(ip ? { ip } : {}) };
  const claims = known ? known.claims : { kind: 'none' as const, ...(apiKey ? { via: 'apiKey' as const } : {}) };
  return identityKeysOf(self.broker).sign({ correlationId, ...claims, ...more });
}

/** The answer of the routes that are not of a resource; true when it was one. */
function serveSystem(self: Self, request: IncomingMessage, response: ServerResponse, path: string): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false;
  const answer = (status: number, body: unknown) => {
    sendResult(response, body, { $statusCode: status });
    return true;
  };
  if (path === '/sys/healthcheck') return answer(self.broker.started ? 200 : 503, { healthy: self.broker.started });
  if (path === '/') return answer(200, { name: 'Prisme on Moleculer', api: self.core.config.apiUrl });
  if (path === '/v2/openapi.json') return answer(200, openApiOf(routes, self.core.config.apiUrl));
  if (path === '/oidc/jwks' || path === '/.well-known/jwks.json') return answer(200, self.core.keys.jwks());
  if (path !== '/v2/readiness') return false;
  const services = Object.fromEntries(
    Object.entries(PARTS).map(([part, action]) => {
      const isThere = !(self.broker.findNextActionEndpoint(action) instanceof Error);
      return [part, { status: isThere ? 'ready' : 'error' }];
    }),
  );
  const isReady = self.broker.started && Object.values(services).every(({ status }) => status === 'ready');
  return answer(isReady ? 200 : 400, { status: isReady ? 'ready' : 'error', services });
}

/** Where the browser comes from, when pages of that place may call the platform: what else a request says of it is not believed. */
function originOf({ policies }: Self, { headers }: IncomingMessage): string | undefined {
  const claimed = headers.origin ?? headers.referer;
  if (claimed === undefined || !URL.canParse(claimed)) return undefined;
  const { origin } = new URL(claimed);
  return policies.cors.isAllowed(origin) ? origin : undefined;
}

const isSignIn = (path: string) =>
  path.startsWith('/oidc/') || path.startsWith('/v2/login') || path === '/.well-known/openid-configuration';

/** Parameters of the action (see routes/route.ts). */
async function paramsOf(
  self: Self,
  request: IncomingMessage,
  { route, params }: Match,
  query: JsonObject,
  identity: Identity,
  known: Known | null,
): Promise<JsonObject> {
  const { requestMaxBytes, uploadMaxBytes } = self.core.config;
  const { value: body, raw } = await readBody(request, route, { requestMaxBytes, uploadMaxBytes });
  const origin = route.origin ? originOf(self, request) : undefined;
  const built: JsonObject = { ...params, query, body, ...(origin ? { origin } : {}) };
  if (!route.raw) return built;
  const key = request.headers['idempotency-key'];
  return {
    ...built,
    method: request.method,
    headers: forwardedHeaders(request.headers, { authorization: known !== null }),
    ...(identity.ip ? { ip: identity.ip } : {}),
    ...(raw ? { rawBody: raw.toString('base64') } : {}),
    ...(typeof key === 'string' ? { idempotencyKey: key } : {}),
  };
}

/** How the action of a route is called: here when this node offers it, otherwise on any node that does. */
function callOptions({ broker }: Self, { method }: IncomingMessage, { action, raw }: Route): CallingOptions {
  const isRead = !raw && (method === 'GET' || method === 'HEAD');
  const offers = broker.registry.actions.get(action) as { hasLocal(): boolean } | null;
  return {
    timeout: raw ? RUN_TIMEOUT_MS : CALL_TIMEOUT_MS,
    ...(isRead ? { retries: READ_RETRIES } : {}),
    ...(offers?.hasLocal() ? { nodeID: broker.nodeID } : {}),
  };
}

/** Nobody waits for the answer any more: the run is told, and ends at its next effect. */
function cancelWhenGone(self: Self, response: ServerResponse, match: Match, correlationId: string): { callId?: string } {
  if (match.route.action !== 'runtime.webhook' && match.route.action !== 'runtime.test') return {};
  const callId = hexId();
  response.once('close', () => {
    if (response.writableFinished) return;
    self.broker
      .call(
        'runtime.cancel',
        { workspaceId: match.params.workspaceId, correlationId, callId },
        { meta: self.systemMeta(correlationId) as object, timeout: 5 * SECOND },
      )
      .catch((error) => self.logger.debug(`A run of a client that left was not cancelled: ${error.message}`));
  });
  return { callId };
}

const gateway: ServiceSchema<object, any> = {
  name: 'gateway',
  mixins: [core(), ApiGateway as Partial<ServiceSchema<object, any>>],

  settings: {
    // The server is made in `started`, when keys and sessions are open.
    server: false,
    routes: [],
    rootCallOptions: { timeout: 0 },
  },

  dependencies: ['identity'],

  actions: {
    /** moleculer-web gives every request its context here; what follows is ours: one table instead of a list of aliases tried in turn. */
    rest: {
      visibility: 'private',
      identity: 'any',
      timeout: 0,
      async handler(this: Self, ctx: Rest) {
        await this.serve(ctx);
        return true;
      },
    },
    listAliases: false,
    addRoute: false,
    removeRoute: false,
  } as never,

  methods: {
    async serve(this: Self, ctx: Rest): Promise<void> {
      const { req: request, res: response } = ctx.params;
      const { cors, headers, router, addressOf, limiter } = this.policies;
      const { config } = this.core;
      let match: Match | { allow: string[] } | null = null;
      try {
        response.setHeader(CORRELATION_HEADER, correlationIdOf(request.headers[CORRELATION_HEADER], config.overwriteCorrelationId));
        applyHeaders(response, headers);
        if (cors.apply(request, response)) return;
        const url = request.url ?? '/';
        if (url.length > MAX_URL_CHARS) throw fault('RequestValidationError', { message: 'The address is too long.' });
        const mark = url.indexOf('?');
        const path = mark < 0 ? url : url.slice(0, mark);
        if (serveSystem(this, request, response, path)) return;
        if (isSignIn(path) && (await this.oidc.handle({ request, response, path, ip: addressOf(request) }))) return;

        match = path.startsWith('/v2/') ? router.match(request.method as string, path.slice(3)) : null;
        if (!match) throw fault('NotFoundError');
        if ('allow' in match) {
          response.setHeader('allow', match.allow.join(', '));
          throw fault('NotFoundError', { message: `${request.method} is not a method of this route.`, data: { allow: match.allow } });
        }
        const { route, params } = match;
        const query = queryOf(mark < 0 ? '' : url.slice(mark + 1), route.raw === true);
        const ip = addressOf(request);
        const credentials = credentialsOf(request, ip, correlationOf(response));
        const known = await authenticate(this, route, request.method as string, credentials);
        // A run that calls back goes on under the id of what started it.
        if (known?.claims.correlationId) response.setHeader(CORRELATION_HEADER, known.claims.correlationId);
        if (known?.claims.sessionId) response.setHeader('x-prismeai-session-id', known.claims.sessionId);
        checkCsrf(request.method as string, known?.claims.via, known?.csrf, request.headers['x-prismeai-csrf-token']);
        if (route.limits && known?.claims.kind !== 'delegated')
          await limiter.check(route.limits, { userId: known?.userId, ip, workspaceId: params.workspaceId }, response);

        const correlationId = correlationOf(response);
        const identity = identityOf(this, known, credentials, correlationId);
        const built = await paramsOf(this, request, match, query, identity, known);
        const ifMatch = request.headers['if-match'];
        const call = cancelWhenGone(this, response, match, correlationId);
        const meta: CallMeta = { identity, correlationId, ...call, ...(ifMatch ? { ifMatch } : {}) };
        const result = await ctx.call(route.action, built, { meta: meta as object, ...callOptions(this, request, route) });
        if (response.destroyed) return;
        if (route.action === 'runtime.webhook' && isWebhookAnswer(result)) sendWebhook(response, result);
        else sendResult(response, result, ctx.meta);
        if (route.isEndless) this.connections.endless(response);
      } catch (error) {
        if (response.destroyed) return;
        // The rest of a body that was not read would be taken for the next request.
        if (!response.headersSent && !(await drained(request))) response.setHeader('connection', 'close');
        if (response.destroyed) return;
        const action = match && 'route' in match ? match.route.action : undefined;
        const { isUnknown, status } = sendError(response, error, action);
        if (isUnknown || status >= 500)
          this.logger.error(`${request.method} ${action ?? 'unrouted'} ${status} ${correlationOf(response)}`, error);
      }
    },
  },

  async started(this: Self) {
    const { config } = this.core;
    this.oidc = await openOidc(this);
    this.policies = {
      router: compileRoutes(routes),
      cors: corsPolicy(config),
      headers: securityHeaders(config),
      addressOf: addressReader(config.trustedProxies),
      limiter: createLimiter({
        cache: () => this.cache,
        disabled: config.rateLimitDisabled,
        settings: config,
        onFailure: (error) => this.logger.warn(`Rate limits cannot be counted: ${error.message}`),
      }),
    };
    const server = createServer(
      { maxHeaderSize: 32_768, requestTimeout: 5 * MINUTE, headersTimeout: 30 * SECOND, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => this.httpHandler(request, response),
    );
    server.on('clientError', (_error, socket: Socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    });
    this.server = server;
    this.connections = trackConnections(server);
    this.sockets = await attachSockets({
      server,
      broker: this.broker,
      bus: this.bus,
      cache: this.cache,
      logger: this.logger,
      resolve: (credentials) => this.broker.call('identity.resolve', credentials),
      sign: (claims) => identityKeysOf(this.broker).sign(claims),
      abilityFor: (identity, workspaceId, options) => this.abilityFor(identity, workspaceId, options),
      systemMeta: (correlationId) => this.systemMeta(correlationId),
      accessChanged: (workspaceId) => this.accessChanged(workspaceId),
      clientIp: (request) => this.policies.addressOf(request),
      isAllowedOrigin: (origin) => this.policies.cors.isAllowed(origin),
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          fault('ConfigurationError', {
            message:
              error.code === 'EADDRINUSE'
                ? `Port ${config.port} of ${config.host} is busy. Set PORT to another one.`
                : `Cannot listen on ${config.host}:${config.port}: ${error.message}`,
            cause: error,
          }),
        ),
      );
      server.listen(config.port, config.host, () => resolve());
    });
  },

  /** New requests are refused, those at work end, then the rest is cut. */
  async stopped(this: Self) {
    const { server, sockets, connections } = this;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    await sockets?.close();
    connections.release();
    await closed;
    clearTimeout(timer);
  },
};

const isWebhookAnswer = (value: unknown): value is WebhookAnswer =>
  typeof value === 'object' && value !== null && 'encoding' in value && 'status' in value;

export default gateway;
