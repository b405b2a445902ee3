/** aggregations.metrics — numbers of a set of rows: counts, sums, percentiles, distinct values, best rows. */

import { valueAt } from '../../filters/condition.ts';
import type { PrismeEvent } from '../../shared/event.ts';
import type { JsonObject } from '../../shared/json.ts';
import { type Collector, type Column, eachScalar, fieldOf, positive, type RowSource, refusedAggregation } from './aggregations.types.ts';

export interface Metric {
  columns(options: JsonObject): Column[];
  open(options: JsonObject, at: number[], rows: RowSource): Collector;
}

const MAX_HITS = 100;
const oneField = (options: JsonObject): Column[] => [{ field: fieldOf(options) }];

const numeric = (value: unknown): number =>
  typeof value === 'number' ? value : typeof value === 'string' && value !== '' ? Number(value) : NaN;

/** A metric over the numbers of one field. */
function overNumbers<State>(
  start: () => State,
  step: (state: State, value: number) => void,
  render: (state: State, options: JsonObject) => Record<string, unknown>,
): Metric {
  return {
    columns: oneField,
    open(options, [position]) {
      const state = start();
      const missing = options.missing === undefined ? NaN : Number(options.missing);
      const add = (value: unknown) => {
        const number = numeric(value);
        if (Number.isFinite(number)) step(state, number);
      };
      return {
        collect(batch, row) {
          const value = (batch[position as number] as unknown[])[row];
          if (typeof value === 'number') step(state, value);
          else if (value === null || value === undefined) add(missing);
          else eachScalar(value, add);
        },
        render: () => render(state, options),
      };
    },
  };
}

interface Stats {
  count: number;
  sum: number;
  squares: number;
  min: number;
  max: number;
}

const stats = (render: (state: Stats) => Record<string, unknown>): Metric =>
  overNumbers<Stats>(
    () => ({ count: 0, sum: 0, squares: 0, min: Infinity, max: -Infinity }),
    (state, value) => {
      state.count++;
      state.sum += value;
      state.squares += value * value;
      if (value < state.min) state.min = value;
      if (value > state.max) state.max = value;
    },
    render,
  );

const ifAny = ({ count }: Stats, value: number): number | null => (count > 0 ? value : null);
const basic = (state: Stats) => ({
  count: state.count,
  min: ifAny(state, state.min),
  max: ifAny(state, state.max),
  avg: ifAny(state, state.sum / state.count),
  sum: state.sum,
});

function extended(state: Stats): Record<string, unknown> {
  const variance = state.count > 0 ? Math.max(0, state.squares / state.count - (state.sum / state.count) ** 2) : null;
  return {
    ...basic(state),
    sum_of_squares: ifAny(state, state.squares),
    variance,
    std_deviation: variance === null ? null : Math.sqrt(variance),
  };
}

/** Value at a percent of sorted numbers, linear between neighbours. */
export function percentileOf(sorted: ArrayLike<number>, percent: number): number | null {
  if (sorted.length === 0) return null;
  const position = (percent / 100) * (sorted.length - 1);
  const low = Math.floor(position);
  const below = sorted[low] as number;
  const above = sorted[Math.min(low + 1, sorted.length - 1)] as number;
  return below + (above - below) * (position - low);
}

const label = (number: number) => (Number.isInteger(number) ? `${number}.0` : String(number));

function keyed(entries: [number, number | null][], options: JsonObject): Record<string, unknown> {
  if (options.keyed === false) return { values: entries.map(([key, value]) => ({ key, value })) };
  return { values: Object.fromEntries(entries.map(([key, value]) => [label(key), value])) };
}

function numbersOf(value: unknown, fallback: number[], name: string): number[] {
  if (value === undefined) return fallback;
  if (!Array.isArray(value) || value.length > 50 || !value.every((item) => typeof item === 'number' && Number.isFinite(item)))
    throw refusedAggregation(`'${name}' is a list of numbers.`);
  return value;
}

const sortedNumbers = (state: number[]) => Float64Array.from(state).sort();

function shareUpTo(sorted: Float64Array, value: number): number | null {
  if (sorted.length === 0) return null;
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return (low / sorted.length) * 100;
}

