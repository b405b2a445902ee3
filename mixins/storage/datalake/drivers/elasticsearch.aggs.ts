/** elasticsearch.aggs — our aggregations → Elasticsearch's: conditions become queries over facts, numbers of the payload are read from `measures`. */
import { pathOf } from '../../../filters/condition.ts';
import { parseDsl } from '../../../filters/dsl.ts';
import { isPlainObject, type JsonObject } from '../../../shared/json.ts';
import { type AggregationTree, parseAggregations } from '../aggregations.ts';
import { fieldOf, type Node } from '../aggregations.types.ts';
import { HELPERS } from './elasticsearch.document.ts';
import { queryOf, sortField } from './elasticsearch.query.ts';

const NUMERIC = new Set([
  'sum',
  'avg',
  'min',
  'max',
  'stats',
  'extended_stats',
  'percentiles',
  'percentile_ranks',
  'histogram',
  'range',
  'value_count',
]);

/** Field that holds the values for a kind of aggregation. */
function valueField(field: string, isNumber: boolean): string {
  const name = pathOf(field).join('.');
  return isNumber && name.startsWith('payload.') ? `measures.${name.slice(8)}` : name;
}

const withField = (options: JsonObject, isNumber: boolean): JsonObject => ({ ...options, field: valueField(fieldOf(options), isNumber) });

function compositeOptions(options: JsonObject): JsonObject {
  const sources = (options.sources as JsonObject[]).map((source) =>
    Object.fromEntries(
      Object.entries(source).map(([name, body]) => [
        name,
        Object.fromEntries(
          Object.entries(body as JsonObject).map(([kind, inner]) => [kind, withField(inner as JsonObject, kind === 'histogram')]),
        ),
      ]),
    ),
  );
  return { ...options, sources };
}

function topHits(options: JsonObject): JsonObject {
  const keys = options.sort === undefined ? [{ createdAt: 'desc' }] : Array.isArray(options.sort) ? options.sort : [options.sort];
  const sort = keys.flatMap((key) => {
    const [field, how] = typeof key === 'string' ? [key, 'asc'] : (Object.entries(key as JsonObject)[0] as [string, unknown]);
    const order = isPlainObject(how) ? how.order : how;
    return sortField(field, order === 'desc' ? 'desc' : 'asc');
  });
  return { ...options, sort, _source: options._source ?? { excludes: HELPERS } };
}

function bodyOf({ kind, options }: Node): [string, unknown] {
  if (kind === 'filter') return ['filter', queryOf(parseDsl(options))];
  if (kind === 'missing') return ['filter', queryOf({ field: fieldOf(options), op: 'empty' })];
  if (kind === 'filters') {
    const { filters } = options;
    const converted = Array.isArray(filters)
      ? filters.map((filter) => queryOf(parseDsl(filter)))
      : Object.fromEntries(Object.entries(filters as JsonObject).map(([name, filter]) => [name, queryOf(parseDsl(filter))]));
    return ['filters', { ...options, filters: converted }];
  }
  if (kind === 'composite') return ['composite', compositeOptions(options)];
  if (kind === 'top_hits') return ['top_hits', topHits(options)];
  if (kind.endsWith('_bucket')) return [kind, options];
  return [kind, withField(options, NUMERIC.has(kind))];
}

function convert(tree: AggregationTree): JsonObject {
  const answer: JsonObject = {};
  for (const [name, node] of tree) {
    const [kind, body] = bodyOf(node);
    answer[name] = { [kind]: body, ...(node.subs.size > 0 && { aggs: convert(node.subs) }) };
  }
  return answer;
}

/** @throws SearchError for what is outside the subset */
export const elasticAggregations = (aggs: Record<string, unknown>): JsonObject => convert(parseAggregations(aggs));
