/** wait — suspends the run until an event arrives, or for some time. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../../mixins/shared/json.ts';
import { toNumber } from '../../expressions/index.ts';
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

/** Equal to nothing. */
const NOTHING = { $in: [] };

/**
 * Filters as JSON has them, for that is how a registration is kept: without this a variable that is not there would take its filter with it, and the wait
 * would be for any event. What is missing equals what is missing, a number that is none equals nothing.
 */
function asFiled(filters: Record<string, unknown>): JsonObject {
  const filed: JsonObject = {};
  for (const [path, value] of Object.entries(filters))
    filed[path] =
      typeof value === 'number' && !Number.isFinite(value)
        ? NOTHING
        : JSON.parse(JSON.stringify(value ?? null, (_, item) => (item === undefined ? null : item)));
  return filed;
}

export const wait = defineSimple({
  name: 'wait',
  summary:
    'Waits for the first event that fulfils one of the conditions, of anyone in the workspace; without `oneOf` simply waits. The run leaves memory meanwhile. No error at the time-out: `output` is then not set.',
  schema: object({
    oneOf: {
      type: 'array',
      items: object(
        {
          event: { type: 'string' },
          filters: {
            type: 'object',
            description: 'Path of the event → value, or operators $eq $ne $in $nin $gt $gte $lt $lte $regex $exists. All must hold.',
          },
          cancelTriggers: { type: 'boolean', default: false, description: 'The event then starts no automation.' },
        },
        { required: ['event'] },
      ),
    },
    timeout: { type: 'number', default: 20, description: 'Seconds.' },
    sinceStart: { type: 'boolean', default: false, description: 'Accept an event emitted since the run began.' },
    output: withOutput,
  }),
  examples: [
    {
      title: 'waits for the payment of this order',
      source: "- wait: { oneOf: [{ event: order.paid, filters: { payload.id: '{{body.id}}' } }], timeout: 60, output: paid }",
    },
  ],
  async perform({ oneOf, timeout, sinceStart }, frame) {
    if (oneOf !== undefined && oneOf !== null && !Array.isArray(oneOf))
      throw fault('InvalidInstructionError', { message: 'Invalid wait instruction: oneOf must be a list.' });
    const choices = ((oneOf ?? []) as unknown[]).map((choice) => {
      if (!isPlainObject(choice) || typeof choice.event !== 'string')
        throw fault('InvalidInstructionError', { message: 'Invalid wait instruction: each of oneOf needs an event.' });
      return {
        event: choice.event,
        ...(isPlainObject(choice.filters) ? { filters: asFiled(choice.filters) } : {}),
        ...(choice.cancelTriggers ? { cancelTriggers: true } : {}),
      };
    });
    const seconds = toNumber(timeout ?? undefined);
    const timeoutS = Number.isFinite(seconds) && seconds > 0 ? seconds : undefined;
    // What others wrote meanwhile is read again.
    try {
      if (choices.length === 0) {
        await frame.perform({ type: 'wait', ...(timeoutS === undefined ? {} : { timeoutS }) });
        return undefined;
      }
      const event = await frame.perform({
        type: 'wait',
        oneOf: choices,
        ...(timeoutS === undefined ? {} : { timeoutS }),
        ...(sinceStart ? { sinceStart: true } : {}),
      });
      return event ?? undefined;
    } finally {
      frame.forgetContexts();
    }
  },
});
