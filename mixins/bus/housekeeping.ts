/** housekeeping — what each node does for the log every minute or so: trims what every group has settled, and says which group leaves too much behind. */
import type { Carrier, Logger } from './carrier.ts';
import type { Timers } from './timers.ts';

/** A group that leaves this part of the room behind is told of. */
const WARN_SHARE = 0.1;

export interface HousekeepingOptions {
  carrier: Carrier;
  timers: Timers;
  logger: Logger;
  everyMs: number;
  maxEntries: number;
}

/** Nodes do it at different times; after a pass that removed much another one follows soon, as a pass may be partial. Answers how to stop it. */
export function keepHouse({ carrier, timers, logger, everyMs, maxEntries }: HousekeepingOptions): () => void {
  let isStopped = false;
  let cancel = () => {};

  async function pass(): Promise<number> {
    try {
      const removed = await carrier.trim();
      for (const { group, entries, dead } of await carrier.backlog())
        if (entries >= maxEntries * WARN_SHARE && !isStopped)
          logger.warn(
            `bus group '${group}': ${entries} events are not handled yet (${dead} dead letters); producers are refused at ${maxEntries} (docs/operations.md).`,
          );
      return removed;
    } catch (error) {
      if (!isStopped) logger.warn(`bus: the log cannot be trimmed: ${(error as Error).message}`);
      return 0;
    }
  }

  function later(ms: number): void {
    cancel = timers.after(ms * (0.75 + Math.random() / 2), () => {
      void pass().then((removed) => {
        if (!isStopped) later(removed > 1_000 ? Math.min(everyMs, 1_000) : everyMs);
      });
    });
  }

  later(everyMs);
  return () => {
    isStopped = true;
    cancel();
  };
}
