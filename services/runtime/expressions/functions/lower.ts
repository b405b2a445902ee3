/** lower */
import { defineFunction, refuse } from '../function.ts';

export const lower = defineFunction({
  name: 'lower',
  signature: 'lower(text: text): text',
  summary: 'The text in lower case.',
  examples: [
    ['lower("Été")', 'été'],
    ['lower(1)', Error],
  ],
  arity: [1, 1],
  apply([text]) {
    if (text === undefined || text === null) return '';
    if (typeof text !== 'string') refuse(lower, 'a text is expected');
    return (text as string).toLowerCase();
  },
});
