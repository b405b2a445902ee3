/**
 * deadlines — ends the wait for runs of this node that go on for too long. Calls to other nodes have the time-outs of Moleculer, which make a timer and half a
 * dozen promises for each; a run of this node costs an entry of a list here, looked at once in a while.
 */
import { SECOND } from '../../mixins/shared/clock.ts';
import { slotMap } from '../../mixins/shared/slot-map.ts';

export interface Deadlines {
  /** From now on `onLate` is called once the limit has passed. @returns what `clear` wants */
  set(onLate: () => void): number;
  clear(ticket: number): void;
  close(): void;
}

export function openDeadlines(limitMs: number, { everyMs = SECOND, now = () => performance.now() } = {}): Deadlines {
  const open = slotMap<number, { until: number; onLate: () => void }>();
  let last = 0;
  const timer = setInterval(() => {
    const at = now();
    for (const { until, onLate } of open.values()) if (at >= until) onLate();
  }, everyMs).unref();

  return {
    set(onLate) {
      open.set(++last, { until: now() + limitMs, onLate });
      return last;
    },
    clear: (ticket) => void open.delete(ticket),
    close: () => clearInterval(timer),
  };
}
