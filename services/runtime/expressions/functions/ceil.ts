/** ceil */
import { defineFunction } from '../function.ts';
import { rounding } from './rounding.ts';

export const ceil = defineFunction({
  name: 'ceil',
  signature: 'ceil(value: number, decimals?: integer = 0): number',
  summary: 'Smallest number with `decimals` decimals that is not below the value. A text must be made a number first: ceil(number(x)).',
  examples: [
    ['ceil(2.1)', 3],
    ['ceil(-2.9)', -2],
    ['ceil(3.141, 2)', 3.15],
  ],
  arity: [1, 2],
  apply: (args) => rounding(Math.ceil, args, ceil),
});
