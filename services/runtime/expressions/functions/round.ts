/** round */
import { defineFunction } from '../function.ts';
import { rounding } from './rounding.ts';

export const round = defineFunction({
  name: 'round',
  signature: 'round(value: number, decimals?: integer = 0): number',
  summary: 'Nearest number with `decimals` decimals; ties go up. A text must be made a number first: round(number(x)).',
  examples: [
    ['round(2.5)', 3],
    ['round(-2.5)', -2],
    ['round(3.14159, 2)', 3.14],
    ['round("3")', Error],
  ],
  arity: [1, 2],
  apply: (args) => rounding(Math.round, args, round),
});
