/** run — functions of the built-in modules. */
import { fault, isFault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { described } from '../faults.ts';
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

export const run = defineSimple({
  name: 'run',
  summary: 'Calls a function of a module: collections, crypto, secrets, text, access-manager.',
  schema: object(
    {
      module: { type: 'string' },
      function: { type: 'string' },
      parameters: { type: 'object' },
      onError: {
        type: 'string',
        enum: ['break', 'throw', 'emit', 'continue'],
        default: 'break',
        description: '`break` and `throw` raise; `emit` tells an error event and goes on; `continue` only answers with the error.',
      },
      output: withOutput,
    },
    { required: ['module', 'function'] },
  ),
  examples: [
    { title: 'hashes a text', source: "- run: { module: crypto, function: sha256, parameters: { data: '{{body.text}}' }, output: hash }" },
  ],
  async perform({ module, function: name, parameters, onError }, frame) {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw fault('InvalidInstructionError', { message: 'Invalid run instruction: module and function are required.' });
    try {
      return await frame.perform({
        type: 'module',
        module: module === 'accessManager' ? 'access-manager' : module,
        function: name,
        parameters: isPlainObject(parameters) ? parameters : {},
      });
    } catch (error) {
      if (
        isFault(error, 'RunCancelledError') ||
        frame.run.world.signal.aborted ||
        frame.run.budget.exhausted ||
        (onError !== 'emit' && onError !== 'continue')
      )
        throw error;
      const { error: type, message, details } = described(error);
      if (onError === 'emit') await frame.perform({ type: 'error', error: { error: type, message, details } });
      return { error: type, message, details };
    }
  },
});
