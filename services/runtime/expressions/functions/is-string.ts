/** isString */
import { defineFunction } from '../function.ts';

export const isString = defineFunction({
  name: 'isString',
  signature: 'isString(value: any): boolean',
  summary: 'Whether the value is a text.',
  examples: [
    ['isString("a")', true],
    ['isString(1)', false],
  ],
  arity: [1, 1],
  apply: ([value]) => typeof value === 'string',
});
