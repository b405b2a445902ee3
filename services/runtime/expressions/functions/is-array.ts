/** isArray */
import { defineFunction } from '../function.ts';

export const isArray = defineFunction({
  name: 'isArray',
  signature: 'isArray(value: any | text naming a variable): boolean',
  summary: 'Whether the value is a list. A text is taken as the path of a variable.',
  examples: [
    ['isArray([1, 2])', true],
    ['isArray({a: 1})', false],
    ['isArray("no.such.variable")', false],
  ],
  arity: [1, 1],
  apply: ([value], _env, { lookup }) => Array.isArray(typeof value === 'string' ? lookup(value) : value),
});
