/** values — reading plain data without ever reaching a prototype, and turning values into text. */

const HOSTILE = new Set(['__proto__', 'constructor', 'prototype']);
export const isHostile = (key: unknown): boolean => typeof key === 'string' && HOSTILE.has(key);

export const hasOwn = (object: object, key: string): boolean => !HOSTILE.has(key) && Object.hasOwn(object, key);

/** Own property, `length` of lists and texts, character of a text; otherwise undefined. Never throws. */
export function read(value: unknown, key: string | number): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string') {
    if (key === 'length') return value.length;
    const index = typeof key === 'number' ? key : /^\d+$/.test(key) ? Number(key) : -1;
    return index >= 0 ? value[index] : undefined;
  }
  if (typeof value !== 'object') return undefined;
  if (Array.isArray(value) && key === 'length') return value.length;
  return Object.hasOwn(value, key) && !isHostile(key) ? (value as Record<string | number, unknown>)[key] : undefined;
}

/** `undefined` and `null` are empty, text stays as it is, everything else is JSON with two spaces of indentation. */
export function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return String(value);
  return JSON.stringify(value, null, 2) ?? '';
}

/** Text of a computed key: numbers and texts as they are. */
export const toKey = (value: unknown): string => (typeof value === 'string' ? value : toText(value));

/**
 * Number of a text, number or flag; NaN for anything else. Not Number(): data may carry fields named valueOf and toString, and the
 * language would call them.
 */
export const toNumber = (value: unknown): number => (typeof value === 'object' ? Number.NaN : Number(value));

/** What JavaScript compares an object by when the other side is none, without calling what the data carries. */
function primitiveOf(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (!Array.isArray(value)) return '[object Object]';
  if (depth > 10 || value.length > 1_000) return undefined;
  return value.map((item) => (item === undefined || item === null ? '' : String(primitiveOf(item, depth + 1)))).join(',');
}

/** Loose equality: two objects by identity, a list and a scalar by its items joined with commas. */
export function looseEquals(left: unknown, right: unknown): boolean {
  const isLeftObject = typeof left === 'object' && left !== null;
  const isRightObject = typeof right === 'object' && right !== null;
  // biome-ignore lint/suspicious/noDoubleEquals: loose equality is the documented meaning of ==
  if (isLeftObject === isRightObject) return left == right;
  if (left === null || left === undefined || right === null || right === undefined) return false;
  // biome-ignore lint/suspicious/noDoubleEquals: as above
  return primitiveOf(left) == primitiveOf(right);
}
