/** isObject */
import { defineFunction } from '../function.ts';

export const isObject = defineFunction({
  name: 'isObject',
  signature: 'isObject(value: any | text naming a variable): boolean',
  summary: 'Whether the value is an object and not a list; null counts as one. A text is taken as the path of a variable.',
  examples: [
    ['isObject({a: 1})', true],
    ['isObject([1])', false],
    ['isObject(null)', true],
  ],
  arity: [1, 1],
  apply([value], _env, { lookup }) {
    const subject = typeof value === 'string' ? lookup(value) : value;
    return typeof subject === 'object' && !Array.isArray(subject);
  },
});
