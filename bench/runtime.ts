/**
 * runtime — how soon things start, what waiting costs, and what neighbours cost each other.
 *
 * Starts and wake-ups are measured inside one process, by its clock, from the call that sends the event to the first line of the automation;
 * the limit beside them is the same bus without a runtime. BENCH_WAITING (5000) and BENCH_WORKSPACES (100) set the sizes of the larger rows.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { EMIT_TOPIC } from '../mixins/shared/event.ts';
import { client, expectOk, newUser } from '../test/support/client.ts';
import { eventually } from '../test/support/eventually.ts';
import { startPlatform } from '../test/support/platform.ts';
import { redisAvailable, startRedis } from '../test/support/redis.ts';
import { type Automation, type RuntimeNode, startNode, testStores, WORKSPACE } from '../test/support/runtime-node.ts';
import { startRuntime } from '../test/support/runtime-services.ts';
import { load } from './load.ts';
import { median, type Row } from './row.ts';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
const WAITING = Number(process.env.BENCH_WAITING ?? 5_000);
const WORKSPACES = Number(process.env.BENCH_WORKSPACES ?? 100);
const PER_SECOND = 500;

const at = (times: number[], share: number): number => {
  const sorted = [...times].sort((a, b) => a - b);
  return Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1));
};

/** Calls `send` at a steady pace, in steps of 10 ms, whether the former calls are answered or not. */
async function paced(count: number, perSecond: number, send: (n: number) => Promise<unknown>): Promise<void> {
  const sent: Promise<unknown>[] = [];
  const began = performance.now();
  for (let n = 0; n < count; n++) {
    const due = began + (n * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 1) await sleep(Math.max(early, 10));
    sent.push(send(n));
  }
  await Promise.all(sent);
}

/** Milliseconds from `send` to the handler, on the bus alone. */
async function busAlone(node: RuntimeNode): Promise<number> {
  const times: number[] = [];
  const subscription = await node.bus.on(
    EMIT_TOPIC,
    ({ type, payload }) => void (type === 'alone' && times.push(performance.now() - Number(payload.sent))),
    { group: 'bench', maxInFlight: 1000 },
  );
  const count = PER_SECOND * Math.min(SECONDS, 2);
  await paced(count, PER_SECOND, () => node.emit('alone', { sent: performance.now() }));
  await eventually(() => times.length >= count, { timeoutMs: 20_000 });
  await subscription.stop();
  return at(times, 0.99);
}

async function starts(node: RuntimeNode, times: number[]): Promise<number[]> {
  const count = PER_SECOND * SECONDS;
  const send = () => node.emit('started', { sent: performance.now() });
  await paced(PER_SECOND, PER_SECOND, send);
  await eventually(() => times.length >= PER_SECOND, { timeoutMs: 20_000 });
  times.length = 0;
  await paced(count, PER_SECOND, send);
  await eventually(() => times.length >= count, { timeoutMs: 60_000 });
  return times;
}

async function wakeUps(node: RuntimeNode, woken: number[], count: number, isSuspended: boolean): Promise<number[]> {
  woken.length = 0;
  const from = serial;
  serial += count;
  for (let n = from; n < serial; n++) await node.emit('asked', { n });
  await eventually(() => node.runtime.waits.heldCount() >= count || node.runtime.execution.actives.size === 0, { timeoutMs: 60_000 });
  if (isSuspended) await eventually(() => node.runtime.execution.actives.size === 0, { timeoutMs: 60_000 });
  await paced(count, 100, (n) => node.emit('answered', { n: from + n, sent: performance.now() }));
  await eventually(() => woken.length >= count, { timeoutMs: 60_000 });
  return woken;
}
let serial = 0;

async function onStores(name: string, redisUrl: string | undefined, goal: string): Promise<Row[]> {
  const stores = testStores(redisUrl);
  const times: number[] = [];
  const woken: number[] = [];
  const automations: Record<string, Automation> = {
    start: {
      events: ['started'],
      run: async (_, { payload }) => void times.push(performance.now() - Number((payload.payload as any).sent)),
    },
    wait: {
      events: ['asked'],
      run: async (ask, { payload }) => {
        const { n } = payload.payload as { n: number };
        const event = await ask({ type: 'wait', oneOf: [{ event: 'answered', filters: { 'payload.n': n } }], timeoutS: 600 } as never);
        woken.push(performance.now() - Number(event.payload.sent));
      },
    },
    sleep: { events: ['sleep'], run: (ask) => ask({ type: 'wait', oneOf: [{ event: 'never' }], timeoutS: 86_400 } as never) },
  };
  const node = await startNode(stores, automations, 'bench');
  try {
    const limit = { name: `the bus alone, ${name}, p99 ms`, value: await busAlone(node) };
    const begun = await starts(node, times);
    const rows: Row[] = [
      {
        name: `emit → start of the run at ${PER_SECOND}/s, ${name}`,
        value: at(begun, 0.99),
        unit: `ms p99 (p50 ${at(begun, 0.5)})`,
        limit,
        ratio: at(begun, 0.99) / limit.value,
        goal,
      },
    ];
    for (const isSuspended of [false, true]) {
      // More than a hundred would leave memory at once.
      const found = await wakeUps(node, woken, isSuspended ? 200 : 50, isSuspended);
      rows.push({
        name: `event → wake-up of a wait ${isSuspended ? 'that left memory' : 'held in memory'}, ${name}`,
        value: at(found, 0.99),
        unit: `ms p99 (p50 ${at(found, 0.5)})`,
        goal: '< 30 ms',
      });
    }
    if (!redisUrl) rows.push(await crowd(node));
    return rows;
  } finally {
    await node.stop();
    stores.cleanUp();
  }
}

