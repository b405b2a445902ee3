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
