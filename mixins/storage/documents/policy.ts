/**
 * policy — what may reach a document store: known operators, bounded nesting, plain names, bounded pages. Callers' queries pass here before
 * any driver, so `$where` and its kind never leave the process. Everything refused is a BadParametersError that names the place.
 */
import { fault } from '../../shared/errors.ts';
import { findHostileName, isHostileName, isPlainObject, type JsonObject } from '../../shared/json.ts';
import type { Collection, DocumentsDriver, FindOptions, Operators, Patch, Query } from './contract.ts';
import { compileRegex } from './matcher.ts';

export const MAX_NESTING = 10;
export const MAX_LIMIT = 2000;
export const MAX_REGEX_LENGTH = 200;
const MAX_LIST = 10_000;
const MAX_PATH_LENGTH = 500;

const refuse = (message: string, data: JsonObject = {}) => fault('BadParametersError', { message, data });

/** Checks a path of names: no hostile name, no `$`, no empty segment. */
export function checkPath(path: unknown): string {
  if (typeof path !== 'string' || path === '' || path.length > MAX_PATH_LENGTH)
    throw refuse('A field name is not valid.', { field: shown(path) });
  for (const segment of path.split('.'))
    if (segment === '' || segment.startsWith('$') || segment.includes('\0') || isHostileName(segment) || !segment.isWellFormed())
      throw refuse(`The field name '${shown(path)}' is not valid.`, { field: shown(path) });
  return path;
}

const shown = (value: unknown): string => String(value).slice(0, 100);

function checkValue(value: unknown, at: string): void {
  const isFine =
    value === null ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value)) ||
    (typeof value === 'string' && value.isWellFormed());
  if (!isFine) throw refuse(`'${at}' is compared with something that is not a text, a number, a boolean or null.`, { field: at });
}

function checkList(value: unknown, at: string): void {
  if (!Array.isArray(value) || value.length > MAX_LIST) throw refuse(`'${at}' needs a list of at most ${MAX_LIST} values.`, { field: at });
  for (const item of value) checkValue(item, at);
}

/** Operator → check of its argument. What is not here does not exist. */
const OPERATORS: Record<keyof Operators, (value: unknown, at: string, depth: number) => void> = {
  $eq: checkValue,
  $ne: checkValue,
  $gt: checkValue,
  $gte: checkValue,
  $lt: checkValue,
  $lte: checkValue,
  $in: checkList,
  $nin: checkList,
  $all: checkList,
  $exists(value, at) {
    if (typeof value !== 'boolean') throw refuse(`'${at}.$exists' is true or false.`, { field: at });
  },
  $regex(value, at) {
    if (typeof value !== 'string' || value.length > MAX_REGEX_LENGTH)
      throw refuse(`'${at}.$regex' is a text of at most ${MAX_REGEX_LENGTH} characters.`, { field: at });
    compileRegex(value, '');
  },
  $options(value, at) {
    if (value !== 'i' && value !== '') throw refuse(`'${at}.$options' is 'i' or empty.`, { field: at });
  },
  $size(value, at) {
    if (!Number.isInteger(value) || (value as number) < 0) throw refuse(`'${at}.$size' is a count.`, { field: at });
  },
  $not: (value, at, depth) => checkOperators(value, at, depth + 1),
  $elemMatch: (value, at, depth) => checkQuery(value, depth + 1, at),
};

function checkOperators(value: unknown, at: string, depth: number): void {
  if (depth > MAX_NESTING) throw refuse(`The query nests deeper than ${MAX_NESTING}.`);
  if (!isPlainObject(value) || Object.keys(value).length === 0) throw refuse(`'${at}' needs a value or operators.`, { field: at });
  for (const [operator, argument] of Object.entries(value)) {
    const check = Object.hasOwn(OPERATORS, operator) ? OPERATORS[operator as keyof Operators] : undefined;
    if (!check) throw refuse(`'${shown(operator)}' is not an operator that may be used.`, { field: at, operator: shown(operator) });
    check(argument, at, depth);
  }
  if (Object.hasOwn(value, '$options') && !Object.hasOwn(value, '$regex')) throw refuse(`'${at}.$options' needs $regex.`, { field: at });
}

