/**
 * blocks — finds the entries of a shard in the SQLite log.
 *
 * An index by shard alone grows in as many places as there are shards: each commit would write sixteen of its pages beside those of its entries, half of what
 * it writes at all. So the log is cut into blocks of 1024 positions, and the index is by block, then shard: a commit touches the pages of one block, and
 * whoever reads a shard goes from block to block.
 */
import type { DatabaseSync } from 'node:sqlite';

const BITS = 10;
const BLOCK = `seq >> ${BITS}`;

/** Part of the schema: the planner uses an index on an expression where a query has the same expression. */
export const BLOCK_INDEX = `CREATE INDEX IF NOT EXISTS log_by_block ON log (${BLOCK}, shard)`;

/** Each by itself is a look at one end; both in one SELECT would be one at every row. */
export const ENDS = 'SELECT (SELECT min(seq) FROM log) AS first, (SELECT max(seq) FROM log) AS last';

const blockOf = (position: number) => Math.floor(position / 2 ** BITS);

/** Positions removed in one go; a part of a block. */
const WINDOW = 256;
const endOfWindow = (position: number) => position - (position % WINDOW) + WINDOW - 1;

export interface Blocks<Row> {
  /** Position of the last entry of a shard; 0: it has none. */
  last(shard: number): number;
  /** Entries of a shard after a position, in order. */
  read(shard: number, after: number, limit: number): Row[];
  /** Entries of a shard after a position that concern a group, and when the oldest of them was written; block by block, as it takes a while. */
  count(shard: number, after: number, group: string): Iterable<{ entries: number; oldest: number | null }>;
  /** Looks for an event among the entries of a shard from a position up to another; block by block, with the number of positions looked at. */
  find(shard: number, id: string, begin: number, end: number): Iterable<{ found: number | null; looked: number }>;
  /**
   * Removes the oldest entries, in each shard up to its floor, and up to a time; window by window, so a few more than `limit` may go.
   * @param floors by shard; 0: nothing of it may go
   * @returns how many; less than `limit`: there are no more
   */
  trim(floors: number[], before: number, limit: number): number;
  /** What was removed in a transaction is there again. */
  rolledBack(): void;
}

export function openBlocks<Row>(db: DatabaseSync): Blocks<Row> {
  const ends = db.prepare(ENDS);
  const lastIn = walk('max(seq)', -1);
  const nextIn = walk('min(seq)', 1);
  const readIn = db.prepare(`SELECT * FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq > ? ORDER BY seq LIMIT ?`);
  const trimIn = db.prepare(`DELETE FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq <= ? AND at < ?`);
  const firstIn = db.prepare(`SELECT min(seq) AS seq FROM log WHERE ${BLOCK} = ? AND shard = ?`);
  const findIn = db.prepare(`SELECT min(seq) AS seq FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq >= ? AND seq < ? AND id = ?`);
  const countIn = db.prepare(
    `SELECT count(*) AS entries, min(at) AS oldest FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq > ? AND grp IN ('', ?)`,
  );

  /** The first entry a shard has on the way from a block to another; block by block, but within one statement. */
  function walk(seq: string, step: number) {
    return db.prepare(`
      WITH RECURSIVE
        blocks (n) AS (SELECT :begin UNION ALL SELECT n + ${step} FROM blocks WHERE n <> :end),
        found (seq) AS (SELECT (SELECT ${seq} FROM log WHERE ${BLOCK} = n AND shard = :shard) FROM blocks)
      SELECT seq FROM found WHERE seq IS NOT NULL LIMIT 1`);
  }

  /** In each shard the position before which nothing is left: only the end of the log gets entries. */
  let begins: (number | undefined)[] = [];

  /** Blocks with entries after a position; none: first > last. */
  function range(after: number): { first: number; last: number } {
    const { first, last } = ends.get() as { first: number | null; last: number | null };
    if (first === null || last === null) return { first: 0, last: -1 };
    return { first: blockOf(Math.max(first, after + 1)), last: blockOf(last) };
  }

  /** Position of the first entry of a shard from a block on; none: behind the last of the log. */
  function next(shard: number, begin: number, last: number): number {
    const end = blockOf(last);
    if (begin > end) return last + 1;
    return (nextIn.get({ begin, end, shard }) as { seq: number } | undefined)?.seq ?? last + 1;
  }

  return {
    last(shard) {
      const { first, last } = range(0);
      if (first > last) return 0;
      return (lastIn.get({ begin: last, end: first, shard }) as { seq: number } | undefined)?.seq ?? 0;
    },
    read(shard, after, limit) {
      const { first, last } = range(after);
      const rows: Row[] = [];
      for (let block = first; block <= last && rows.length < limit; block++)
        for (const row of readIn.all(block, shard, after, limit - rows.length) as Row[]) rows.push(row);
      return rows;
    },
    *count(shard, after, group) {
      const { first, last } = range(after);
      for (let block = first; block <= last; block++)
        yield countIn.get(block, shard, after, group) as { entries: number; oldest: number | null };
    },
    *find(shard, id, begin, end) {
      for (let from = begin; from < end; ) {
        const to = Math.min((blockOf(from) + 1) * 2 ** BITS, end);
        const { seq } = findIn.get(blockOf(from), shard, from, to, id) as { seq: number | null };
        yield { found: seq, looked: to - from };
        from = to;
      }
    },
    trim(floors, before, limit) {
      const { first, last } = ends.get() as { first: number | null; last: number | null };
      if (first === null || last === null) return 0;
      const begin = (shard: number) => Math.max(begins[shard] ?? 0, first);
      const floorOf = (shard: number) => floors[shard] as number;
      let open = [...floors.keys()].filter((shard) => floorOf(shard) >= begin(shard));
      let removed = 0;
      // Shards go on together: what lies in one place is removed in one go, whatever its shard, as its pages are changed then only once.
      while (open.length && removed < limit) {
        const end = endOfWindow(Math.min(...open.map(begin)));
        for (const shard of open) {
          if (begin(shard) > end) continue;
          removed += Number(trimIn.run(blockOf(end), shard, Math.min(floorOf(shard), end), before).changes);
          const { seq } = firstIn.get(blockOf(end), shard) as { seq: number | null };
          begins[shard] = seq ?? next(shard, blockOf(end) + 1, last);
        }
        // A shard stops where what is left of the window is not settled, or too young.
        open = open.filter((shard) => begin(shard) > end && begin(shard) <= floorOf(shard));
      }
      return removed;
    },
    rolledBack() {
      begins = [];
    },
  };
}
