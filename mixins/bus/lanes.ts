/**
 * lanes — runs handlers: one item at a time per lane, in order; lanes in parallel, in turn, never more than `maxInFlight` at once.
 *
 * A lane whose head failed waits for the head's next attempt; the others go on. A lane that is longer than what is held keeps only positions, so that one
 * workspace with a long backlog neither fills the memory nor hides the workspaces behind it.
 */
import type { Entry } from './carrier.ts';
import { queue } from './queue.ts';
import type { Shard } from './shard.ts';
import type { Timers } from './timers.ts';
import type { Item } from './window.ts';

/** Bodies of a lane in memory: so many whatever their size, more of small ones, as reading an entry again costs more than keeping it. */
const HELD_PER_LANE = 32;
const SMALL_HELD_PER_LANE = 1_000;
const SMALL_LENGTH = 2_048;
const HELD_BYTES = 32 * 1024 * 1024;
const STORE_RETRY_MS = 500;
/** With more crashes than these an item runs alone in its shard. */
const SHARED_CRASHES = 2;
/** In a shard with dangerous items, so many may run at once. */
const TOGETHER = 10;

export interface Lane {
  readonly key: string;
  readonly shard: Shard;
  head: Item | null;
  tail: Item | null;
  length: number;
  /** aside: its shard must come to rest first. */
  state: 'idle' | 'ready' | 'aside' | 'busy' | 'waiting';
  /** Ends the wait for another attempt. */
  cancel?: () => void;
}

/** Items of one lane that are handed over together. */
export interface Turn {
  lane: Lane;
  items: Item[];
}

export interface LanesOptions {
  maxInFlight: number;
  /** Up to this many items of any lanes in one turn; 1: one by one. */
  batchSize: number;
  timers: Timers;
  fetch(shard: number, positions: string[]): Promise<Entry[]>;
  mayRun(shard: Shard): boolean;
  /**
   * Hands the items over and settles them; answers the delay before the next attempt of those that failed. Rejects only when nothing was
   * started. An item without entry is not kept in the log any more.
   */
  perform(turns: Turn[]): Promise<Map<Item, number>>;
  /** A turn of a shard has ended. */
  turned(shard: Shard): void;
}

export interface Lanes {
  readonly inFlight: number;
  offer(shard: Shard, item: Item, key: string): void;
  /** Looks again at every lane of the shard: it may run now. */
  wake(shard: Shard): void;
  /** Forgets a shard's lanes; running items end on their own. */
  drop(shard: Shard): void;
}

