/** truncate */
import { defineFunction, refuse } from '../function.ts';

export const truncate = defineFunction({
  name: 'truncate',
  signature: 'truncate(text: text, length?: integer = 30, ellipsis?: text = "..."): text',
  summary: 'The text cut to at most `length` characters, the ellipsis included.',
  examples: [
    ['truncate("abcdefghij", 5)', 'ab...'],
    ['truncate("abc", 5)', 'abc'],
    ['truncate("abcdefghij", 4, "")', 'abcd'],
    ['truncate(1)', Error],
  ],
  arity: [1, 3],
  apply([text, length = 30, ellipsis = '...']) {
    if (text === undefined || text === null) return '';
    if (typeof text !== 'string' || typeof ellipsis !== 'string') refuse(truncate, 'a text is expected');
    if (typeof length !== 'number' || length < 0) refuse(truncate, 'the length must be a number of at least 0');
    const characters = Array.from(text as string);
    if (characters.length <= (length as number)) return text;
    return characters.slice(0, Math.max(0, (length as number) - (ellipsis as string).length)).join('') + (ellipsis as string);
  },
});
