/**
 * aggregations — the subset of Elasticsearch's aggregations that POST …/search accepts: checked here once, computed here for stores that have none.
 *
 * `parseAggregations` refuses everything that is not listed (scripts above all). `aggregate` walks the rows of a store once, column by column, and
 * answers in Elasticsearch's shapes.
 */

import { isMoment, pathOf } from '../../filters/condition.ts';
import { type Bucketing, bucketings } from './aggregations.buckets.ts';
import { type Metric, metrics } from './aggregations.metrics.ts';
import { type Interval, intervalOf } from './aggregations.time.ts';
import {
  bucketValue,
  type Collector,
  type Column,
  type Node,
  optionsOf,
  type RowSource,
  refusedAggregation,
} from './aggregations.types.ts';

export type AggregationTree = Map<string, Node>;

const MAX_DEPTH = 5;
const MAX_NODES = 60;
const SUBS = ['aggs', 'aggregations'];
const PIPELINES = new Set(['max_bucket', 'min_bucket', 'avg_bucket', 'sum_bucket']);

/** What may be aggregated. */
export const AGGREGATIONS = [...Object.keys(bucketings), ...Object.keys(metrics), ...PIPELINES];

/** @throws SearchError for what is not in the subset, too deep or too large */
export function parseAggregations(aggs: unknown, depth = 1, count = { nodes: 0 }): AggregationTree {
  const tree: AggregationTree = new Map();
  if (depth > MAX_DEPTH) throw refusedAggregation(`aggregations are nested deeper than ${MAX_DEPTH}.`);
  for (const [name, body] of Object.entries(optionsOf(aggs, 'aggs'))) {
    if (++count.nodes > MAX_NODES) throw refusedAggregation(`there are more than ${MAX_NODES} aggregations.`);
    const entries = Object.entries(optionsOf(body, name));
    const kinds = entries.filter(([key]) => !SUBS.includes(key) && key !== 'meta');
    if (kinds.length !== 1) throw refusedAggregation(`'${name}' must have exactly one kind.`);
    const [kind, given] = kinds[0] as [string, unknown];
    const options = optionsOf(given, name);
    if (JSON.stringify(options).includes('"script"')) throw refusedAggregation(`'${name}' uses a script.`);
    const subs: AggregationTree = new Map();
    for (const [key, sub] of entries)
      if (SUBS.includes(key)) for (const [subName, node] of parseAggregations(sub, depth + 1, count)) subs.set(subName, node);
    if (Object.hasOwn(bucketings, kind))
      tree.set(name, { name, kind, options, subs, columns: (bucketings[kind] as Bucketing).columns(options) });
    else if (subs.size > 0) throw refusedAggregation(`'${kind}' takes no sub-aggregations.`);
    else if (Object.hasOwn(metrics, kind))
      tree.set(name, { name, kind, options, subs, columns: (metrics[kind] as Metric).columns(options) });
    else if (PIPELINES.has(kind) && typeof options.buckets_path === 'string') tree.set(name, { name, kind, options, subs, columns: [] });
    else throw refusedAggregation(`the aggregation '${kind}' is not supported.`);
  }
  return tree;
}

/** Finds or adds the position of a column among those that the store is asked for. */
function register(columns: Column[], wanted: Column): number {
  const key = JSON.stringify(wanted);
  const found = columns.findIndex((column) => JSON.stringify(column) === key);
  return found >= 0 ? found : columns.push(wanted) - 1;
}

function collectorOf(tree: AggregationTree, positions: Map<Node, number[]>, rows: RowSource): Collector {
  const parts: [string, Collector][] = [];
  const pipelines: Node[] = [];
  for (const [name, node] of tree) {
    const at = positions.get(node) as number[];
    if (PIPELINES.has(node.kind)) pipelines.push(node);
    else if (Object.hasOwn(metrics, node.kind)) parts.push([name, (metrics[node.kind] as Metric).open(node.options, at, rows)]);
    else {
      const open = () => collectorOf(node.subs, positions, rows);
      parts.push([name, (bucketings[node.kind] as Bucketing).open(node.options, at, node.subs.size > 0 ? open : null)]);
    }
  }
  return {
    collect(batch, row, weight) {
      for (const [, part] of parts) part.collect(batch, row, weight);
    },
    render() {
      const answer: Record<string, unknown> = {};
      for (const [name, part] of parts) answer[name] = part.render();
      for (const node of pipelines) answer[node.name] = pipeline(node, answer);
      return answer;
    },
  };
}

/** `max_bucket` and its kin over a sibling, e.g. `buckets_path: "per_minute>_count"`. */
function pipeline({ kind, options }: Node, siblings: Record<string, unknown>): Record<string, unknown> {
  const [sibling = '', ...rest] = String(options.buckets_path).split('>');
  const buckets = (siblings[sibling] as { buckets?: unknown } | undefined)?.buckets;
  if (!Array.isArray(buckets)) throw refusedAggregation(`'${options.buckets_path}' names no buckets.`);
  const values = buckets
    .map((bucket) => ({ key: String(bucket.key_as_string ?? bucket.key), value: bucketValue(bucket, rest.join('>')) }))
    .filter((item): item is { key: string; value: number } => typeof item.value === 'number');
  const sum = values.reduce((total, { value }) => total + value, 0);
  if (kind === 'sum_bucket') return { value: sum };
  if (kind === 'avg_bucket') return { value: values.length > 0 ? sum / values.length : null };
  const best = values.reduce<number | null>(
    (found, { value }) => (found === null || (kind === 'max_bucket' ? value > found : value < found) ? value : found),
    null,
  );
  return { value: best, keys: values.filter(({ value }) => value === best).map(({ key }) => key) };
}

const COUNTING = new Set(['terms', 'filter', 'filters', 'cardinality', 'value_count', 'missing']);

/** Intervals of the date histograms over `createdAt`, when they are all that looks at it and everything else only counts; `undefined` otherwise. */
function countedIntervals(tree: AggregationTree): Interval[] | undefined {
  const found: Interval[] = [];
  for (const { kind, options, subs } of tree.values()) {
    const isTime = isMoment(pathOf(String(options.field ?? '')));
    if (kind === 'date_histogram' && isTime) found.push(intervalOf(options));
    else if (isTime || !(COUNTING.has(kind) || PIPELINES.has(kind))) return undefined;
    const below = countedIntervals(subs);
    if (!below) return undefined;
    found.push(...below);
  }
  return found;
}

/** Computes every aggregation of `tree` in one pass over the rows. */
export function aggregate(tree: AggregationTree, rows: RowSource): Record<string, unknown> {
  const columns: Column[] = [];
  const positions = new Map<Node, number[]>();
  const walk = (nodes: AggregationTree) => {
    for (const node of nodes.values()) {
      positions.set(
        node,
        node.columns.map((wanted) => register(columns, wanted)),
      );
      walk(node.subs);
    }
  };
  walk(tree);
  const collector = collectorOf(tree, positions, rows);
  for (const { size, batch, weights } of rows.batches(columns, countedIntervals(tree)))
    for (let row = 0; row < size; row++) collector.collect(batch, row, weights ? (weights[row] as number) : 1);
  return collector.render();
}
