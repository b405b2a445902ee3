/**
 * Producers and consumers of the bus are killed with SIGKILL again and again, more than a hundred times over both carriers. Afterwards: every confirmed
 * event was handled, in the order of its workspace; what ran twice was in the hands of a process that died.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis } from '../support/redis.ts';

const KILLS = 55;
/** Leases of those that are killed: short, and yet longer than some writes of the disk at hand. */
const LEASE_MS = 600;
const LEASE_WRITES = 12;
const MAX_LEASE_MS = 2_400;
const KILLS_PER_LEASE = 2;
const CONSUMERS = 2;
const HOUR = 3_600_000;
const SCRIPT = new URL('./bus-node.ts', import.meta.url).pathname;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const spawnNode = (args: string[]): ChildProcess =>
  spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });

/** The median of some writes, ms: Redis answers when the disk has it. */
async function usualWrite(busUrl: string, dataDir: string): Promise<number> {
  const bus = await openBus(loadConfig({}, { busUrl, dataDir }), { service: 'test' });
  const durations: number[] = [];
  for (let n = 0; n < 20; n++) {
    const began = performance.now();
    await bus.send('crash.probe', { n }, { topic: EMIT_TOPIC, source: { workspaceId: 'probe' } });
    durations.push(performance.now() - began);
  }
  await bus.close();
  return durations.sort((a, b) => a - b)[10] as number;
}

/** @param hasSkew the clocks of the processes differ by up to two hours: the store has its own */
async function ordeal(carrier: string, busUrl: string, dataDir: string, hasSkew = false): Promise<void> {
  const file = join(dataDir, 'lines');
  const living = new Map<string, ChildProcess>();
  let births = 0;
  let seed = Number(process.env.SEED ?? Date.now() % 100_000);
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const leaseMs = Math.round(Math.min(Math.max(LEASE_MS, LEASE_WRITES * (await usualWrite(busUrl, dataDir))), MAX_LEASE_MS));
  console.log(`${carrier}: seed ${seed}, leases of ${leaseMs} ms`);

  const start = (role: 'producer' | 'consumer' | 'survivor') => {
    const name = `${role}${++births}`;
    // Numbers of a producer are above those of every earlier one: the order of a workspace is the order of its numbers.
    const skew = hasSkew ? Math.round((random() - 0.5) * 2 * HOUR) : 0;
    const child = spawnNode([role, busUrl, dataDir, file, name, String(births * 1_000_000), String(skew), String(leaseMs)]);
    living.set(name, child);
  };
  const kill = async (name: string) => {
    const child = living.get(name) as ChildProcess;
    living.delete(name);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  };
  const lines = () => readFileSync(file, 'utf8').split('\n');

  try {
    start('producer');
    for (let i = 0; i < CONSUMERS; i++) start('consumer');
    await eventually(() => lines().some((line) => line.startsWith('RAN')), { timeoutMs: 30_000 });

    for (let kills = 0; kills < KILLS; kills++) {
      await pause((leaseMs / KILLS_PER_LEASE) * (0.5 + random()));
      const names = [...living.keys()];
      const name = names[Math.floor(random() * names.length)] as string;
      await kill(name);
      start(name.startsWith('producer') ? 'producer' : 'consumer');
    }
    for (const name of [...living.keys()]) await kill(name);
    for (let i = 0; i < CONSUMERS; i++) start('survivor');

    const sent = lines().filter((line) => line.startsWith('SENT'));
    const missing = () => {
      const ran = new Set(lines().flatMap((line) => (line.startsWith('RAN') ? [line.split(' ')[2]] : [])));
      return sent.filter((line) => !ran.has(line.split(' ')[2]));
    };
    // As long as it goes on: a slow disk makes a long queue, not a lost event.
    for (let left = missing(); left.length > 0; left = missing()) {
      const before = left.length;
      const isLess = eventually(() => missing().length < before, { timeoutMs: 30_000, everyMs: 200 });
      await isLess.catch(async () => {
        const bus = await openBus(loadConfig({}, { busUrl, dataDir }), { service: 'test' });
        const report = { of: sent.length, lag: await bus.lag(), living: [...living.keys()], first: missing().slice(0, 20) };
        await bus.close();
        throw new Error(`${before} confirmed events stay unhandled: ${JSON.stringify(report)}`);
      });
    }
    const bus = await openBus(loadConfig({}, { busUrl, dataDir }), { service: 'test' });
    await eventually(async () => expect(await bus.lag()).toMatchObject([{ entries: 0 }]), { timeoutMs: 30_000, everyMs: 100 });
    const [lag] = await bus.lag();
    await bus.close();
    for (const name of [...living.keys()]) await kill(name);

    const firsts = new Map<string, number[]>();
    const byConsumer = new Map<string, number[]>();
    const runs = new Map<number, string[]>();
    for (const line of lines()) {
      const [what, workspace, number, consumer] = line.split(' ') as [string, string, string, string];
      if (what !== 'RAN') continue;
      const n = Number(number);
      const earlier = runs.get(n);
      if (!earlier) firsts.set(workspace, [...(firsts.get(workspace) ?? []), n]);
      runs.set(n, [...(earlier ?? []), consumer]);
      const key = `${consumer} ${workspace}`;
      byConsumer.set(key, [...(byConsumer.get(key) ?? []), n]);
    }
    const again = [...runs.values()].filter((consumers) => consumers.length > 1);
    console.log(
      `${carrier}: ${KILLS} kills, ${sent.length} confirmed, ${runs.size} handled, ${again.length} of them more than once, ${lag?.dead} dead letters`,
    );

    expect(sent.filter((line) => !runs.has(Number(line.split(' ')[2])))).toEqual([]);
    expect(lag?.dead).toBe(0);
    // First runs of a workspace, over all consumers, in the order of sending; each consumer by itself too.
    for (const list of [...firsts.values(), ...byConsumer.values()]) expect(list).toEqual([...list].sort((a, b) => a - b));
    // The same process never runs an event twice: a second run is another process that took over.
    for (const consumers of again) expect(new Set(consumers).size).toBe(consumers.length);
    // What ran twice was read but not settled by a process that died: a small part.
    expect(again.length).toBeLessThan(runs.size / 5);
  } finally {
    for (const name of [...living.keys()]) await kill(name);
  }
}

