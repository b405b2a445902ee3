/**
 * events — the history and the live side: ingestion while searches are answered, the searches people wait for, sockets beside a bare Socket.IO server.
 * `--full`: a million events and 5000 sockets; otherwise a fifth and a tenth of that.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { io, type Socket } from 'socket.io-client';
import { openBus } from '../mixins/bus/bus.ts';
import { DAY } from '../mixins/shared/clock.ts';
import { loadConfig } from '../mixins/shared/config.ts';
import { EMIT_TOPIC, type PrismeEvent } from '../mixins/shared/event.ts';
import { ulid } from '../mixins/shared/ids.ts';
import type { DatalakeDriver } from '../mixins/storage/datalake/contract.ts';
import { sqliteDatalake } from '../mixins/storage/datalake/drivers/sqlite.ts';
import { HISTORY_GROUP, keep } from '../services/events/history.service.ts';
import { buildTrace } from '../services/events/trace.ts';
import { median, type Row } from './row.ts';

const isFull = process.argv.includes('--full');
const EVENTS = isFull ? 1_000_000 : 200_000;
const CLIENTS = isFull ? 5_000 : 500;
const BATCH = HISTORY_GROUP.batchSize as number; // as the history itself stores
const TYPES = ['runtime.automations.executed', 'runtime.interactions.triggered', 'error', 'order.paid', 'order.created'];
const round = (value: number, digits = 1) => Number(value.toFixed(digits));
const quantile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number;

/** Event `i` of `EVENTS` spread over the seven days before `end`; eight to a correlation id, a twentieth in another workspace. */
function eventAt(i: number, end: number): PrismeEvent {
  const ts = end - 7 * DAY + Math.floor((i / EVENTS) * 7 * DAY);
  const type = TYPES[i % 5] as string;
  const isRun = type === TYPES[0];
  return {
    id: ulid(ts),
    type,
    createdAt: new Date(ts).toISOString(),
    size: 450,
    source: {
      correlationId: `c${i >> 3}`,
      workspaceId: i % 20 === 0 ? 'w2' : 'w1',
      userId: `u${i % 500}`,
      sessionId: `s${i % 2000}`,
      automationSlug: `automation-${i % 30}`,
      automationDepth: 1,
      serviceTopic: i % 5 > 2 ? 'topic:runtime:emit' : type,
      host: { service: 'prisme.ai-runtime', replica: 'node-1' },
    },
    payload: isRun
      ? {
          slug: `automation-${i % 30}`,
          duration: (i * 7919) % 1000,
          trigger: { type: ['event', 'endpoint', 'schedule'][i % 3], value: 'x' },
          payload: { a: 1 },
          output: { text: 'hello world' },
          startedAt: new Date(ts).toISOString(),
        }
      : { amount: i % 1000, label: `order number ${i}`, status: i % 2 ? 'paid' : 'late' },
  };
}

async function timed(runs: number, work: (run: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const startedAt = performance.now();
    await work(run);
    times.push(performance.now() - startedAt);
  }
  return times;
}

const lastOfType = (lake: DatalakeDriver, run: number) =>
  lake.search({ workspaceId: 'w1', where: { field: 'type', op: 'eq', value: TYPES[run % 5] as string }, limit: 50, trackTotal: false });

/** Events per second from the call that emits them to the last one kept: the bus and the history in one process, as embedded. */
async function ingestedThroughBus(parent: string): Promise<number> {
  const dataDir = join(parent, 'whole');
  const lake = await sqliteDatalake(join(dataDir, 'datalake.db'));
  const bus = await openBus(loadConfig({}, { dataDir, nodeId: 'bench' }));
  const counters = { stored: 0, skipped: 0, retries: 0, refused: 0 };
  await bus.all((events, delivery) => keep(events, delivery, { datalake: lake, counters, warn: console.warn }), HISTORY_GROUP);
  const count = 50_000;
  const startedAt = performance.now();
  for (let i = 0; i < count; i += BATCH)
    await bus.sendAll(
      Array.from({ length: BATCH }, (_, k) => {
        const { type, payload, source } = eventAt(i + k, Date.now());
        return { type, payload, options: { topic: EMIT_TOPIC, source } };
      }),
    );
  while (counters.stored < count) await new Promise((resolve) => setTimeout(resolve, 5));
  const perSecond = (count / (performance.now() - startedAt)) * 1000;
  await bus.close();
  await lake.close();
  return perSecond;
}

