/**
 * finder — where the entry of an event stands in the SQLite log. An index by event id would be a third of what an entry costs to write, and few are ever asked
 * for: the log has the times at which its entries were written, in order, and is halved until the right one is met.
 */
import type { DatabaseSync } from 'node:sqlite';
import { LOOK_LIMIT, QUICK_LIMIT, spansAround } from '../around.ts';
import { type Blocks, ENDS } from './blocks.ts';

export type Finder = (shard: number, id: string, isQuick: boolean) => Promise<number | null>;

/** @param turn lets the event loop go on where it was held for long enough */
export function openFinder<Row>(db: DatabaseSync, blocks: Blocks<Row>, turns: () => () => Promise<void> | undefined): Finder {
  const ends = db.prepare(ENDS);
  const nextOf = db.prepare('SELECT seq, at FROM log WHERE seq >= ? ORDER BY seq LIMIT 1');

  /** Position of the first entry written at a time or later; none: behind the last. */
  function firstAt(time: number): number {
    const { first, last } = ends.get() as { first: number | null; last: number | null };
    let low = first ?? 0;
    let high = (last ?? -1) + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      // None: another process has just removed what was the last.
      const row = nextOf.get(middle) as { seq: number; at: number } | undefined;
      if (row && row.at < time) low = row.seq + 1;
      else high = middle;
    }
    return low;
  }

  return async (shard, id, isQuick) => {
    const turn = turns();
    let left = isQuick ? QUICK_LIMIT : LOOK_LIMIT;
    for (const { from, to } of spansAround(id, isQuick)) {
      for (const { found, looked } of blocks.find(shard, id, firstAt(from), firstAt(to + 1))) {
        if (found !== null) return found;
        left -= looked;
        if (left <= 0) return null;
        await turn();
      }
    }
    return null;
  };
}
