/** What dashboards and the activity view ask, over the public port of a real platform: each answer can be counted by hand in test/support/event-history.ts. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DAY, HOUR, MINUTE } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventHistory } from '../support/event-history.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';

const hour = Math.floor(Date.now() / HOUR) * HOUR;
let platform: Platform;
let owner: Client;
let path: string;
let history: PrismeEvent[];

beforeAll(async () => {
  platform = await startPlatform({ mode: 'embedded' });
  owner = await newUser(platform.url, 'owner');
  const { id } = await expectOk(owner.post('/workspaces', { name: 'Measured' }));
  path = `/workspaces/${id}`;
  history = eventHistory(id, hour);
  const lake = await sqliteDatalake(join(platform.dataDir, 'datalake.db'));
  expect(await lake.store(history)).toEqual({ refused: [] });
  await lake.close();
}, 90_000);
afterAll(() => platform.stop());

const period = { range: { createdAt: { gte: new Date(hour - 7 * DAY).toISOString(), lt: new Date(hour).toISOString() } } };
const aggregated = async (type: string | undefined, aggs: object) => {
  const filter = [period, ...(type ? [{ term: { type } }] : [])];
  const answer = await expectOk(owner.post(`${path}/search`, { query: { bool: { filter } }, limit: 0, aggs, track_total_hits: true }));
  return { total: answer.size, ...answer.aggs };
};
const counts = ({ buckets }: { buckets: { key: string; doc_count: number }[] }) =>
  Object.fromEntries(buckets.map(({ key, doc_count }) => [key, doc_count]));
const INTERACTIONS = 'runtime.interactions.triggered';
const EXECUTED = 'runtime.automations.executed';

describe('a dashboard measures, through POST …/search:', () => {
  it('interactions per trigger', async () => {
    const { total, kinds } = await aggregated(INTERACTIONS, { kinds: { terms: { field: 'payload.trigger.type' } } });

    expect(total).toBe(80);
    expect(counts(kinds)).toEqual({ endpoint: 27, event: 27, schedule: 26 });
  });

  it('failed interactions', async () => {
    const { failed } = await aggregated(undefined, {
      failed: { filter: { term: { type: 'error' } }, aggs: { runs: { cardinality: { field: 'source.correlationId' } } } },
    });

    expect(failed).toMatchObject({ doc_count: 12, runs: { value: 4 } });
  });

  it('executions and their latency', async () => {
    const { total, latency, stats, within } = await aggregated(EXECUTED, {
      latency: { percentiles: { field: 'payload.duration', percents: [50, 90, 95, 99] } },
      stats: { extended_stats: { field: 'payload.duration' } },
      within: { percentile_ranks: { field: 'payload.duration', values: [50, 200] } },
    });

    expect(total).toBe(100);
    expect(latency.values['50.0']).toBeCloseTo(50.5);
    expect(latency.values['90.0']).toBeCloseTo(90.1);
    expect(latency.values['95.0']).toBeCloseTo(95.05);
    expect(latency.values['99.0']).toBeCloseTo(99.01);
    expect(stats).toMatchObject({ count: 100, min: 1, max: 100, avg: 50.5, sum: 5050 });
    expect(within.values['50.0']).toBeCloseTo(50, 0);
    expect(within.values['200.0']).toBe(100);
  });

  it('entry executions', async () => {
    const { entries } = await aggregated(EXECUTED, {
      entries: { filter: { terms: { 'payload.trigger.type': ['endpoint', 'event', 'schedule'] } } },
    });

    expect(entries.doc_count).toBe(75);
  });

  it('the slowest automations, with sample runs', async () => {
    const { slowest } = await aggregated(EXECUTED, {
      slowest: {
        terms: { field: 'payload.slug', size: 2, order: { 'latency.95': 'desc' } },
        aggs: {
          latency: { percentiles: { field: 'payload.duration', percents: [95] } },
          samples: { terms: { field: 'source.correlationId', size: 3 } },
          worst: { top_hits: { size: 1, sort: [{ 'payload.duration': 'desc' }], _source: ['source.correlationId'] } },
        },
      },
    });

    expect(slowest.buckets.map(({ key }: { key: string }) => key)).toEqual(['slow', 'average']);
    expect(slowest.buckets[0].samples.buckets).toHaveLength(3);
    expect(slowest.buckets[0].worst.hits.hits[0]._source).toEqual({ source: { correlationId: 'run99' } });
    expect(slowest.sum_other_doc_count).toBe(40);
  });

  it('latency and volume over time', async () => {
    const { over } = await aggregated(EXECUTED, {
      over: {
        date_histogram: { field: '@timestamp', calendar_interval: 'hour' },
        aggs: { latency: { percentiles: { field: 'payload.duration', percents: [50] } } },
      },
    });

    expect(over.buckets.map((bucket: any) => [bucket.key, bucket.doc_count])).toEqual([4, 3, 2, 1].map((h) => [hour - h * HOUR, 25]));
    expect(over.buckets[3].latency.values['50.0']).toBe(49);
    const { fine } = await aggregated(EXECUTED, {
      fine: { date_histogram: { field: 'createdAt', fixed_interval: '5m', min_doc_count: 1 } },
    });
    expect(fine.buckets).toHaveLength(4);
  });

  it('errors by type and app, by automation, over time', async () => {
    const { types, automations, over, nowhere } = await aggregated('error', {
      types: { terms: { field: 'payload.error' }, aggs: { apps: { terms: { field: 'source.appInstanceFullSlug' } } } },
      automations: { terms: { field: 'source.automationSlug' } },
      over: { date_histogram: { field: 'createdAt', fixed_interval: '1d', min_doc_count: 1 } },
      nowhere: { missing: { field: 'source.appInstanceFullSlug' } },
    });

    expect(counts(types)).toEqual({ FetchError: 7, InvalidInstructionError: 5 });
    expect(counts(types.buckets[0].apps)).toEqual({ shop: 4, 'shop.cart': 3 });
    expect(counts(automations)).toEqual({ fast: 6, slow: 6 });
    expect(over.buckets.reduce((sum: number, { doc_count }: any) => sum + doc_count, 0)).toBe(12);
    expect(over.buckets[0].doc_count).toBe(4);
    expect(nowhere.doc_count).toBe(0);
  });

  it('users, and users over time', async () => {
    const { users, over } = await aggregated(INTERACTIONS, {
      users: { cardinality: { field: 'source.userId' } },
      over: {
        date_histogram: { field: 'createdAt', fixed_interval: '1h' },
        aggs: { users: { cardinality: { field: 'source.userId' } } },
      },
    });

    expect(users.value).toBe(5);
    expect(over.buckets).toMatchObject([{ key: hour - HOUR, doc_count: 80, users: { value: 5 } }]);
  });

  it('average and peak of requests per minute', async () => {
    const { peak, average } = await aggregated(INTERACTIONS, {
      minutes: { date_histogram: { field: 'createdAt', fixed_interval: '1m', min_doc_count: 1 } },
      peak: { max_bucket: { buckets_path: 'minutes>_count' } },
      average: { avg_bucket: { buckets_path: 'minutes>_count' } },
    });

    expect(peak).toEqual({ value: 30, keys: [new Date(hour - HOUR + 2 * MINUTE).toISOString()] });
    expect(average.value).toBeCloseTo(80 / 6);
  });

  it('the top entry points', async () => {
    const { top } = await aggregated(INTERACTIONS, { top: { terms: { field: 'payload.automation', size: 2 } } });

    expect(top.buckets.map(({ doc_count }: any) => doc_count)).toEqual([20, 20]);
    expect(top.sum_other_doc_count).toBe(40);
  });

  it('the feed between bounds of duration, and by text', async () => {
    const between = { range: { 'payload.duration': { gte: 90, lte: 92 } } };
    const byDuration = await expectOk(owner.post(`${path}/search`, { query: between, sort: [{ '@timestamp': { order: 'asc' } }] }));
    const byText = await expectOk(
      owner.post(`${path}/search`, { query: { bool: { filter: [period, { simple_query_string: { query: 'FetchError + shop' } }] } } }),
    );

    expect(byDuration.documents.map(({ payload }: any) => payload.duration).sort()).toEqual([90, 91, 92]);
    expect(byText.size).toBe(7);
  });

  it('the graph of who calls whom', async () => {
    const { called } = await aggregated(EXECUTED, {
      called: {
        filter: { term: { 'payload.trigger.type': 'automation' } },
        aggs: {
          edges: {
            composite: {
              size: 10,
              sources: [{ parent: { terms: { field: 'payload.trigger.value' } } }, { child: { terms: { field: 'payload.slug' } } }],
            },
          },
        },
      },
    });

    expect(called.edges.buckets.map(({ key, doc_count }: any) => [key.parent, key.child, doc_count])).toEqual([
      ['entry-1', 'average', 10],
      ['entry-1', 'fast', 10],
      ['entry-1', 'slow', 5],
    ]);
  });

  it('the last hour against the days before', async () => {
    const since = new Date(hour - HOUR).toISOString();
    const { compared } = await aggregated('error', {
      compared: {
        filters: { filters: { last: { range: { createdAt: { gte: since } } }, before: { range: { createdAt: { lt: since } } } } },
      },
    });

    expect(compared.buckets).toMatchObject({ last: { doc_count: 8 }, before: { doc_count: 4 } });
  });

  it('sums of mapped payloads, also of events emitted just now', async () => {
    const type = 'analytics.llm.completion';
    await expectOk(owner.post(`${path}/events`, { events: [{ type, payload: { tokens: 40 }, options: { aggPayload: true } }] }));
    const sum = () =>
      expectOk(
        owner.post(`${path}/search`, { query: { term: { type } }, limit: 0, aggs: { tokens: { sum: { field: 'aggPayload.tokens' } } } }),
      );

    await eventually(async () => expect((await sum()).aggs.tokens.value).toBe(100));
  });

  it('sums of the fields that the workspace has declared', async () => {
    await expectOk(owner.patch(path, { events: { types: { 'shop.sale': { schema: { amount: { type: 'number' } } } } } }));
    await expectOk(owner.post(`${path}/events`, { events: ['1.5', 2].map((amount) => ({ type: 'shop.sale', payload: { amount } })) }));
    const body = { query: { term: { type: 'shop.sale' } }, limit: 0, aggs: { amount: { sum: { field: 'aggPayload.amount' } } } };

    await eventually(async () => expect((await expectOk(owner.post(`${path}/search`, body))).aggs.amount.value).toBe(3.5));
  });

  it('all of it in one call', async () => {
    const activity = await expectOk(owner.get(`${path}/activity?period=7d&beforeDate=${new Date(hour).toISOString()}`));

    expect(activity.executions).toMatchObject({ doc_count: 100 });
    expect(activity.executions.latency.values['95.0']).toBeCloseTo(95.05);
    expect(activity.errors).toMatchObject({ doc_count: 12, interactions: { value: 4 } });
    expect((await owner.get(`${path}/activity?period=1y`)).status).toBe(400);
  });
});

describe('the activity view', () => {
  const listed = async (query: string) =>
    (await expectOk(owner.get(`${path}/events?beforeDate=${new Date(hour).toISOString()}&${query}`))).result;
  const typesOf = (events: PrismeEvent[]) => [...new Set(events.map(({ type }) => type))].sort();

  it('pages through everything by fifty, newest first, with the number of matches', async () => {
    const first = await listed('count=true');
    const seen: PrismeEvent[] = [...first.events];
    for (let cursor = first.nextCursor; cursor; ) {
      const page = await listed(`beforeId=${cursor}`);
      seen.push(...page.events);
      cursor = page.nextCursor;
    }

    expect(first).toMatchObject({ total: history.length });
    expect(first.events).toHaveLength(50);
    expect(seen.map(({ createdAt }) => createdAt)).toEqual(
      history
        .map(({ createdAt }) => createdAt)
        .sort()
        .reverse(),
    );
    expect(new Set(seen.map(({ id }) => id)).size).toBe(history.length);
  });

  it.each([
    ['errors', 'types=error,runtime.fetch.failed', ['error'], 12],
    ['webhook calls', `types=${INTERACTIONS}&payload.trigger.type=endpoint`, [INTERACTIONS], 27],
    ['a prefix of types', 'types=runtime.automations.*', [EXECUTED], 100],
    ['a pattern on type as a field', 'type=analytics.*', ['analytics.llm.completion'], 3],
    ['what users did', 'source.userId=*', [INTERACTIONS], 80],
    ['one user', 'source.userId=u1', [INTERACTIONS], 16],
    ['one correlation id', 'source.correlationId=run3', ['error', EXECUTED, INTERACTIONS], 5],
    ['an app', 'source.appInstanceFullSlug=shop.cart', ['error'], 4],
    ['an automation of either of two', 'source.automationSlug[0]=slow&source.automationSlug[1]=fast', ['error', EXECUTED], 72],
    ['free text', 'text=InvalidInstructionError', ['error'], 5],
    ['events of users', 'source.serviceTopic=topic:runtime:emit&source.userId=*', [], 0],
  ])('shows %s', async (_name, query, types, total) => {
    const page = await listed(`${query}&count=true&limit=200`);

    expect(typesOf(page.events)).toEqual([...types].sort());
    expect(page.total).toBe(total);
    expect(page.events).toHaveLength(total);
  });

  it('exports what it shows as JSON lines and as CSV', async () => {
    const lines = await owner.get(`${path}/events/export?types=error`);
    const table = await owner.get(`${path}/events/export?types=error&format=csv&columns=createdAt,payload.error,source.automationSlug`);

    expect(lines.headers.get('content-type')).toContain('application/x-ndjson');
    expect(
      String(lines.body)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).payload.message),
    ).toEqual(Array.from({ length: 12 }, (_, i) => `number ${i}`));
    expect(table.headers.get('content-disposition')).toMatch(/attachment; filename="events-.*\.csv"/);
    expect(String(table.body).trim().split('\r\n').slice(0, 2)).toEqual([
      'createdAt,payload.error,source.automationSlug',
      `${new Date(hour - 3 * DAY).toISOString()},FetchError,fast`,
    ]);
  });

  it('draws the trace of a correlation id', async () => {
    const trace = await expectOk(owner.get(`${path}/traces/run3`));

    expect(trace).toMatchObject({ correlationId: 'run3', counts: { events: 5, runs: 1, errors: 3 } });
  });
});
