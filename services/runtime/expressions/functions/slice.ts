/** slice */
import { defineFunction, refuse } from '../function.ts';

export const slice = defineFunction({
  name: 'slice',
  signature: 'slice(value: list | text, start: integer, end?: integer): list | text',
  summary: 'Part from start up to, not including, end; negative positions count from the end.',
  examples: [
    ['slice([1, 2, 3], 1)', [2, 3]],
    ['slice("abcdef", -3, -1)', 'de'],
    ['slice(5, 1)', Error],
  ],
  arity: [2, 3],
  apply([value, start, end]) {
    if (typeof value !== 'string' && !Array.isArray(value)) refuse(slice, 'a list or a text is expected');
    if (typeof start !== 'number' || (end !== undefined && typeof end !== 'number')) refuse(slice, 'start and end must be numbers');
    return (value as string).slice(start as number, end as number | undefined);
  },
});
