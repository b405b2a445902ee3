/** retention — which stored events have had their time: by age, by the size of their workspace, by the end of their workspace. */
import { DAY, HOUR, MINUTE } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Condition, DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';

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

/** Ever finer, so that no step counts more than some thousand intervals: a store answers that from its index, however many events there are. */
const STEPS = [
  { interval: '1d', ms: DAY },
  { interval: '1h', ms: HOUR },
  { interval: '1m', ms: MINUTE },
];

/** A moment before which a share of a workspace's history lies, oldest first, to the minute and never less than asked; `null` for an empty one. */
async function momentAt(datalake: DatalakeDriver, workspaceId: string, share: number): Promise<string | null> {
  let within: { from: number; to: number } | null = null;
  let wanted = 0;
  for (const { interval, ms } of STEPS) {
    const where: Condition | undefined = within
      ? {
          all: [
            { field: 'createdAt', op: 'gte', value: within.from },
            { field: 'createdAt', op: 'lt', value: within.to },
          ],
        }
      : undefined;
    const over = { date_histogram: { field: 'createdAt', fixed_interval: interval, min_doc_count: 1 } };
    const { aggs } = await datalake.search({ workspaceId, where, limit: 0, trackTotal: false, aggs: { over } });
    const buckets = (aggs?.over as { buckets: { key: number; doc_count: number }[] }).buckets;
    if (!within) wanted = share * buckets.reduce((sum, { doc_count }) => sum + doc_count, 0);
    const chosen = buckets.find(({ doc_count }) => {
      if (doc_count >= wanted) return true;
      wanted -= doc_count;
      return false;
    });
    const last = chosen ?? buckets.at(-1);
    if (!last) return null;
    within = { from: last.key, to: last.key + ms };
  }
  return within && new Date(within.to).toISOString();
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