/** The same events as bare rows (id, JSON text) of a SQLite table without further index, flushed per batch as ours are. */
function rawPerSecond(dir: string, end: number): number {
  const db = new DatabaseSync(join(dir, 'raw.db'));
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT NOT NULL)');
  const insert = db.prepare('INSERT INTO events (id, body) VALUES (?, ?)');
  const count = 50_000;
  const startedAt = performance.now();
  for (let i = 0; i < count; i += BATCH) {
    db.exec('BEGIN');
    for (let k = 0; k < BATCH; k++) {
      const event = eventAt(i + k, end);
      insert.run(event.id, JSON.stringify(event));
    }
    db.exec('COMMIT');
  }
  const perSecond = (count / (performance.now() - startedAt)) * 1000;
  db.close();
  return perSecond;
}

async function historyRows(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'prisme-bench-'));
  const lake = await sqliteDatalake(join(dir, 'datalake.db'));
  const end = Date.now();
  try {
    const raw = rawPerSecond(dir, end);
    let isDone = false;
    const meanwhile: number[] = [];
    const searching = (async () => {
      for (let run = 0; !isDone; run++) {
        meanwhile.push(...(await timed(1, () => lastOfType(lake, run))));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const startedAt = performance.now();
    for (let i = 0; i < EVENTS; i += BATCH) await lake.store(Array.from({ length: BATCH }, (_, k) => eventAt(i + k, end)));
    const perSecond = (EVENTS / (performance.now() - startedAt)) * 1000;
    isDone = true;
    await searching;

    const size = `${EVENTS / 1000}k events`;
    const throughBus = await ingestedThroughBus(dir);
    const newest = await timed(200, (run) => lastOfType(lake, run));
    const tree = await timed(100, async (run) => {
      const correlationId = `c${Math.floor((run / 100) * (EVENTS / 8))}`;
      const { events } = await lake.search({
        workspaceId: 'w1',
        where: { field: 'source.correlationId', op: 'eq', value: correlationId },
        sort: [{ field: 'createdAt', order: 'asc' }],
        limit: 10_000,
        trackTotal: false,
      });
      return buildTrace(correlationId, events);
    });
    const long = Array.from({ length: 10_000 }, (_, i) => eventAt(i, end));
    const drawn = await timed(5, async () => buildTrace('long', long));
    const aggregated = async (aggs: Record<string, unknown>, type?: string) =>
      median(
        await timed(5, () =>
          lake.search({
            workspaceId: 'w1',
            limit: 0,
            trackTotal: false,
            aggs,
            ...(type && { where: { field: 'type', op: 'eq', value: type } }),
          }),
        ),
      );
    const perDay = await aggregated({
      days: { date_histogram: { field: 'createdAt', fixed_interval: '1d' }, aggs: { types: { terms: { field: 'type' } } } },
    });
    const percentiles = { percentiles: { field: 'payload.duration', percents: [50, 90, 95, 99] } };
    const latency = await aggregated(
      { all: percentiles, slowest: { terms: { field: 'payload.slug', order: { 'latency.95': 'desc' } }, aggs: { latency: percentiles } } },
      TYPES[0],
    );
    const words = await timed(50, (run) =>
      lake.search({ workspaceId: 'w1', where: { text: `order ${run * 97}` }, limit: 50, trackTotal: false }),
    );
    return [
      {
        name: 'history: ingestion while searches are answered',
        value: round(perSecond, 0),
        unit: 'events/s',
        limit: { name: 'bare SQLite rows', value: round(raw, 0) },
        ratio: round(perSecond / raw, 2),
        goal: '10 000',
      },
      { name: 'history: emitted, durable on the bus, kept in the history', value: round(throughBus, 0), unit: 'events/s' },
      { name: 'history: p95 of the last 50 by type during ingestion', value: round(quantile(meanwhile, 0.95)), unit: 'ms' },
      {
        name: `history: p95 of the last 50 by workspace and type, ${size}`,
        value: round(quantile(newest, 0.95), 2),
        unit: 'ms',
        goal: '< 5',
      },
      { name: `history: p95 of the tree of a correlation id, ${size}`, value: round(quantile(tree, 0.95), 2), unit: 'ms', goal: '< 20' },
      { name: 'history: a trace of 10 000 events drawn as a tree', value: round(median(drawn)), unit: 'ms' },
      { name: `history: events by type and day over 7 days, ${size}`, value: round(perDay), unit: 'ms', goal: '< 500 at 1 M' },
      { name: `history: latency percentiles by automation over 7 days, ${size}`, value: round(latency), unit: 'ms', goal: '< 500 at 1 M' },
      { name: `history: p95 of a full-text search, ${size}`, value: round(quantile(words, 0.95)), unit: 'ms' },
      { name: 'history: file size per event', value: round(statSync(join(dir, 'datalake.db')).size / EVENTS, 0), unit: 'bytes' },
    ];
  } finally {
    await lake.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

// ---- sockets -------------------------------------------------------------------------------------------------------------------------

interface Side {
  child: ChildProcess;
  port: number;
  ask<T>(message: object): Promise<T>;
}

async function side(mode: 'ours' | 'members' | 'bare'): Promise<Side> {
  const child = fork(new URL('./events-sockets.ts', import.meta.url), [mode], {
    execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
  });
  const next = <T>() =>
    new Promise<T>((resolve, reject) => {
      const onExit = (code: number | null) => reject(new Error(`the ${mode} server ended with ${code}`));
      child.once('exit', onExit);
      child.once('message', (message) => {
        child.off('exit', onExit);
        resolve(message as T);
      });
    });
  const { port } = await next<{ port: number }>();
  return {
    child,
    port,
    ask(message) {
      const answer = next<never>();
      child.send(message);
      return answer;
    },
  };
}

async function clientsOf(port: number, count: number, onEvent: (event: PrismeEvent) => void): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let i = 0; i < count; i += 50) {
    const some = Array.from({ length: Math.min(50, count - i) }, (_, k) => {
      const socket = io(`http://127.0.0.1:${port}/v2/workspaces/w1/events`, {
        transports: ['websocket'],
        forceNew: true,
        reconnection: false,
        auth: { authorization: `user-${i + k}` },
      });
      socket.on('order.paid', onEvent);
      return socket;
    });
    await Promise.all(
      some.map((socket) => new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject))),
    );
    sockets.push(...some);
  }
  return sockets;
}

