/** floor */
import { defineFunction } from '../function.ts';
import { rounding } from './rounding.ts';

export const floor = defineFunction({
  name: 'floor',
  signature: 'floor(value: number, decimals?: integer = 0): number',
  summary: 'Largest number with `decimals` decimals that is not above the value. A text must be made a number first: floor(number(x)).',
  examples: [
    ['floor(2.9)', 2],
    ['floor(-2.1)', -3],
    ['floor(3.149, 2)', 3.14],
  ],
  arity: [1, 2],
  apply: (args) => rounding(Math.floor, args, floor),
});
