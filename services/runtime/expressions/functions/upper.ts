/** upper */
import { defineFunction, refuse } from '../function.ts';

export const upper = defineFunction({
  name: 'upper',
  signature: 'upper(text: text): text',
  summary: 'The text in upper case.',
  examples: [
    ['upper("Été")', 'ÉTÉ'],
    ['upper(1)', Error],
  ],
  arity: [1, 1],
  apply([text]) {
    if (text === undefined || text === null) return '';
    if (typeof text !== 'string') refuse(upper, 'a text is expected');
    return (text as string).toUpperCase();
  },
});
