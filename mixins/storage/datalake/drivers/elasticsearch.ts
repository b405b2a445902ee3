/**
 * elasticsearch — the event history of a cluster: one index per month of `createdAt`, so that an event has one place and storing it again changes nothing.
 *
 * Beside the event, a document holds what makes conditions exact whatever the payload looks like: `texts` (`path=s:text` of every scalar), `nums`
 * (`path#<sortable number>`), `present` and `truthy` (paths), `words` and `json` for text. No mapping depends on what workspaces send, so none can conflict;
 * workspaces that declare one have indices of their own (elasticsearch.own.ts).
 * `measures` holds numbers for aggregations; names beyond the field limit of the index are not aggregated.
 */
import { Client, errors } from '@elastic/elasticsearch';
import { SECOND } from '../../../shared/clock.ts';
import { fault, isFault } from '../../../shared/errors.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import { reach } from '../../locations.ts';
import type { Condition, DatalakeDriver, SearchRequest, SearchResult } from '../contract.ts';
import { elasticAggregations } from './elasticsearch.aggs.ts';
import { documentOf, eventOf, HELPERS, indexTemplate } from './elasticsearch.document.ts';
import { ownIndices } from './elasticsearch.own.ts';
import { queryOf, sortField } from './elasticsearch.query.ts';

export interface ElasticsearchOptions {
  /** `http(s)://[user:password@]host:port`. */
  url: string;
  namespace: string;
  /** Makes stored events findable at once; costs throughput. */
  refresh?: boolean;
  searchTimeoutMs?: number;
  /** How long a server may take to come up. */
  reachWithinMs?: number;
}

const MAX_WINDOW = 10_000;
const PAGE = 1000;

type Hit = { _id: string; _source: Record<string, unknown> };

