/** retention — which stored events have had their time: by age, by the size of their workspace, by the end of their workspace. */
import { DAY } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';

export type RetentionRules = Pick<
  Config,
  | 'eventsRetentionDays'
  | 'eventsWorkspaceMaxBytes'
  | 'eventsScheduledDeletionDays'
  | 'eventsCleanupMaxEvents'
  | 'eventsCleanupInactivityDays'
>;

export interface CleanupReport {
  dryRun: boolean;
  expiredEvents: { before: string; removed: number } | null;
  deletedWorkspaces: { workspaceId: string; removed: number }[];
  inactiveWorkspaces: { workspaceId: string; events: number; removed: number }[];
  oversizedWorkspaces: { workspaceId: string; bytes: number; before: string; removed: number }[];
}

const DELETIONS = 'events:deletions';

/** Remembers that the events of a workspace go once its time is over. */
export const scheduleDeletion = (cache: CacheDriver, workspaceId: string, dueAt: number): Promise<void> =>
  cache.addScored(DELETIONS, workspaceId, dueAt);

/** Moment of the event at a share of a workspace's history, oldest first; `null` for an empty one. */
async function momentAt(datalake: DatalakeDriver, workspaceId: string, share: number): Promise<string | null> {
  const { aggs } = await datalake.search({
    workspaceId,
    limit: 0,
    trackTotal: false,
    aggs: { when: { percentiles: { field: 'createdAt', percents: [share * 100] } } },
  });
  const value = Object.values((aggs?.when as { values: Record<string, number | null> }).values)[0];
  return value === null || value === undefined ? null : new Date(value).toISOString();
}

/** Removes what is due; with `dryRun`, only tells. */
export async function cleanUp(
  datalake: DatalakeDriver,
  cache: CacheDriver,
  rules: RetentionRules,
  { dryRun = false, now = Date.now() }: { dryRun?: boolean; now?: number } = {},
): Promise<CleanupReport> {
  const report: CleanupReport = { dryRun, expiredEvents: null, deletedWorkspaces: [], inactiveWorkspaces: [], oversizedWorkspaces: [] };
  const remove = async (selection: Parameters<DatalakeDriver['remove']>[0]) => (dryRun ? 0 : datalake.remove(selection));

  for (const { member } of await cache.scoredUpTo(DELETIONS, now, 1000)) {
    // Removed first, forgotten afterwards: a crash in between repeats a removal that finds nothing.
    const removed = await remove({ workspaceId: member });
    if (!dryRun) await cache.removeScored(DELETIONS, member);
    report.deletedWorkspaces.push({ workspaceId: member, removed });
  }

  if (rules.eventsRetentionDays >= 0) {
    const before = new Date(now - rules.eventsRetentionDays * DAY).toISOString();
    report.expiredEvents = { before, removed: await remove({ before }) };
  }

  for (const { workspaceId, events, bytes } of await datalake.usage()) {
    const limit = rules.eventsWorkspaceMaxBytes;
    if (limit >= 0 && bytes > limit) {
      // A tenth more than needed, so that a workspace at its limit is not cut at every round.
      const before = await momentAt(datalake, workspaceId, Math.min(1, 1 - (limit * 0.9) / bytes));
      if (before) report.oversizedWorkspaces.push({ workspaceId, bytes, before, removed: await remove({ workspaceId, before }) });
    } else if (rules.eventsCleanupMaxEvents >= 0 && events <= rules.eventsCleanupMaxEvents) {
      const silentSince = new Date(now - rules.eventsCleanupInactivityDays * DAY).toISOString();
      const { events: recent } = await datalake.search({
        workspaceId,
        where: { all: [{ field: 'createdAt', op: 'gte', value: silentSince }, { not: { field: 'type', op: 'eq', value: 'error' } }] },
        limit: 1,
        trackTotal: false,
      });
      if (recent.length === 0)
        report.inactiveWorkspaces.push({ workspaceId, events, removed: await remove({ workspaceId, before: silentSince }) });
    }
  }
  return report;
}

/** Whether anything was, or would be, removed. */
export const hasRemoved = ({ expiredEvents, deletedWorkspaces, inactiveWorkspaces, oversizedWorkspaces }: CleanupReport): boolean =>
  (expiredEvents?.removed ?? 0) > 0 || [...deletedWorkspaces, ...inactiveWorkspaces, ...oversizedWorkspaces].length > 0;
