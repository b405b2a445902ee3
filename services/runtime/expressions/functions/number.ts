/** number */
import { defineFunction, refuse } from '../function.ts';

export const number = defineFunction({
  name: 'number',
  signature: 'number(text: text | number): number',
  summary: 'Whole number read from the beginning of a text; a number stays as it is. Text without a number gives NaN.',
  examples: [
    ['number("42")', 42],
    ['number("42.9 kg")', 42],
    ['number(1.5)', 1.5],
    ['number([1])', Error],
  ],
  arity: [1, 1],
  apply([value]) {
    if (typeof value === 'number') return value;
    if (value !== undefined && value !== null && typeof value !== 'string') refuse(number, 'a text is expected');
    return Number.parseInt(String(value ?? ''), 10);
  },
});
