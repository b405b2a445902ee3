/** json */
import { defineFunction, limitReached, refuse } from '../function.ts';
import { isHostile } from '../values.ts';

/** Own data only: names that reach a prototype are left out. */
export const harmless = (key: string, value: unknown): unknown => (isHostile(key) ? undefined : value);

export const json = defineFunction({
  name: 'json',
  signature: 'json(value: any): any',
  summary: 'A text is parsed as JSON; anything else is written as JSON.',
  examples: [
    [`json('{"a": 1}').a`, 1],
    ['json({a: 1})', '{"a":1}'],
    ['json("{oops")', Error],
  ],
  arity: [1, 1],
  apply([value], env) {
    if (typeof value !== 'string') return JSON.stringify(value);
    env.charge(1 + Math.floor(value.length / 100));
    try {
      return JSON.parse(value, harmless);
    } catch (error) {
      if ((error as Error).name === 'RangeError') limitReached('This JSON is nested too deeply.');
      return refuse(json, 'Invalid JSON syntax');
    }
  },
});