/** Memory of this process for each run that waits and has left it. */
async function crowd(node: RuntimeNode): Promise<Row> {
  setFlagsFromString('--expose_gc');
  const gc = runInNewContext('gc') as NonNullable<typeof globalThis.gc>;
  /** As a node at rest does (mixins/shared/idle-memory.ts). */
  const collect = () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  /** What the process itself holds: pages of the database file, which the system may drop at any time, are not counted. */
  const memory = () => {
    collect();
    const own = existsSync('/proc/self/status') && /RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return own ? Number(own) * 1024 : process.memoryUsage().rss;
  };
  const before = memory();
  const began = performance.now();
  for (let n = 0; n < WAITING; n += 100) {
    await Promise.all(Array.from({ length: Math.min(100, WAITING - n) }, () => node.emit('sleep')));
    await eventually(() => node.runtime.execution.actives.size < 500, { timeoutMs: 60_000 });
  }
  const isAsleep = async () => {
    const asleep = await node.runtime.store.list(WORKSPACE, 1, 'running');
    return node.runtime.execution.actives.size === 0 && asleep.length === 0;
  };
  await eventually(async () => (await isAsleep()) || Promise.reject(new Error('still awake')), { timeoutMs: 120_000 });
  const perSecond = Math.round(WAITING / ((performance.now() - began) / 1000));
  const grown = memory() - before;
  return {
    name: `${WAITING} runs that wait, none in memory (${perSecond}/s went to sleep)`,
    value: Math.round(grown / 1e6),
    unit: `MB more; ${Math.round(((Math.max(0, grown) / WAITING) * 100_000) / 1e6)} MB at 100 000`,
    goal: '< 500 MB at 100 000',
  };
}

/** Milliseconds of a quiet tenant's webhooks, alone and beside one that does all it can. */
async function neighbours(): Promise<Row[]> {
  const platform = await startPlatform({ mode: 'embedded', env: { RATE_LIMIT_DISABLED: 'true', LOG_LEVEL: 'error' } });
  try {
    const owner = await newUser(platform.url);
    const make = async (name: string, turns: number) => {
      const { id } = await expectOk(owner.post('/workspaces', { name }));
      const steps = [{ repeat: { until: turns, do: [{ set: { name: 'n', value: '{% {{n}} + 1 %}' } }] } }];
      await expectOk(
        owner.post(`/workspaces/${id}/automations`, { slug: 'it', name: 'it', when: { endpoint: true }, do: steps, output: '{{n}}' }),
      );
      await eventually(async () => (await client(platform.url).post(`/workspaces/${id}/webhooks/it`, {})).status === 200);
      return `/workspaces/${id}/webhooks/it`;
    };
    const quiet = await make('Quiet', 10);
    const noisy = await make('Noisy', 5_000);
    const measured = async () => {
      const times: number[] = [];
      const end = performance.now() + SECONDS * 1000;
      while (performance.now() < end) {
        const began = performance.now();
        await client(platform.url).post(quiet, {});
        times.push(performance.now() - began);
        await sleep(10);
      }
      return times;
    };
    await measured();
    const alone = await measured();
    const port = Number(new URL(platform.url).port);
    const noise = load({ port, connections: 20, seconds: SECONDS + 1, method: 'POST', path: `/v2${noisy}`, body: '{}' });
    await sleep(500);
    const beside = await measured();
    const { requestsPerSecond } = await noise;
    return [
      {
        name: `webhook of a tenant beside a noisy one (20 connections, 5000-turn loops, ${requestsPerSecond}/s)`,
        value: at(beside, 0.99),
        unit: `ms p99 (p50 ${at(beside, 0.5)})`,
        limit: { name: 'the same tenant alone, ms p99', value: at(alone, 0.99) },
        ratio: at(beside, 0.99) / at(alone, 0.99),
        goal: '≤ 200 %',
      },
    ];
  } finally {
    await platform.stop();
  }
}

/** Cost of a webhook and memory when more workspaces are in use. */
async function growth(): Promise<Row[]> {
  const runtime = await startRuntime({ rateLimitDisabled: true });
  try {
    const ids: string[] = [];
    const rows: Row[] = [];
    let first: number | undefined;
    for (const size of [10, 100, 1_000].filter((n) => n <= WORKSPACES)) {
      while (ids.length < size) ids.push(await runtime.workspace({ it: { when: { endpoint: true }, output: { n: '{{body.n}}' } } }));
      for (const id of ids) await runtime.webhook(id, 'it', { n: 1 });
      const costs: number[] = [];
      for (let turn = 0; turn < 5; turn++) {
        const began = performance.now();
        for (let n = 0; n < 500; n++) await runtime.webhook(ids[(n * 7) % size] as string, 'it', { n });
        costs.push(((performance.now() - began) / 500) * 1000);
      }
      const cost = Math.round(median(costs));
      first ??= cost;
      rows.push({
        name: `webhook with ${size} workspaces in use`,
        value: cost,
        unit: 'µs each, one after the other',
        limit: { name: 'the same with 10 workspaces, µs', value: first },
        ratio: cost / first,
      });
    }
    return rows;
  } finally {
    await runtime.stop();
  }
}

export async function rows(): Promise<Row[]> {
  const rows = await onStores('embedded', undefined, '< 15 ms');
  if (redisAvailable()) {
    const redis = await startRedis();
    try {
      rows.push(...(await onStores('Redis', redis.url, '< 30 ms')));
    } finally {
      await redis.stop();
    }
  }
  return [...rows, ...(await neighbours()), ...(await growth())];
}
