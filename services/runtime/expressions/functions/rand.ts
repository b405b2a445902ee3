/** rand */
import { defineFunction, refuse } from '../function.ts';

export const rand = defineFunction({
  name: 'rand',
  signature: 'rand(min?: number, max?: number = 1): number',
  summary:
    'Without arguments (or 0, 1) a fraction in [0, 1); otherwise a whole number from min up to, not including, max. `rand(5)` lies between 1 and 4.',
  examples: [
    ['rand() < 1', true],
    ['rand(3, 4)', 3],
    ['rand("a", 2)', Error],
  ],
  arity: [0, 2],
  isVolatile: true,
  apply([min = 0, max = 1], env) {
    if (typeof min !== 'number' || typeof max !== 'number') refuse(rand, 'numbers expected');
    const [low, high] = (min as number) <= (max as number) ? [min as number, max as number] : [max as number, min as number];
    if (low === 0 && high === 1) return env.random();
    return Math.floor(low + env.random() * (high - low));
  },
});
