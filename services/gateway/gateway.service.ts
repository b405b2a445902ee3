/**
 * gateway — the only public port: every request passes the same policies in the same order and ends in one published action.
 *
 * Order   correlation id → security headers, CORS → route → credentials → authentication, second factor, CSRF → rate limits → body → call.
 * State   none of its own; sessions and counters live in the cache, so any gateway serves any request.
 * Calls   whatever routes/*.ts name; `runtime.cancel` when the client of a webhook leaves.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { CallingOptions, Context, ServiceSchema } from 'moleculer';
import ApiGateway from 'moleculer-web';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import type { CallMeta, Identity } from '../../mixins/auth/identity.ts';
import { readiness } from '../../mixins/readiness/readiness.mixin.ts';
import { MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import { abandon, sendResult, sendWebhook } from './answers.ts';
import { type LiveConfiguration, openConfiguration } from './configuration/live.ts';
import { isOf } from './configuration/narrow.ts';
import { type Connections, trackConnections } from './connections.ts';
import type { ReadUploadParams } from './contract.ts';
import { type Deadlines, openDeadlines } from './deadlines.ts';
import { drained } from './drain.ts';
import { sendError } from './http-errors.ts';
import { type Self as CoreSelf, core } from './identity/core.mixin.ts';
import { localFirst } from './local-first.ts';
import { type Oidc, openOidc } from './oidc/mount.ts';
import { openApiOf } from './openapi/document.ts';
import { documentPage } from './openapi/page.ts';
import { createValidator, type Validator } from './openapi/validate.ts';
import { addressReader } from './policies/address.ts';
import { authenticate, credentialsOf, identityOf } from './policies/authentication.ts';
import { readBody } from './policies/body.ts';
import { CORRELATION_HEADER, correlationIdOf } from './policies/correlation.ts';
import { corsPolicy } from './policies/cors.ts';
import { checkCsrf, isForeignSubrequest } from './policies/csrf.ts';
import { forwardedHeaders, securityHeaders } from './policies/headers.ts';
import { assertClean, queryOf } from './policies/hygiene.ts';
import { runPipeline } from './policies/pipeline.ts';
import { createForwarder, type Forwarder } from './policies/proxy.ts';
import { createLimiter, type Limiter } from './policies/rate-limit.ts';
import { gatewayChecks } from './readiness.ts';
import type { GatewayResponse } from './response.ts';
import { compileRoutes, type Match, type Router } from './router.ts';
import { routes } from './routes/index.ts';
import type { Route } from './routes/route.ts';
import { drain, listen, makeServer } from './server.ts';
import { attachSockets, type Sockets } from './sockets.ts';
import { createSpool, type Spool, type SpoolSession } from './spool.ts';
import { hasInternalKey, type SystemRoutes, systemRoutes } from './system.ts';
import { handleUpgrade } from './upgrades.ts';

export interface Policies {
  router: Router;
  cors: ReturnType<typeof corsPolicy>;
  headers: Record<string, string>;
  addressOf: (request: IncomingMessage) => string | undefined;
  limiter: Limiter;
  configuration: LiveConfiguration;
  validator: Validator;
  forwarder: Forwarder;
  system: SystemRoutes;
}

export type Self = CoreSelf & {
  policies: Policies;
  server?: Server;
  sockets?: Sockets;
  oidc: Oidc;
  connections: Connections;
  spool: Spool;
  deadlines: Deadlines;
  onHangUp?: () => void;
  httpHandler(request: IncomingMessage, response: GatewayResponse): void;
  passConfigured(request: IncomingMessage, response: GatewayResponse, path: string, ip: string | undefined): Promise<true | Narrowed>;
  limit(response: GatewayResponse, route: Route, options: CallingOptions): number | undefined;
  serve(ctx: Rest): Promise<void>;
};

/** What a pipeline leaves to the routes of the platform. */
interface Narrowed {
  /** Service whose routes are reached; absent: all. */
  service?: string;
  /** Rate limits that were counted already. */
  counted?: Set<string>;
}
type Rest = Context<{ req: IncomingMessage; res: GatewayResponse }, CallMeta>;

/** Runs, and large files on their way to a store, may take this long to answer; an action of the platform much less. */
const RUN_TIMEOUT_MS = 5 * MINUTE;
const CALL_TIMEOUT_MS = MINUTE;

const isSignIn = (path: string) =>
  path.startsWith('/oidc/') || path.startsWith('/v2/login') || path === '/.well-known/openid-configuration';

