/** split */
import { defineFunction, refuse } from '../function.ts';
import { DEFAULT_LIMITS } from '../limits.ts';

export const split = defineFunction({
  name: 'split',
  signature: 'split(text: text, separator: text): list',
  summary: 'Parts of a text between separators.',
  examples: [
    ['split("a,b,c", ",")', ['a', 'b', 'c']],
    ['split("abc", "")', ['a', 'b', 'c']],
    ['split(1, ",")', Error],
  ],
  arity: [2, 2],
  apply([text, separator], env) {
    if (typeof text !== 'string' || typeof separator !== 'string') refuse(split, 'two texts are expected');
    // One more than allowed tells that there are too many, without making them.
    const parts = (text as string).split(separator as string, DEFAULT_LIMITS.maxItems + 1);
    env.charge(parts.length);
    return parts;
  },
});
