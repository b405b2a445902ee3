/** isNumber */
import { defineFunction } from '../function.ts';

export const isNumber = defineFunction({
  name: 'isNumber',
  signature: 'isNumber(value: any): boolean',
  summary: 'Whether the value is a number (and not NaN).',
  examples: [
    ['isNumber(1.5)', true],
    ['isNumber("1")', false],
  ],
  arity: [1, 1],
  apply: ([value]) => typeof value === 'number' && !Number.isNaN(value),
});
