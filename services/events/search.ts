/** search — POST …/search: the accepted subset of Elasticsearch's language, with the caller's read rules inside the query. */
import type { Ability } from '../../mixins/auth/contract.ts';
import { NEVER } from '../../mixins/filters/condition.ts';
import { parseDsl } from '../../mixins/filters/dsl.ts';
import { MAX_LIMIT, wholeNumber } from '../../mixins/filters/query.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { pickSource } from '../../mixins/storage/datalake/aggregations.metrics.ts';
import { parseAggregations } from '../../mixins/storage/datalake/aggregations.ts';
import type { Condition, DatalakeDriver, SearchRequest } from '../../mixins/storage/datalake/contract.ts';

const FIELDS = new Set([
  'query',
  'aggs',
  'aggregations',
  'runtime_mappings',
  'source',
  'sort',
  'limit',
  'page',
  'track_total_hits',
  'scope',
]);

export interface SearchBody {
  request: SearchRequest;
  source?: string[];
  needsAggregate: boolean;
}

export interface SearchAnswer {
  size: number;
  documents: JsonObject[];
  aggs?: Record<string, unknown>;
}

function sortOf(sort: unknown): SearchRequest['sort'] {
  if (sort === undefined) return undefined;
  const list = (Array.isArray(sort) ? sort : [sort]).flatMap((item): [string, unknown][] =>
    typeof item === 'string' ? [[item, 'asc']] : isPlainObject(item) ? Object.entries(item) : [['', '']],
  );
  return list
    .filter(([field]) => field !== '_score' && field !== '_doc')
    .map(([name, how]) => {
      const field = name.endsWith('.keyword') ? name.slice(0, -8) : name;
      const order = String(isPlainObject(how) ? (how.order ?? 'asc') : how).toLowerCase();
      if (field === '' || field.split('.').some(isHostileName) || (order !== 'asc' && order !== 'desc'))
        throw fault('SearchError', { message: "Could not execute search request: 'sort' is a list of { field: 'asc' | 'desc' }." });
      return { field, order };
    });
}

/** @throws RequestValidationError (shape) · SearchError (a clause or aggregation outside the subset) */
export function parseSearchBody(body: unknown): SearchBody {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body is an object.' });
  const unknown = Object.keys(body).find((key) => !FIELDS.has(key));
  if (unknown) throw fault('RequestValidationError', { message: `'${unknown}' is not a field of a search.`, data: { field: unknown } });
  if (!isPlainObject(body.query)) throw fault('RequestValidationError', { message: "A search needs a 'query'.", data: { field: 'query' } });
  if (body.runtime_mappings !== undefined && Object.keys(body.runtime_mappings as object).length > 0)
    throw fault('SearchError', { message: 'Could not execute search request: runtime_mappings run scripts and are not accepted.' });
  const aggs = { ...(isPlainObject(body.aggregations) && body.aggregations), ...(isPlainObject(body.aggs) && body.aggs) };
  const hasAggs = Object.keys(aggs).length > 0;
  if (hasAggs) parseAggregations(aggs);
  if (body.source !== undefined && !(Array.isArray(body.source) && body.source.every((field) => typeof field === 'string')))
    throw fault('RequestValidationError', { message: "'source' is a list of fields.", data: { field: 'source' } });
  const limit = wholeNumber(body.limit, 'limit', 100, MAX_LIMIT);
  const page = wholeNumber(body.page, 'page', 0);
  if ((page + 1) * limit > 100_000)
    throw fault('SearchError', { message: 'Could not execute search request: page deeper with a condition on createdAt.' });
  return {
    request: {
      where: parseDsl(body.query),
      sort: sortOf(body.sort),
      limit,
      page,
      trackTotal: body.track_total_hits === true ? true : undefined,
      ...(hasAggs && { aggs }),
    },
    source: body.source as string[] | undefined,
    needsAggregate: hasAggs,
  };
}

/** What the caller may read, as part of the query: `size` and counts never tell of more. */
export const readableBy = (ability: Ability): Condition => ability.condition('read', 'events') ?? NEVER;

export async function runSearch(
  datalake: DatalakeDriver,
  { request, source }: SearchBody,
  scope: Pick<SearchRequest, 'workspaceId' | 'readable'>,
): Promise<SearchAnswer> {
  const { total, events, aggs } = await datalake.search({ ...request, ...scope });
  const documents = events.map((event) => {
    const document = { '@timestamp': event.createdAt, ...event };
    return source ? (pickSource(document as never, source) as JsonObject) : (document as JsonObject);
  });
  return { size: total, documents, ...(aggs && { aggs }) };
}
