/** break — ends the automation, the loop, or every caller. */
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { maskOf } from '../frame.ts';
import { defineInstruction, object } from '../instruction.ts';
import type { BreakSignal } from '../signals.ts';

const SCOPES = new Set(['automation', 'repeat', 'all']);

export const breakInstruction = defineInstruction({
  name: 'break',
  summary:
    'Ends the automation (its output is still evaluated), with `scope: repeat` the innermost loop, with `scope: all` every calling automation up to a `try`. `payload` becomes the output.',
  schema: object({
    scope: { type: 'string', enum: [...SCOPES], default: 'automation', description: 'What is ended.' },
    payload: { description: 'Output of the automation that is ended.' },
  }),
  takesNothing: true,
  examples: [{ title: 'stops early with an answer', source: '- break: { payload: { error: NotFound, message: No such order } }' }],
  compile(args, context) {
    const given = isPlainObject(args) ? args : {};
    if (given.scope === 'repeat' && !context.path.includes('.repeat.'))
      context.warn('BreakOutsideLoop', 'There is no loop around this break: it ends the automation.', 'scope');
    const scope = context.template(given.scope, 'scope');
    const payload = context.template(given.payload, 'payload');
    const hasPayload = given.payload !== undefined;
    return {
      mask: maskOf(scope.roots) | maskOf(payload.roots),
      run(frame): BreakSignal {
        const named = scope.evaluate(frame, frame.run.env);
        const found = typeof named === 'string' && SCOPES.has(named) ? (named as BreakSignal['scope']) : 'automation';
        return { scope: found, hasPayload, ...(hasPayload ? { payload: payload.evaluate(frame, frame.run.env) } : {}) };
      },
    };
  },
});
