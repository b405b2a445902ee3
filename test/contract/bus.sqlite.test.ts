/** The bus on the SQLite log: each node opens the file with a connection of its own, as processes of one machine do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { ulidOf } from '../../mixins/shared/ids.ts';
import { eventually } from '../support/eventually.ts';
import { busContract, numberOf } from './bus.suite.ts';

let made = 0n;
const idAt = (at: number) => ulidOf(at, ++made);

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
    db.exec('DROP INDEX log_by_block; CREATE INDEX log_by_shard ON log (shard, seq); CREATE INDEX log_by_id ON log (id)');
    const bus = await openFile('');
    const seen: unknown[] = [];

    await bus.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });

    await eventually(() => seen.length === 20);
    const indexes = db.prepare("SELECT name FROM sqlite_master WHERE tbl_name = 'log' AND type = 'index' ORDER BY name").all();
    expect(indexes.map(({ name }) => name)).toEqual(['log_by_block']);
    db.close();
    await bus.close();
  });

  it('has a long log: an event is found where its id says, or further and further from there', async () => {
    const bus = await openFile('');
    const db = new DatabaseSync(join(dir, 'bus.db'));
    const insert = db.prepare("INSERT INTO log (shard, id, topic, workspace, grp, at, body) VALUES (?, ?, 't', 'w', '', ?, '{}')");
    const began = Date.now() - 120_000;
    const entries = 40_000;
    /** Times are milliseconds since the log began. */
    const special: [made: number, written: number][] = [
      [60_000, 60_002], // as it should be
      [70_000, 69_900], // the clock was set back
      [90_000, 60_500], // far back
      [20_000, 80_000], // sent once more by a run that was interrupted
      [117_000, 117_000],
      [0, 0], // the first of the log
      [119_999, 119_999], // the last
    ];
    const ids = special.map(([made]) => idAt(began + made));
    const named = `${idAt(began + 30_000)}E`;
    db.exec('BEGIN');
    for (let n = 0; n < entries; n++) {
      const at = n * 3;
      for (const [k, [, written]] of special.entries()) if (written >= at && written < at + 3) insert.run(3, ids[k] as string, began + at);
      if (at === 30_000) insert.run(3, named, began + at);
      insert.run(n % 7, idAt(began + at), began + at);
    }
    db.exec('COMMIT');
    const { carrier } = bus.core;

    for (const [k, id] of [...ids, named].entries()) {
      const position = (await carrier.find(3, id)) as string;
      expect([k, (await carrier.fetch(3, [position]))[0]?.id]).toEqual([k, id]);
      expect([k, await carrier.find(3, id, true)]).toEqual([k, k === 3 ? null : position]); // written too late for a quick look
    }
    expect(await carrier.find(3, idAt(began + 60_000))).toBeNull();
    expect(await carrier.find(3, idAt(began - 10_000_000))).toBeNull();
    expect(await carrier.find(3, idAt(Date.now() + 10_000_000))).toBeNull();
    expect(await carrier.find(3, 'nothing of the kind')).toBeNull();
    expect(await carrier.find(4, ids[0] as string)).toBeNull();
    // Entries that are gone leave gaps, of one shard or of all.
    db.exec('DELETE FROM log WHERE shard <> 3 AND seq % 3 > 0; DELETE FROM log WHERE seq BETWEEN 5000 AND 12000');
    for (const k of [0, 1, 2, 3, 4, 5, 6]) expect([k, typeof (await carrier.find(3, ids[k] as string))]).toEqual([k, 'string']);
    expect(await carrier.find(3, named)).toBeNull();
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
