/** functions — the list of built-in functions, by name. A new one: its file, and a line here. */
import type { FunctionDefinition } from '../function.ts';
import { base64 } from './base64.ts';
import { ceil } from './ceil.ts';
import { date } from './date.ts';
import { deepmerge } from './deepmerge.ts';
import { elapsed } from './elapsed.ts';
import { floor } from './floor.ts';
import { isArray } from './is-array.ts';
import { isNumber } from './is-number.ts';
import { isObject } from './is-object.ts';
import { isString } from './is-string.ts';
import { join } from './join.ts';
import { json } from './json.ts';
import { jsonmatch } from './jsonmatch.ts';
import { lower } from './lower.ts';
import { max } from './max.ts';
import { min } from './min.ts';
import { number } from './number.ts';
import { rand } from './rand.ts';
import { replace } from './replace.ts';
import { round } from './round.ts';
import { sanitize } from './sanitize.ts';
import { slice } from './slice.ts';
import { split } from './split.ts';
import { truncate } from './truncate.ts';
import { unsafejson } from './unsafejson.ts';
import { upper } from './upper.ts';
import { url } from './url.ts';
import { urlSearchParams } from './url-search-params.ts';
import { uuid } from './uuid.ts';

const list: FunctionDefinition[] = [
  date,
  elapsed,
  isArray,
  isObject,
  isString,
  isNumber,
  rand,
  round,
  floor,
  ceil,
  number,
  min,
  max,
  split,
  join,
  lower,
  upper,
  truncate,
  replace,
  slice,
  sanitize,
  base64,
  uuid,
  json,
  unsafejson,
  jsonmatch,
  deepmerge,
  urlSearchParams,
  url,
];

export const functions: ReadonlyMap<string, FunctionDefinition> = new Map(list.map((definition) => [definition.name, definition]));

/** Levenshtein distance when it is below `limit`, else `limit`: how many characters one must change. */
function distance(left: string, right: string, limit: number): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  let next = new Array<number>(right.length + 1);
  for (let i = 1; i <= left.length; i++) {
    next[0] = i;
    let least = i;
    for (let j = 1; j <= right.length; j++) {
      const steps = Math.min(
        (row[j] as number) + 1,
        (next[j - 1] as number) + 1,
        (row[j - 1] as number) + (left.charCodeAt(i - 1) === right.charCodeAt(j - 1) ? 0 : 1),
      );
      next[j] = steps;
      if (steps < least) least = steps;
    }
    if (least >= limit) return limit;
    [row, next] = [next, row];
  }
  return row[right.length] as number;
}

/** Names longer than this are not looked for: nobody misspells them by hand. */
const MAX_NAME = 100;

/** The name out of `names` that was probably meant, or undefined. */
export function nearest(name: string, names: Iterable<string>): string | undefined {
  if (name.length > MAX_NAME) return undefined;
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    if (candidate.length > MAX_NAME || Math.abs(candidate.length - name.length) >= least) continue;
    const steps = distance(name.toLowerCase(), candidate.toLowerCase(), least);
    if (steps < least) [best, least] = [candidate, steps];
  }
  return best;
}

export const nearestFunction = (name: string): string | undefined => nearest(name, functions.keys());
