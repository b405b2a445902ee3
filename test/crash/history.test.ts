/** The process that keeps the events is killed between receiving and storing, again and again: at the end no event is missing and none is there twice. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { eventually } from '../support/eventually.ts';

const EVENTS = 100_000;
const BATCH = 250;
const KILLS = 12;
const SCRIPT = new URL('./history-node.ts', import.meta.url).pathname;

it('keeps every event although its node dies again and again', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-history-'));
  const bus = await openBus(loadConfig({}, { dataDir, nodeId: 'producer' }));
  let births = 0;
  let child: ChildProcess | undefined;
  const start = () => {
    const name = `history${++births}`;
    child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT, dataDir, name], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return eventually(() => readFileSync(join(dataDir, 'lines'), 'utf8').includes(`UP ${name}\n`), { timeoutMs: 30_000 });
  };
  const kill = async () => {
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await ended;
  };
  await start();

  for (let sent = 0, kills = 0; sent < EVENTS; sent += BATCH) {
    await bus.sendAll(
      Array.from({ length: BATCH }, (_, i) => ({
        type: 'crash.event',
        payload: { n: sent + i },
        options: { topic: EMIT_TOPIC, source: { workspaceId: `w${i % 7}` } },
      })),
    );
    if (sent + BATCH >= ((kills + 1) * EVENTS) / (KILLS + 1) && kills < KILLS) {
      kills++;
      await kill();
      await start();
    }
  }
  await eventually(async () => (await bus.lag()).every(({ entries }) => entries === 0), { timeoutMs: 120_000, everyMs: 200 });
  const dead = await bus.deadLetters({ group: 'history' });
  await kill();
  await bus.close();

  const datalake = await sqliteDatalake(join(dataDir, 'datalake.db'));
  const usage = await datalake.usage();
  const { aggs } = await datalake.search({
    limit: 0,
    trackTotal: false,
    aggs: { different: { cardinality: { field: 'payload.n' } }, last: { max: { field: 'payload.n' } } },
  });
  await datalake.close();
  rmSync(dataDir, { recursive: true, force: true });

  expect(dead.map(({ attempts, error, event }) => [attempts, error, event.payload])).toEqual([]);
  expect(usage.reduce((sum, { events }) => sum + events, 0)).toBe(EVENTS);
  expect(aggs).toMatchObject({ different: { value: EVENTS }, last: { value: EVENTS - 1 } });
});
