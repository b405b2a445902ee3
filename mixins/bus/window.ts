/**
 * window — the entries of one shard that a member has read and not yet passed, in log order. It knows how far the cursor may move and what
 * has to be written for that; it knows nothing of handlers or stores.
 */
import type { Death, Entry, Failure, Position, Settlement } from './carrier.ts';

/** An entry on its way; states and transitions: docs/protocol.md. */
export interface Item {
  position: Position;
  /** `null` while the body is not held in memory: it is read again when its turn comes. */
  entry: Entry | null;
  /** Length of the body that counts as held in memory. */
  heldLength: number;
  /** Deliveries that failed, deliveries whose process died. */
  attempts: number;
  crashes: number;
  /** Delay before it may start, from a failure of an earlier owner. */
  dueInMs: number;
  /** It may have killed processes: it runs with few others of its shard, or alone. */
  isDangerous: boolean;
  /** The crash that its present start may be is in `crashes`, and in the store, already. */
  isCounted: boolean;
  isSettled: boolean;
  /** The store has a record of it: settled ahead of the cursor, or failed. */
  isAhead: boolean;
  hasFailure: boolean;
  isPassed: boolean;
  /** A run of neighbouring entries nobody here wants, and how many. */
  isSkipped: boolean;
  count: number;
  newer: Item | null;
  /** Next in its lane. */
  next: Item | null;
}

export interface Window {
  /** Entries held, the unwanted runs counted once. */
  readonly length: number;
  add(entry: Entry, failure?: Failure): Item;
  addAhead(position: Position): void;
  skip(position: Position): void;
  settle(item: Item): void;
  die(item: Item, death: Death): void;
  fail(item: Item, dueInMs: number): void;
  /** What must be written now, or `null`. The caller writes it, as often as needed, before it takes the next. */
  take(): Settlement | null;
}

export function openWindow(start: Position): Window {
  let cursor = start;
  let oldest: Item | null = null;
  let newest: Item | null = null;
  let length = 0;
  let finished: Item[] = [];
  let dead: Death[] = [];
  let failed: { item: Item; dueInMs: number }[] = [];

  function append(position: Position, entry: Entry | null, isSettled: boolean, isAhead: boolean, failure?: Failure): Item {
    const item: Item = {
      position,
      entry,
      heldLength: 0,
      attempts: failure?.attempts ?? 0,
      crashes: failure?.crashes ?? 0,
      dueInMs: failure?.dueInMs ?? 0,
      isDangerous: false,
      isCounted: false,
      isSettled,
      isAhead,
      hasFailure: failure !== undefined,
      isPassed: false,
      isSkipped: false,
      count: 1,
      newer: null,
      next: null,
    };
    if (newest) newest.newer = item;
    else oldest = item;
    newest = item;
    length++;
    return item;
  }

  return {
    get length() {
      return length;
    },
    add: (entry, failure) => append(entry.position, entry, false, false, failure),
    addAhead: (position) => void append(position, null, true, true),
    skip(position) {
      if (newest?.isSkipped) {
        newest.position = position;
        newest.count++;
      } else append(position, null, true, false).isSkipped = true;
    },
    settle(item) {
      item.isSettled = true;
      item.entry = null;
      finished.push(item);
    },
    die(item, death) {
      dead.push(death);
      this.settle(item);
    },
    fail: (item, dueInMs) => void failed.push({ item, dueInMs }),
    take() {
      const before = cursor;
      let passed = 0;
      const forget: Position[] = [];
      while (oldest?.isSettled) {
        const item: Item = oldest;
        cursor = item.position;
        passed += item.count;
        item.isPassed = true;
        if (item.isAhead || item.hasFailure) forget.push(item.position);
        oldest = item.newer;
        // Passed ones must not keep those behind them in memory.
        item.newer = null;
        length--;
      }
      if (!oldest) newest = null;
      const ahead: Position[] = [];
      for (const item of finished) {
        if (item.isPassed) continue;
        ahead.push(item.position);
        if (item.hasFailure) forget.push(item.position);
        item.isAhead = true;
        item.hasFailure = false;
      }
      const failures: Failure[] = [];
      for (const { item, dueInMs } of failed) {
        if (item.isSettled) continue;
        item.hasFailure = true;
        failures.push({ position: item.position, attempts: item.attempts, crashes: item.crashes, dueInMs });
      }
      const deaths = dead;
      finished = [];
      failed = [];
      dead = [];
      if (cursor === before && !ahead.length && !failures.length && !deaths.length) return null;
      return { cursor, passed, ahead, forget, failures, dead: deaths };
    },
  };
}
