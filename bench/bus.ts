/**
 * bus — the message broker: throughput of publish → handle → acknowledge beside a raw ioredis loop and a raw SQLite log, latency at 1000 events/s, CPU per
 * event, memory while a million events pass. Redis without persistence, as the limit it is compared with.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { type CoreOptions, type OpenedBus, openBus } from '../mixins/bus/bus.ts';
import { loadConfig } from '../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../mixins/shared/event.ts';
import { redisAvailable, startRedis } from '../test/support/redis.ts';
import { median, type Row } from './row.ts';

const EVENTS = 40_000;
const RUNS = 3;
const WORKSPACES = 50;
const IN_FLIGHT = 1_000;
const BACKLOG = 100_000;
const MILLION = Number(process.argv.includes('--short') ? 100_000 : 1_000_000);

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const PAYLOAD = { amount: 12.5, currency: 'EUR', customer: { id: 'c_18273', name: 'Ada' }, items: [{ sku: 'A-1', count: 2 }] };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const round = (value: number, digits = 0) => Number(value.toFixed(digits));

function send(bus: OpenedBus, n: number, payload: object = PAYLOAD) {
  const source = { workspaceId: `w${n % WORKSPACES}`, userId: 'u1', sessionId: 's1', correlationId: 'c0ffee' };
  return bus.send('order.paid', { ...payload }, { topic: EMIT_TOPIC, source });
}

/** Sends `count` events, IN_FLIGHT at a time, and waits until each was handled and acknowledged. */
async function throughput(bus: OpenedBus, count: number): Promise<{ perSecond: number; cpuMicros: number }> {
  let handled = 0;
  let finish = () => {};
  const all = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const subscription = await bus.on(
    EMIT_TOPIC,
    () => {
      if (++handled === count) finish();
    },
    { group: 'bench' },
  );
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  for (let n = 0; n < count; n += IN_FLIGHT)
    await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, count - n) }, (_, i) => send(bus, n + i)));
  await all;
  for (;;) {
    const [lag] = await bus.lag();
    if (lag?.entries === 0) break;
    await pause(2);
  }
  const { user, system } = process.cpuUsage(cpu);
  const ms = performance.now() - startedAt;
  await subscription.stop();
  return { perSecond: (count / ms) * 1_000, cpuMicros: (user + system) / count };
}

/** Emit to handler, milliseconds, at 1000 events a second for `seconds`. */
async function latency(bus: OpenedBus, seconds: number): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  const subscription = await bus.on(EMIT_TOPIC, (event) => void times.push(performance.now() - (event.payload.at as number)), {
    group: 'latency',
  });
  await pause(300);
  times.length = 0;
  const startedAt = performance.now();
  for (let sent = 0; sent < seconds * 1_000; ) {
    const due = Math.min(performance.now() - startedAt, seconds * 1_000);
    for (; sent < due; sent++) void send(bus, sent, { at: performance.now() });
    await pause(1);
  }
  await pause(300);
  await subscription.stop();
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] as number;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Live heap after a collection and memory of this process, MB. */
function memory(): { heap: number; rss: number } {
  gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: (heapUsed + external) / 1e6, rss: rss / 1e6 };
}

/** Growth from a tenth of the way to the end, MB. */
async function growth(bus: OpenedBus, count: number): Promise<{ heap: number; rss: number }> {
  await throughput(bus, count / 10);
  const before = memory();
  await throughput(bus, count - count / 10);
  const after = memory();
  return { heap: after.heap - before.heap, rss: after.rss - before.rss };
}

/** Events a second when `count` of them wait in the log: what a group does that was away. */
async function catchUp(bus: OpenedBus, count: number): Promise<number> {
  for (let n = 0; n < count; n += IN_FLIGHT) await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => send(bus, n + i)));
  let handled = 0;
  const startedAt = performance.now();
  await new Promise<void>((resolve) => {
    const handle = () => {
      if (++handled === count) resolve();
    };
    void bus.on(EMIT_TOPIC, handle, { group: 'late' });
  });
  return (count / (performance.now() - startedAt)) * 1_000;
}

/** The ceiling on Redis: one connection writes, one reads with a consumer group, acknowledgements in batches; same body, nothing else. */
async function rawRedis(url: string): Promise<number> {
  const writer = new Redis(url);
  const reader = new Redis(url);
  await writer.del('raw');
  await writer.xgroup('CREATE', 'raw', 'g', '0', 'MKSTREAM');
  const body = JSON.stringify({
    id: 'x'.repeat(26),
    type: 'order.paid',
    source: { workspaceId: 'w1', userId: 'u1', host: {} },
    payload: PAYLOAD,
  });
  const startedAt = performance.now();
  const reading = (async () => {
    for (let seen = 0; seen < EVENTS; ) {
      const reply = (await reader.xreadgroup('GROUP', 'g', 'c', 'COUNT', 1_000, 'BLOCK', 1_000, 'STREAMS', 'raw', '>')) as
        | [string, [string, string[]][]][]
        | null;
      const entries = reply?.[0]?.[1] ?? [];
      for (const [, fields] of entries) JSON.parse(fields[1] as string);
      seen += entries.length;
      if (entries.length) await writer.xack('raw', 'g', ...entries.map(([id]) => id));
    }
  })();
  for (let n = 0; n < EVENTS; n += IN_FLIGHT) {
    const pipeline = writer.pipeline();
    for (let i = 0; i < IN_FLIGHT; i++) pipeline.xadd('raw', '*', 'b', body);
    await pipeline.exec();
  }
  await reading;
  const perSecond = (EVENTS / (performance.now() - startedAt)) * 1_000;
  await writer.del('raw');
  writer.disconnect();
  reader.disconnect();
  return perSecond;
}

