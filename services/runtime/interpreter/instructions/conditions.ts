/** conditions — the first branch whose condition holds. */
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import type { Expression } from '../../expressions/index.ts';
import { maskOf } from '../frame.ts';
import { type CompileContext, defineInstruction } from '../instruction.ts';
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
    warnOfConstants(branches, context);
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

/** A condition that is one literal decides the same each time: mostly a variable without its braces. */
function warnOfConstants(branches: { condition: Expression }[], context: CompileContext): void {
  for (const [index, { condition }] of branches.entries()) {
    if (!condition.literal) continue;
    const at = `[${JSON.stringify(condition.text)}]`;
    const isTrue = Boolean(condition.literal.value);
    const isName = typeof condition.literal.value === 'string' && /^[A-Za-z_]\w*$/.test(condition.text.trim());
    context.warn(
      'ConstantCondition',
      isTrue
        ? `This condition is always true${index < branches.length - 1 ? ': those after it are never tried' : ''}.`
        : 'This condition is never true: its block is unreachable.',
      at,
      isName ? `Did you mean '{{${condition.text.trim()}}}'?` : undefined,
    );
  }
}
