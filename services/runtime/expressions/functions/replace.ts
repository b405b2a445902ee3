/** replace */
import { defineFunction, limitReached, refuse } from '../function.ts';
import { DEFAULT_LIMITS } from '../limits.ts';

const { maxOutputChars } = DEFAULT_LIMITS;

export const replace = defineFunction({
  name: 'replace',
  signature: 'replace(text: text, search: text, by: text): text',
  summary: 'Replaces the first occurrence of a text. `$&` in the replacement stands for what was found, `$$` for a dollar.',
  examples: [
    ['replace("a-b-c", "-", "+")', 'a+b-c'],
    ['replace("price", "ice", "$&s")', 'prices'],
    ['replace(1, "a", "b")', Error],
  ],
  arity: [3, 3],
  apply([text, search, by]) {
    if (typeof text !== 'string' || typeof search !== 'string' || typeof by !== 'string') refuse(replace, 'three texts are expected');
    // `$&`, "$`" and "$'" may each insert up to the whole text.
    const inserted = ((by as string).match(/\$[&`']/g)?.length ?? 0) * (text as string).length + (by as string).length;
    if ((text as string).length + inserted > maxOutputChars) limitReached(`This text would be longer than ${maxOutputChars} characters.`);
    return (text as string).replace(search as string, by as string);
  },
});
