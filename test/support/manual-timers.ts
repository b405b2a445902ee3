/** manual-timers — time that stands still until a test moves it. */
import type { Timers } from '../../mixins/bus/timers.ts';

export interface ManualTimers extends Timers {
  /** Lets `ms` pass: runs what is due, in order, and everything that follows from it. */
  advance(ms: number): Promise<void>;
}

export function manualTimers(): ManualTimers {
  let now = 0;
  let serial = 0;
  const waiting = new Map<number, { at: number; run: () => void }>();
  // Chains of promises end before the next macrotask does.
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

  return {
    now: () => now,
    after(ms, run) {
      const id = ++serial;
      waiting.set(id, { at: now + Math.max(ms, 0), run });
      return () => void waiting.delete(id);
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        let next: [number, { at: number; run: () => void }] | undefined;
        for (const one of waiting) if (one[1].at <= end && (!next || one[1].at < next[1].at)) next = one;
        if (!next) break;
        waiting.delete(next[0]);
        now = next[1].at;
        next[1].run();
        await settle();
      }
      now = end;
    },
  };
}
