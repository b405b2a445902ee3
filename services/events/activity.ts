/** activity — the measures of a dashboard over a period, each one aggregation of the stored events. */
import { isoMoment } from '../../mixins/filters/dates.ts';
import { DAY, HOUR } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { DatalakeDriver, SearchRequest } from '../../mixins/storage/datalake/contract.ts';

const PERIODS: Record<string, { ms: number; interval: string }> = {
  '1h': { ms: HOUR, interval: '1m' },
  '24h': { ms: DAY, interval: '1h' },
  '7d': { ms: 7 * DAY, interval: '1d' },
  '30d': { ms: 30 * DAY, interval: '1d' },
};

const executed = { term: { type: 'runtime.automations.executed' } };
const interactions = { term: { type: 'runtime.interactions.triggered' } };
const errors = {
  bool: { should: [{ term: { type: 'error' } }, { wildcard: { type: '*.error' } }, { term: { type: 'runtime.fetch.failed' } }] },
};
const percents = [50, 90, 95, 99];
const latency = { percentiles: { field: 'payload.duration', percents } };

/** The aggregations of `GET …/activity`. */
export function activityAggregations(interval: string): Record<string, unknown> {
  const overTime = (aggs?: object) => ({ date_histogram: { field: 'createdAt', fixed_interval: interval }, ...(aggs && { aggs }) });
  return {
    overTime: overTime(),
    types: { terms: { field: 'type', size: 20 } },
    interactions: {
      filter: interactions,
      aggs: {
        byTrigger: { terms: { field: 'payload.trigger.type' } },
        entryPoints: { terms: { field: 'payload.automation', size: 10 } },
        users: { cardinality: { field: 'source.userId' } },
        overTime: overTime({ users: { cardinality: { field: 'source.userId' } } }),
      },
    },
    executions: {
      filter: executed,
      aggs: {
        latency,
        overTime: overTime({ latency }),
        slowest: {
          terms: { field: 'payload.slug', size: 10, order: { 'latency.95': 'desc' } },
          aggs: { latency, samples: { terms: { field: 'source.correlationId', size: 3 } } },
        },
        top: { terms: { field: 'payload.slug', size: 10 } },
        dependencies: {
          filter: { term: { 'payload.trigger.type': 'automation' } },
          aggs: {
            edges: {
              composite: {
                size: 500,
                sources: [{ parent: { terms: { field: 'payload.trigger.value' } } }, { called: { terms: { field: 'payload.slug' } } }],
              },
            },
          },
        },
      },
    },
    errors: {
      filter: errors,
      aggs: {
        byType: { terms: { field: 'payload.error', size: 10 } },
        byAutomation: { terms: { field: 'source.automationSlug', size: 10 } },
        interactions: { cardinality: { field: 'source.correlationId' } },
        overTime: overTime(),
      },
    },
  };
}

/** @throws BadParametersError for an unknown period or a date that is not one */
export async function activityOf(
  datalake: DatalakeDriver,
  scope: Pick<SearchRequest, 'workspaceId' | 'readable'>,
  query: Record<string, unknown>,
  now: number = Date.now(),
): Promise<Record<string, unknown>> {
  const name = String(query.period ?? '7d');
  const period = Object.hasOwn(PERIODS, name) ? PERIODS[name] : undefined;
  if (!period) throw fault('BadParametersError', { message: `'period' is one of ${Object.keys(PERIODS).join(', ')}.` });
  const beforeDate = isoMoment(query.beforeDate ?? now, 'beforeDate', now);
  const afterDate = isoMoment(query.afterDate ?? Date.parse(beforeDate) - period.ms, 'afterDate', now);
  const interval = query.interval === undefined ? period.interval : String(query.interval);
  const { total, aggs } = await datalake.search({
    ...scope,
    where: {
      all: [
        { field: 'createdAt', op: 'gte', value: afterDate },
        { field: 'createdAt', op: 'lte', value: beforeDate },
      ],
    },
    limit: 0,
    trackTotal: true,
    aggs: activityAggregations(interval),
  });
  return { afterDate, beforeDate, interval, total, ...aggs };
}
