/**
 * catch-up — joins the past of a workspace with its present, for a client that comes back with the id of its last event: each event once, in order.
 *
 * The past is read from the log (or the history), the present comes by the feed of this node (a broadcast subscription), and the two overlap. Log and feed have
 * the same order within a workspace. So: wait until the feed has brought what the log held at the beginning, forget what it brought until then, read the past
 * again, and leave out of the feed what was read, until the last event read has come.
 */
import { SECOND, sleep } from '../shared/clock.ts';
import type { PrismeEvent } from '../shared/event.ts';
import { ulidTime } from '../shared/ids.ts';

/** How far a feed may be behind; older events have passed. */
const FEED_MS = 10 * SECOND;
const POLL_MS = 10;
const REMEMBERED = 10_000;

/** The latest events that a feed has brought. */
export interface FeedMemory {
  add(id: string): void;
  hasPassed(id: string): boolean;
}

export function createFeedMemory(size = REMEMBERED): FeedMemory {
  // Every event of the platform passes here and hardly ever is one asked for: looking through the ring then costs less than an index for each.
  const ring: (string | undefined)[] = new Array(size);
  let next = 0;
  return {
    add(id) {
      ring[next] = id;
      next = (next + 1) % size;
    },
    hasPassed: (id) => ring.includes(id),
  };
}

/** Events already handed over that the feed has yet to bring. */
export interface Replayed {
  has(id: string): boolean;
  /** Whether the feed has brought the last of them: nothing is left to leave out. */
  isOver(): boolean;
}

export interface CatchUpOptions {
  feed: FeedMemory;
  afterId: string;
  /** Events after `afterId`, oldest first; `null` when nobody can tell. */
  read: () => Promise<PrismeEvent[] | null>;
  /** What the feed has brought until now is part of the past, or older than `afterId`. */
  onCaughtUp: () => void;
  isGone: () => boolean;
}

export async function catchUp({ feed, afterId, read, onCaughtUp, isGone }: CatchUpOptions): Promise<{
  past: PrismeEvent[] | null;
  replayed: Replayed;
}> {
  let past = await read();
  if (past !== null) {
    const newest = past.at(-1)?.id ?? afterId;
    const end = Math.min(Date.now(), ulidTime(newest)) + FEED_MS;
    while (!feed.hasPassed(newest) && Date.now() < end && !isGone()) await sleep(POLL_MS);
    onCaughtUp();
    past = await read();
  }
  const ids = new Set([afterId, ...(past ?? []).map(({ id }) => id)]);
  const lastId = past?.at(-1)?.id ?? afterId;
  const until = Date.now() + FEED_MS;
  return { past, replayed: { has: (id) => ids.has(id), isOver: () => feed.hasPassed(lastId) || Date.now() > until } };
}
