/** replay — the events of a workspace after one that a client has seen: from the log of the bus, or from the history and then the log. */
import type { EventBus } from '../../mixins/bus/contract.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';
import { HISTORY_GROUP } from './history.service.ts';

/** Oldest first; `null` when nobody can tell what came after. */
export async function eventsAfter(
  bus: EventBus,
  datalake: DatalakeDriver,
  workspaceId: string,
  afterId: string,
  limit: number,
): Promise<PrismeEvent[] | null> {
  const recent = await bus.replay(afterId, workspaceId, limit, { isQuick: true });
  if (recent) return recent;
  if (!(await datalake.get(workspaceId, afterId))) return null;
  const { events: stored, nextCursor } = await datalake.search({
    workspaceId,
    afterId,
    limit,
    trackTotal: false,
    sort: [{ field: 'createdAt', order: 'asc' }],
  });
  if (nextCursor) return stored;
  // The history may be behind the log: the newest events are read from there.
  const last = stored.at(-1);
  const newest = last && (await bus.replay(last.id, workspaceId, limit - stored.length, { isQuick: true }));
  if (newest) return [...stored, ...newest];
  const lag = (await bus.lag()).find(({ group }) => group === HISTORY_GROUP.group);
  return lag && lag.entries > 0 ? null : stored;
}