/** Keeps the best `size` rows by the sort keys; the newest when none is given. */
const topHits: Metric = {
  columns: (options) => [{ row: true }, ...sortOf(options).map(({ field }): Column => ({ field }))],
  open(options, [handle, ...keys], rows) {
    const size = positive(options.size, 'size', 3, MAX_HITS);
    const order = sortOf(options);
    let kept: { handle: unknown; keys: unknown[] }[] = [];
    let total = 0;
    const compare = (a: { keys: unknown[] }, b: { keys: unknown[] }) => {
      for (const [i, { isDescending }] of order.entries()) {
        const [left, right] = [a.keys[i] as number, b.keys[i] as number];
        if (left === right || (left == null && right == null)) continue;
        if (left == null || right == null) return left == null ? 1 : -1;
        return left < right === isDescending ? 1 : -1;
      }
      return 0;
    };
    const trim = () => {
      kept = kept.sort(compare).slice(0, size);
    };
    return {
      collect(batch, row) {
        total++;
        kept.push({ handle: (batch[handle as number] as unknown[])[row], keys: keys.map((key) => (batch[key] as unknown[])[row]) });
        if (kept.length > 2 * size + 16) trim();
      },
      render() {
        trim();
        const events = rows.events(kept.map((item) => item.handle));
        const hits = events.map((event, i) => ({ _id: event.id, _source: pickSource(event, options._source), sort: kept[i]?.keys ?? [] }));
        return { hits: { total: { value: total, relation: 'eq' }, max_score: null, hits } };
      },
    };
  },
};

function sortOf(options: JsonObject): { field: string; isDescending: boolean }[] {
  const list = options.sort === undefined ? [{ createdAt: 'desc' }] : Array.isArray(options.sort) ? options.sort : [options.sort];
  return list.map((item) => {
    if (typeof item === 'string') return { field: item, isDescending: false };
    const [field, how] = Object.entries(item as JsonObject)[0] ?? [];
    if (!field) throw refusedAggregation("'sort' names a field.");
    return { field, isDescending: (typeof how === 'string' ? how : (how as JsonObject)?.order) === 'desc' };
  });
}

/** The event reduced to the fields of `_source` (dotted paths, `prefix.*`). */
export function pickSource(event: PrismeEvent, source: unknown): Partial<PrismeEvent> | Record<string, unknown> {
  const asked = Array.isArray(source) ? source : typeof source === 'string' ? [source] : (source as JsonObject | undefined)?.includes;
  const fields = (Array.isArray(asked) ? asked : typeof asked === 'string' ? [asked] : []).filter(
    (field) => typeof field === 'string' && field !== '*',
  ) as string[];
  if (source === false) return {};
  if (fields.length === 0) return event;
  const picked: Record<string, unknown> = {};
  for (const field of fields) {
    const path = field
      .replace(/\.?\*$/, '')
      .split('.')
      .filter(Boolean);
    const value = valueAt(event, path);
    if (value === undefined || path.length === 0) continue;
    let into = picked;
    for (const segment of path.slice(0, -1)) {
      if (!Object.hasOwn(into, segment) || typeof into[segment] !== 'object') into[segment] = {};
      into = into[segment] as Record<string, unknown>;
    }
    into[path.at(-1) as string] = value;
  }
  return picked;
}

export const metrics: Record<string, Metric> = {
  value_count: {
    columns: oneField,
    open(_options, [position]) {
      let count = 0;
      return {
        collect(batch, row, weight) {
          eachScalar((batch[position as number] as unknown[])[row], () => {
            count += weight;
          });
        },
        render: () => ({ value: count }),
      };
    },
  },
  /** Exact, unlike Elasticsearch's estimate. */
  cardinality: {
    columns: oneField,
    open(_options, [position]) {
      const seen = new Set<string | number | boolean>();
      return {
        collect(batch, row) {
          const value = (batch[position as number] as unknown[])[row];
          if (typeof value === 'string') seen.add(value);
          else eachScalar(value, (item) => seen.add(typeof item === 'boolean' ? String(item) : item));
        },
        render: () => ({ value: seen.size }),
      };
    },
  },
  sum: stats((state) => ({ value: state.sum })),
  avg: stats((state) => ({ value: ifAny(state, state.sum / state.count) })),
  min: stats((state) => ({ value: ifAny(state, state.min) })),
  max: stats((state) => ({ value: ifAny(state, state.max) })),
  stats: stats(basic),
  extended_stats: stats(extended),
  percentiles: overNumbers<number[]>(
    () => [],
    (state, value) => state.push(value),
    (state, options) => {
      const sorted = sortedNumbers(state);
      const percents = numbersOf(options.percents, [1, 5, 25, 50, 75, 95, 99], 'percents');
      return keyed(
        percents.map((percent) => [percent, percentileOf(sorted, percent)]),
        options,
      );
    },
  ),
  percentile_ranks: overNumbers<number[]>(
    () => [],
    (state, value) => state.push(value),
    (state, options) => {
      const sorted = sortedNumbers(state);
      return keyed(
        numbersOf(options.values, [], 'values').map((value) => [value, shareUpTo(sorted, value)]),
        options,
      );
    },
  ),
  top_hits: topHits,
};
