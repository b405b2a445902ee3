/** call — any key that is no instruction: the automation of that name, or `Instance.automation`. Not in the list; the fallback of it. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { maskOf } from '../frame.ts';
import type { CompileContext, InstructionDefinition } from '../instruction.ts';

type Compiled = ReturnType<InstructionDefinition['compile']>;

export function callInstruction(slug: string, args: unknown, context: CompileContext): Compiled {
  if (args === null || args === undefined) {
    const message = `Invalid ${slug} instruction : undefined or null payload`;
    context.warn('InvalidInstructionError', message, '', `Write '${slug}: {}' to call it without arguments.`);
    return {
      run() {
        throw fault('InvalidInstructionError', { message });
      },
    };
  }
  const template = context.template(args);
  const output = context.assign(isPlainObject(args) ? args.output : undefined);
  return {
    mask: maskOf(template.roots) | output.mask,
    async run(frame) {
      const given = template.evaluate(frame, frame.run.env);
      if (given === undefined || given === null)
        throw fault('InvalidInstructionError', { message: `Invalid ${slug} instruction : undefined or null payload` });
      const { result, signal } = await context.engine.call({ slug, args: isPlainObject(given) ? given : {} }, frame);
      // Without an output of its own an automation answers {}.
      await output(frame, result.output === undefined ? {} : result.output);
      return signal;
    },
  };
}