export function openLanes(options: LanesOptions): Lanes {
  const { timers, maxInFlight, batchSize } = options;
  // Batches share one lane, so it is longer; HELD_BYTES bounds them.
  const heldPerLane = batchSize > 1 ? Math.max(HELD_PER_LANE, 4 * batchSize) : HELD_PER_LANE;
  const isBatch = batchSize > 1;
  const ready = queue<Lane>();
  let inFlight = 0;
  let heldBytes = 0;
  let isScheduled = false;

  function hold(item: Item, entry: Entry): void {
    item.entry = entry;
    item.heldLength = entry.body.length;
    heldBytes += item.heldLength;
  }

  function letGo(item: Item): void {
    heldBytes -= item.heldLength; // the body itself is gone already when the item was settled
    item.heldLength = 0;
    item.entry = null;
  }

  function makeReady(lane: Lane): void {
    if (lane.state !== 'idle' || !lane.head) return;
    lane.state = 'ready';
    ready.push(lane);
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(schedule);
  }

  function wait(lane: Lane, ms: number): void {
    lane.state = 'waiting';
    lane.cancel = timers.after(ms, () => {
      lane.cancel = undefined;
      if (lane.state !== 'waiting') return;
      lane.state = 'idle';
      makeReady(lane);
    });
  }

  /** In a shard with dangerous items few run at once, and those that are most suspect alone. Who comes behind a lane that was set aside waits with it. */
  function mayJoin(shard: Shard, item: Item): boolean {
    if (shard.dangerous === 0 || shard.running === 0) return true;
    return !shard.isAlone && !shard.setAside.length && item.crashes <= SHARED_CRASHES && shard.running < TOGETHER;
  }

  /** The next lane that may run; one that may not is set aside until nothing of its shard runs. */
  function nextLane(): Lane | undefined {
    for (;;) {
      const lane = ready.shift();
      if (!lane) return undefined;
      if (lane.state !== 'ready') continue;
      lane.state = 'idle';
      const { shard } = lane;
      if (!lane.head || !options.mayRun(shard)) continue;
      if (mayJoin(shard, lane.head)) return lane;
      lane.state = 'aside';
      shard.setAside.push(lane);
    }
  }

  function schedule(): void {
    isScheduled = false;
    while (inFlight < maxInFlight) {
      const lane = nextLane();
      if (!lane) return;
      void run(isBatch ? gather(lane) : [{ lane, items: [lane.head as Item] }]);
    }
  }

  /** Takes up to `batchSize` items off the ready lanes. A suspect goes alone, so that it does not take the others with it again. */
  function gather(first: Lane): Turn[] {
    const turns: Turn[] = [];
    let left = batchSize;
    for (let lane: Lane | undefined = first; lane; lane = left > 0 ? nextLane() : undefined) {
      const items: Item[] = [];
      for (let item = lane.head; item && left > 0; item = item.next, left--) {
        const isSuspect = item.attempts > 1 || item.crashes > 1;
        if (isSuspect && (items.length || turns.length)) break;
        items.push(item);
        if (isSuspect) return [{ lane, items }];
      }
      if (items.length) turns.push({ lane, items });
      else {
        makeReady(lane);
        break;
      }
    }
    return turns;
  }

  async function run(turns: Turn[]): Promise<void> {
    inFlight++;
    for (const { lane, items } of turns) {
      lane.state = 'busy';
      lane.shard.running++;
      if ((items[0] as Item).crashes > SHARED_CRASHES) lane.shard.isAlone = true;
    }
    let delays: Map<Item, number> | null = null;
    try {
      for (const { lane, items } of turns) if (items.some((item) => !item.entry)) await load(lane);
      delays = await options.perform(turns);
    } catch {
      // The store did not give the bodies or did not take the count of a start: nothing was started.
    }
    inFlight--;
    for (const { lane, items } of turns) {
      lane.shard.running--;
      if (lane.shard.running === 0 || lane.shard.dangerous === 0) rest(lane.shard);
      lane.state = 'idle';
      if (lane.shard.state !== 'lost') end(lane, items, delays);
      options.turned(lane.shard);
    }
    if (ready.length && !isScheduled) schedule();
  }

  /** Nothing of the shard runs, or nothing dangerous is left: those that made way come first, also when what they made way for has just ended. */
  function rest(shard: Shard): void {
    shard.isAlone = false;
    if (!shard.setAside.length) return;
    for (const lane of shard.setAside.splice(0)) {
      lane.state = 'idle';
      makeReady(lane);
    }
  }

  /** Removes settled items from the head of the lane; what failed stays first and makes the lane wait. */
  function end(lane: Lane, items: Item[], delays: Map<Item, number> | null): void {
    let delay = delays ? 0 : STORE_RETRY_MS;
    let kept: Item | null = null;
    for (const item of items) {
      const ms = delays ? (delays.get(item) ?? 0) : STORE_RETRY_MS;
      if (ms > 0) {
        kept = item;
        delay = Math.max(delay, ms);
        continue;
      }
      const { next } = item;
      letGo(item);
      item.next = null;
      lane.length--;
      if (kept) kept.next = next;
      else lane.head = next;
      if (lane.tail === item) lane.tail = kept;
    }
    if (!lane.head) lane.shard.lanes.delete(lane.key);
    else if (delay > 0) wait(lane, delay);
    else makeReady(lane);
  }

  async function load(lane: Lane): Promise<void> {
    const empty: Item[] = [];
    for (let item = lane.head, i = 0; item && i < heldPerLane; item = item.next, i++) if (!item.entry) empty.push(item);
    const entries = await options.fetch(
      lane.shard.index,
      empty.map((item) => item.position),
    );
    const byPosition = new Map(entries.map((entry) => [entry.position, entry]));
    for (const item of empty) {
      const entry = byPosition.get(item.position);
      if (entry) hold(item, entry);
    }
  }

  function wake(shard: Shard): void {
    for (const lane of shard.lanes.values()) makeReady(lane);
  }

  return {
    get inFlight() {
      return inFlight;
    },
    offer(shard, item, key) {
      let lane = shard.lanes.get(key);
      if (!lane) {
        lane = { key, shard, head: null, tail: null, length: 0, state: 'idle' };
        shard.lanes.set(key, lane);
      }
      if (lane.tail) lane.tail.next = item;
      else lane.head = item;
      lane.tail = item;
      lane.length++;
      const entry = item.entry as Entry;
      item.entry = null;
      const most = entry.body.length <= SMALL_LENGTH ? Math.max(heldPerLane, SMALL_HELD_PER_LANE) : heldPerLane;
      if (lane.length <= most && heldBytes < HELD_BYTES) hold(item, entry);
      if (lane.head === item && item.dueInMs > 0) wait(lane, item.dueInMs);
      else makeReady(lane);
    },
    wake,
    drop(shard) {
      for (const lane of shard.lanes.values()) {
        lane.cancel?.();
        for (let item = lane.head; item; item = item.next) letGo(item);
        lane.head = null;
        lane.tail = null;
      }
      shard.lanes.clear();
    },
  };
}
