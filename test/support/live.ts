/**
 * live — gateways with nothing but their sockets, for tests: real HTTP servers, a real bus in memory and a real cache; people, rights and emission are small fakes
 * whose rights a test can change.
 */
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ServiceBroker } from 'moleculer';
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client';
import type { Ability } from '../../mixins/auth/contract.ts';
import type { Identity } from '../../mixins/auth/identity.ts';
import { type OpenedBus, openBus } from '../../mixins/bus/bus.ts';
import { compile } from '../../mixins/filters/condition.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { EMIT_TOPIC, type PrismeEvent } from '../../mixins/shared/event.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Condition } from '../../mixins/storage/datalake/contract.ts';
import { assertMayEmit, candidatesOf, sendCandidates } from '../../services/events/emit.ts';
import type { Credentials } from '../../services/gateway/contract.ts';
import { attachSockets, type SocketLimits, type Sockets } from '../../services/gateway/sockets.ts';
import { temporaryCache } from './cache.ts';

export interface LiveNode {
  url: string;
  server: HttpServer;
  sockets: Sockets;
}

export interface LivePlatform {
  broker: ServiceBroker;
  bus: OpenedBus;
  nodes: LiveNode[];
  /** User id → workspaces that he owns. */
  owners: Map<string, Set<string>>;
  /** Rules of everybody in a workspace. */
  rules: Map<string, Condition[]>;
  /** Tokens that are refused from now on. */
  ended: Set<string>;
  topics: Map<string, string[]>;
  emit(workspaceId: string, type: string, payload?: JsonObject, over?: Partial<PrismeEvent>): Promise<PrismeEvent>;
  client(token: string, workspaceId: string, over?: Partial<ManagerOptions & SocketOptions> & { node?: number }): Socket;
  stop(): Promise<void>;
}

/** Rights as the events service gives them: what one sent, what is addressed to one, everything for owners. */
function abilityOf(
  claims: Partial<Identity>,
  workspaceId: string,
  owners: Map<string, Set<string>>,
  rules: Map<string, Condition[]>,
  topics: string[],
): Ability {
  const isOwner = owners.get(claims.userId ?? '')?.has(workspaceId) ?? false;
  const own: Condition[] = [
    {
      all: [
        { field: 'source.userId', op: 'eq', value: claims.userId ?? null },
        { field: 'source.serviceTopic', op: 'eq', value: EMIT_TOPIC },
      ],
    },
    { field: 'target.userTopic', op: 'in', values: topics },
    { field: 'target.userId', op: 'eq', value: claims.userId ?? '-' },
    { field: 'target.sessionId', op: 'eq', value: claims.sessionId ?? '-' },
    {
      all: [
        { field: 'source.sessionId', op: 'eq', value: claims.sessionId ?? '-' },
        { field: 'source.serviceTopic', op: 'eq', value: EMIT_TOPIC },
      ],
    },
    ...(rules.get(workspaceId) ?? []),
  ];
  const readable: Condition = {
    all: [
      { field: 'source.workspaceId', op: 'eq', value: workspaceId },
      { any: isOwner ? [{ all: [] }] : own },
      { not: { field: 'type', op: 'eq', value: 'runtime.contexts.updated' } },
    ],
  };
  const can = (action: string, _subject: string, object?: object) =>
    action === 'read'
      ? compile(readable)(object as object)
      : action !== 'create' || !String((object as PrismeEvent).type).startsWith('forbidden');
  return {
    can,
    explain: (action, subject, object) => ({ allowed: can(action, subject, object), reason: 'No rule allows it.', considered: [] }),
    assert(action, subject, object) {
      if (!can(action, subject, object)) throw fault('ForbiddenError', { data: { action, subjectType: subject } });
    },
    covers: () => false,
    condition: (action) => (action === 'read' ? readable : null),
    query: () => null,
  };
}

/** Tokens read `Bearer <user>/<session>`. */
function resolveToken({ authorization, cookieToken, apiKey }: Credentials, ended: Set<string>) {
  const token = authorization?.replace(/^bearer /i, '') ?? cookieToken ?? '';
  if (ended.has(token) || token.startsWith('bad')) throw fault('AuthenticationError', { message: 'Invalid token.' });
  if (token === 'broken') throw new Error('connect ECONNREFUSED');
  if (apiKey && apiKey !== 'key') throw fault('InvalidAPIKey');
  const [userId, sessionId] = token.split('/');
  if (!userId) return { claims: { kind: 'none' as const, correlationId: 'c', ...(apiKey && { apiKeyHash: apiKey }) } };
  return { claims: { kind: 'user' as const, userId, sessionId: sessionId ?? userId, correlationId: 'c' } };
}

