/** runWorkflow — an automation named by a value. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { maskOf } from '../frame.ts';
import { defineInstruction, object } from '../instruction.ts';
import { withOutput } from './simple.ts';

export const runWorkflow = defineInstruction({
  name: 'runWorkflow',
  summary: 'Calls the automation whose name is computed. It is always waited for.',
  schema: object(
    {
      workflow: { type: 'string' },
      parameters: { type: 'object' },
      wait: { type: 'boolean', default: true, description: 'Accepted.' },
      output: withOutput,
    },
    { required: ['workflow'] },
  ),
  examples: [
    {
      title: 'chooses by the kind',
      source: "- runWorkflow: { workflow: 'handle-{{body.kind}}', parameters: { id: '{{body.id}}' }, output: done }",
    },
  ],
  compile(args, context) {
    const given = isPlainObject(args) ? args : {};
    if (typeof given.workflow === 'string' && !given.workflow.includes('{')) context.calls(given.workflow);
    else context.callsAny();
    const name = context.template(given.workflow, 'workflow');
    const parameters = context.template(given.parameters, 'parameters');
    const output = context.assign(given.output);
    return {
      mask: maskOf(name.roots) | maskOf(parameters.roots) | output.mask,
      async run(frame) {
        const slug = name.evaluate(frame, frame.run.env);
        if (typeof slug !== 'string' || slug === '')
          throw fault('InvalidInstructionError', { message: 'Invalid runWorkflow instruction: workflow must name an automation.' });
        const values = parameters.evaluate(frame, frame.run.env);
        const { result, signal } = await context.engine.call({ slug, args: isPlainObject(values) ? values : {} }, frame);
        await output(frame, result.output === undefined ? {} : result.output);
        return signal;
      },
    };
  },
});
