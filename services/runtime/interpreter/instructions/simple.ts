/** simple — what most instructions have in common: evaluate all arguments, do one thing, keep the answer in `output`. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../../mixins/shared/json.ts';
import { type Frame, maskOf } from '../frame.ts';
import { type ArgumentSchema, defineInstruction, type InstructionDefinition } from '../instruction.ts';
import type { Outcome } from '../signals.ts';

export interface Simple {
  name: string;
  summary: string;
  schema: ArgumentSchema;
  examples: InstructionDefinition['examples'];
  /** `args.$hasOutput` tells whether an output was asked. Answer for `output`; `undefined` leaves the variable alone. A second value ends the block. */
  perform(args: JsonObject, frame: Frame): Promise<unknown | { [SIGNAL]: Outcome; value?: unknown }>;
}

/** An answer that also ends the automation. */
export const SIGNAL = Symbol('signal');

export const withOutput: ArgumentSchema = { type: 'string', description: 'Variable that receives the answer.' };

export function defineSimple({ name, summary, schema, examples, perform }: Simple): InstructionDefinition {
  return defineInstruction({
    name,
    summary,
    schema,
    examples,
    compile(args, context) {
      const given = isPlainObject(args) ? args : {};
      const { output: outputName, ...rest } = given;
      // The whole argument may be one interpolated object.
      const template = context.template(isPlainObject(args) ? rest : args);
      const output = context.assign(outputName);
      return {
        mask: maskOf(template.roots) | output.mask,
        async run(frame): Promise<Outcome> {
          const values = template.evaluate(frame, frame.run.env);
          if (values === null || values === undefined)
            throw fault('InvalidInstructionError', { message: `Invalid ${name} instruction : undefined or null payload` });
          const answer = await perform({ ...(isPlainObject(values) ? values : {}), $hasOutput: outputName !== undefined }, frame);
          if (typeof answer === 'object' && answer !== null && SIGNAL in answer) {
            const { [SIGNAL]: signal, value } = answer as { [SIGNAL]: Outcome; value?: unknown };
            await output(frame, value);
            return signal;
          }
          await output(frame, answer);
          return undefined;
        },
      };
    },
  });
}
