/** json — plain data: types, safe parsing, and paths that never reach a prototype. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = Record<string, unknown>;

const MAX_PLAIN_DEPTH = 20;
const HOSTILE = new Set(['__proto__', 'constructor', 'prototype']);

/** Names that no path, key or argument may use: they reach the prototype of plain objects. */
export const isHostileName = (name: unknown): boolean => typeof name === 'string' && HOSTILE.has(name);

export const isPlainObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);

/** Whether JSON says all there is to say of a value, and a reader of the text would find the very same: no hostile keys either. */
export function isPlainJson(value: unknown, depth = 0): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth > MAX_PLAIN_DEPTH) return false;
  if (Array.isArray(value)) return value.every((item) => isPlainJson(item, depth + 1));
  if (!isPlainObject(value)) return false;
  // Of a plain object these are its own fields: nothing may be added to the prototype of objects.
  for (const key in value) if (HOSTILE.has(key) || !isPlainJson(value[key], depth + 1)) return false;
  return true;
}

/** Parses JSON text; hostile keys are dropped wherever they stand. @throws SyntaxError */
export function parseJson<T = unknown>(text: string): T {
  if (!text.includes('__proto__') && !text.includes('constructor') && !text.includes('prototype') && !text.includes('\\u'))
    return JSON.parse(text);
  return JSON.parse(text, function reviver(this: JsonObject, _key, value) {
    if (value && typeof value === 'object' && !Array.isArray(value))
      for (const name of HOSTILE) if (Object.hasOwn(value, name)) delete value[name];
    return value;
  });
}

/** The first hostile key found anywhere in `value`, as a dotted path, or `null`. */
export function findHostileName(value: unknown, path = ''): string | null {
  if (typeof value !== 'object' || value === null) return null;
  for (const key of Object.keys(value)) {
    const here = path ? `${path}.${key}` : key;
    if (HOSTILE.has(key)) return here;
    const below = findHostileName((value as JsonObject)[key], here);
    if (below) return below;
  }
  return null;
}

/** Own value at a path of segments; `undefined` as soon as something is missing. Never throws. */
export function readPath(root: unknown, path: readonly (string | number)[]): unknown {
  let value: unknown = root;
  for (const segment of path) {
    if (value === null || typeof value !== 'object' || isHostileName(segment) || !Object.hasOwn(value, segment)) return undefined;
    value = (value as JsonObject)[segment];
  }
  return value;
}
