/** events-sockets — the server side of the socket rows of events.ts, in a process of its own so that its CPU and memory can be told from its clients'. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ServiceBroker } from 'moleculer';
import { Server } from 'socket.io';
import type { Identity } from '../mixins/auth/identity.ts';
import { openBus } from '../mixins/bus/bus.ts';
import { loadConfig } from '../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../mixins/shared/event.ts';
import type { Condition } from '../mixins/storage/datalake/contract.ts';
import { attachSockets } from '../services/gateway/sockets.ts';
import { temporaryCache } from '../test/support/cache.ts';

/** `members`: nobody owns the workspace, everybody has rules of his own and reads the event because he has joined its topic. */
const mode = process.argv[2] as 'ours' | 'members' | 'bare';
const PAYLOAD = { amount: 12.5, currency: 'EUR', customer: { id: 'c_18273', name: 'Ada' }, items: [{ sku: 'A-1', count: 2 }] };
const server = createServer();

const inWorkspace: Condition = { field: 'source.workspaceId', op: 'eq', value: 'w1' };
const rulesOf = (userId: string, sessionId: string, topics: string[]): Condition[] => [
  {
    all: [
      { field: 'source.userId', op: 'eq', value: userId },
      { field: 'source.serviceTopic', op: 'eq', value: EMIT_TOPIC },
    ],
  },
  { field: 'target.userTopic', op: 'in', values: topics },
  { field: 'target.userId', op: 'eq', value: userId },
  { field: 'target.sessionId', op: 'eq', value: sessionId },
  {
    all: [
      { field: 'source.sessionId', op: 'eq', value: sessionId },
      { field: 'source.serviceTopic', op: 'eq', value: EMIT_TOPIC },
    ],
  },
];

/** Sends one event to everybody in the workspace. */
let send: (at: number) => Promise<unknown> | unknown;

if (mode === 'bare') {
  const io = new Server(server, { serveClient: false });
  const namespace = io.of('/v2/workspaces/w1/events');
  namespace.on('connection', () => {});
  let n = 0;
  send = (at) =>
    namespace.emit('order.paid', {
      id: `01J${String(n++).padStart(23, '0')}`,
      type: 'order.paid',
      size: 420,
      source: {
        workspaceId: 'w1',
        userId: 'u1',
        sessionId: 's1',
        correlationId: 'c0ffee',
        serviceTopic: EMIT_TOPIC,
        host: { service: 'prisme.ai-bench', replica: 'x' },
      },
      payload: { ...PAYLOAD, at },
      createdAt: new Date().toISOString(),
    });
} else {
  const config = loadConfig({}, { busUrl: 'memory:' });
  const broker = new ServiceBroker({ logger: false });
  broker.createService({ name: 'events.topics', actions: { of: () => ['all'] } });
  await broker.start();
  const bus = await openBus(config);
  await attachSockets({
    server,
    broker,
    bus,
    cache: temporaryCache(),
    logger: broker.logger,
    // Everybody has a session of his own and the rights of an owner.
    resolve: async ({ authorization = '' }) => ({
      claims: { kind: 'user', userId: authorization, sessionId: authorization, correlationId: 'c' },
    }),
    sign: (claims) => claims as unknown as Identity,
    abilityFor: (async ({ userId = '', sessionId = '' }, _workspaceId: string, { topics = [] as string[] } = {}) => ({
      condition: () => (mode === 'ours' ? inWorkspace : { all: [inWorkspace, { any: rulesOf(userId, sessionId, topics) }] }),
    })) as never,
    systemMeta: () => ({}),
    limits: { perWorkspace: 100_000, waiting: 100_000 },
  });
  send = (at) =>
    bus.send(
      'order.paid',
      { ...PAYLOAD, at },
      {
        source: { workspaceId: 'w1', userId: 'u1', sessionId: 's1', correlationId: 'c0ffee' },
        topic: EMIT_TOPIC,
        ...(mode === 'members' && { target: { userTopic: 'all' } }),
      },
    );
}

const now = () => performance.timeOrigin + performance.now();
const answer = (message: object) => process.send?.(message);

process.on('message', async ({ task, count = 0, perSecond = 0 }: { task: string; count?: number; perSecond?: number }) => {
  if (task === 'cpu') answer({ cpu: process.cpuUsage() });
  if (task === 'memory') {
    (globalThis as { gc?: () => void }).gc?.();
    answer({ rss: process.memoryUsage().rss });
  }
  if (task === 'emit') {
    for (let i = 0; i < count; i++) {
      await send(now());
      await new Promise((resolve) => setImmediate(resolve));
    }
    answer({ emitted: count });
  }
  if (task === 'pace') {
    const startedAt = performance.now();
    for (let sent = 0; sent < count; ) {
      for (const due = Math.min(count, ((performance.now() - startedAt) * perSecond) / 1000); sent < due; sent++) void send(now());
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    answer({ emitted: count });
  }
});
server.listen(0, '127.0.0.1', () => answer({ port: (server.address() as AddressInfo).port }));
