/**
 * conditions — the Mongo-like conditions of rules: judged in memory, or turned into a Condition for the event history and live matching. As a query
 * of the document store they go as they are. The three agree (test/unit/auth/conditions.test.ts).
 *
 * Meaning   MongoDB's: a path goes through lists, a list matches when one element does, `null` matches what is missing, comparisons hold between
 *           values of one type only. Regular expressions are RE2: linear time whatever their author wrote.
 */
import { fault } from '../../shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../shared/json.ts';
import { re2js } from '../../shared/packages.ts';
import type { Condition } from '../../storage/datalake/contract.ts';

export type Test = (object: unknown) => boolean;

const MAX_REGEX_CHARS = 2_000;
export const ALWAYS: Condition = { all: [] };
export const NEVER: Condition = { any: [] };

const refuse = (message: string) => fault('InvalidSecurity', { message });

/** @throws InvalidSecurity for an unknown operator or a pattern that is not RE2 */
export function compileConditions(conditions: JsonObject): Test {
  const tests = Object.entries(conditions).map(([name, value]): Test => {
    if (name === '$and') return all(listOf(name, value));
    if (name === '$or') return some(listOf(name, value));
    if (name === '$nor') return not(some(listOf(name, value)));
    if (name.startsWith('$')) throw refuse(`'${name}' is not an operator of conditions.`);
    const path = name.split('.');
    const test = fieldTest(value);
    return (object) => test(valuesAt(object, path));
  });
  return tests.length === 1 ? (tests[0] as Test) : (object) => tests.every((test) => test(object));
}

const all =
  (tests: Test[]): Test =>
  (object) =>
    tests.every((test) => test(object));
const some =
  (tests: Test[]): Test =>
  (object) =>
    tests.some((test) => test(object));
const not =
  (test: Test): Test =>
  (object) =>
    !test(object);

function listOf(name: string, value: unknown): Test[] {
  if (!Array.isArray(value)) throw refuse(`'${name}' needs a list of conditions.`);
  return value.map((item) => {
    if (!isPlainObject(item)) throw refuse(`'${name}' needs a list of conditions.`);
    return compileConditions(item);
  });
}

type ValuesTest = (values: unknown[]) => boolean;

const isOperators = (value: unknown): value is JsonObject => isPlainObject(value) && Object.keys(value).some((key) => key.startsWith('$'));

function fieldTest(value: unknown): ValuesTest {
  if (!isOperators(value)) return equals(value);
  const tests = Object.entries(value)
    .filter(([name]) => name !== '$options')
    .map(([name, argument]): ValuesTest => {
      const make = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
      if (!make) throw refuse(`'${name}' is not an operator of conditions.`);
      return make(argument, value);
    });
  return (values) => tests.every((test) => test(values));
}

/** Every value found and, for lists, every element. */
const each = (values: unknown[]): unknown[] => values.flatMap((value) => (Array.isArray(value) ? [value, ...value] : [value]));

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return typeof a === 'object' && typeof b === 'object' && a !== null && b !== null && JSON.stringify(a) === JSON.stringify(b);
}

const equals = (wanted: unknown): ValuesTest => {
  if (wanted === null || wanted === undefined)
    return (values) => values.length === 0 || each(values).some((value) => value === null || value === undefined);
  return (values) => each(values).some((value) => same(value, wanted));
};

const compares =
  (accept: (order: number) => boolean) =>
  (wanted: unknown): ValuesTest =>
  (values) =>
    each(values).some(
      (value) =>
        typeof value === typeof wanted &&
        (typeof value === 'number' || typeof value === 'string') &&
        accept(value < (wanted as typeof value) ? -1 : value > (wanted as typeof value) ? 1 : 0),
    );

const oneOf = (wanted: unknown): ValuesTest => {
  if (!Array.isArray(wanted)) throw refuse("'$in' and '$nin' need a list.");
  const tests = wanted.map(equals);
  return (values) => tests.some((test) => test(values));
};

const OPERATORS: Record<string, (argument: unknown, operators: JsonObject) => ValuesTest> = {
  $eq: equals,
  $ne: (argument) => negated(equals(argument)),
  $gt: compares((order) => order > 0),
  $gte: compares((order) => order >= 0),
  $lt: compares((order) => order < 0),
  $lte: compares((order) => order <= 0),
  $in: oneOf,
  $nin: (argument) => negated(oneOf(argument)),
  $all(argument) {
    if (!Array.isArray(argument)) throw refuse("'$all' needs a list.");
    const tests = argument.map(equals);
    return (values) => tests.length > 0 && tests.every((test) => test(values));
  },
  $exists: (argument) => (values) => values.length > 0 === Boolean(argument),
  $size: (argument) => (values) => values.some((value) => Array.isArray(value) && value.length === argument),
  $regex(argument, operators) {
    const pattern = compileRegex(argument, operators.$options);
    return (values) => each(values).some((value) => typeof value === 'string' && pattern(value));
  },
  $not: (argument) => negated(fieldTest(argument)),
  $elemMatch(argument) {
    if (!isPlainObject(argument)) throw refuse("'$elemMatch' needs conditions.");
    const test = isOperators(argument) ? undefined : compileConditions(argument);
    const own = test ? undefined : fieldTest(argument);
    return (values) =>
      values.some((value) => Array.isArray(value) && value.some((item) => (test ? test(item) : (own as ValuesTest)([item]))));
  },
};