export async function startLive({ nodes: count = 1, limits = {} as Partial<SocketLimits> } = {}): Promise<LivePlatform> {
  const config = loadConfig({}, { busUrl: 'memory:', dataDir: '/tmp' });
  const bus = await openBus(config, { settleMs: 1, tickMs: 50 });
  const cache = temporaryCache();
  const broker = new ServiceBroker({ logger: false });
  const owners = new Map([['owner', new Set(['w1', 'w2'])]]);
  const rules = new Map<string, Condition[]>();
  const ended = new Set<string>();
  const topics = new Map<string, string[]>();
  const abilityFor = async (identity: Partial<Identity>, workspaceId = '', { topics: joined = [] as string[] } = {}) =>
    abilityOf(identity, workspaceId, owners, rules, joined);

  broker.createService({
    name: 'events',
    actions: {
      async emit(ctx: any) {
        const { workspaceId, body, socketId } = ctx.params;
        const candidates = candidatesOf(body, workspaceId, ctx.meta.identity, socketId);
        assertMayEmit(await abilityFor(ctx.meta.identity, workspaceId), candidates, workspaceId);
        return sendCandidates(bus, candidates);
      },
      replay: (ctx: any) => bus.replay(ctx.params.afterId, ctx.params.workspaceId, ctx.params.limit),
    },
  });
  broker.createService({
    name: 'events.topics',
    actions: { of: (ctx: any) => topics.get(`${ctx.params.workspaceId}/${ctx.params.userId}`) ?? [] },
  });
  broker.createService({
    name: 'workspaces',
    actions: {
      resolve(ctx: any) {
        if (ctx.params.workspaceId === 'slug:first') return { id: 'w1' };
        throw fault('ObjectNotFoundError');
      },
    },
  });
  await broker.start();

  const nodes: LiveNode[] = [];
  for (let i = 0; i < count; i++) {
    const server = createServer((_request, response) => response.writeHead(404).end());
    const sockets = await attachSockets({
      server,
      broker,
      bus,
      cache,
      logger: broker.logger,
      resolve: async (credentials) => resolveToken(credentials, ended),
      sign: (claims) => ({ ...claims, v: 1, iat: Date.now(), exp: Date.now() + 60_000, sig: 'test' }) as Identity,
      abilityFor: abilityFor as never,
      systemMeta: () => ({}),
      limits,
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    nodes.push({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, sockets });
  }

  const clients: Socket[] = [];
  return {
    broker,
    bus,
    nodes,
    owners,
    rules,
    ended,
    topics,
    emit: (workspaceId, type, payload = {}, { source, target, options } = {}) =>
      bus.send(type, payload, {
        source: { workspaceId, ...source },
        target,
        options,
        topic: (source?.serviceTopic as string) ?? EMIT_TOPIC,
      }),
    client(token, workspaceId, { node = 0, auth, ...over } = {}) {
      const socket = io(`${nodes[node]?.url}/v2/workspaces/${workspaceId}/events`, {
        transports: ['websocket'],
        reconnection: false,
        forceNew: true,
        auth: { ...(token && { extraHeaders: { authorization: `Bearer ${token}` } }), ...(auth as object) },
        ...over,
      });
      clients.push(socket);
      return socket;
    },
    async stop() {
      for (const socket of clients) socket.disconnect();
      for (const { sockets, server } of nodes) {
        await sockets.close();
        server.closeAllConnections();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      }
      await bus.close();
      await cache.close();
      await broker.stop();
    },
  };
}

/** Resolves once connected, with every event received from then on. */
export async function connected(socket: Socket): Promise<PrismeEvent[]> {
  const received: PrismeEvent[] = [];
  socket.onAny((_name, event) => received.push(event));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve());
    socket.once('connect_error', reject);
  });
  return received;
}

/** The `connect_error` of a refused socket. */
export const refused = (socket: Socket): Promise<Error & { data?: { error: string } }> =>
  new Promise((resolve, reject) => {
    socket.once('connect_error', resolve as never);
    socket.once('connect', () => reject(new Error('the socket was accepted')));
  });
