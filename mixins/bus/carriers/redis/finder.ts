/**
 * finder — where the entry of an event stands in the log of its shard. Streams know positions, not event ids; but an event id begins with the time at which
 * the event was made, and a stream id with the time at which Redis got it, a moment later. So it is looked for where it should be, then further and further
 * away: clocks differ, a producer was without Redis for a while, a run that was interrupted sends its events again.
 */
import { ulidTime } from '../../../shared/ids.ts';
import type { Position } from '../../carrier.ts';
import type { Client } from './connect.ts';
import { nextOf } from './entries.ts';

/** How far from the time in the id, ms: before it, up to a minute (clocks), and after, up to a quarter of an hour (outages). */
const AROUND: readonly (readonly [number, number])[] = [
  [-20, 1_000],
  [-200, -21],
  [-2_000, -201],
  [-20_000, -2_001],
  [-60_000, -20_001],
  [1_001, 900_000],
];
const FIRST_COUNT = 100;
const MAX_COUNT = 1_000;
/** Entries looked at in all; an event that is further away counts as not kept any more. */
const LIMIT = 200_000;
/** Some ids have more behind it: `…E`, of what tells that an event was refused. */
const ULID_LENGTH = 26;

/** @returns `null` when the log has no entry of that event (any more), or the id does not begin with a time */
export async function findEntry(client: Pick<Client, 'busFind'>, log: string, id: string): Promise<Position | null> {
  const time = ulidTime(id.slice(0, ULID_LENGTH));
  if (Number.isNaN(time)) return null;
  let left = LIMIT;
  for (const [from, to] of AROUND) {
    let first = String(Math.max(time + from, 0));
    const last = String(Math.max(time + to, 0));
    for (let count = FIRST_COUNT; left > 0; count = Math.min(2 * count, MAX_COUNT)) {
      const [found, end] = (await client.busFind(log, id, first, last, count)) as [string, string];
      if (found) return found;
      if (!end) break;
      left -= count;
      first = nextOf(end);
    }
  }
  return null;
}
