/** rateLimit — counts against a window shared by all nodes. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { toKey, toNumber } from '../../expressions/index.ts';
import { object } from '../instruction.ts';
import { defineSimple, SIGNAL, withOutput } from './simple.ts';

export const rateLimit = defineSimple({
  name: 'rateLimit',
  summary:
    'Counts an action of a consumer in a fixed window. When the limit is passed the automation ends, unless `break` is false or `output` is given: then branch on `output.ok`.',
  schema: object(
    {
      name: { type: 'string' },
      consumer: { type: 'string', description: 'Who is counted; nobody: one counter for all.' },
      window: { type: 'number', description: 'Seconds.' },
      limit: { type: 'number' },
      consume: { type: 'number', default: 1 },
      break: { type: 'boolean', default: true },
      output: { ...withOutput, description: 'Receives {ok, retryAfter, remaining, limit, window, consumer}.' },
    },
    { required: ['name', 'window', 'limit'] },
  ),
  examples: [
    { title: 'ten questions a minute', source: "- rateLimit: { name: ask, consumer: '{{user.id}}', window: 60, limit: 10, output: rate }" },
  ],
  async perform({ name, consumer, window, limit, consume, break: breaks, $hasOutput }, frame) {
    const [windowS, max, count] = [toNumber(window), toNumber(limit), consume === undefined ? 1 : toNumber(consume)];
    if (typeof name !== 'string' || !(windowS > 0) || !(max >= 0) || !(count >= 0))
      throw fault('InvalidInstructionError', { message: 'Invalid rateLimit instruction: name, window (seconds) and limit are required.' });
    const result = (await frame.perform({
      type: 'rateLimit',
      name,
      ...(consumer === undefined || consumer === null ? {} : { consumer: toKey(consumer) }),
      windowS,
      limit: max,
      consume: count,
    })) as { ok?: boolean };
    if (result?.ok || breaks === false || $hasOutput) return result;
    return { [SIGNAL]: { scope: 'automation', hasPayload: false }, value: result };
  },
});
