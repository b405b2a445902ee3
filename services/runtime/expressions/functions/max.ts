/** max */
import { defineFunction, refuse } from '../function.ts';

export const max = defineFunction({
  name: 'max',
  signature: 'max(...values: number) | max(list: list of numbers): number',
  summary: 'Largest of the numbers; undefined for an empty list.',
  examples: [
    ['max(3, 1, 2)', 3],
    ['max([3, 1, 2])', 3],
    ['max("a")', Error],
  ],
  arity: [1, Number.POSITIVE_INFINITY],
  apply(args, env) {
    const values = (args.length === 1 && Array.isArray(args[0]) ? args[0] : args) as unknown[];
    env.charge(values.length);
    if (values.length === 0) return undefined;
    let found = values[0] as number;
    for (const value of values) {
      if (typeof value !== 'number') refuse(max, 'numbers are expected');
      found = Math.max(found, value as number);
    }
    return found;
  },
});
