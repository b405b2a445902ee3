import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { shortId, ulid } from '../../mixins/shared/ids.ts';
import { sortableNumber } from '../../mixins/storage/datalake/drivers/elasticsearch.document.ts';
import { elasticsearchDatalake } from '../../mixins/storage/datalake/drivers/elasticsearch.ts';
import { type ElasticStandIn, startElasticStandIn } from '../support/elasticsearch.ts';
import { datalakeContract } from './datalake.suite.ts';

let standIn: ElasticStandIn;
beforeAll(async () => {
  standIn = await startElasticStandIn();
});
afterAll(() => standIn.stop());

datalakeContract('Elasticsearch (a stand-in that executes our queries)', () =>
  elasticsearchDatalake({ url: standIn.url, namespace: 'contract', refresh: true }),
);

const real = process.env.TEST_ELASTICSEARCH_URL;
if (real)
  datalakeContract('a real Elasticsearch', () =>
    elasticsearchDatalake({ url: real, namespace: `test-${shortId(8).toLowerCase()}`, refresh: true }),
  );

describe('Elasticsearch', () => {
  const event = (over = {}) => ({
    id: ulid(),
    type: 'a.b',
    createdAt: '2026-03-05T10:00:00.000Z',
    size: 10,
    payload: { x: 1 },
    source: { correlationId: 'c', workspaceId: 'es' },
    ...over,
  });

  it('keeps an event in the index of its month', async () => {
    const driver = await elasticsearchDatalake({ url: standIn.url, namespace: 'Months', refresh: true });
    await driver.store([event(), event({ id: ulid(), createdAt: '2026-04-01T00:00:00.000Z' })]);

    expect(standIn.indices().filter((name) => name.startsWith('months'))).toEqual(['months-events-2026.03', 'months-events-2026.04']);
    expect(await driver.remove({ before: '2026-04-01T00:00:00.000Z' })).toBe(1);
    expect(standIn.indices().filter((name) => name.startsWith('months'))).toEqual(['months-events-2026.04']);
    await driver.close();
  });

  it('asks for the batch again when the server is too busy, without storing anything twice', async () => {
    const driver = await elasticsearchDatalake({ url: standIn.url, namespace: 'busy', refresh: true });
    const batch = [event(), event({ id: ulid() }), event({ id: ulid() })];
    standIn.refuseNext.push(201, 429, 201);

    await expect(driver.store(batch)).rejects.toMatchObject({ type: 'ServiceUnavailable', retryable: true });
    expect(await driver.store(batch)).toEqual({ refused: [] });
    expect((await driver.search({ workspaceId: 'es' })).total).toBe(3);
    await driver.close();
  });

  it('keeps an event without its numbers when its own mapping is refused, and gives up only then', async () => {
    const driver = await elasticsearchDatalake({ url: standIn.url, namespace: 'mapped', refresh: true });
    standIn.refuseNext.push(400);
    expect(await driver.store([event()])).toEqual({ refused: [] });
    standIn.refuseNext.push(400, 400);
    const { refused } = await driver.store([event({ id: ulid() })]);

    expect(refused).toHaveLength(1);
    expect((await driver.search({ workspaceId: 'es', where: { field: 'payload.x', op: 'gte', value: 1 } })).total).toBe(1);
    await driver.close();
  });

  describe('with a mapping of a workspace', () => {
    const mapping = { properties: { aggPayload: { properties: { 'usage.tokens': { type: 'long' } } }, id: { type: 'text' } } };
    const later = (workspaceId: string) =>
      event({ id: ulid(), createdAt: new Date(Date.now() + 60_000).toISOString(), source: { correlationId: 'c', workspaceId } });
    const own = (namespace: string) => standIn.indices().filter((name) => name.startsWith(`${namespace}-events-own-`));

    it('gives its later events an index of its own, with the types as they are given beside ours', async () => {
      const driver = await elasticsearchDatalake({ url: standIn.url, namespace: 'typed', refresh: true });
      const old = event({ source: { correlationId: 'c', workspaceId: 'abc' } });
      await driver.store([old]);
      await driver.declare('abc', mapping);
      await driver.store([old, later('abc'), later('ABC'), later('other')]);

      const templates = [...standIn.templates].filter(([name]) => name.startsWith('typed-events-own-'));
      expect(templates).toHaveLength(1);
      const [name, { index_patterns, priority, template }] = templates[0] as (typeof templates)[number];
      expect(index_patterns).toEqual([`${name}-*`]);
      expect(priority).toBeGreaterThan(standIn.templates.get('typed-events')?.priority);
      expect(template.mappings.properties.aggPayload).toEqual({ type: 'object', dynamic: true, ...mapping.properties.aggPayload });
      // What our conditions stand on is not theirs to change.
      expect(template.mappings.properties.id).toMatchObject({ type: 'keyword' });
      expect(template.mappings.properties.texts).toMatchObject({ type: 'keyword' });
      expect(own('typed')).toHaveLength(1);
      expect((await driver.search({ workspaceId: 'abc', trackTotal: true })).total).toBe(2);

      // Erasing a user's events leaves the workspace its index; the end of the workspace does not.
      await driver.remove({ workspaceId: 'abc', userId: 'nobody' });
      expect(standIn.templates.has(name)).toBe(true);
      expect(await driver.remove({ workspaceId: 'abc' })).toBe(2);
      expect(standIn.templates.has(name)).toBe(false);
      expect(own('typed')).toEqual([]);
      expect((await driver.search({ workspaceId: 'ABC', trackTotal: true })).total).toBe(1);
      await driver.close();
    });

    it('stores an event in one place whichever node stores it, also one that never heard of the mapping', async () => {
      const [one, other] = await Promise.all(
        ['first', 'second'].map(() => elasticsearchDatalake({ url: standIn.url, namespace: 'places', refresh: true })),
      );
      await Promise.all([one?.declare('abc', mapping), other?.declare('abc', mapping)]);
      const third = await elasticsearchDatalake({ url: standIn.url, namespace: 'places', refresh: true });
      const same = later('abc');
      for (const driver of [one, other, third]) await driver?.store([same]);

      expect((await third.search({ workspaceId: 'abc', trackTotal: true })).total).toBe(1);
      for (const driver of [one, other, third]) await driver?.close();
    });

    it('puts a new field on the index that is there, once, and keeps events when the server refuses a type', async () => {
      const driver = await elasticsearchDatalake({ url: standIn.url, namespace: 'grown', refresh: true });
      await driver.declare('abc', mapping);
      const added = { properties: { aggPayload: { properties: { cost: { type: 'double' } } } } };
      await driver.declare('abc', added);
      await driver.declare('abc', added);
      const mapped = standIn.mapped.filter(({ index }) => index.startsWith('grown-'));

      expect(mapped).toMatchObject([{ properties: { aggPayload: { properties: { cost: { type: 'double' } } } } }]);
      await expect(driver.declare('xyz', { properties: { aggPayload: { type: 'unheard_of' } } })).rejects.toMatchObject({
        type: 'SearchError',
      });
      expect(await driver.store([later('xyz')])).toEqual({ refused: [] });
      expect((await driver.search({ workspaceId: 'xyz' })).total).toBe(1);
      await driver.close();
    });
  });

  it('names the variable when no server answers', async () => {
    await expect(elasticsearchDatalake({ url: 'http://user:secret@127.0.0.1:1', namespace: 'x', reachWithinMs: 1 })).rejects.toMatchObject({
      type: 'ConfigurationError',
      message: expect.stringMatching(/DATALAKE_URL.*\*\*\*/),
    });
  });

  it('writes numbers so that they sort as text', () => {
    const numbers = [-1e300, -12.5, -1, -0.001, 0, 1e-9, 3, 12, 100, 1e300];

    expect(numbers.map(sortableNumber)).toEqual([...numbers.map(sortableNumber)].sort());
  });
});
