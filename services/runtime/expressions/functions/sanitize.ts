/** sanitize */
import { defineFunction, refuse } from '../function.ts';

export const sanitize = defineFunction({
  name: 'sanitize',
  signature: 'sanitize(text: text): text',
  summary: 'The text with < and > as numeric entities and without characters outside the basic plane (emoji, for instance).',
  examples: [
    ['sanitize("<b>")', '&#60;b&#62;'],
    ['sanitize("a😀b")', 'ab'],
    ['sanitize(1)', Error],
  ],
  arity: [1, 1],
  apply([text]) {
    if (text === undefined || text === null) return '';
    if (typeof text !== 'string') refuse(sanitize, 'a text is expected');
    return (text as string).replace(/[\u{10000}-\u{10FFFF}]/gu, '').replace(/[<>]/g, (char) => `&#${char.charCodeAt(0)};`);
  },
});