/** Where the browser comes from, when pages of that place may call the platform: what else a request says of it is not believed. */
function originOf({ policies }: Self, { headers }: IncomingMessage): string | undefined {
  const claimed = headers.origin ?? headers.referer;
  if (claimed === undefined || !URL.canParse(claimed)) return undefined;
  const { origin } = new URL(claimed);
  return policies.cors.isAllowed(origin) ? origin : undefined;
}

/** Parameters of the action (see routes/route.ts). */
async function paramsOf(
  self: Self,
  request: IncomingMessage,
  { route, params }: Match,
  query: JsonObject,
  identity: Identity,
  spooled: SpoolSession | undefined,
): Promise<JsonObject> {
  const { requestMaxBytes, uploadMaxBytes } = self.core.config;
  const { value: body, raw } = await readBody(request, route, { requestMaxBytes, uploadMaxBytes }, spooled);
  self.policies.validator.check(route, { params, query, body });
  const origin = route.origin ? originOf(self, request) : undefined;
  const built: JsonObject = { ...params, query, body };
  if (origin) built.origin = origin;
  const key = request.headers['idempotency-key'];
  if (!route.raw) return route.isRepeatable && typeof key === 'string' ? { ...built, idempotencyKey: key } : built;
  built.method = request.method;
  built.headers = forwardedHeaders(request.headers, { authorization: self.core.tokens.isOurs(request.headers.authorization) });
  if (identity.ip) built.ip = identity.ip;
  if (raw) built.rawBody = raw.toString('base64');
  if (typeof key === 'string') built.idempotencyKey = key;
  return built;
}

/** How the action of a route is called: here when this node offers it, otherwise on any node that does. */
function callOptions(
  { broker }: Self,
  { method, headers }: IncomingMessage,
  { action, raw, multipart, isRepeatable, isEndless }: Route,
): CallingOptions {
  const isRead = (!raw || isEndless) && (method === 'GET' || method === 'HEAD');
  // A read whose node dies is asked again of another one, and what is done once under its key; the client notices a delay.
  const mayRepeat = isRead || (isRepeatable && headers['idempotency-key'] !== undefined);
  const options = localFirst(broker, action);
  options.timeout = raw || multipart === 'spooled' ? RUN_TIMEOUT_MS : CALL_TIMEOUT_MS;
  if (mayRepeat) options.retries = REPEATABLE.retries;
  return options;
}

/** Nobody waits for the answer any more: the run is told, and ends at its next effect. */
function cancelWhenGone(self: Self, response: GatewayResponse, match: Match, correlationId: string): string | undefined {
  if (match.route.action !== 'runtime.webhook' && match.route.action !== 'runtime.test') return undefined;
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
  return callId;
}

