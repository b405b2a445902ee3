/** finder — where the entry of an event stands in the stream of its shard, whose ids begin with the time at which Redis got them. */
import type { Position } from '../../carrier.ts';
import { LOOK_LIMIT, QUICK_LIMIT, spansAround } from '../around.ts';
import type { Client } from './connect.ts';
import { nextOf } from './entries.ts';

const FIRST_COUNT = 100;
const MAX_COUNT = 1_000;

/** @returns `null` when the log has no entry of that event (any more), or the id does not begin with a time */
export async function findEntry(client: Pick<Client, 'busFind'>, log: string, id: string, isQuick: boolean): Promise<Position | null> {
  let left = isQuick ? QUICK_LIMIT : LOOK_LIMIT;
  for (const { from, to } of spansAround(id, isQuick)) {
    let first = String(from);
    for (let count = FIRST_COUNT; left > 0; count = Math.min(2 * count, MAX_COUNT)) {
      const [found, end] = (await client.busFind(log, id, first, String(to), count)) as [string, string];
      if (found) return found;
      if (!end) break;
      left -= count;
      first = nextOf(end);
    }
  }
  return null;
}
