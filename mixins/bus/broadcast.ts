/**
 * broadcast — every process gets every event, from now on: caches, sockets, waits. Nothing is stored for it: what a process that is down misses, it
 * loads again at start. A handler runs one event at a time per shard; errors are logged.
 */
import type { PrismeEvent } from '../shared/event.ts';
import { type Carrier, type Entry, type Logger, type Position, sharedEvent } from './carrier.ts';
import type { Delivery } from './contract.ts';
import { type Queue, queue } from './queue.ts';

/** Entries waiting for a slow handler; beyond, the log keeps them and they are read from there. */
const MAX_WAITING = 2_000;

interface Feed {
  waiting: Queue<Entry>;
  /** Last position put into `waiting` or left out as unwanted. */
  position: Position;
  isRunning: boolean;
  isBehind: boolean;
}

export interface BroadcastOptions {
  carrier: Carrier;
  logger: Logger;
  wants: (topic: string) => boolean;
  handle: (event: PrismeEvent, delivery: Delivery) => Promise<void> | void;
  /** Start after these positions (shard → position) instead of now. */
  from?: Map<number, Position>;
}

export interface Broadcast {
  stop(drainMs: number): Promise<void>;
}

/** Resolves when nothing sent afterwards can be missed. */
export async function openBroadcast({ carrier, logger, wants, handle, from }: BroadcastOptions): Promise<Broadcast> {
  const feeds = new Map<number, Feed>();
  const abort = new AbortController();
  const delivery: Delivery = { attempt: 1, isLast: true, signal: abort.signal, bury: () => {} };
  let isStopped = false;
  let running = 0;
  let onIdle = () => {};

  function feedOf(shard: number, position: Position): Feed {
    let feed = feeds.get(shard);
    if (!feed) {
      feed = { waiting: queue(), position, isRunning: false, isBehind: false };
      feeds.set(shard, feed);
    }
    return feed;
  }

  function take(feed: Feed, entries: Entry[]): void {
    for (const entry of entries) {
      if (carrier.compare(entry.position, feed.position) <= 0) continue;
      if (feed.waiting.length >= MAX_WAITING) {
        feed.isBehind = true;
        return;
      }
      feed.position = entry.position;
      if (!entry.group && wants(entry.topic)) feed.waiting.push(entry);
    }
  }

  async function run(shard: number, feed: Feed): Promise<void> {
    if (feed.isRunning) return;
    feed.isRunning = true;
    running++;
    while (!isStopped) {
      const entry = feed.waiting.shift();
      if (!entry) {
        if (!feed.isBehind) break;
        feed.isBehind = false;
        try {
          const entries = await carrier.read(shard, feed.position, MAX_WAITING);
          take(feed, entries);
          feed.isBehind ||= entries.length === MAX_WAITING;
        } catch (error) {
          logger.warn(`bus broadcast: shard ${shard} cannot be read: ${(error as Error).message}`);
          feed.isBehind = true;
          await new Promise((resolve) => setTimeout(resolve, 500).unref());
        }
        continue;
      }
      try {
        const done = handle(sharedEvent(entry), delivery);
        if (done) await done;
      } catch (error) {
        logger.error(`bus broadcast: the handler of '${entry.topic}' failed:`, error);
      }
    }
    feed.isRunning = false;
    if (--running === 0) onIdle();
  }

  const unfollow = await carrier.follow((shard, after, entries) => {
    const feed = feedOf(shard, from?.get(shard) ?? after);
    if (!entries.length) feed.position = after;
    if (feed.isBehind) return;
    if (carrier.compare(feed.position, after) < 0) feed.isBehind = true;
    else take(feed, entries);
    if (feed.waiting.length || feed.isBehind) void run(shard, feed);
  });
  for (const [shard, position] of from ?? []) {
    const feed = feedOf(shard, position);
    feed.isBehind = true;
    void run(shard, feed);
  }

  return {
    async stop(drainMs) {
      if (isStopped) return;
      isStopped = true;
      unfollow();
      if (running === 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, drainMs);
        onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      abort.abort(new Error('the node stops'));
    },
  };
}