describe('the bus whose processes are killed in a loop', () => {
  it('loses nothing that was confirmed and keeps the order: SQLite', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'prisme-crash-'));
    try {
      await ordeal('SQLite', `sqlite:${dataDir}/bus.db`, dataDir);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  if (redisAvailable())
    it('loses nothing that was confirmed and keeps the order: Redis', async () => {
      const redis = await startRedis({ appendOnly: true, isolated: true });
      const dataDir = mkdtempSync(join(tmpdir(), 'prisme-crash-'));
      try {
        await ordeal('Redis', redis.url, dataDir, true);
      } finally {
        rmSync(dataDir, { recursive: true, force: true });
        await redis.stop();
      }
    });
});

describe('a consumer that is killed with 50 events in hand, with the times of production', () => {
  async function takeOver(busUrl: string, dataDir: string): Promise<void> {
    const file = join(dataDir, 'lines');
    const bus = await openBus(loadConfig({}, { busUrl, dataDir, nodeId: 'other' }), { service: 'test' });
    const holder = spawnNode(['holder', busUrl, dataDir, file, 'holder', '0']);
    try {
      for (let n = 1; n <= 50; n++) await bus.send('crash.test', { n }, { topic: EMIT_TOPIC, source: { workspaceId: `w${n}` } });
      const held = () => readFileSync(file, 'utf8').match(/^HELD/gm)?.length;
      await eventually(() => held() === 50, { timeoutMs: 30_000 });
      const ended = new Promise((resolve) => holder.once('exit', resolve));
      const killedAt = performance.now();

      holder.kill('SIGKILL');
      await ended;
      const seen = new Set<number>();
      await bus.on(EMIT_TOPIC, (event) => void seen.add(event.payload.n as number), { group: 'crash' });

      await eventually(() => seen.size === 50, { timeoutMs: 45_000 });
      console.log(
        `${busUrl.split(':')[0]}: another member had handled all 50 after ${((performance.now() - killedAt) / 1_000).toFixed(1)} s`,
      );
    } finally {
      holder.kill('SIGKILL');
      await bus.close({ drainMs: 0 });
    }
  }

  const inFolder = async (work: (dataDir: string) => Promise<void>) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'prisme-crash-'));
    try {
      await work(dataDir);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  };

  it('leaves them to another member of its group: SQLite', () => inFolder((dataDir) => takeOver(`sqlite:${dataDir}/bus.db`, dataDir)));

  if (redisAvailable())
    it('leaves them to another member of its group: Redis', async () => {
      const redis = await startRedis({ isolated: true });
      await inFolder((dataDir) => takeOver(redis.url, dataDir));
      await redis.stop();
    });
});
