/** comment — says something to the reader. */
import { defineInstruction } from '../instruction.ts';

export const comment = defineInstruction({
  name: 'comment',
  summary: 'Text for the reader; never evaluated.',
  schema: { type: 'string' },
  takesNothing: true,
  examples: [{ title: 'explains', source: '- comment: The token lives for an hour.' }],
  compile: () => ({ run: () => undefined }),
});