const ended = (child: ChildProcess) =>
  new Promise<void>((resolve) => (child.exitCode !== null ? resolve() : child.once('exit', () => resolve())));

async function broadcastCost(mode: 'ours' | 'members' | 'bare'): Promise<{ perCore: number; bytesPerSocket: number }> {
  const server = await side(mode);
  const { rss: empty } = await server.ask<{ rss: number }>({ task: 'memory' });
  let received = 0;
  const sockets = await clientsOf(server.port, CLIENTS, () => received++);
  const { rss: connected } = await server.ask<{ rss: number }>({ task: 'memory' });
  const count = Math.ceil(100_000 / CLIENTS);
  await server.ask({ task: 'emit', count: 10 });
  const rates: number[] = [];
  for (let run = 0; run < 3; run++) {
    const wanted = received + count * CLIENTS;
    const before = (await server.ask<{ cpu: NodeJS.CpuUsage }>({ task: 'cpu' })).cpu;
    await server.ask({ task: 'emit', count });
    while (received < wanted) await new Promise((resolve) => setTimeout(resolve, 5));
    const after = (await server.ask<{ cpu: NodeJS.CpuUsage }>({ task: 'cpu' })).cpu;
    rates.push((count * CLIENTS) / ((after.user + after.system - before.user - before.system) / 1e6));
  }
  for (const socket of sockets) socket.disconnect();
  server.child.kill();
  await ended(server.child);
  return { perCore: median(rates), bytesPerSocket: (connected - empty) / CLIENTS };
}

async function deliveryLatency(): Promise<number> {
  const server = await side('ours');
  const times: number[] = [];
  const sockets = await clientsOf(server.port, 10, (event) =>
    times.push(performance.timeOrigin + performance.now() - (event.payload.at as number)),
  );
  await server.ask({ task: 'emit', count: 50 });
  times.length = 0;
  const count = 3_000;
  await server.ask({ task: 'pace', count, perSecond: 1_000 });
  while (times.length < count * 10 * 0.99) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const socket of sockets) socket.disconnect();
  server.child.kill();
  await ended(server.child);
  return quantile(times, 0.99);
}

async function socketRows(): Promise<Row[]> {
  const bare = await broadcastCost('bare');
  const ours = await broadcastCost('ours');
  const members = await broadcastCost('members');
  return [
    {
      name: `sockets: deliveries per second of CPU, ${CLIENTS} clients`,
      value: round(ours.perCore, 0),
      unit: '1/s',
      limit: { name: 'bare Socket.IO', value: round(bare.perCore, 0) },
      ratio: round(ours.perCore / bare.perCore, 2),
      goal: '0.6',
    },
    {
      name: `sockets: the same, each of ${CLIENTS} clients with rules of his own`,
      value: round(members.perCore, 0),
      unit: '1/s',
      limit: { name: 'bare Socket.IO', value: round(bare.perCore, 0) },
      ratio: round(members.perCore / bare.perCore, 2),
      goal: '0.6',
    },
    {
      name: 'sockets: memory of an idle one',
      value: round(ours.bytesPerSocket / 1024),
      unit: 'kB',
      limit: { name: 'bare Socket.IO', value: round(bare.bytesPerSocket / 1024) },
      ratio: round(ours.bytesPerSocket / bare.bytesPerSocket, 2),
    },
    {
      name: 'sockets: p99 from emit to client at 1000 events/s, 10 clients',
      value: round(await deliveryLatency()),
      unit: 'ms',
      goal: '< 50',
    },
  ];
}

export async function rows(): Promise<Row[]> {
  return [...(await historyRows()), ...(await socketRows())];
}