const gateway: ServiceSchema<object, any> = {
  name: 'gateway',
  mixins: [core(), readiness(gatewayChecks), ApiGateway as Partial<ServiceSchema<object, any>>],

  settings: {
    // The server is made in `started`, when keys and sessions are open.
    server: false,
    routes: [],
    // The server itself waits for its connections when it stops.
    rootCallOptions: (options: CallingOptions) => {
      options.timeout = 0;
      options.tracking = false;
    },
  },

  dependencies: ['identity'],

  actions: {
    /** Reads GATEWAY_CONFIG_PATH again, as SIGHUP does: `policies reload` at the prompt of this node. @throws ConfigurationError; what was in force stays */
    reload: {
      visibility: 'protected',
      identity: 'system',
      handler(this: Self) {
        return this.policies.configuration.reload();
      },
    },
    /** A piece of a file that waits here. */
    readUpload: {
      visibility: 'public',
      identity: 'system',
      params: { ref: 'string', offset: 'number|integer|min:0', length: 'number|integer|min:1' },
      async handler(this: Self, ctx: Context<ReadUploadParams>): Promise<string> {
        const { ref, offset, length } = ctx.params;
        return (await this.spool.read(ref, offset, length)).toString('base64');
      },
    },
    /** moleculer-web gives every request its context here; what follows is ours: one table instead of a list of aliases tried in turn. */
    rest: {
      visibility: 'private',
      identity: 'any',
      timeout: 0,
      // The call it makes is repeated, where that does no harm; never the request.
      retryPolicy: { enabled: false },
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
    /** The policies of the configuration file: `true` when they have answered, else what is left of the platform's routes. */
    async passConfigured(
      this: Self,
      request: IncomingMessage,
      response: GatewayResponse,
      path: string,
      ip: string | undefined,
    ): Promise<true | Narrowed> {
      const { configuration, limiter, forwarder } = this.policies;
      const current = configuration.current();
      const found = current.find(request.method as string, path, String(request.headers.host ?? ''));
      if (!found) return {};
      const { correlationId } = response;
      const outcome = await runPipeline(this, current, limiter, { request, response, ip, correlationId, found });
      const { proxy, counted, ...more } = outcome;
      if (!proxy) return { counted };
      if ('moleculer' in proxy.target) return { counted, service: proxy.target.moleculer };
      if (more.identity.sessionId) response.tell('x-prismeai-session-id', more.identity.sessionId);
      const maxBytes = this.core.config.uploadMaxBytes;
      await forwarder.forward(request, response, { ...more, policy: proxy.policy, target: proxy.target, correlationId, maxBytes });
      return true;
    },

    /** Who waits too long for a run of this node is told so while it goes on. @returns what ends that; absent: the call itself has a time-out */
    limit(this: Self, response: GatewayResponse, { action }: Route, options: CallingOptions): number | undefined {
      if (action !== 'runtime.webhook' || options.nodeID === undefined) return undefined;
      options.timeout = 0;
      const ticket = this.deadlines.set(() => {
        this.deadlines.clear(ticket);
        if (!response.headersSent) sendError(response, fault('TimeoutError'), action);
      });
      return ticket;
    },

    async serve(this: Self, ctx: Rest): Promise<void> {
      const { req: request, res: response } = ctx.params;
      const { cors, headers, router, addressOf, limiter } = this.policies;
      const { config } = this.core;
      let match: Match | { allow: string[] } | null = null;
      let spooled: SpoolSession | undefined;
      let ticket: number | undefined;
      try {
        response.begin(correlationIdOf(request.headers[CORRELATION_HEADER], config.overwriteCorrelationId), headers);
        if (cors.apply(request, response)) return;
        assertClean(request);
        const url = request.url as string;
        const mark = url.indexOf('?');
        const path = mark < 0 ? url : url.slice(0, mark);
        // A node that is stopping (or not up yet) ends what it has; a balancer asks another one.
        if (!this.broker.started && path !== '/sys/healthcheck')
          throw fault('ServiceUnavailable', { message: 'This node is stopping; ask again.' });
        const { system, configuration } = this.policies;
        if (system.has(path) && (await system.serve(request, response, path, () => isOperator(this, request)))) return;
        const ip = addressOf(request);
        if (isSignIn(path) && (await this.oidc.handle({ request, response, path, ip }))) return;

        const narrowed = configuration.current().hasPipelines ? await this.passConfigured(request, response, path, ip) : {};
        if (narrowed === true) return;

        match = path.startsWith('/v2/') ? router.match(request.method as string, path.slice(3)) : null;
        if (!match || (narrowed.service && 'route' in match && !isOf(narrowed.service, match.route))) throw fault('NotFoundError');
        if ('allow' in match) {
          response.setHeader('allow', match.allow.join(', '));
          throw fault('NotFoundError', { message: `${request.method} is not a method of this route.`, data: { allow: match.allow } });
        }
        const { route, params } = match;
        const query = queryOf(mark < 0 ? '' : url.slice(mark + 1), {
          isFields: route.action.startsWith('events.'),
          isForeign: route.raw === true,
        });
        const credentials = credentialsOf(request, ip, response.correlationId);
        // A GET that runs an automation is no mere look: the cookie must not speak for somebody who only looked at a foreign page.
        if (route.action === 'runtime.webhook' && isForeignSubrequest(request.headers, cors.isAllowed)) delete credentials.cookieToken;
        let known = await authenticate(this, route, request.method as string, credentials);
        // Browsers send the cookie of the studio from every page. Whoever wrote the page may have the limited session it was signed in with, not all
        // that its visitor may do elsewhere.
        if (known?.claims.via === 'cookie' && known.claims.kind === 'user' && !known.scopes && cors.isPage(request.headers.origin)) {
          delete credentials.cookieToken;
          known = await authenticate(this, route, request.method as string, credentials);
        }
        // A run that calls back goes on under the id of what started it.
        if (known?.claims.correlationId) response.correlationId = known.claims.correlationId;
        if (known?.claims.sessionId) response.tell('x-prismeai-session-id', known.claims.sessionId);
        checkCsrf(request.method as string, known?.claims.via, known?.csrf, request.headers['x-prismeai-csrf-token']);
        const limits = narrowed.counted ? route.limits?.filter(({ name }) => !narrowed.counted?.has(name)) : route.limits;
        if (limits && known?.claims.kind !== 'delegated')
          await limiter.check(limits, { userId: known?.userId, ip, workspaceId: params.workspaceId }, response);

        const { correlationId } = response;
        const identity = identityOf(this, known, credentials, correlationId);
        if (route.multipart === 'spooled') spooled = this.spool.session();
        const built = await paramsOf(this, request, match, query, identity, spooled);
        const ifMatch = request.headers['if-match'];
        const meta: CallMeta = { identity, correlationId };
        const callId = cancelWhenGone(this, response, match, correlationId);
        if (callId) meta.callId = callId;
        if (ifMatch) meta.ifMatch = ifMatch;
        const options = callOptions(this, request, route);
        options.meta = meta as object;
        ticket = this.limit(response, route, options);
        const result = await ctx.call(route.action, built, options);
        // The client has left before the first chunk, or has been told that it took too long.
        if (response.destroyed || response.writableEnded) return abandon(result);
        if (route.action === 'runtime.webhook') sendWebhook(response, result, ctx.meta);
        else sendResult(response, result, ctx.meta);
        if (route.isEndless) this.connections.endless(response);
      } catch (error) {
        if (response.destroyed || response.writableEnded) return;
        // The rest of a body that was not read would be taken for the next request.
        if (!response.headersSent && !(await drained(request))) response.setHeader('connection', 'close');
        if (response.destroyed) return;
        const action = match && 'route' in match ? match.route.action : undefined;
        const { isUnknown, status } = sendError(response, error, action);
        if (isUnknown || status >= 500)
          this.logger.error(`${request.method} ${action ?? 'unrouted'} ${status} ${response.correlationId}`, error);
      } finally {
        if (ticket !== undefined) this.deadlines.clear(ticket);
        if (spooled) await spooled.end();
      }
    },
  },

  async started(this: Self) {
    const { config } = this.core;
    const configuration = openConfiguration(config.gatewayConfig);
    this.spool = createSpool(config);
    this.deadlines = openDeadlines(RUN_TIMEOUT_MS);
    this.oidc = await openOidc(this);
    let page: ReturnType<typeof documentPage> | undefined;
    const json = () => openApiOf(routes, config.apiUrl);
    this.policies = {
      router: compileRoutes(routes),
      cors: corsPolicy(config),
      headers: securityHeaders(config),
      addressOf: addressReader(config.trustedProxies),
      limiter: createLimiter({
        cache: () => this.cache,
        disabled: config.rateLimitDisabled,
        settings: config,
        overrides: () => configuration.current().limits,
        onFailure: (error) => this.logger.warn(`Rate limits cannot be counted: ${error.message}`),
      }),
      configuration,
      validator: createValidator(),
      forwarder: createForwarder(),
      system: systemRoutes(this, {
        json,
        page: () => {
          page ??= documentPage(json());
          return page;
        },
      }),
    };
    this.onHangUp = () => {
      try {
        this.logger.warn(`SIGHUP: ${JSON.stringify(configuration.reload())} of GATEWAY_CONFIG_PATH is in force.`);
      } catch (error) {
        this.logger.error(`SIGHUP: the configuration in force stays. ${(error as Error).message}`);
      }
    };
    process.on('SIGHUP', this.onHangUp);
    const server = makeServer((request, response) => this.httpHandler(request, response));
    server.on('upgrade', (request, socket, head) => void handleUpgrade(this, request, socket, head));
    this.server = server;
    this.connections = trackConnections(server);
    this.sockets = await attachSockets({
      server,
      broker: this.broker,
      bus: this.bus,
      cache: this.cache,
      logger: this.logger,
      resolve: (credentials) => this.broker.call('identity.resolve', credentials, localFirst(this.broker, 'identity.resolve')),
      sign: (claims) => identityKeysOf(this.broker).sign(claims),
      abilityFor: (identity, workspaceId, options) => this.abilityFor(identity, workspaceId, options),
      systemMeta: (correlationId) => this.systemMeta(correlationId),
      accessChanged: (workspaceId) => this.accessChanged(workspaceId),
      clientIp: (request) => this.policies.addressOf(request),
      isAllowedOrigin: (origin) => this.policies.cors.isAllowed(origin) && !this.policies.cors.isPage(origin),
    });
    await listen(server, config.port, config.host);
  },

  /** New requests are refused, those at work end, then the rest is cut. */
  async stopped(this: Self) {
    const { server, sockets, connections } = this;
    if (this.onHangUp) process.off('SIGHUP', this.onHangUp);
    this.deadlines?.close();
    if (!server) return;
    await drain(server, connections, async () => {
      await Promise.all([sockets?.close(), this.policies.forwarder.close()]);
    });
  },
};

/** Who runs the platform: the internal key, or a super admin. */
async function isOperator(self: Self, request: IncomingMessage): Promise<boolean> {
  if (hasInternalKey(request, self.core.config.internalApiKey)) return true;
  const known = await self.core.resolver.resolve(credentialsOf(request, undefined, '')).catch(() => null);
  return known?.claims.role === 'superadmin' && !known.needsMfa;
}

export default gateway;
