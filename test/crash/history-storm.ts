/**
 * history-storm — two processes keep the events of the bus; one after the other dies by SIGKILL with events in hand, by turns received and not stored, or stored
 * and not acknowledged, and is replaced. At the end no event may be missing and none be there twice. `npm run storm:history [-- <events> <kills>]` is the long version of history.test.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { eventually } from '../support/eventually.ts';

export interface HistoryReport {
  events: number;
  kills: number;
  /** Events that a process had in hand when it was killed: received again by another, of which so many were stored already. */
  receivedAgain: number;
  storedBefore: number;
  stored: number;
  missing: number;
  dead: number;
  seconds: number;
}

const BATCH = 250;
const SCRIPT = new URL('./history-node.ts', import.meta.url).pathname;

export async function historyStorm({ events, kills }: { events: number; kills: number }): Promise<HistoryReport> {
  const began = Date.now();
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-history-'));
  const bus = await openBus(loadConfig({}, { dataDir, nodeId: 'producer' }));
  const lines = (): string[] => (existsSync(join(dataDir, 'lines')) ? readFileSync(join(dataDir, 'lines'), 'utf8').split('\n') : []);
  const sumOf = (word: string) => lines().reduce((sum, line) => sum + (line.startsWith(`${word} `) ? Number(line.split(' ')[2]) : 0), 0);
  const nodes: { name: string; child: ChildProcess }[] = [];
  let births = 0;

  const start = async (deathAt?: 'HAS' | 'KEPT') => {
    const name = `history${++births}`;
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT, dataDir, name, ...(deathAt ? [deathAt] : [])], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    nodes.push({ name, child });
    await eventually(() => lines().includes(`UP ${name}`), { timeoutMs: 60_000, everyMs: 20 });
  };
  const end = ({ child }: { child: ChildProcess }) =>
    new Promise<unknown>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(null);
      child.once('exit', resolve);
      child.kill('SIGKILL');
    });

  try {
    await start();
    let sent = 0;
    const sendUpTo = async (count: number) => {
      for (; sent < count; sent += BATCH)
        await bus.sendAll(
          Array.from({ length: BATCH }, (_, i) => ({
            type: 'crash.event',
            payload: { n: sent + i },
            options: { topic: EMIT_TOPIC, source: { workspaceId: `w${i % 40}` } },
          })),
        );
    };
    for (let kill = 1; kill <= kills; kill++) {
      await start(kill % 2 ? 'HAS' : 'KEPT');
      const { child } = nodes.pop() as (typeof nodes)[number];
      const death = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
      // Events keep coming until the one that is to die has got its share.
      for (const upTo = Math.floor((kill * events) / (kills + 1)); child.signalCode === null && child.exitCode === null; ) {
        await sendUpTo(Math.max(upTo, sent + BATCH));
        await Promise.race([death, new Promise((resolve) => setTimeout(resolve, 200))]);
      }
    }
    await sendUpTo(Math.max(events, sent));
    await eventually(async () => (await bus.lag()).every(({ entries }) => entries === 0), { timeoutMs: 300_000, everyMs: 200 });
    const dead = (await bus.deadLetters({ group: 'history' })).length;
    for (const node of nodes.splice(0)) await end(node);

    const datalake = await sqliteDatalake(join(dataDir, 'datalake.db'));
    const usage = await datalake.usage();
    const { aggs } = await datalake.search({
      limit: 0,
      trackTotal: false,
      aggs: { different: { cardinality: { field: 'payload.n' } }, count: { value_count: { field: 'payload.n' } } },
    });
    await datalake.close();
    const { different, count } = aggs as Record<string, { value: number }>;
    const receivedAgain = sumOf('HAS') - sent;
    return {
      events: sent,
      kills,
      receivedAgain,
      storedBefore: sumOf('KEPT') - sent,
      stored: usage.reduce((sum, workspace) => sum + workspace.events, 0),
      missing: sent - (different?.value ?? 0) + Math.abs(sent - (count?.value ?? 0)),
      dead,
      seconds: Math.round((Date.now() - began) / 100) / 10,
    };
  } finally {
    for (const node of nodes) await end(node);
    await bus.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const report = await historyStorm({ events: Number(process.argv[2] ?? 200_000), kills: Number(process.argv[3] ?? 20) });
  console.log(JSON.stringify(report, null, 2));
  process.exit(report.missing === 0 && report.stored === report.events && report.dead === 0 ? 0 : 1);
}
