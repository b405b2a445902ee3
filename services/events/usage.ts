/** usage — the figures of a workspace over a period: interactions, sessions, users, and what apps report by events `<app>.usage`. */
import { isoMoment } from '../../mixins/filters/dates.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { Condition, DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';

export interface Totals {
  transactions: number;
  httpTransactions: number;
  eventTransactions: number;
  scheduleTransactions: number;
  sessions: number;
  users: number;
}

interface AppUsage {
  slug: string;
  total: { custom: Record<string, number> };
  appInstances?: { slug: string; total: { custom: Record<string, number> } }[];
}

export interface UsageAnswer {
  workspaceId: string;
  afterDate: string;
  beforeDate: string;
  interval?: string;
  total: Totals;
  apps: AppUsage[];
  timeseries?: { date: string; total: Totals; apps: AppUsage[] }[];
}

const INTERVALS = new Set(['hour', 'day', 'week', 'month']);
const KINDS = { httpTransactions: 'endpoint', eventTransactions: 'event', scheduleTransactions: 'schedule' } as const;
const correlations = { n: { cardinality: { field: 'source.correlationId' } } };

const METRICS = {
  transactions: { filter: { term: { 'source.serviceTopic': 'runtime.interactions.triggered' } }, aggs: correlations },
  ...Object.fromEntries(
    Object.entries(KINDS).map(([name, kind]) => [
      name,
      {
        filter: {
          bool: {
            filter: [{ term: { 'source.serviceTopic': 'runtime.interactions.triggered' } }, { term: { 'payload.trigger.type': kind } }],
          },
        },
        aggs: correlations,
      },
    ]),
  ),
  sessions: { cardinality: { field: 'source.sessionId' } },
  users: { cardinality: { field: 'source.userId' } },
};

function totalsOf(bucket: Record<string, any>): Totals {
  const one = (name: string) => Number(bucket[name]?.n?.value ?? bucket[name]?.value ?? 0);
  return {
    transactions: one('transactions'),
    httpTransactions: one('httpTransactions'),
    eventTransactions: one('eventTransactions'),
    scheduleTransactions: one('scheduleTransactions'),
    sessions: one('sessions'),
    users: one('users'),
  };
}

interface Report {
  app: string;
  instance: string;
  at: number;
  metrics: JsonObject;
}

/** `increment` adds, `set` (the default) keeps the latest. */
function appUsage(reports: Report[], details: boolean): AppUsage[] {
  const apps = new Map<string, Map<string, Map<string, number>>>();
  for (const { app, instance, metrics } of reports) {
    const instances = apps.get(app) ?? new Map<string, Map<string, number>>();
    apps.set(app, instances);
    const values = instances.get(instance) ?? new Map<string, number>();
    instances.set(instance, values);
    for (const [name, given] of Object.entries(metrics)) {
      const value = Number(isPlainObject(given) ? given.value : given);
      if (!Number.isFinite(value)) continue;
      values.set(name, isPlainObject(given) && given.action === 'increment' ? (values.get(name) ?? 0) + value : value);
    }
  }
  return [...apps].map(([slug, instances]) => {
    const custom: Record<string, number> = {};
    for (const values of instances.values()) for (const [name, value] of values) custom[name] = (custom[name] ?? 0) + value;
    if (custom.billing !== undefined) custom.billing = Math.floor(custom.billing);
    return {
      slug,
      total: { custom },
      ...(details && {
        appInstances: [...instances].map(([name, values]) => ({ slug: name, total: { custom: Object.fromEntries(values) } })),
      }),
    };
  });
}

async function reportsOf(datalake: DatalakeDriver, workspaceId: string, period: Condition): Promise<Report[]> {
  const reports: Report[] = [];
  for (let afterId: string | undefined; ; ) {
    const { events, nextCursor } = await datalake.search({
      workspaceId,
      where: { all: [period, { field: 'type', op: 'suffix', value: '.usage' }, { field: 'source.appInstanceDepth', op: 'eq', value: 1 }] },
      sort: [{ field: 'createdAt', order: 'asc' }],
      limit: 5000,
      trackTotal: false,
      ...(afterId && { afterId }),
    });
    for (const { source, payload, createdAt } of events)
      if (isPlainObject(payload.metrics) && source.appSlug)
        reports.push({
          app: source.appSlug,
          instance: source.appInstanceFullSlug ?? source.appSlug,
          at: Date.parse(createdAt),
          metrics: payload.metrics,
        });
    if (!nextCursor) return reports;
    afterId = nextCursor;
  }
}

/** @throws RequestValidationError without both dates, or with an unknown interval */
export async function usageOf(datalake: DatalakeDriver, workspaceId: string, query: Record<string, unknown>): Promise<UsageAnswer> {
  if (!query.afterDate || !query.beforeDate)
    throw fault('RequestValidationError', { message: "'afterDate' and 'beforeDate' are required." });
  const interval = query.interval === undefined ? undefined : String(query.interval);
  if (interval !== undefined && !INTERVALS.has(interval))
    throw fault('RequestValidationError', { message: "'interval' is hour, day, week or month." });
  const afterDate = isoMoment(query.afterDate, 'afterDate');
  const beforeDate = isoMoment(query.beforeDate, 'beforeDate');
  const details = query.details === 'true' || query.details === true;
  const period: Condition = {
    all: [
      { field: 'createdAt', op: 'gt', value: afterDate },
      { field: 'createdAt', op: 'lt', value: beforeDate },
    ],
  };
  const series = interval && {
    timeseries: { date_histogram: { field: 'createdAt', calendar_interval: interval, min_doc_count: 1 }, aggs: METRICS },
  };
  const [{ aggs = {} }, reports] = await Promise.all([
    datalake.search({ workspaceId, where: period, limit: 0, trackTotal: false, aggs: { ...METRICS, ...series } }),
    reportsOf(datalake, workspaceId, period),
  ]);
  const buckets = ((aggs.timeseries as { buckets?: Record<string, any>[] } | undefined)?.buckets ?? []) as Record<string, any>[];
  return {
    workspaceId,
    afterDate,
    beforeDate,
    ...(interval && { interval }),
    total: totalsOf(aggs as Record<string, any>),
    apps: appUsage(reports, details),
    ...(interval && {
      timeseries: buckets.map((bucket, i) => {
        const end = buckets[i + 1]?.key ?? Number.POSITIVE_INFINITY;
        const within = reports.filter(({ at }) => at >= bucket.key && at < end);
        return { date: String(bucket.key_as_string), total: totalsOf(bucket), apps: appUsage(within, details) };
      }),
    }),
  };
}
