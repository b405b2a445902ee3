/** join */
import { defineFunction, refuse } from '../function.ts';
import { toKey } from '../values.ts';

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
    return (list as unknown[])
      .map((item) => (typeof item === 'object' && item !== null ? JSON.stringify(item) : toKey(item)))
      .join(separator as string);
  },
});
