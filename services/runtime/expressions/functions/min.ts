/** min */
import { defineFunction, refuse } from '../function.ts';

export const min = defineFunction({
  name: 'min',
  signature: 'min(...values: number) | min(list: list of numbers): number',
  summary: 'Smallest of the numbers; undefined for an empty list.',
  examples: [
    ['min(3, 1, 2)', 1],
    ['min([3, 1, 2])', 1],
    ['min("a")', Error],
  ],
  arity: [1, Number.POSITIVE_INFINITY],
  apply(args, env) {
    const values = (args.length === 1 && Array.isArray(args[0]) ? args[0] : args) as unknown[];
    env.charge(values.length);
    if (values.length === 0) return undefined;
    let found = values[0] as number;
    for (const value of values) {
      if (typeof value !== 'number') refuse(min, 'numbers are expected');
      found = Math.min(found, value as number);
    }
    return found;
  },
});
