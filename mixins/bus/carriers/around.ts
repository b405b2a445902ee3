/**
 * around — at which times an event is looked for in a log that knows its entries by when they were written, not by event id.
 *
 * An event id begins with the time at which the event was made, and it is written a moment later. So it is looked for where it should be, then further and
 * further away: clocks differ, a producer was without its store for a while, a run that was interrupted sends its events again.
 */
import { ulidTime } from '../../shared/ids.ts';

export interface Span {
  /** First and last time, ms since 1970. */
  from: number;
  to: number;
}

/** From the time in the id, ms: before it, up to a minute (clocks), and after, up to a quarter of an hour (outages). */
const NEAR: readonly (readonly [number, number])[] = [
  [-20, 1_000],
  [-200, -21],
  [-2_000, -201],
  [-20_000, -2_001],
  [-60_000, -20_001],
];
const LATE = [1_001, 900_000] as const;

/** Entries looked at in all; an event that is further away counts as not kept any more. */
export const LOOK_LIMIT = 200_000;
/** As above, for who has another place to ask, and may come in great number. */
export const QUICK_LIMIT = 20_000;

/** Some ids have more behind it: `…E`, of what tells that an event was refused. */
const ULID_LENGTH = 26;

/** Where to look, best first; nowhere when the id does not begin with a time. */
export function spansAround(id: string, isQuick: boolean): Span[] {
  const time = ulidTime(id.slice(0, ULID_LENGTH));
  if (Number.isNaN(time)) return [];
  return [...NEAR, ...(isQuick ? [] : [LATE])].map(([from, to]) => ({ from: Math.max(time + from, 0), to: Math.max(time + to, 0) }));
}
