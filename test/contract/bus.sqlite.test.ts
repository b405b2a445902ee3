/** The bus on the SQLite log: each node opens the file with a connection of its own, as processes of one machine do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { eventually } from '../support/eventually.ts';
import { busContract, numberOf } from './bus.suite.ts';

busContract('SQLite', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-bus-'));
  return { config: { dataDir }, remove: async () => rmSync(dataDir, { recursive: true, force: true }) };
});

describe('the file of the SQLite log', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'prisme-bus-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const openFile = (query: string) => openBus(loadConfig({}, { busUrl: `sqlite:${dir}/bus.db${query}`, nodeId: 'n' }), { settleMs: 5 });

  it('has a largest size: producers are refused with a retryable error, groups go on, and then there is room again', async () => {
    const bus = await openFile('?maxBytes=2000000');
    const body = 'x'.repeat(20_000);
    const send = (n: number) => bus.send('big', { n, body }, { topic: EMIT_TOPIC, source: { workspaceId: `w${n % 5}` } });
    let stored = 0;
    let refusal: unknown;
    while (!refusal)
      await send(stored).then(
        () => stored++,
        (error) => {
          refusal = error;
        },
      );
    expect(refusal).toMatchObject({ type: 'BusOverloaded', retryable: true });
    expect(stored).toBeGreaterThan(50);
    expect(stored).toBeLessThan(100);
    const seen = new Set<number>();

    await bus.on('*', (event) => void seen.add(numberOf(event)), { group: 'g' });

    await eventually(() => seen.size === stored);
    await eventually(() =>
      send(stored).then(
        () => true,
        () => false,
      ),
    );
    await bus.close();
  });

  it.each(['?synchronous=MAYBE', '?maxBytes=1000', '?maxBytes=much'])('refuses %s, naming BUS_URL', async (query) => {
    await expect(openFile(query)).rejects.toMatchObject({ type: 'ConfigurationError', data: { variable: 'BUS_URL' } });
  });

  it('of a newer version is refused, naming BUS_URL, and left as it is', async () => {
    await (await openFile('')).close();
    const db = new DatabaseSync(join(dir, 'bus.db'));
    db.exec('PRAGMA user_version = 2; DROP TABLE dead');

    await expect(openFile('')).rejects.toMatchObject({ type: 'ConfigurationError', data: { variable: 'BUS_URL' } });

    expect(db.prepare("SELECT count(*) AS n FROM sqlite_master WHERE name = 'dead'").get()).toEqual({ n: 0 });
    db.close();
  });

  it('of an earlier version gets the index of this one, and keeps its events', async () => {
    const before = await openFile('');
    for (let n = 0; n < 20; n++) await before.send('e', { n }, { topic: EMIT_TOPIC, source: { workspaceId: 'w' } });
    await before.close();
    const db = new DatabaseSync(join(dir, 'bus.db'));
    db.exec('DROP INDEX log_by_block; CREATE INDEX log_by_shard ON log (shard, seq)');
    const bus = await openFile('');
    const seen: unknown[] = [];

    await bus.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });

    await eventually(() => seen.length === 20);
    const indexes = db.prepare("SELECT name FROM sqlite_master WHERE tbl_name = 'log' AND type = 'index' ORDER BY name").all();
    expect(indexes.map(({ name }) => name)).toEqual(['log_by_block', 'log_by_id']);
    db.close();
    await bus.close();
  });

  it('takes events when each commit is flushed to the disk', async () => {
    const bus = await openFile('?synchronous=FULL');

    await bus.send('e', { n: 1 }, { topic: EMIT_TOPIC, source: { workspaceId: 'w' } });

    expect(await bus.core.carrier.size()).toBe(1);
    await bus.close();
  });
});
