/** join */
import { defineFunction, limitReached, refuse } from '../function.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { toKey } from '../values.ts';

const { maxOutputChars } = DEFAULT_LIMITS;

export const join = defineFunction({
  name: 'join',
  signature: 'join(list: list, separator: text): text',
  summary: 'Items of a list as one text, with separators in between. Objects are written as JSON, empty items as nothing.',
  examples: [
    ["join(['a', 'b'], ', ')", 'a, b'],
    ['join([1, null, 2], "-")', '1--2'],
    ['join("a", ",")', Error],
  ],
  arity: [2, 2],
  apply([list, separator], env) {
    if (!Array.isArray(list)) refuse(join, 'a list is expected');
    if (typeof separator !== 'string') refuse(join, 'the separator must be a text');
    env.charge((list as unknown[]).length);
    let made = '';
    for (const [index, item] of (list as unknown[]).entries()) {
      if (index > 0) made += separator;
      made += typeof item === 'object' && item !== null ? JSON.stringify(item) : toKey(item);
      if (made.length > maxOutputChars) limitReached(`This text would be longer than ${maxOutputChars} characters.`);
    }
    return made;
  },
});