const negated =
  (test: ValuesTest): ValuesTest =>
  (values) =>
    !test(values);

function compileRegex(text: unknown, options: unknown): (value: string) => boolean {
  if (typeof text !== 'string' || text.length > MAX_REGEX_CHARS)
    throw refuse(`'$regex' is a text of at most ${MAX_REGEX_CHARS} characters.`);
  try {
    const regex = re2js().RE2JS.compile(text, String(options ?? '').includes('i') ? re2js().RE2JS.CASE_INSENSITIVE : 0);
    return (value) => regex.matcher(value).find();
  } catch (cause) {
    throw refuse(`The pattern of '$regex' is not valid: ${(cause as Error).message}`);
  }
}

/** Everything at `path`: several values when lists of objects lie on the way, none when it is missing. */
function valuesAt(object: unknown, path: string[]): unknown[] {
  let found: unknown[] = [object];
  for (const segment of path) {
    const next: unknown[] = [];
    for (const value of found) {
      if (Array.isArray(value)) {
        if (/^\d+$/.test(segment) && Object.hasOwn(value, segment)) next.push(value[Number(segment)]);
        for (const item of value) if (hasOwn(item, segment)) next.push(item[segment]);
      } else if (hasOwn(value, segment)) next.push(value[segment]);
    }
    found = next;
  }
  return found;
}

const hasOwn = (value: unknown, name: string): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isHostileName(name) && Object.hasOwn(value, name);

// ---- as a condition of the event history ---------------------------------------------------------------------------------------------

type Scalar = string | number | boolean | null;
const isScalar = (value: unknown): value is Scalar => value === null || ['string', 'number', 'boolean'].includes(typeof value);

/** What cannot be asked of the history: the caller decides which way is the strict one. */
export class Inexpressible extends Error {}

/** @throws Inexpressible for `$size`, `$elemMatch` and comparisons with objects */
export function toCondition(conditions: JsonObject): Condition {
  const parts = Object.entries(conditions).map(([name, value]): Condition => {
    if (name === '$and') return { all: (value as JsonObject[]).map(toCondition) };
    if (name === '$or') return { any: (value as JsonObject[]).map(toCondition) };
    if (name === '$nor') return { not: { any: (value as JsonObject[]).map(toCondition) } };
    return fieldCondition(name, value);
  });
  return parts.length === 1 ? (parts[0] as Condition) : { all: parts };
}

const eq = (field: string, value: unknown): Condition => {
  if (value === null) return { field, op: 'empty' };
  if (!isScalar(value)) throw new Inexpressible(field);
  return { field, op: 'eq', value };
};

function isIn(field: string, values: unknown): Condition {
  if (!Array.isArray(values) || !values.every(isScalar)) throw new Inexpressible(field);
  if (values.includes(null)) return { any: values.map((value) => eq(field, value)) };
  return values.length === 0 ? NEVER : { field, op: 'in', values };
}

function fieldCondition(field: string, value: unknown): Condition {
  if (!isOperators(value)) return eq(field, value);
  const parts = Object.entries(value)
    .filter(([name]) => name !== '$options')
    .map(([name, argument]): Condition => {
      switch (name) {
        case '$eq':
          return eq(field, argument);
        case '$ne':
          return { not: eq(field, argument) };
        case '$in':
          return isIn(field, argument);
        case '$nin':
          return { not: isIn(field, argument) };
        case '$all':
          if (!Array.isArray(argument) || argument.length === 0) return NEVER;
          return { all: argument.map((item) => eq(field, item)) };
        case '$exists':
          return { field, op: argument ? 'exists' : 'empty' };
        case '$not':
          return { not: fieldCondition(field, argument) };
        case '$regex':
          return {
            field,
            op: 'regex',
            value: String(value.$options ?? '').includes('i') ? `(?i)${String(argument)}` : String(argument),
          };
        case '$gt':
        case '$gte':
        case '$lt':
        case '$lte':
          if (!isScalar(argument)) throw new Inexpressible(field);
          return { field, op: name.slice(1) as 'gt', value: argument };
        default:
          throw new Inexpressible(field);
      }
    });
  return parts.length === 1 ? (parts[0] as Condition) : { all: parts };
}
