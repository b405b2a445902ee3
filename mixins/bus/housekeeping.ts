/** housekeeping — what each node does for the log every minute or so: trims what every group has settled, and says which group leaves too much behind. */
import type { Carrier, Logger } from './carrier.ts';
import type { Timers } from './timers.ts';

/** A group that leaves this part of the room behind is told of. */
const WARN_SHARE = 0.1;
/** A pass that removed so many was a partial one: the next follows soon, but not at once, as writers wait for it. */
const MANY = 1_000;
const AGAIN_MS = 100;

export interface HousekeepingOptions {
  carrier: Carrier;
  timers: Timers;
  logger: Logger;
  everyMs: number;
  maxEntries: number;
}

/** Nodes do it at different times. Answers how to stop it. */
export function keepHouse({ carrier, timers, logger, everyMs, maxEntries }: HousekeepingOptions): () => void {
  let isStopped = false;
  let cancel = () => {};

  async function trim(): Promise<number> {
    try {
      return await carrier.trim();
    } catch (error) {
      if (!isStopped) logger.warn(`bus: the log cannot be trimmed: ${(error as Error).message}`);
      return 0;
    }
  }

  async function look(): Promise<void> {
    const backlog = await carrier.backlog().catch(() => []); // the store that does not answer was told of already
    for (const { group, entries, dead } of backlog)
      if (entries >= maxEntries * WARN_SHARE && !isStopped)
        logger.warn(
          `bus group '${group}': ${entries} events are not handled yet (${dead} dead letters); producers are refused at ${maxEntries} (docs/operations.md).`,
        );
  }

  async function pass(): Promise<void> {
    const removed = await trim();
    if (isStopped) return;
    if (removed >= MANY) cancel = timers.after(Math.min(AGAIN_MS, everyMs), () => void pass());
    else {
      await look();
      if (!isStopped) later();
    }
  }

  function later(): void {
    cancel = timers.after(everyMs * (0.75 + Math.random() / 2), () => void pass());
  }

  later();
  return () => {
    isStopped = true;
    cancel();
  };
}
