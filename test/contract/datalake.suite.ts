/** The contract of mixins/storage/datalake/contract.ts, sentence by sentence; called once per driver. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NEVER } from '../../mixins/filters/condition.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { ulid } from '../../mixins/shared/ids.ts';
import type { DatalakeDriver, SearchRequest } from '../../mixins/storage/datalake/contract.ts';
import { conditionOf, vectorEvents, vectors } from '../support/vectors.ts';

const START = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;

function event(i: number, over: Partial<PrismeEvent> & { source?: object } = {}): PrismeEvent {
  const ts = START + i * 1000;
  return {
    id: ulid(ts),
    type: 'orders.paid',
    createdAt: new Date(ts).toISOString(),
    size: 200,
    payload: { n: i },
    ...over,
    source: { correlationId: `c${i % 3}`, workspaceId: 'pages', userId: `u${i % 4}`, serviceTopic: 'topic:runtime:emit', ...over.source },
  };
}

export function datalakeContract(name: string, open: () => Promise<DatalakeDriver>, { skipVectors = [] as string[] } = {}): void {
  describe(`datalake on ${name}`, () => {
    let driver: DatalakeDriver;
    const ids = (events: PrismeEvent[]) => events.map(({ id }) => id);
    const numbers = async (request: SearchRequest) => (await driver.search(request)).events.map(({ payload }) => payload.n);

    beforeAll(async () => {
      driver = await open();
    });
    afterAll(() => driver.close());

    describe('conditions mean what they mean in memory', () => {
      beforeAll(() => driver.store(Object.values(vectorEvents)).then(() => {}));

      it.each(
        vectors.filter(({ name: title }) => !skipVectors.includes(title)).map((vector) => [vector.name, vector] as const),
      )('%s', async (_name, vector) => {
        const { events, total } = await driver.search({
          workspaceId: 'w1',
          where: conditionOf(vector),
          sort: [{ field: 'createdAt', order: 'asc' }],
        });

        expect(ids(events)).toEqual(vector.matches.map((match) => `vector-${match}`));
        expect(total).toBe(vector.matches.length);
      });
    });

    describe('storing', () => {
      it('keeps an event once, however often it is stored', async () => {
        const twice = event(1, { source: { workspaceId: 'twice' } as never });

        await driver.store([twice]);
        const { refused } = await driver.store([twice, { ...twice, payload: { n: 'changed' } }]);

        expect(refused).toEqual([]);
        expect((await driver.search({ workspaceId: 'twice' })).events).toEqual([twice]);
      });

      it('finds the same, whatever mapping a workspace declares', async () => {
        const earlier = event(4, { source: { workspaceId: 'Typed' } as never, createdAt: new Date(Date.now() - HOUR).toISOString() });
        const later = () => event(5, { source: { workspaceId: 'Typed' } as never, createdAt: new Date(Date.now() + HOUR).toISOString() });
        const [first, second] = [later(), { ...later(), payload: { n: 'no number' } }];
        await driver.store([earlier]);
        await driver.declare('Typed', { properties: { aggPayload: { properties: { n: { type: 'long' } } } } });
        await driver.declare('Typed', { properties: { aggPayload: { properties: { n: { type: 'long' }, m: { type: 'keyword' } } } } });
        await driver.store([first, second]);
        await driver.store([earlier, first, second]);

        expect((await driver.search({ workspaceId: 'Typed', trackTotal: true })).total).toBe(3);
        const found = await driver.search({ workspaceId: 'Typed', where: { field: 'payload.n', op: 'gte', value: 4 } });
        expect(ids(found.events)).toEqual([first.id, earlier.id]);
        expect(await driver.get('Typed', second.id)).toEqual(second);
        expect(await driver.remove({ workspaceId: 'Typed' })).toBe(3);
      });

      it('tells which events it refuses and keeps the others of the batch', async () => {
        const good = event(2, { source: { workspaceId: 'mixed' } as never });
        const bad = { ...event(3, { source: { workspaceId: 'mixed' } as never }), createdAt: 'not a date' };

        const { refused } = await driver.store([bad, good]);

        expect(refused.map((item) => item.event.id)).toEqual([bad.id]);
        expect(refused[0]?.reason).toMatch(/./);
        expect(ids((await driver.search({ workspaceId: 'mixed' })).events)).toEqual([good.id]);
      });

      it('gives an event back as it was, by id, in its workspace only', async () => {
        const one = event(4, {
          payload: { deep: { list: [1, null, 'é'] } },
          target: { userId: 'u9' },
          source: { workspaceId: 'own' } as never,
        });
        await driver.store([one]);

        expect(await driver.get('own', one.id)).toEqual(one);
        expect(await driver.get('other', one.id)).toBeNull();
        expect(await driver.get('own', 'unknown')).toBeNull();
      });
    });

    describe('pages', () => {
      const stored = Array.from({ length: 25 }, (_, i) => event(i));
      // Two events of one millisecond: only the id tells them apart.
      const tied = { ...event(25), createdAt: stored[24]?.createdAt as string };
      beforeAll(() => driver.store([...stored, tied]).then(() => {}));

      it('lists the newest first by default, with the id as the tie-break', async () => {
        const { events } = await driver.search({ workspaceId: 'pages', limit: 3 });

        expect(ids(events)).toEqual([tied.id, stored[24]?.id, stored[23]?.id]);
      });

      it('pages by number', async () => {
        expect(await numbers({ workspaceId: 'pages', limit: 10, page: 2, sort: [{ field: 'createdAt', order: 'asc' }] })).toEqual([
          20, 21, 22, 23, 24, 25,
        ]);
      });

      it('walks by cursor through everything, each event once', async () => {
        const seen: unknown[] = [];
        for (let beforeId: string | undefined; ; ) {
          const { events, nextCursor } = await driver.search({ workspaceId: 'pages', limit: 7, beforeId });
          seen.push(...events.map(({ payload }) => payload.n));
          if (!nextCursor) break;
          beforeId = nextCursor;
        }

        expect(seen).toEqual(Array.from({ length: 26 }, (_, i) => 25 - i));
      });

      it('reads on after an event, oldest first', async () => {
        expect(await numbers({ workspaceId: 'pages', afterId: stored[22]?.id, sort: [{ field: 'createdAt', order: 'asc' }] })).toEqual([
          23, 24, 25,
        ]);
      });

      it('sorts by any field', async () => {
        expect(await numbers({ workspaceId: 'pages', limit: 2, sort: [{ field: 'payload.n', order: 'desc' }] })).toEqual([25, 24]);
        expect(
          await numbers({
            workspaceId: 'pages',
            limit: 2,
            sort: [
              { field: 'source.userId', order: 'asc' },
              { field: 'createdAt', order: 'asc' },
            ],
          }),
        ).toEqual([0, 4]);
      });

      it('counts all matches when asked, and only what the reader may read', async () => {
        const all = await driver.search({ workspaceId: 'pages', limit: 1, trackTotal: true });
        const some = await driver.search({
          workspaceId: 'pages',
          limit: 1,
          trackTotal: true,
          readable: { field: 'source.userId', op: 'eq', value: 'u1' },
        });
        const none = await driver.search({ workspaceId: 'pages', limit: 1, trackTotal: true, readable: NEVER });

        expect([all.total, some.total, none.total]).toEqual([26, 7, 0]);
        expect(none.events).toEqual([]);
      });

      it('keeps workspaces apart, and searches all of them only without one', async () => {
        expect((await driver.search({ workspaceId: 'PAGES' })).total).toBe(0);
        expect((await driver.search({ where: { field: 'payload.n', op: 'in', values: [24] }, trackTotal: true })).total).toBe(1);
      });
    });

    describe('aggregations', () => {
      const kinds = ['endpoint', 'event', 'schedule'];
      const stored = Array.from({ length: 60 }, (_, i) =>
        event(0, {
          id: ulid(START + i * HOUR),
          type: i % 5 === 0 ? 'error' : 'runtime.automations.executed',
          createdAt: new Date(START + i * HOUR).toISOString(),
          payload:
            i % 5 === 0
              ? { error: i % 2 ? 'FetchError' : 'TimeoutError' }
              : { slug: `a${i % 3}`, duration: i, trigger: { type: kinds[i % 3] }, ok: i % 2 === 0 },
          source: { workspaceId: 'aggs', correlationId: `k${i % 10}`, userId: `u${i % 6}`, automationSlug: `a${i % 3}` } as never,
        }),
      );
      const executed = { term: { type: 'runtime.automations.executed' } };
      const aggs = async (request: Record<string, unknown>, over: Partial<SearchRequest> = {}) =>
        (await driver.search({ workspaceId: 'aggs', limit: 0, aggs: request, ...over })).aggs as Record<string, any>;
      beforeAll(() => driver.store(stored).then(() => {}));

      it('counts by value, most first', async () => {
        const { types } = await aggs({ types: { terms: { field: 'type' } } });

        expect(types.buckets.map(({ key, doc_count }: any) => [key, doc_count])).toEqual([
          ['runtime.automations.executed', 48],
          ['error', 12],
        ]);
      });

      it('orders values by a measure of theirs', async () => {
        const { slowest } = await aggs({
          slowest: {
            terms: { field: 'payload.slug', size: 2, order: { 'latency.95': 'desc' } },
            aggs: { latency: { percentiles: { field: 'payload.duration', percents: [95] } } },
          },
        });
        const values = slowest.buckets.map((bucket: any) => bucket.latency.values['95.0']);

        expect(slowest.buckets).toHaveLength(2);
        expect(values[0]).toBeGreaterThan(values[1]);
      });

      it('counts over time without holes', async () => {
        const { days } = await aggs({
          days: {
            date_histogram: { field: 'createdAt', fixed_interval: '1d' },
            aggs: { users: { cardinality: { field: 'source.userId' } } },
          },
        });

        expect(days.buckets.map(({ key_as_string, doc_count, users }: any) => [key_as_string, doc_count, users.value])).toEqual([
          ['2026-06-01T00:00:00.000Z', 24, 6],
          ['2026-06-02T00:00:00.000Z', 24, 6],
          ['2026-06-03T00:00:00.000Z', 12, 6],
        ]);
      });

      it('counts types over time, with conditions on the type and in the query', async () => {
        const request = {
          days: {
            date_histogram: { field: 'createdAt', fixed_interval: '1d' },
            aggs: { types: { terms: { field: 'type' } }, errors: { filter: { term: { type: 'error' } } } },
          },
        };
        const shape = ({ days }: Record<string, any>) =>
          days.buckets.map(({ doc_count, types, errors }: any) => [
            doc_count,
            types.buckets.map((bucket: any) => [bucket.key, bucket.doc_count]),
            errors.doc_count,
          ]);

        expect(shape(await aggs(request))).toEqual([
          [
            24,
            [
              ['runtime.automations.executed', 19],
              ['error', 5],
            ],
            5,
          ],
          [
            24,
            [
              ['runtime.automations.executed', 19],
              ['error', 5],
            ],
            5,
          ],
          [
            12,
            [
              ['runtime.automations.executed', 10],
              ['error', 2],
            ],
            2,
          ],
        ]);
        expect(
          shape(
            await aggs(request, {
              where: {
                all: [
                  { field: 'source.userId', op: 'eq', value: 'u0' },
                  { field: 'createdAt', op: 'lt', value: '2026-06-02T00:00:00Z' },
                ],
              },
            }),
          ),
        ).toEqual([
          [
            4,
            [
              ['runtime.automations.executed', 3],
              ['error', 1],
            ],
            1,
          ],
        ]);
        expect(shape(await aggs(request, { where: { field: 'type', op: 'eq', value: 'none' } }))).toEqual([]);
      });

      it('finds the peak of a histogram', async () => {
        const { peak } = await aggs({
          days: { date_histogram: { field: '@timestamp', calendar_interval: 'day' } },
          peak: { max_bucket: { buckets_path: 'days>_count' } },
        });

        expect(peak.value).toBe(24);
      });

      it('measures numbers', async () => {
        const { all } = await aggs({
          all: {
            filter: executed,
            aggs: {
              stats: { stats: { field: 'payload.duration' } },
              sum: { sum: { field: 'payload.duration' } },
              ranks: { percentile_ranks: { field: 'payload.duration', values: [59] } },
              median: { percentiles: { field: 'payload.duration', percents: [50] } },
              n: { value_count: { field: 'payload.duration' } },
            },
          },
        });
        const durations = stored.filter(({ type }) => type !== 'error').map(({ payload }) => payload.duration as number);
        const sum = durations.reduce((total, value) => total + value, 0);

        expect(all.doc_count).toBe(48);
        expect(all.stats).toMatchObject({ count: 48, min: 1, max: 59, sum, avg: sum / 48 });
        expect(all.sum.value).toBe(sum);
        expect(all.n.value).toBe(48);
        expect(all.ranks.values['59.0']).toBe(100);
        expect(all.median.values['50.0']).toBeCloseTo(30, 0);
      });

      it('groups by several conditions, ranges and absence', async () => {
        const answer = await aggs({
          kinds: { filters: { filters: { errors: { term: { type: 'error' } }, runs: executed } } },
          speed: { range: { field: 'payload.duration', ranges: [{ to: 30 }, { from: 30 }] } },
          silent: { missing: { field: 'payload.duration' } },
        });

        expect(answer.kinds.buckets.errors.doc_count).toBe(12);
        expect(answer.kinds.buckets.runs.doc_count).toBe(48);
        expect(answer.speed.buckets.map(({ doc_count }: any) => doc_count)).toEqual([24, 24]);
        expect(answer.silent.doc_count).toBe(12);
      });

      it('pages through combinations of values', async () => {
        const edges = {
          composite: {
            size: 4,
            sources: [{ kind: { terms: { field: 'payload.trigger.type' } } }, { called: { terms: { field: 'payload.slug' } } }],
          },
        };
        const first = (await aggs({ edges })).edges;
        const second = (await aggs({ edges: { composite: { ...edges.composite, after: first.after_key } } })).edges;

        expect(first.buckets.map(({ key }: any) => key)).toEqual([
          { kind: 'endpoint', called: 'a0' },
          { kind: 'event', called: 'a1' },
          { kind: 'schedule', called: 'a2' },
        ]);
        expect(second.buckets).toEqual([]);
      });

      it('shows the best events of a group', async () => {
        const { byUser } = await aggs({
          byUser: {
            terms: { field: 'source.userId', size: 1, order: { _key: 'asc' } },
            aggs: { last: { top_hits: { size: 1, sort: [{ createdAt: 'desc' }], _source: ['id', 'payload'] } } },
          },
        });
        const [hit] = byUser.buckets[0].last.hits.hits;

        expect(byUser.buckets[0].key).toBe('u0');
        expect(hit._id).toBe(stored[54]?.id);
        expect(Object.keys(hit._source).sort()).toEqual(['id', 'payload']);
      });

      it('never tells of events that the reader may not read', async () => {
        const { types } = await aggs(
          { types: { terms: { field: 'type' } } },
          { readable: { not: { field: 'type', op: 'eq', value: 'error' } } },
        );

        expect(types.buckets.map(({ key }: any) => key)).toEqual(['runtime.automations.executed']);
      });

      it.each([
        ['a script', { x: { terms: { script: 'x' } } }],
        ['a scripted metric', { x: { scripted_metric: { init_script: 'x' } } }],
        ['two kinds', { x: { terms: { field: 'type' }, avg: { field: 'x' } } }],
        [
          'too many levels',
          [1, 2, 3, 4, 5, 6].reduce<object>((inner) => ({ x: { terms: { field: 'type' }, aggregations: inner } }), {
            x: { terms: { field: 'type' } },
          }),
        ],
      ])('refuses %s', async (_name, request) => {
        await expect(aggs(request as Record<string, unknown>)).rejects.toMatchObject({ type: 'SearchError' });
      });
    });

    describe('removing', () => {
      const owner = (userId: string) => ({ workspaceId: 'gone', userId }) as never;
      beforeAll(() =>
        driver
          .store([
            event(100, { source: owner('u1') }),
            event(200, { source: owner('u2') }),
            event(300, { source: owner('u2'), type: 'error' }),
            event(400, { source: owner('u3'), target: { userId: 'u1' } }),
          ])
          .then(() => {}),
      );

      it('is probed by a write of which nothing stays', async () => {
        const before = [await driver.usage(), (await driver.search({ limit: 0 })).total];
        await driver.probe();
        await driver.probe();
        expect([await driver.usage(), (await driver.search({ limit: 0 })).total]).toEqual(before);
      });

      it('refuses to remove everything by mistake', async () => {
        await expect(driver.remove({})).rejects.toMatchObject({ type: 'BadParametersError' });
      });

      it('tells how much a workspace holds', async () => {
        expect(await driver.usage('gone')).toEqual([{ workspaceId: 'gone', events: 4, bytes: 800 }]);
        expect((await driver.usage()).map(({ workspaceId }) => workspaceId)).toContain('gone');
      });

      it('erases what a user sent or received', async () => {
        expect(await driver.remove({ workspaceId: 'gone', userId: 'u1' })).toBe(2);
        expect(await numbers({ workspaceId: 'gone' })).toEqual([300, 200]);
      });

      it('removes by age and type, and from the full text too', async () => {
        expect(await driver.remove({ workspaceId: 'gone', types: ['error'] })).toBe(1);
        expect(await driver.remove({ workspaceId: 'gone', before: new Date(START + 250_000).toISOString() })).toBe(1);
        expect((await driver.search({ workspaceId: 'gone', where: { text: 'orders' } })).total).toBe(0);
        expect(await driver.usage('gone')).toEqual([]);
      });
    });
  });
}
