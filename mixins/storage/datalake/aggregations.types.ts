/** aggregations.types — what the aggregation code asks of a store: columns, handed over in batches. */
import { fault } from '../../shared/errors.ts';
import type { PrismeEvent } from '../../shared/event.ts';
import { isPlainObject, type JsonObject } from '../../shared/json.ts';
import type { Interval } from './aggregations.time.ts';
import type { Condition } from './contract.ts';

export type Column =
  /** The JSON value of a field (`createdAt` in milliseconds), null when absent. */
  | { field: string }
  /** 1 when the row satisfies the condition, else 0. */
  | { where: Condition }
  /** A handle by which `events` finds the row again. */
  | { row: true };

export interface Batch {
  size: number;
  /** `batch[column][row]`. */
  batch: unknown[][];
  /** How many events a row stands for; absent: one each. */
  weights?: number[];
}

export interface RowSource {
  /**
   * Every row once. `intervals` are the only ones that look at `createdAt`, when that is so: a store may then hand over equal rows as one, with a weight and any
   * moment of their interval.
   */
  batches(columns: Column[], intervals?: Interval[]): Iterable<Batch>;
  /** The events of some handles, in order. */
  events(handles: unknown[]): PrismeEvent[];
}

export interface Node {
  name: string;
  kind: string;
  options: JsonObject;
  subs: Map<string, Node>;
  columns: Column[];
}

/** Takes in rows and renders what they come to. */
export interface Collector {
  collect(batch: unknown[][], row: number, weight: number): void;
  render(): Record<string, unknown>;
}

export const refusedAggregation = (message: string) => fault('SearchError', { message: `Could not execute search request: ${message}` });

export function optionsOf(value: unknown, name: string): JsonObject {
  if (!isPlainObject(value)) throw refusedAggregation(`'${name}' must be an object.`);
  return value;
}

export function fieldOf(options: JsonObject): string {
  const { field } = options;
  if (typeof field !== 'string' || field === '') throw refusedAggregation('an aggregation needs a field.');
  return field.endsWith('.keyword') ? field.slice(0, -8) : field;
}

export function positive(value: unknown, name: string, fallback: number, max: number): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > max) throw refusedAggregation(`'${name}' is a whole number up to ${max}.`);
  return number;
}

/** Calls `use` with each scalar of a value: itself, or the elements of a list. Objects and null have none. */
export function eachScalar(value: unknown, use: (scalar: string | number | boolean) => void): void {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object') use(value as string | number | boolean);
  else if (Array.isArray(value)) for (const item of value) if (item !== null && typeof item !== 'object') use(item);
}

/** `_count`, `metric`, `metric.property`, `percentiles.95`, `single>metric` of a rendered bucket. */
export function bucketValue(bucket: Record<string, unknown>, path: string): number | null {
  if (path === '_count' || path === '') return bucket.doc_count as number;
  const [name = '', ...inner] = path.split('>');
  if (inner.length > 0) return bucketValue((bucket[name] ?? {}) as Record<string, unknown>, inner.join('>'));
  const dot = name.indexOf('.');
  const metric = bucket[dot < 0 ? name : name.slice(0, dot)] as Record<string, unknown> | undefined;
  if (!metric) return null;
  if (dot < 0) return (metric.value ?? metric.doc_count ?? null) as number | null;
  const property = name.slice(dot + 1);
  const values = (metric.values ?? metric) as Record<string, unknown>;
  return (values[property] ?? values[`${property}.0`] ?? null) as number | null;
}
