/**
 * matcher — decides in memory whether a record satisfies a query, with MongoDB's meaning: a path goes through arrays, an array matches when one
 * of its elements does, `null` matches what is missing, comparisons hold only between values of one type.
 * @see https://www.mongodb.com/docs/manual/reference/operator/query/
 */
import { fault } from '../../shared/errors.ts';
import { isPlainObject } from '../../shared/json.ts';
import { re2js } from '../../shared/packages.ts';
import { compareText } from '../order.ts';
import type { FieldValue, Operators, Query } from './contract.ts';

export type Matcher = (record: unknown) => boolean;
type Test = (values: readonly unknown[]) => boolean;

/** Linear-time regular expression. @throws BadParametersError */
export function compileRegex(text: string, options: '' | 'i'): (value: string) => boolean {
  try {
    const regex = re2js().RE2JS.compile(text, options === 'i' ? re2js().RE2JS.CASE_INSENSITIVE : 0);
    return (value) => regex.matcher(value).find();
  } catch (cause) {
    throw fault('BadParametersError', { message: `The regular expression is not valid: ${(cause as Error).message}`, cause });
  }
}

/** Compiles a checked query once; the result is called per record. */
export function compileQuery(query: Query): Matcher {
  const tests = Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      if (name === '$and') return allOf((value as Query[]).map(compileQuery));
      if (name === '$or') return anyOf((value as Query[]).map(compileQuery));
      if (name === '$nor') return not(anyOf((value as Query[]).map(compileQuery)));
      const path = name.split('.');
      const test = compileField(value as FieldValue | Operators);
      return (record: unknown) => test(valuesAt(record, path));
    });
  return tests.length === 1 ? (tests[0] as Matcher) : allOf(tests);
}

const allOf =
  (tests: Matcher[]): Matcher =>
  (record) =>
    tests.every((test) => test(record));
const anyOf =
  (tests: Matcher[]): Matcher =>
  (record) =>
    tests.some((test) => test(record));
const not =
  (test: Matcher): Matcher =>
  (record) =>
    !test(record);

/** Everything found at `path`: several values when arrays of objects lie on the way, none when it is missing. */
function valuesAt(record: unknown, path: string[]): unknown[] {
  const found: unknown[] = [];
  collect(record, path, 0, found);
  return found;
}

function collect(value: unknown, path: string[], depth: number, found: unknown[]): void {
  if (depth === path.length) return void found.push(value);
  if (value === null || typeof value !== 'object') return;
  const segment = path[depth] as string;
  if (!Array.isArray(value)) {
    if (Object.hasOwn(value, segment)) collect((value as Record<string, unknown>)[segment], path, depth + 1, found);
    return;
  }
  if (/^\d+$/.test(segment) && Number(segment) < value.length) collect(value[Number(segment)], path, depth + 1, found);
  for (const element of value) if (isPlainObject(element)) collect(element, path, depth, found);
}

function compileField(condition: FieldValue | Operators): Test {
  if (!isPlainObject(condition)) return equals(condition as FieldValue);
  const operators = condition as Operators;
  const tests = (Object.keys(operators) as (keyof Operators)[])
    .filter((name) => name !== '$options')
    .map((name) => OPERATORS[name](operators[name] as never, operators));
  return (values) => tests.every((test) => test(values));
}

/** One of the values, or one of the elements of an array among them. */
const some =
  (test: (value: unknown) => boolean): Test =>
  (values) =>
    values.some((value) => test(value) || (Array.isArray(value) && value.some(test)));

const equals = (wanted: FieldValue): Test =>
  wanted === null ? (values) => values.length === 0 || some((value) => value === null)(values) : some((value) => value === wanted);

const compares = (wanted: FieldValue, holds: (order: number) => boolean): Test =>
  wanted === null
    ? (values) => holds(0) && equals(null)(values)
    : some((value) => {
        if (typeof value !== typeof wanted) return false;
        if (typeof value === 'string') return holds(compareText(value, wanted as string));
        return (typeof value === 'number' || typeof value === 'boolean') && holds(Number(value) - Number(wanted));
      });

const OPERATORS: { [K in Exclude<keyof Operators, '$options'>]-?: (argument: never, all: Operators) => Test } = {
  $eq: (value: FieldValue) => equals(value),
  $ne: (value: FieldValue) => negate(equals(value)),
  $gt: (value: FieldValue) => compares(value, (order) => order > 0),
  $gte: (value: FieldValue) => compares(value, (order) => order >= 0),
  $lt: (value: FieldValue) => compares(value, (order) => order < 0),
  $lte: (value: FieldValue) => compares(value, (order) => order <= 0),
  $in: (list: FieldValue[]) => oneOf(list),
  $nin: (list: FieldValue[]) => negate(oneOf(list)),
  $all(list: FieldValue[]) {
    const tests = list.map(equals);
    return (values) => tests.length > 0 && tests.every((test) => test(values));
  },
  $exists: (wanted: boolean) => (values) => values.length > 0 === wanted,
  $regex(text: string, { $options = '' }: Operators) {
    const matches = compileRegex(text, $options);
    return some((value) => typeof value === 'string' && matches(value));
  },
  $size: (count: number) => (values) => values.some((value) => Array.isArray(value) && value.length === count),
  $not: (operators: Operators) => negate(compileField(operators)),
  $elemMatch(query: Query) {
    const matches = compileQuery(query);
    return (values) => values.some((value) => Array.isArray(value) && value.some((element) => isPlainObject(element) && matches(element)));
  },
};

const negate =
  (test: Test): Test =>
  (values) =>
    !test(values);

function oneOf(list: FieldValue[]): Test {
  const wanted = new Set<unknown>(list);
  const acceptsMissing = wanted.has(null);
  const one = some((value) => wanted.has(value));
  return (values) => (acceptsMissing && values.length === 0) || one(values);
}
