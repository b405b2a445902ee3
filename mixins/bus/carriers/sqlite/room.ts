/**
 * room — how many entries the SQLite log holds, whether it takes more, and what it lets go of.
 *
 * A busy log is full most of the time: a million entries are a minute's work, and what is kept for replay gives way as new ones come. So nothing here may
 * grow with the log: its size is the entries ever written less those ever removed, and it is trimmed in slices.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Blocks } from './blocks.ts';
import type { Row, Statements } from './database.ts';

/** Kept free of events when the size of the file is limited: groups must be able to settle in a full log. */
export const SPARE_PAGES = 64;
/** How soon a full log is looked at again. */
const FULL_MS = 100;
/** Entries removed at a time, or a few more: trimming must not hold up writers. */
export const SLICE = 256;

export interface RoomOptions {
  sql: Statements;
  blocks: Blocks<Row>;
  shards: number;
  maxEntries: number;
  /** 0: the file may grow. */
  maxPages: number;
}

export interface Room {
  /** Entries in the log. */
  size(): number;
  /**
   * Whether the log has no room although what every group has settled gave way; else `entries` are taken from it. Part of the transaction that writes them.
   */
  isFull(entries: number): boolean;
  /** Removes a slice of what every group has settled, if it is older than `keepMs`. Part of a transaction. @returns how many; SLICE or more: there may be more */
  trim(keepMs: number): number;
}

/** The count is made anew for every process that opens the file: whoever removed entries by other means did not keep it. */
export function countEntries(db: DatabaseSync): void {
  db.exec(`
    BEGIN IMMEDIATE;
    DELETE FROM trimmed;
    INSERT INTO trimmed SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0) - (SELECT count(*) FROM log);
    COMMIT;
  `);
}

export function openRoom({ sql, blocks, shards, maxEntries, maxPages }: RoomOptions): Room {
  /** Entries that may be written until the log is looked at again, and when it was found full. */
  let room = 0;
  let foundFullAt = Number.NEGATIVE_INFINITY;

  const size = () => Number((sql.size.get() as Row).n);
  const usedPages = () => Number((sql.pages.get() as Row).page_count) - Number((sql.freePages.get() as Row).freelist_count);

  function trim(keepMs: number): number {
    // Without any group nobody has settled anything.
    if (Number((sql.groupCount.get() as Row).n) === 0) return 0;
    const floors = Array.from({ length: shards }, (_, shard) => Number((sql.floor.get(shard) as Row).floor ?? 0));
    const removed = blocks.trim(floors, Date.now() - keepMs, SLICE);
    if (removed > 0) sql.trimmed.run(removed);
    return removed;
  }

  /** What gives way counts also in a log above its limit, which was lowered: it shrinks, as only half of that is used. */
  function free(entries: number): number {
    let free = Math.max(maxEntries - size(), 0);
    for (let slice = SLICE; slice >= SLICE && free < 2 * entries; ) {
      slice = trim(0);
      free += slice;
    }
    return free;
  }

  return {
    size,
    isFull(entries) {
      if (maxPages && usedPages() > maxPages - SPARE_PAGES && trim(0) === 0) return true;
      if (room <= 0) {
        if (performance.now() - foundFullAt < FULL_MS) return true;
        // Other processes fill the log too: half of what is free is this one's until the next look.
        room = Math.ceil(free(entries) / 2);
        if (room === 0) {
          foundFullAt = performance.now();
          return true;
        }
      }
      room -= entries;
      return false;
    },
    trim,
  };
}
