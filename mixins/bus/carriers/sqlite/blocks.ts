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

export interface Blocks<Row> {
  /** Position of the last entry of a shard; 0: it has none. */
  last(shard: number): number;
  /** Entries of a shard after a position, in order. */
  read(shard: number, after: number, limit: number): Row[];
  /** Entries of a shard after a position that concern a group, and when the oldest of them was written. */
  count(shard: number, after: number, group: string): { entries: number; oldest: number | null };
  /**
   * Removes the oldest entries of a shard, up to a position and a time; block by block, so a few more than `limit` may go.
   * @returns how many
   */
  trim(shard: number, upTo: number, before: number, limit: number): number;
  /** What was removed in a transaction is there again. */
  rolledBack(): void;
}

export function openBlocks<Row>(db: DatabaseSync): Blocks<Row> {
  const ends = db.prepare(ENDS);
  const lastIn = db.prepare(`SELECT max(seq) AS seq FROM log WHERE ${BLOCK} = ? AND shard = ?`);
  const readIn = db.prepare(`SELECT * FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq > ? ORDER BY seq LIMIT ?`);
  const trimIn = db.prepare(`DELETE FROM log WHERE ${BLOCK} = ? AND shard = ? AND seq <= ? AND at < ?`);
  const anyIn = db.prepare(`SELECT 1 FROM log WHERE ${BLOCK} = ? AND shard = ? LIMIT 1`);
  const countIn = db.prepare(`
    WITH RECURSIVE blocks (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM blocks WHERE n < :last)
    SELECT count(*) AS entries, min(at) AS oldest FROM blocks CROSS JOIN log
      WHERE ${BLOCK} = n AND shard = :shard AND seq > :after AND grp IN ('', :grp)`);

  /** In each shard the first block that may hold something: one that was left empty stays so. */
  let begins: (number | undefined)[] = [];

  /** Blocks with entries after a position; none: first > last. */
  function range(after: number): { first: number; last: number } {
    const { first, last } = ends.get() as { first: number | null; last: number | null };
    if (first === null || last === null) return { first: 0, last: -1 };
    return { first: blockOf(Math.max(first, after + 1)), last: blockOf(last) };
  }

  return {
    last(shard) {
      const { first, last } = range(0);
      for (let block = last; block >= first; block--) {
        const { seq } = lastIn.get(block, shard) as { seq: number | null };
        if (seq !== null) return seq;
      }
      return 0;
    },
    read(shard, after, limit) {
      const { first, last } = range(after);
      const rows: Row[] = [];
      for (let block = first; block <= last && rows.length < limit; block++)
        for (const row of readIn.all(block, shard, after, limit - rows.length) as Row[]) rows.push(row);
      return rows;
    },
    count(shard, after, group) {
      const { first, last } = range(after);
      if (first > last) return { entries: 0, oldest: null };
      return countIn.get({ first, last, shard, after, grp: group }) as { entries: number; oldest: number | null };
    },
    trim(shard, upTo, before, limit) {
      const { first, last } = range(0);
      const end = Math.min(last, blockOf(upTo));
      let removed = 0;
      for (let block = Math.max(first, begins[shard] ?? 0); block <= end && removed < limit; block++) {
        removed += Number(trimIn.run(block, shard, upTo, before).changes);
        if (anyIn.get(block, shard)) break;
        begins[shard] = block;
      }
      return removed;
    },
    rolledBack() {
      begins = [];
    },
  };
}
