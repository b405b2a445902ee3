/** deepmerge */
import { defineFunction, limitReached, refuse } from '../function.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { isHostile } from '../values.ts';

const MAX_DEPTH = 100;
const { maxItems } = DEFAULT_LIMITS;
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function merge(left: unknown, right: unknown, concatStrings: boolean, depth: number, charge: (steps: number) => void): unknown {
  if (depth > MAX_DEPTH) refuse(deepmerge, `more than ${MAX_DEPTH} levels`);
  if (right === undefined) return left;
  if (Array.isArray(left) && Array.isArray(right)) {
    if (left.length + right.length > maxItems) limitReached(`This list would have more than ${maxItems} items.`);
    charge(left.length + right.length);
    return [...left, ...right];
  }
  if (concatStrings && typeof left === 'string' && typeof right === 'string') return left + right;
  if (!isObject(left) || !isObject(right)) return right;
  const made: Record<string, unknown> = {};
  charge(Object.keys(left).length + Object.keys(right).length);
  for (const key of Object.keys(left)) if (!isHostile(key)) made[key] = left[key];
  for (const key of Object.keys(right))
    if (!isHostile(key)) made[key] = Object.hasOwn(made, key) ? merge(made[key], right[key], concatStrings, depth + 1, charge) : right[key];
  return made;
}

export const deepmerge = defineFunction({
  name: 'deepmerge',
  signature: 'deepmerge(a: object, b: object, options?: { concatStrings?: boolean }): object',
  summary: 'Both objects merged at every level; b wins, lists are concatenated, texts of equal keys too with `concatStrings`.',
  examples: [
    ['deepmerge({a: {b: 1, c: 2}}, {a: {c: 3}})', { a: { b: 1, c: 3 } }],
    ['deepmerge({a: [1]}, {a: [2]})', { a: [1, 2] }],
    ['deepmerge({t: "a"}, {t: "b"}, {concatStrings: true})', { t: 'ab' }],
  ],
  arity: [2, 3],
  apply([left, right, options], env) {
    const concatStrings = isObject(options) && Boolean(options['concatStrings']);
    return merge(left ?? {}, right ?? {}, concatStrings, 0, env.charge);
  },
});
