/**
 * merge-values — three versions of one object into one: what only one side changed is taken, what both changed alike is taken once, and what
 * both changed differently is a conflict told by its place. Values are merged, not lines: the result is always a readable object.
 */
import { isDeepStrictEqual } from 'node:util';
import { isPlainObject } from '../../../mixins/shared/json.ts';

export interface Merged {
  value: unknown;
  /** Places both sides changed differently, e.g. `do[2].set.value`; the value there is `theirs`. */
  conflicts: string[];
}

/** Stands for "not there", which differs from null. */
const ABSENT = Symbol('absent');

export function mergeValues(base: unknown, ours: unknown, theirs: unknown): Merged {
  const conflicts: string[] = [];
  const value = merge(base, ours, theirs, '', conflicts);
  return { value, conflicts };
}

function merge(base: unknown, ours: unknown, theirs: unknown, path: string, conflicts: string[]): unknown {
  if (isDeepStrictEqual(ours, theirs) || isDeepStrictEqual(ours, base)) return theirs;
  if (isDeepStrictEqual(theirs, base)) return ours;
  if (isPlainObject(ours) && isPlainObject(theirs)) {
    const before = isPlainObject(base) ? base : {};
    const merged: [string, unknown][] = [];
    // Keys in the order of theirs, then those that are ours alone.
    for (const key of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
      const value = merge(at(before, key), at(ours, key), at(theirs, key), path ? `${path}.${key}` : key, conflicts);
      if (value !== ABSENT) merged.push([key, value]);
    }
    return Object.fromEntries(merged);
  }
  if (Array.isArray(base) && Array.isArray(ours) && Array.isArray(theirs)) return mergeLists(base, ours, theirs, path, conflicts);
  conflicts.push(path);
  return theirs;
}

const at = (object: Record<string, unknown>, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : ABSENT);

interface Edit {
  /** Items `start` to `end` of the base (exclusive) … */
  start: number;
  end: number;
  /** … became these. */
  items: unknown[];
}

/** Where a list differs from its base: one stretch, found from both ends. */
function editOf(base: unknown[], changed: unknown[]): Edit {
  let head = 0;
  while (head < base.length && head < changed.length && isDeepStrictEqual(base[head], changed[head])) head++;
  let tail = 0;
  while (tail < base.length - head && tail < changed.length - head && isDeepStrictEqual(base.at(-1 - tail), changed.at(-1 - tail))) tail++;
  return { start: head, end: base.length - tail, items: changed.slice(head, changed.length - tail) };
}

function mergeLists(base: unknown[], ours: unknown[], theirs: unknown[], path: string, conflicts: string[]): unknown {
  const [mine, other] = [editOf(base, ours), editOf(base, theirs)];
  const [first, second] = mine.start <= other.start ? [mine, other] : [other, mine];
  // Stretches that only touch could be told in either order: that is for a person to say.
  if (first.end < second.start)
    return [
      ...base.slice(0, first.start),
      ...first.items,
      ...base.slice(first.end, second.start),
      ...second.items,
      ...base.slice(second.end),
    ];
  if (base.length === ours.length && base.length === theirs.length)
    return base.map((item, index) => merge(item, ours[index], theirs[index], `${path}[${index}]`, conflicts));
  conflicts.push(path);
  return theirs;
}
