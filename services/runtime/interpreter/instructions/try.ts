/** try — goes on after an error. */
import { isFault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { described } from '../faults.ts';
import type { Frame } from '../frame.ts';
import { defineInstruction, object } from '../instruction.ts';
import type { Outcome } from '../signals.ts';

export const tryInstruction = defineInstruction({
  name: 'try',
  summary:
    'An error in `do`, also of a called automation, runs `catch` with `$error` {error, name, message, details}; without `catch` it is swallowed. `finally` runs in all cases. A `break` of scope all raised in a called automation is caught too, its payload in `$error.break`.',
  schema: object({ do: { $ref: '#/block' }, catch: { $ref: '#/block' }, finally: { $ref: '#/block' } }, { required: ['do'] }),
  examples: [
    {
      title: 'answers with the reason',
      source: "- try:\n    do: [{ pay: { id: '{{body.id}}' } }]\n    catch: [{ set: { name: reply, value: '{{$error.message}}' } }]",
    },
  ],
  compile(args, context) {
    const given = isPlainObject(args) ? args : {};
    const body = context.block(given.do, 'do');
    const handler = context.block(given.catch, 'catch');
    const last = context.block(given.finally, 'finally');
    const attempt = async (frame: Frame): Promise<Outcome> => {
      let outcome: Outcome;
      try {
        outcome = await context.engine.block(body, frame);
        if (!(outcome?.scope === 'all' && outcome.isFromCall)) return outcome;
        frame.catch({ error: 'Break', name: 'Break', message: 'Interrupted by break', details: {}, break: outcome.payload });
      } catch (error) {
        // Cancelled, or its budget used up: nothing of the program runs any more.
        if (isFault(error, 'RunCancelledError') || frame.run.world.signal.aborted || frame.run.budget.exhausted) throw error;
        frame.catch(described(error));
      }
      return context.engine.block(handler, frame);
    };
    return {
      deepMask: body.deepMask | handler.deepMask | last.deepMask,
      async run(frame): Promise<Outcome> {
        let outcome: Outcome;
        try {
          outcome = await attempt(frame);
        } catch (error) {
          if (!frame.run.world.signal.aborted && !frame.run.budget.exhausted) await context.engine.block(last, frame);
          throw error;
        }
        return (await context.engine.block(last, frame)) ?? outcome;
      },
    };
  },
});
