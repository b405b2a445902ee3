/** conditions — the first branch whose condition holds. */
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { maskOf } from '../frame.ts';
import { defineInstruction } from '../instruction.ts';
import type { MaybeAsync, Outcome } from '../signals.ts';

export const conditions = defineInstruction({
  name: 'conditions',
  summary: 'Runs the first block whose condition is true, else `default`. Conditions are expressions, tried in the order written.',
  schema: { type: 'object', additionalProperties: { $ref: '#/block' }, description: 'Expression → block.' },
  examples: [
    {
      title: 'greets adults differently',
      source:
        "- conditions:\n    '{{body.age}} >= 18': [{ set: { name: greeting, value: Welcome } }]\n    default: [{ set: { name: greeting, value: Hi } }]",
    },
  ],
  compile(args, context) {
    if (!isPlainObject(args)) context.warn('InvalidInstructionError', 'conditions takes an object of expression → block.');
    const entries = Object.entries(isPlainObject(args) ? args : {});
    const branches = entries
      .filter(([text]) => text !== 'default')
      .map(([text, block]) => ({
        condition: context.condition(text, `[${JSON.stringify(text)}]`),
        block: context.block(block, `[${JSON.stringify(text)}]`),
      }));
    const otherwise = entries.filter(([text]) => text === 'default').map(([, block]) => context.block(block, 'default'))[0];
    let mask = 0;
    let deepMask = otherwise?.deepMask ?? 0;
    for (const { condition, block } of branches) {
      mask |= maskOf(condition.roots);
      deepMask |= block.deepMask;
    }
    return {
      mask,
      deepMask,
      run(frame): MaybeAsync<Outcome> {
        const { env } = frame.run;
        for (const { condition, block } of branches) if (condition.evaluate(frame, env)) return context.engine.block(block, frame);
        return otherwise ? context.engine.block(otherwise, frame) : undefined;
      },
    };
  },
});
