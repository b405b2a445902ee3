/** The SQLite log knows how many entries it holds without counting them, and makes room of what was settled. */
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openBlocks } from '../../../mixins/bus/carriers/sqlite/blocks.ts';
import { prepareAll, type Row, type Statements } from '../../../mixins/bus/carriers/sqlite/database.ts';
import { countEntries, openRoom, type Room, SLICE } from '../../../mixins/bus/carriers/sqlite/room.ts';
import { SCHEMA } from '../../../mixins/bus/carriers/sqlite/schema.ts';

const SHARDS = 4;
const LIMIT = 5_000;

describe('room in the SQLite log', () => {
  let db: DatabaseSync;
  let room: Room;
  let sql: Statements;
  let written: number;

  beforeEach(() => {
    db = new DatabaseSync(':memory:');
    db.exec(SCHEMA);
    countEntries(db);
    sql = prepareAll(db);
    room = openRoom({ sql, blocks: openBlocks<Row>(db), shards: SHARDS, maxEntries: LIMIT, maxPages: 0 });
    written = 0;
    for (let shard = 0; shard < SHARDS; shard++) sql.register.run('g', shard);
  });
  afterEach(() => db.close());

  const counted = () => Number((db.prepare('SELECT count(*) AS n FROM log').get() as { n: number }).n);
  function write(entries: number): boolean {
    db.exec('BEGIN');
    const isFull = room.isFull(entries);
    for (let n = 0; n < entries && !isFull; n++) sql.insert.run(written++ % SHARDS, 'id', 't', 'w', '', Date.now() - 1, '{}');
    db.exec('COMMIT');
    return !isFull;
  }
  const settle = (upTo: number) => db.prepare('UPDATE cursors SET cursor = ?').run(upTo);
  const fill = () => {
    while (room.size() < LIMIT) expect(write(100)).toBe(true);
  };

  it('is counted from what was written and removed', () => {
    write(3_000);
    settle(1_000);
    expect(room.size()).toBe(3_000);
    let removed = 0;
    for (let slice = SLICE; slice >= SLICE; removed += slice) slice = room.trim(0);

    expect(removed).toBe(1_000);
    expect(room.size()).toBe(2_000);
    expect(counted()).toBe(2_000);
    db.exec('DELETE FROM log WHERE seq < 2000'); // by other means
    countEntries(db);
    expect(room.size()).toBe(1_001);
    settle(3_000);
    while (room.trim(0) > 0);
    expect(room.size()).toBe(0);
    write(1);
    expect(room.size()).toBe(1);
  });

  it('ends at the limit when nothing was settled, and begins again when something is', async () => {
    fill();
    expect(write(1)).toBe(false);
    expect(room.size()).toBe(LIMIT);
    settle(1_000);
    await new Promise((resolve) => setTimeout(resolve, 120)); // a full log is not looked at for each write

    expect(write(1)).toBe(true);
    expect(counted()).toBe(room.size());
  });

  it.each([1, 30, 700, 4_000])('is made for %i at a time of what was settled, and not of more than it takes', (entries) => {
    fill();
    for (let n = 0; n < 20_000; n += entries) {
      settle(written);
      expect(write(entries)).toBe(true);
      expect(room.size()).toBeLessThanOrEqual(LIMIT + entries);
      expect(room.size()).toBeGreaterThan(LIMIT - 2 * SLICE - 2 * entries);
    }
    expect(counted()).toBe(room.size());
  });

  it('is made in a log above its limit too, which shrinks', () => {
    fill();
    const lower = openRoom({ sql, blocks: openBlocks<Row>(db), shards: SHARDS, maxEntries: 1_000, maxPages: 0 });
    const before = room.size();
    room = lower;
    settle(written);

    for (let n = 0; n < 200; n++) {
      expect(write(30)).toBe(true);
      settle(written);
    }
    expect(before).toBeGreaterThan(4_900);
    expect(room.size()).toBeLessThanOrEqual(1_100);
  });

  it('is not made of what was not written after all', () => {
    fill();
    settle(written);
    const before = counted();
    db.exec('BEGIN');
    expect(room.trim(0)).toBeGreaterThanOrEqual(SLICE);
    db.exec('ROLLBACK');

    expect(room.size()).toBe(before);
  });
});
