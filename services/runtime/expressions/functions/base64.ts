/** base64 */
import { defineFunction } from '../function.ts';

export const base64 = defineFunction({
  name: 'base64',
  signature: 'base64(value: text | bytes): text',
  summary: 'Base64 of the UTF-8 bytes of a text (or of bytes); anything else is written as JSON first.',
  examples: [
    ['base64("Hello")', 'SGVsbG8='],
    ['base64("é")', 'w6k='],
  ],
  arity: [1, 1],
  apply([value]) {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    return Buffer.from(typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toString('base64');
  },
});
