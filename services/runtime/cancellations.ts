/**
 * cancellations — what was said of a correlation id: end its runs, and start none of it. A mark in the cache, for whoever could not be told: a
 * node that dies with the run in hand, a run between two nodes, an event that is still on its way.
 *
 * Key: `run:{ws}:cancelled:<correlation id>`.
 */
import { DAY, MINUTE } from '../../mixins/shared/clock.ts';
import { isFault } from '../../mixins/shared/errors.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { keyPart } from './key-part.ts';
import type { RunRecord } from './runs.ts';

interface Mark {
  /** Milliseconds. Runs that began later are not meant. */
  at: number;
  /** A run of the correlation id was begun again: what it causes is wanted. */
  isLifted?: boolean;
}

/** Events of a cancelled run that are still on their way start nothing. */
const STARTS_NOTHING_MS = 10 * MINUTE;
/** A run is found cancelled for so long after its nodes have gone: as long as its record would be kept. */
const MARK_MS = DAY;

const markKey = (workspaceId: string, correlationId: string): string => `run:{${workspaceId}}:cancelled:${keyPart(correlationId)}`;

/** Milliseconds of the moment a run began, or was begun again. */
export const begunAt = ({ request, kept }: Pick<RunRecord, 'request' | 'kept'>): number => kept?.at ?? request.acceptedAt;

export function createCancellations(cache: CacheDriver, now: () => number = Date.now) {
  const find = (workspaceId: string, correlationId: string) => cache.get<Mark>(markKey(workspaceId, correlationId));
  return {
    /** @param begun when the runs that are meant began: the clock of another node may be ahead of this one */
    async mark(workspaceId: string, correlationId: string, begun: number[]): Promise<void> {
      const mark: Mark = { at: Math.max(now(), ...begun) };
      await cache.set(markKey(workspaceId, correlationId), mark, { ttlMs: MARK_MS });
    },

    /** Whether an event of that correlation id starts nothing. */
    async coversEvents(workspaceId: string, correlationId: string): Promise<boolean> {
      const mark = (await find(workspaceId, correlationId))?.value;
      return mark !== undefined && !mark.isLifted && now() - mark.at < STARTS_NOTHING_MS;
    },

    /** Whether the run was cancelled since it began. */
    async covers(record: RunRecord): Promise<boolean> {
      const mark = (await find(record.workspaceId, record.correlationId))?.value;
      return mark !== undefined && mark.at >= begunAt(record);
    },

    /** When a run that is begun again begins: after it was cancelled, whatever the clocks say. */
    async nextBegin(workspaceId: string, correlationId: string): Promise<number> {
      const mark = (await find(workspaceId, correlationId))?.value;
      return Math.max(now(), mark ? mark.at + 1 : 0);
    },

    /** What a run that was begun again causes starts automations. Other runs that were cancelled stay so; a later mark is left alone. */
    async lift(workspaceId: string, correlationId: string, begun: number): Promise<void> {
      const found = await find(workspaceId, correlationId);
      if (!found || found.value.isLifted || found.value.at >= begun) return;
      try {
        const mark: Mark = { ...found.value, isLifted: true };
        await cache.set(markKey(workspaceId, correlationId), mark, { ttlMs: MARK_MS, ifVersion: found.version });
      } catch (error) {
        if (!isFault(error, 'VersionConflict')) throw error;
      }
    },
  };
}

export type Cancellations = ReturnType<typeof createCancellations>;
