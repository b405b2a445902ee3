/**
 * mongo-names — how records and queries are spelled for MongoDB. Names that mean something to the server or to its client are escaped with `%`:
 * a dot anywhere, a leading `$`, `_bsontype` (the client would take such an object for one of its own types), and the names used below.
 *
 *   id → _id     _rev stays     `_unique.<group>`: the values of a unique group as one text, absent when one of the fields is
 */
import { isPlainObject, type JsonObject, readPath } from '../../../shared/json.ts';
import type { Query, Stored } from '../contract.ts';

const RESERVED = /^(_bsontype|_unique|_id)$/;
const ESCAPES: Record<string, string> = { '%': '%25', '.': '%2E', $: '%24', '\0': '%00', _: '%5F' };

export const toName = (name: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL ends a name in BSON
  const escaped = name.replace(/[%.\u0000]|^\$/g, (found) => ESCAPES[found] as string);
  return RESERVED.test(escaped) ? `%5F${escaped.slice(1)}` : escaped;
};
const fromName = (name: string): string =>
  name.replace(/%(25|2E|24|00|5F)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));

/** A dotted path of a query or an index. `id` is `_id` at the root of a record only. */
export const toPath = (path: string, isRoot = true): string => (isRoot && path === 'id' ? '_id' : path.split('.').map(toName).join('.'));

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [rename(name), renamed(item, rename)]));
}

export function toDocument<T extends Stored>({ id, _rev, ...fields }: T, uniques: string[][]): JsonObject {
  const document = renamed(fields, toName) as JsonObject;
  const keys = uniques.flatMap((group) => {
    const values = group.map((path) => (path === 'id' ? id : readPath(fields, path.split('.'))));
    return values.some((value) => value === undefined || value === null) ? [] : [[nameOfGroup(group), JSON.stringify(values)]];
  });
  return { ...document, _id: id, _rev, ...(keys.length ? { _unique: Object.fromEntries(keys) } : {}) };
}

export function toRecord<T extends Stored>({ _id, _rev, _unique, ...fields }: JsonObject): T {
  return { id: _id, ...(renamed(fields, fromName) as JsonObject), _rev } as unknown as T;
}

export const nameOfGroup = (group: string[]): string => toName(group.join('+'));

/** A checked query in MongoDB's spelling. Empty lists of `$and`, `$or`, `$nor`, which the server refuses, keep their meaning. */
export function toFilter(query: Query, isRoot = true): JsonObject {
  const filter: JsonObject = {};
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    if (name === '$and' || name === '$or' || name === '$nor') {
      const parts = (value as Query[]).map((part) => toFilter(part, isRoot));
      if (parts.length) filter[name] = parts;
      else if (name === '$or') filter._id = { $in: [] };
    } else filter[toPath(name, isRoot)] = isPlainObject(value) ? toOperators(value) : value;
  }
  return filter;
}

function toOperators(operators: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(operators).map(([name, value]) => {
      if (name === '$elemMatch') return [name, toFilter(value as Query, false)];
      if (name === '$not') return [name, toOperators(value as JsonObject)];
      return [name, value];
    }),
  );
}
