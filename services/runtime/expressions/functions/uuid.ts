/** uuid */
import { defineFunction } from '../function.ts';

export const uuid = defineFunction({
  name: 'uuid',
  signature: 'uuid(): text',
  summary: '32 random hexadecimal characters, without dashes.',
  examples: [['uuid().length', 32]],
  arity: [0, 0],
  isVolatile: true,
  apply: (_args, env) => env.uuid(),
});
