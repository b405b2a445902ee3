/** aggregations.buckets — rows put into groups: by value, by time, by range, by condition. */
import { parseMoment } from '../../filters/dates.ts';
import { parseDsl } from '../../filters/dsl.ts';
import { isPlainObject, type JsonObject } from '../../shared/json.ts';
import { intervalOf } from './aggregations.time.ts';
import {
  bucketValue,
  type Collector,
  type Column,
  eachScalar,
  fieldOf,
  optionsOf,
  positive,
  refusedAggregation,
} from './aggregations.types.ts';

type OpenSubs = (() => Collector) | null;

export interface Bucketing {
  columns(options: JsonObject): Column[];
  /** @param openSubs makes the sub-aggregations of one bucket */
  open(options: JsonObject, at: number[], openSubs: OpenSubs): Collector;
}

const MAX_BUCKETS = 65_536;

interface Bucket {
  count: number;
  subs: Collector | null;
}

/** Buckets by key, made when first met. */
class Buckets<Key> {
  readonly map = new Map<Key, Bucket>();
  readonly #open: OpenSubs;

  constructor(open: OpenSubs) {
    this.#open = open;
  }

  of(key: Key): Bucket {
    let bucket = this.map.get(key);
    if (!bucket) {
      if (this.map.size >= MAX_BUCKETS) throw refusedAggregation(`more than ${MAX_BUCKETS} buckets.`);
      bucket = { count: 0, subs: this.#open?.() ?? null };
      this.map.set(key, bucket);
    }
    return bucket;
  }

  add(key: Key, batch: unknown[][], row: number, weight: number): void {
    const bucket = this.of(key);
    bucket.count += weight;
    bucket.subs?.collect(batch, row, weight);
  }
}

type Rendered = Record<string, unknown> & { doc_count: number };

const rendered = (bucket: Bucket): Rendered => ({ doc_count: bucket.count, ...bucket.subs?.render() });

/** `order` of terms and histograms: `_count`, `_key`, or a metric of the bucket. */
function sorter(order: unknown): ((a: Rendered, b: Rendered) => number) | null {
  if (order === undefined) return null;
  const rules = (Array.isArray(order) ? order : [order]).flatMap((rule) => Object.entries(optionsOf(rule, 'order')));
  const keyOf = (bucket: Rendered) => (bucket.key_as_string ?? bucket.key) as string | number;
  return (a, b) => {
    for (const [path, direction] of rules) {
      const sign = String(direction).toLowerCase() === 'asc' ? 1 : -1;
      const isKey = path === '_key' || path === '_term';
      const left = isKey ? keyOf(a) : bucketValue(a, path);
      const right = isKey ? keyOf(b) : bucketValue(b, path);
      if (left === right) continue;
      if (left === null) return 1;
      if (right === null) return -1;
      return left < right ? -sign : sign;
    }
    return keyOf(a) < keyOf(b) ? -1 : 1;
  };
}

function acceptsTerm(options: JsonObject): (text: string) => boolean {
  const test = (rule: unknown): ((text: string) => boolean) | null => {
    if (rule === undefined) return null;
    if (Array.isArray(rule)) return (text) => rule.includes(text);
    const pattern = parseDsl({ wildcard: { x: String(rule).replaceAll('.*', '*') } });
    const glob = 'value' in pattern ? String(pattern.value) : '*';
    if (/[[\](){}|+^$]/.test(glob)) throw refusedAggregation("'include' and 'exclude' take lists or texts with '.*'.");
    const [head = '', ...rest] = glob.split('*');
    return (text) =>
      rest.length === 0
        ? text === head
        : text.startsWith(head) && rest.every((part) => text.includes(part)) && text.endsWith(rest.at(-1) ?? '');
  };
  const include = test(options.include);
  const exclude = test(options.exclude);
  return (text) => (include?.(text) ?? true) && !(exclude?.(text) ?? false);
}

const terms: Bucketing = {
  columns: (options) => [{ field: fieldOf(options) }],
  open(options, [position], openSubs) {
    const size = positive(options.size, 'size', 10, 10_000);
    const minimum = positive(options.min_doc_count, 'min_doc_count', 1, Number.MAX_SAFE_INTEGER);
    const order = sorter(options.order ?? { _count: 'desc' }) as (a: Rendered, b: Rendered) => number;
    const accepts = options.include === undefined && options.exclude === undefined ? null : acceptsTerm(options);
    const buckets = new Buckets<string | number | boolean>(openSubs);
    return {
      collect(batch, row, weight) {
        const value = (batch[position as number] as unknown[])[row];
        if (typeof value === 'string' && accepts === null) return buckets.add(value, batch, row, weight);
        if (value === null || value === undefined) {
          if (options.missing !== undefined) buckets.add(String(options.missing), batch, row, weight);
          return;
        }
        const seen = new Set<unknown>();
        eachScalar(value, (item) => {
          if (seen.has(item) || (accepts && !accepts(String(item)))) return;
          seen.add(item);
          buckets.add(item, batch, row, weight);
        });
      },
      render() {
        let all = [...buckets.map].map(([key, bucket]): Rendered => {
          const isTruth = typeof key === 'boolean';
          return { key: isTruth ? Number(key) : key, ...(isTruth && { key_as_string: String(key) }), ...rendered(bucket) };
        });
        all = all.filter((bucket) => bucket.doc_count >= minimum).sort(order);
        const rest = all.slice(size).reduce((sum, bucket) => sum + bucket.doc_count, 0);
        return { doc_count_error_upper_bound: 0, sum_other_doc_count: rest, buckets: all.slice(0, size) };
      },
    };
  },
};

const dateHistogram: Bucketing = {
  columns: (options) => [{ field: fieldOf(options) }],
  open(options, [position], openSubs) {
    const interval = intervalOf(options);
    const minimum = positive(options.min_doc_count, 'min_doc_count', 0, Number.MAX_SAFE_INTEGER);
    const buckets = new Buckets<number>(openSubs);
    const order = sorter(options.order);
    // Rows come mostly in order of time: the bucket of the row before is the likely one.
    let from = 0;
    let to = -1;
    return {
      collect(batch, row, weight) {
        const value = (batch[position as number] as unknown[])[row];
        const moment = typeof value === 'number' ? value : typeof value === 'string' ? Date.parse(value) : NaN;
        if (!(moment >= from && moment < to)) {
          if (!Number.isFinite(moment)) return;
          from = interval.start(moment);
          to = interval.next(from);
        }
        buckets.add(from, batch, row, weight);
      },
      render() {
        const bounds = isPlainObject(options.extended_bounds) ? options.extended_bounds : {};
        const keys = [...buckets.map.keys()];
        for (const name of ['min', 'max']) if (bounds[name] !== undefined) keys.push(interval.start(parseMoment(bounds[name], name)));
        const known = new Set(keys);
        if (minimum === 0 && keys.length > 0) {
          const last = keys.reduce((a, b) => Math.max(a, b));
          for (let key = keys.reduce((a, b) => Math.min(a, b)); key <= last && known.size <= MAX_BUCKETS; key = interval.next(key))
            known.add(key);
        }
        const all = [...known]
          .sort((a, b) => a - b)
          .map((key): Rendered => ({ key_as_string: new Date(key).toISOString(), key, ...rendered(buckets.of(key)) }))
          .filter((bucket) => bucket.doc_count >= minimum);
        return { buckets: order ? all.sort(order) : all };
      },
    };
  },
};

const histogram: Bucketing = {
  columns: (options) => [{ field: fieldOf(options) }],
  open(options, [position], openSubs) {
    const width = Number(options.interval);
    if (!(width > 0)) throw refusedAggregation("'interval' must be above zero.");
    const minimum = positive(options.min_doc_count, 'min_doc_count', 0, Number.MAX_SAFE_INTEGER);
    const buckets = new Buckets<number>(openSubs);
    return {
      collect(batch, row, weight) {
        eachScalar((batch[position as number] as unknown[])[row], (item) => {
          const number = typeof item === 'boolean' ? NaN : Number(item);
          if (Number.isFinite(number)) buckets.add(Math.floor(number / width), batch, row, weight);
        });
      },
      render() {
        const keys = [...buckets.map.keys()].sort((a, b) => a - b);
        const first = keys[0] ?? 0;
        const last = keys.at(-1) ?? -1;
        if (minimum === 0 && last - first < MAX_BUCKETS) for (let key = first; key <= last; key++) buckets.of(key);
        const all = [...buckets.map]
          .sort(([a], [b]) => a - b)
          .map(([key, bucket]): Rendered => ({ key: key * width, ...rendered(bucket) }));
        return { buckets: all.filter((bucket) => bucket.doc_count >= minimum) };
      },
    };
  },
};

/** Ranges over numbers, or over moments when `isDate`. */
const ranges = (isDate: boolean): Bucketing => ({
  columns: (options) => [{ field: fieldOf(options) }],
  open(options, [position], openSubs) {
    if (!Array.isArray(options.ranges) || options.ranges.length > 200) throw refusedAggregation("'ranges' is a list.");
    const bound = (value: unknown, name: string) =>
      value === undefined || value === null ? undefined : isDate ? parseMoment(value, name) : Number(value);
    const list = options.ranges.map((item) => {
      const range = optionsOf(item, 'ranges');
      const from = bound(range.from, 'from');
      const to = bound(range.to, 'to');
      const show = (value?: number) =>
        value === undefined ? '*' : isDate ? new Date(value).toISOString() : Number.isInteger(value) ? `${value}.0` : String(value);
      return { key: String(range.key ?? `${show(from)}-${show(to)}`), from, to };
    });
    const buckets = new Buckets<number>(openSubs);
    return {
      collect(batch, row, weight) {
        const hit = new Set<number>();
        eachScalar((batch[position as number] as unknown[])[row], (item) => {
          const value = isDate && typeof item === 'string' ? Date.parse(item) : typeof item === 'boolean' ? NaN : Number(item);
          if (!Number.isFinite(value)) return;
          for (const [i, { from, to }] of list.entries())
            if ((from === undefined || value >= from) && (to === undefined || value < to)) hit.add(i);
        });
        for (const i of hit) buckets.add(i, batch, row, weight);
      },
      render() {
        const all = list.map(({ key, from, to }, i) => ({
          key,
          ...(from !== undefined && { from, ...(isDate && { from_as_string: new Date(from).toISOString() }) }),
          ...(to !== undefined && { to, ...(isDate && { to_as_string: new Date(to).toISOString() }) }),
          ...rendered(buckets.of(i)),
        }));
        return { buckets: options.keyed ? Object.fromEntries(all.map(({ key, ...bucket }) => [key, bucket])) : all };
      },
    };
  },
});

/** One bucket of the rows that satisfy a condition. */
const single = (columns: (options: JsonObject) => Column[]): Bucketing => ({
  columns,
  open(_options, [position], openSubs) {
    const bucket: Bucket = { count: 0, subs: openSubs?.() ?? null };
    return {
      collect(batch, row, weight) {
        if (!(batch[position as number] as unknown[])[row]) return;
        bucket.count += weight;
        bucket.subs?.collect(batch, row, weight);
      },
      render: () => rendered(bucket),
    };
  },
});

const namedFilters = (options: JsonObject): [string, unknown][] =>
  Array.isArray(options.filters)
    ? options.filters.map((filter, i) => [String(i), filter])
    : Object.entries(optionsOf(options.filters, 'filters'));

const filters: Bucketing = {
  columns: (options) => namedFilters(options).map(([, filter]): Column => ({ where: parseDsl(filter) })),
  open(options, at, openSubs) {
    const names = namedFilters(options).map(([name]) => name);
    const otherKey =
      options.other_bucket_key === undefined ? (options.other_bucket ? '_other_' : undefined) : String(options.other_bucket_key);
    const buckets = new Buckets<number>(openSubs);
    return {
      collect(batch, row, weight) {
        let isElsewhere = true;
        for (const [i, position] of at.entries()) {
          if (!(batch[position] as unknown[])[row]) continue;
          isElsewhere = false;
          buckets.add(i, batch, row, weight);
        }
        if (isElsewhere && otherKey !== undefined) buckets.add(-1, batch, row, weight);
      },
      render() {
        const all: [string, Record<string, unknown>][] = names.map((name, i) => [name, rendered(buckets.of(i))]);
        if (otherKey !== undefined) all.push([otherKey, rendered(buckets.of(-1))]);
        return { buckets: Array.isArray(options.filters) ? all.map(([, bucket]) => bucket) : Object.fromEntries(all) };
      },
    };
  },
};

interface Source {
  name: string;
  field: string;
  keyOf(value: unknown): string | number | null;
  isDescending: boolean;
  missing: boolean;
}

function compositeSources(options: JsonObject): Source[] {
  if (!Array.isArray(options.sources) || options.sources.length === 0 || options.sources.length > 8)
    throw refusedAggregation("'composite' takes up to 8 sources.");
  return options.sources.map((item) => {
    const [name, body] = Object.entries(optionsOf(item, 'sources'))[0] ?? [];
    const [kind, given] = Object.entries(optionsOf(body, 'sources'))[0] ?? [];
    const inner = optionsOf(given, 'sources');
    const common = {
      name: name as string,
      field: fieldOf(inner),
      isDescending: inner.order === 'desc',
      missing: inner.missing_bucket === true,
    };
    if (kind === 'terms')
      return {
        ...common,
        keyOf: (value) => (typeof value === 'number' ? value : value === null || typeof value === 'object' ? null : String(value)),
      };
    if (kind === 'date_histogram') {
      const interval = intervalOf(inner);
      return {
        ...common,
        keyOf: (value) =>
          typeof value === 'number' ? interval.start(value) : typeof value === 'string' ? interval.start(Date.parse(value)) : null,
      };
    }
    if (kind === 'histogram')
      return {
        ...common,
        keyOf: (value) => (typeof value === 'number' ? Math.floor(value / Number(inner.interval)) * Number(inner.interval) : null),
      };
    throw refusedAggregation(`'composite' has no source '${kind}'.`);
  });
}

const composite: Bucketing = {
  columns: (options) => compositeSources(options).map(({ field }): Column => ({ field })),
  open(options, at, openSubs) {
    const sources = compositeSources(options);
    const size = positive(options.size, 'size', 10, 10_000);
    const buckets = new Buckets<string>(openSubs);
    const compare = (a: Record<string, any>, b: Record<string, any>) => {
      for (const { name, isDescending } of sources) {
        if (a[name] === b[name]) continue;
        const isBefore = a[name] === null || (b[name] !== null && a[name] < b[name]);
        return isBefore === isDescending ? 1 : -1;
      }
      return 0;
    };
    return {
      collect(batch, row, weight) {
        const key = sources.map(({ keyOf }, i) => keyOf((batch[at[i] as number] as unknown[])[row] ?? null));
        if (key.every((value, i) => value !== null || sources[i]?.missing)) buckets.add(JSON.stringify(key), batch, row, weight);
      },
      render() {
        const after = isPlainObject(options.after) ? options.after : undefined;
        const all = [...buckets.map]
          .map(([key, bucket]) => ({
            key: Object.fromEntries((JSON.parse(key) as unknown[]).map((value, i) => [sources[i]?.name, value])),
            bucket,
          }))
          .filter(({ key }) => !after || compare(key, after) > 0)
          .sort((a, b) => compare(a.key, b.key))
          .slice(0, size)
          .map(({ key, bucket }) => ({ key, ...rendered(bucket) }));
        const last = all.at(-1)?.key;
        return { ...(last && { after_key: last }), buckets: all };
      },
    };
  },
};

export const bucketings: Record<string, Bucketing> = {
  terms,
  date_histogram: dateHistogram,
  histogram,
  range: ranges(false),
  date_range: ranges(true),
  filter: single((options) => [{ where: parseDsl(options) }]),
  missing: single((options) => [{ where: { field: fieldOf(options), op: 'empty' } }]),
  filters,
  composite,
};