/** @throws ConfigurationError when no server answers */
export async function elasticsearchDatalake(options: ElasticsearchOptions): Promise<DatalakeDriver> {
  const { namespace, refresh = false, searchTimeoutMs = 10 * SECOND, reachWithinMs = 30 * SECOND } = options;
  const address = new URL(options.url);
  const { username, password } = address;
  address.username = '';
  address.password = '';
  const client = new Client({
    node: address.href,
    ...(username && { auth: { username: decodeURIComponent(username), password: decodeURIComponent(password) } }),
    maxRetries: 3,
    requestTimeout: 30 * SECOND,
  });
  const prefix = `${namespace.toLowerCase().replace(/[^a-z0-9_-]/g, '-')}-events`;
  const everyIndex = `${prefix}-*`;
  const own = ownIndices(client, prefix);
  /** Month of the event: the same for the same event, always. */
  const indexOf = (event: PrismeEvent) => `${own.of(event) ?? prefix}-${event.createdAt.slice(0, 7).replace('-', '.')}`;

  await reach(
    'DATALAKE_URL',
    options.url,
    () => client.indices.putIndexTemplate(indexTemplate(prefix) as never, { maxRetries: 0 }),
    reachWithinMs,
  );
  await own.load();

  /** Our words for the failures of the far side. */
  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isFault(error)) throw error;
      if (error instanceof errors.ResponseError && error.statusCode === 400)
        throw fault('SearchError', { data: { reason: reasonOf(error.body) }, cause: error });
      throw fault('ServiceUnavailable', { message: 'The event history does not answer.', cause: error });
    }
  }

  async function bulk(documents: { event: PrismeEvent; document: object }[]): Promise<{ event: PrismeEvent; reason: string }[]> {
    const operations = documents.flatMap(({ event, document }) => [{ create: { _index: indexOf(event), _id: event.id } }, document]);
    const { items } = await client.bulk({ operations, refresh });
    const refused: { event: PrismeEvent; reason: string }[] = [];
    for (const [i, item] of items.entries()) {
      const { status, error } = item.create as { status: number; error?: { type?: string; reason?: string } };
      if (status < 300 || status === 409) continue; // 409: it is there already
      // Too busy, or ill: the whole batch comes again; what was taken is not taken twice.
      if (status === 429 || status >= 500)
        throw fault('ServiceUnavailable', { message: `The event history refuses for now: ${error?.reason ?? status}` });
      refused.push({ event: (documents[i] as { event: PrismeEvent }).event, reason: error?.reason ?? `status ${status}` });
    }
    return refused;
  }

  const scope = ({ workspaceId, where, readable }: Pick<SearchRequest, 'workspaceId' | 'where' | 'readable'>): Condition => ({
    all: [
      ...(workspaceId === undefined ? [] : [{ field: 'source.workspaceId', op: 'eq', value: workspaceId } as const]),
      ...(where ? [where] : []),
      ...(readable ? [readable] : []),
    ],
  });

  async function position(id: string, name: string): Promise<[string, string]> {
    const { hits } = await client.search<Record<string, unknown>>({
      index: everyIndex,
      query: { term: { id } },
      size: 1,
      _source: ['createdAt'],
      ignore_unavailable: true,
      allow_no_indices: true,
    });
    const createdAt = hits.hits[0]?._source?.createdAt;
    if (typeof createdAt !== 'string') throw fault('BadParametersError', { message: `'${name}' is not the id of a stored event.` });
    return [createdAt, id];
  }

  async function search(request: SearchRequest): Promise<SearchResult> {
    const { limit: wanted = 50, page = 0, trackTotal } = request;
    const limit = Math.min(wanted, MAX_WINDOW - 1);
    if ((page + 1) * limit + 1 > MAX_WINDOW)
      throw fault('SearchError', { message: 'Could not execute search request: page deeper with beforeId or afterId.' });
    const base = queryOf(scope(request));
    const window: object[] = [];
    for (const [id, name, bound] of [
      [request.beforeId, 'beforeId', 'lt'],
      [request.afterId, 'afterId', 'gt'],
    ] as const) {
      if (!id) continue;
      const [createdAt, tie] = await asked(() => position(id, name));
      window.push({
        bool: {
          should: [
            { range: { createdAt: { [bound]: createdAt } } },
            { bool: { filter: [{ term: { createdAt } }, { range: { id: { [bound]: tie } } }] } },
          ],
          minimum_should_match: 1,
        },
      });
    }
    const sort = request.sort?.length ? request.sort : [{ field: 'createdAt', order: 'desc' as const }];
    const body = {
      index: everyIndex,
      ignore_unavailable: true,
      allow_no_indices: true,
      query: { bool: { filter: [base, ...window] } },
      // Cursor conditions cut the page, not the count.
      track_total_hits: window.length > 0 ? false : trackTotal === true ? true : trackTotal === false ? false : MAX_WINDOW,
      size: limit === 0 ? 0 : limit + 1,
      from: page * limit,
      sort: [...sort.flatMap(({ field, order }) => sortField(field, order)), { id: { order: sort[0]?.order ?? 'desc' } }],
      _source: { excludes: HELPERS },
      timeout: `${searchTimeoutMs}ms`,
      ...(request.aggs && window.length === 0 && { aggs: elasticAggregations(request.aggs) }),
    };
    const answer = await asked(() => client.search(body as never));
    if (answer.timed_out)
      throw fault('SearchError', { message: 'Could not execute search request: it took too long.', data: { timeoutMs: searchTimeoutMs } });
    const hits = answer.hits.hits as Hit[];
    const events = hits.slice(0, limit).map(({ _source }) => eventOf(_source));
    const result: SearchResult = { total: events.length, events };
    if (limit > 0 && hits.length > limit) result.nextCursor = events.at(-1)?.id;
    const total = answer.hits.total as number | { value: number } | undefined;
    if (window.length > 0 && trackTotal !== false) {
      const { count } = await asked(() =>
        client.count({ index: everyIndex, ignore_unavailable: true, allow_no_indices: true, query: base as never }),
      );
      result.total = count;
    } else if (total !== undefined && trackTotal !== false) result.total = typeof total === 'number' ? total : total.value;
    const aggs =
      request.aggs && window.length > 0
        ? (await search({ ...request, beforeId: undefined, afterId: undefined, limit: 0, page: 0 })).aggs
        : answer.aggregations;
    if (request.aggs) result.aggs = withoutHelpers(aggs) as Record<string, unknown>;
    return result;
  }

  /** Whole months that are over are dropped, which gives their space back at once. */
  async function dropMonths(before: string): Promise<number> {
    const indices = Object.keys(await client.indices.get({ index: everyIndex, allow_no_indices: true, ignore_unavailable: true }));
    let removed = 0;
    for (const index of indices) {
      const month = /-(\d{4}\.\d{2})$/.exec(index)?.[1]?.replace('.', '-');
      if (month === undefined || month >= before.slice(0, 7)) continue;
      const { count } = await client.count({ index });
      await client.indices.delete({ index, ignore_unavailable: true });
      removed += count;
    }
    return removed;
  }

  return {
    async store(events) {
      const refused: { event: PrismeEvent; reason: string }[] = [];
      const documents: { event: PrismeEvent; document: object }[] = [];
      for (const event of events) {
        if (Number.isFinite(Date.parse(event.createdAt))) documents.push({ event, document: documentOf(event) });
        else refused.push({ event, reason: 'createdAt is not a date' });
      }
      for (let i = 0; i < documents.length; i += PAGE) {
        const rejected = await bulk(documents.slice(i, i + PAGE));
        // What its own mapping refuses is kept without its numbers: found by every condition, left out of sums.
        if (rejected.length > 0)
          refused.push(...(await bulk(rejected.map(({ event }) => ({ event, document: documentOf(event, { isPlain: true }) })))));
      }
      return { refused };
    },
    declare: (workspaceId, mapping) => asked(() => own.declare(workspaceId, mapping)),
    search,
    async get(workspaceId, id) {
      const where: Condition = { field: 'id', op: 'eq', value: id };
      const { events } = await search({ workspaceId, where, limit: 1, trackTotal: false });
      return events[0] ?? null;
    },
    probe: () =>
      asked(async () => {
        // Outside of the indices of events; one small document, written anew each time.
        const mark = { index: `${prefix.slice(0, -'-events'.length)}-probe`, id: 'probe' };
        const soon = { maxRetries: 0, requestTimeout: 2 * SECOND };
        await client.index({ ...mark, document: {} }, soon);
        // Another node may have removed it.
        await client.delete(mark, { ...soon, ignore: [404] });
      }),
    async remove({ workspaceId, before, userId, types }) {
      const parts: Condition[] = [];
      if (before !== undefined) parts.push({ field: 'createdAt', op: 'lt', value: before });
      if (userId !== undefined)
        parts.push({
          any: [
            { field: 'source.userId', op: 'eq', value: userId },
            { field: 'target.userId', op: 'eq', value: userId },
          ],
        });
      if (types !== undefined) parts.push({ field: 'type', op: 'in', values: types });
      if (parts.length === 0 && workspaceId === undefined)
        throw fault('BadParametersError', { message: 'Nothing selects the events to remove.' });
      return asked(async () => {
        const isAgeOnly = before !== undefined && workspaceId === undefined && userId === undefined && types === undefined;
        const dropped = isAgeOnly ? await dropMonths(before) : 0;
        const { deleted = 0 } = await client.deleteByQuery({
          index: everyIndex,
          allow_no_indices: true,
          ignore_unavailable: true,
          conflicts: 'proceed',
          refresh: true,
          wait_for_completion: true,
          query: queryOf(scope({ workspaceId, where: { all: parts } })) as never,
        });
        if (workspaceId !== undefined && parts.length === 0) await own.forget(workspaceId);
        return dropped + deleted;
      });
    },
    async usage(workspaceId) {
      const answer = await asked(() =>
        client.search({
          index: everyIndex,
          ignore_unavailable: true,
          allow_no_indices: true,
          size: 0,
          query: queryOf(scope({ workspaceId })) as never,
          aggs: { workspaces: { terms: { field: 'source.workspaceId', size: 10_000 }, aggs: { bytes: { sum: { field: 'size' } } } } },
        }),
      );
      const buckets = (answer.aggregations as any)?.workspaces?.buckets ?? [];
      return buckets.map((bucket: any) => ({ workspaceId: String(bucket.key), events: bucket.doc_count, bytes: bucket.bytes.value }));
    },
    close: () => client.close(),
  };
}

function reasonOf(body: unknown): string {
  const error = (body as { error?: { reason?: string; root_cause?: { reason?: string }[] } })?.error;
  return error?.root_cause?.[0]?.reason ?? error?.reason ?? 'refused';
}

/** Events inside `top_hits` without our own fields. */
function withoutHelpers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutHelpers);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    key,
    key === '_source' ? eventOf(inner as Record<string, unknown>) : withoutHelpers(inner),
  ]);
  return Object.fromEntries(entries);
}