/** @throws BadParametersError */
export function checkQuery(query: unknown, depth = 0, at = ''): asserts query is Query {
  if (depth > MAX_NESTING) throw refuse(`The query nests deeper than ${MAX_NESTING}.`);
  if (!isPlainObject(query)) throw refuse(at ? `'${at}' needs a query.` : 'A query is an object.');
  for (const [name, value] of Object.entries(query)) {
    if (name === '$and' || name === '$or' || name === '$nor') {
      if (value === undefined) continue;
      if (!Array.isArray(value) || value.length > MAX_LIST) throw refuse(`'${name}' needs a list of queries.`, { operator: name });
      for (const part of value) checkQuery(part, depth + 1, at);
      continue;
    }
    if (name.startsWith('$')) throw refuse(`'${shown(name)}' is not an operator that may be used.`, { operator: shown(name) });
    checkPath(name);
    // An undefined value would mean "any" to one store and "null" to another: whoever wrote it meant neither.
    if (value === undefined) throw refuse(`'${name}' has no value in this query.`, { field: name });
    if (isPlainObject(value)) checkOperators(value, name, depth + 1);
    else checkValue(value, name);
  }
}

function checkFind({ sort, limit, skip }: FindOptions = {}): FindOptions {
  for (const [field, direction] of Object.entries(sort ?? {})) {
    checkPath(field);
    if (direction !== 1 && direction !== -1) throw refuse(`The order of '${field}' is 1 or -1.`, { field });
  }
  for (const [name, value] of Object.entries({ limit, skip }))
    if (value !== undefined && (!Number.isInteger(value) || (value as number) < 0))
      throw refuse(`'${name}' is a count.`, { [name]: shown(value) });
  return { ...(sort ? { sort } : {}), limit: Math.min(limit ?? MAX_LIMIT, MAX_LIMIT), skip: skip ?? 0 };
}

function checkId(id: unknown): string {
  if (typeof id !== 'string' || id === '' || id.length > 500 || id.includes('\0') || !id.isWellFormed())
    throw refuse('An id is a text of 1 to 500 characters.', { id: shown(id) });
  return id;
}

/** The record as JSON keeps it (dates become text, `undefined` goes), so that every store returns the same. */
function asStored<T>(value: T): T {
  const hostile = findHostileName(value);
  if (hostile) throw refuse(`The name '${shown(hostile)}' may not be stored.`, { field: shown(hostile) });
  return JSON.parse(JSON.stringify(value));
}

function checkPatch(patch: Patch): Patch {
  const set: Record<string, unknown> = {};
  const paths = [...Object.keys(patch.set ?? {}), ...(patch.unset ?? [])].map(checkPath);
  for (const path of paths) if (/^(id|_id|_rev)(\.|$)/.test(path)) throw refuse(`'${path}' may not be changed.`, { field: path });
  const sorted = [...new Set(paths)].sort();
  if (sorted.length !== paths.length || paths.some((path) => paths.some((other) => other.startsWith(`${path}.`))))
    throw refuse('Two changes of one patch touch the same field.');
  const unset = [...(patch.unset ?? [])];
  for (const [path, value] of Object.entries(patch.set ?? {})) {
    if (value === undefined) unset.push(path);
    else set[path] = asStored(value);
  }
  return { set, unset };
}

/** `driver` behind these checks, limited to the collections opened through it. */
export function guarded(driver: DocumentsDriver): DocumentsDriver {
  const opened = new Set<string>();
  const known = (collection: string): string => {
    if (!opened.has(collection)) throw refuse(`The collection '${shown(collection)}' was not declared.`, { collection: shown(collection) });
    return collection;
  };
  return {
    async open(collection: Collection) {
      if (!/^[a-zA-Z][\w-]{0,59}$/.test(collection.name)) throw refuse(`'${shown(collection.name)}' cannot name a collection.`);
      for (const path of [...(collection.indexes ?? []), ...(collection.uniques ?? [])].flat()) checkPath(path);
      if (collection.expiresAt) checkPath(collection.expiresAt);
      await driver.open(collection);
      opened.add(collection.name);
    },
    async get(collection, id) {
      return driver.get(known(collection), checkId(id));
    },
    async find(collection, query, options) {
      checkQuery(query);
      return driver.find(known(collection), query, checkFind(options));
    },
    async count(collection, query) {
      checkQuery(query);
      return driver.count(known(collection), query);
    },
    async insert(collection, record) {
      if (!isPlainObject(record)) throw refuse('A record is an object.');
      checkId((record as { id?: unknown }).id);
      const { _rev, _id, ...plain } = asStored(record) as JsonObject;
      if (_id !== undefined) throw refuse("'_id' may not be stored.", { field: '_id' });
      return driver.insert(known(collection), plain as never);
    },
    async update(collection, id, patch, ifRevision) {
      if (ifRevision !== undefined && !Number.isInteger(ifRevision)) throw refuse('A revision is a whole number.');
      return driver.update(known(collection), checkId(id), checkPatch(patch), ifRevision);
    },
    async remove(collection, id) {
      return driver.remove(known(collection), checkId(id));
    },
    async removeMany(collection, query) {
      checkQuery(query);
      return driver.removeMany(known(collection), query);
    },
    close: () => driver.close(),
  };
}