/** The ceiling embedded: the same rows, a thousand a transaction, read back and parsed. */
function rawSqlite(file: string): number {
  const db = new DatabaseSync(file);
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE log (seq INTEGER PRIMARY KEY, shard INTEGER, id TEXT, body TEXT)',
  );
  db.exec('CREATE INDEX by_shard ON log (shard, seq); CREATE INDEX by_id ON log (id)');
  const insert = db.prepare('INSERT INTO log (shard, id, body) VALUES (?, ?, ?)');
  const read = db.prepare('SELECT * FROM log WHERE seq > ? ORDER BY seq LIMIT 1000');
  const body = JSON.stringify({
    id: 'x'.repeat(26),
    type: 'order.paid',
    source: { workspaceId: 'w1', userId: 'u1', host: {} },
    payload: PAYLOAD,
  });
  const startedAt = performance.now();
  for (let n = 0; n < EVENTS; n += IN_FLIGHT) {
    db.exec('BEGIN');
    for (let i = 0; i < IN_FLIGHT; i++) insert.run(i % 16, `id${n + i}`, body);
    db.exec('COMMIT');
    for (const row of read.all(n)) JSON.parse(row.body as string);
  }
  const perSecond = (EVENTS / (performance.now() - startedAt)) * 1_000;
  db.close();
  return perSecond;
}

async function measure(
  name: string,
  urlOf: (log: string) => string,
  limits: { name: string; run: () => Promise<number> | number },
  goals: string[],
): Promise<Row[]> {
  /** Each on a log of its own: a group begins with the oldest entry kept. */
  const open = (options: CoreOptions = {}) => {
    const name = `bench${Math.random().toString(36).slice(2)}`;
    return openBus(loadConfig({}, { busUrl: urlOf(name), namespace: name, nodeId: 'bench' }), { service: 'bench', ...options });
  };
  const speeds: number[] = [];
  const costs: number[] = [];
  const tops: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    tops.push(await limits.run());
    const bus = await open();
    const { perSecond, cpuMicros } = await throughput(bus, EVENTS);
    speeds.push(perSecond);
    costs.push(cpuMicros);
    await bus.close();
  }
  const bus = await open();
  const { p50, p99 } = await latency(bus, 4);
  await bus.close();
  // Full after half of it, as a log is after some time of load: old entries give way from then on.
  const long = await open({ maxEntries: MILLION / 2 });
  const grown = await growth(long, MILLION);
  const full: number[] = [];
  for (let run = 0; run < RUNS; run++) full.push((await throughput(long, EVENTS)).perSecond);
  await long.close();
  const away = await open();
  const backlog = await catchUp(away, BACKLOG);
  await away.close();

  const limit = { name: limits.name, value: round(median(tops)) };
  const speed = round(median(speeds));
  return [
    { name: `${name}: publish, handle, acknowledge`, value: speed, unit: 'events/s', limit, ratio: speed / limit.value, goal: goals[0] },
    {
      name: `${name}: the same in a log that is full`,
      value: round(median(full)),
      unit: 'events/s',
      limit: { name: 'in an empty log', value: speed },
      ratio: median(full) / speed,
    },
    { name: `${name}: CPU per event, both sides`, value: round(median(costs), 1), unit: 'µs' },
    { name: `${name}: emit to handler at 1000/s, p50`, value: round(p50, 2), unit: 'ms' },
    { name: `${name}: emit to handler at 1000/s, p99`, value: round(p99, 2), unit: 'ms', goal: goals[1] },
    { name: `${name}: live heap, growth from ${MILLION / 10} to ${MILLION} events`, value: round(grown.heap, 1), unit: 'MB', goal: 'flat' },
    { name: `${name}: memory of the process, growth meanwhile`, value: round(grown.rss, 1), unit: 'MB', goal: 'flat' },
    { name: `${name}: handling ${BACKLOG} events that had waited`, value: round(backlog), unit: 'events/s' },
  ];
}

export async function rows(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'prisme-bench-'));
  const found: Row[] = [];
  let files = 0;
  try {
    const sqlite = { name: 'raw SQLite log', run: () => rawSqlite(join(dir, `raw${++files}.db`)) };
    found.push(...(await measure('embedded', (log) => `sqlite:${dir}/${log}.db`, sqlite, ['≥ 15 000/s', '< 10 ms'])));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  if (!redisAvailable()) return found;
  const redis = await startRedis({ isolated: true });
  try {
    const raw = { name: 'raw XADD, XREADGROUP, XACK', run: () => rawRedis(redis.url) };
    found.push(...(await measure('Redis', () => redis.url, raw, ['≥ 40 %', '< 20 ms'])));
  } finally {
    await redis.stop();
  }
  return found;
}
