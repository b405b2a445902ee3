/** The index of the SQLite log by blocks answers what a look at every row would, whatever was written and removed. */
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Blocks, ENDS, openBlocks } from '../../../mixins/bus/carriers/sqlite/blocks.ts';
import { SCHEMA } from '../../../mixins/bus/carriers/sqlite/schema.ts';

interface Row {
  seq: number;
  shard: number;
  grp: string;
  at: number;
}

/** Some blocks of 1024, and a rest. */
const COUNT = 5_500;

describe('blocks of the SQLite log', () => {
  let db: DatabaseSync;
  let blocks: Blocks<Row>;

  beforeEach(() => {
    db = new DatabaseSync(':memory:');
    db.exec(SCHEMA);
    blocks = openBlocks<Row>(db);
  });
  afterEach(() => db.close());

  const insert = (shard: number, at: number, group = '') =>
    db.prepare("INSERT INTO log (shard, id, topic, workspace, grp, at, body) VALUES (?, 'id', 't', 'w', ?, ?, '{}')").run(shard, group, at);
  /** Shard 0 gets half, 1 and 2 the rest, 4 two entries far from each other, 5 none. */
  function fill(): void {
    db.exec('BEGIN');
    for (let n = 1; n <= COUNT; n++) {
      const shard = n === 100 || n === COUNT - 100 ? 4 : n % 2 ? 0 : 1 + (Math.floor(n / 7) % 2);
      insert(shard, n, n % 11 === 0 ? 'other' : n % 13 === 0 ? 'mine' : '');
    }
    db.exec('COMMIT');
  }
  const counted = (shard: number, after: number) => {
    const parts = [...blocks.count(shard, after, 'mine')];
    const oldest = parts.flatMap((part) => part.oldest ?? []);
    return { entries: parts.reduce((sum, { entries }) => sum + entries, 0), oldest: oldest.length ? Math.min(...oldest) : null };
  };
  /** Floors of shards: of all, or of those that are named. */
  const upTo = (floor: number, ...shards: number[]) =>
    Array.from({ length: 6 }, (_, shard) => (!shards.length || shards.includes(shard) ? floor : 0));
  const rows = () => db.prepare('SELECT * FROM log ORDER BY seq').all() as unknown as Row[];
  const seqs = (list: Row[]) => list.map(({ seq }) => seq);

  it('know nothing of an empty log', () => {
    expect(blocks.last(0)).toBe(0);
    expect(blocks.read(0, 0, 10)).toEqual([]);
    expect(counted(0, 0)).toEqual({ entries: 0, oldest: null });
    // Long after the last entry has been removed: there is nothing to go through.
    expect(blocks.trim(upTo(2 ** 50), 2 ** 50, 10)).toBe(0);
  });

  it.each([0, 1, 4, 5])('read shard %i in order, over blocks, from any position and to any number', (shard) => {
    fill();
    const all = rows().filter((row) => row.shard === shard);

    expect(blocks.last(shard)).toBe(all.at(-1)?.seq ?? 0);
    for (const after of [0, 1, 99, 100, 1_023, 1_024, 1_025, 3_000, COUNT - 1, COUNT, COUNT + 5_000])
      for (const limit of [1, 7, 1_000, COUNT]) {
        const expected = all.filter(({ seq }) => seq > after).slice(0, limit);
        expect(seqs(blocks.read(shard, after, limit))).toEqual(seqs(expected));
      }
  });

  it('count what concerns a group', () => {
    fill();
    for (const shard of [0, 1, 4, 5])
      for (const after of [0, 100, 1_024, 4_000, COUNT, COUNT + 5_000]) {
        const left = rows().filter((row) => row.shard === shard && row.seq > after && ['', 'mine'].includes(row.grp));
        expect(counted(shard, after)).toEqual({ entries: left.length, oldest: left[0]?.at ?? null });
      }
  });

  it('trim a shard up to a position and a time, in slices, and leave the others alone', () => {
    fill();
    const others = rows().filter(({ shard }) => shard !== 0).length;
    let removed = 0;
    for (let slice = blocks.trim(upTo(4_000, 0), 3_001, 200); slice > 0; slice = blocks.trim(upTo(4_000, 0), 3_001, 200)) {
      expect(slice).toBeLessThan(200 + 256);
      removed += slice;
    }

    expect(removed).toBe(1_500);
    expect(rows().filter(({ shard }) => shard === 0)[0]).toMatchObject({ seq: 3_001 });
    expect(rows().filter(({ shard }) => shard !== 0)).toHaveLength(others);
    expect(blocks.trim(upTo(4_000, 0), COUNT, COUNT)).toBe(500);
    expect(seqs(blocks.read(0, 0, 1))).toEqual([4_001]);
  });

  it('trim what lies together together, and nothing behind the floor of its shard, however floors move', () => {
    fill();
    const floors = [3_000, 700, 5_400, 9, 50, 0];
    const next = [5_200, 700, 5_400, COUNT, COUNT - 100, COUNT];
    let expected = rows();

    // The oldest go first, whatever their shard.
    db.exec('BEGIN');
    expect(blocks.trim(floors, COUNT + 1, 300)).toBeLessThan(600);
    for (const shard of [0, 2]) expect(blocks.read(shard, 0, 1)[0]?.seq).toBeLessThan(700);
    db.exec('ROLLBACK');
    blocks.rolledBack();

    for (const floor of [floors, next]) {
      expected = expected.filter(({ seq, shard }) => seq > (floor[shard] as number));
      const began = rows().length;
      let removed = blocks.trim(floor, COUNT + 1, 300);
      expect(removed).toBeGreaterThanOrEqual(300);
      for (let slice = 1; slice > 0; removed += slice) slice = blocks.trim(floor, COUNT + 1, 300);
      expect(seqs(rows())).toEqual(seqs(expected));
      expect(removed).toBe(began - expected.length);
    }
  });

  it('trim again what a transaction that failed had removed', () => {
    fill();
    db.exec('BEGIN');
    expect(blocks.trim(upTo(COUNT), COUNT + 1, COUNT)).toBe(COUNT);
    db.exec('ROLLBACK');
    blocks.rolledBack();

    expect(blocks.trim(upTo(100, 0), COUNT, COUNT)).toBe(50);
  });

  it('find what comes into a block that was trimmed', () => {
    for (let n = 1; n <= 3; n++) insert(0, n);
    expect(blocks.trim(upTo(10), 10, 10)).toBe(3);
    insert(0, 4);
    insert(3, 5);

    expect(blocks.last(0)).toBe(4);
    expect(seqs(blocks.read(0, 0, 10))).toEqual([4]);
    expect(blocks.trim(upTo(10), 10, 10)).toBe(2);
  });

  it('are found by their index', () => {
    const plan = db
      .prepare('EXPLAIN QUERY PLAN SELECT * FROM log WHERE seq >> 10 = ? AND shard = ? AND seq > ? ORDER BY seq LIMIT ?')
      .all();

    expect(plan.map(({ detail }) => detail)).toEqual(['SEARCH log USING INDEX log_by_block (<expr>=? AND shard=? AND rowid>?)']);
  });

  it('do not look at every row for the ends of the log', () => {
    const plan = (sql: string) =>
      db
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail));

    expect(plan(ENDS)).toContain('SEARCH log');
    expect(plan(ENDS).filter((step) => step.startsWith('SCAN log'))).toEqual([]);
    expect(plan('SELECT min(seq), max(seq) FROM log')).not.toContain('SEARCH log');
  });
});
