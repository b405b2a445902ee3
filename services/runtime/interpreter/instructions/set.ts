/** set — writes a variable: local, of a context, an identity, the configuration or the HTTP answer. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { toKey, toNumber } from '../../expressions/index.ts';
import { assign, count, pathMask, type WriteType } from '../assign.ts';
import { CONTEXT_NAMES, type ContextName } from '../effects.ts';
import { maskOf } from '../frame.ts';
import { defineInstruction, object } from '../instruction.ts';
import type { Outcome } from '../signals.ts';

const TYPES: WriteType[] = ['replace', 'merge', 'push'];

export const set = defineInstruction({
  name: 'set',
  summary: 'Sets a variable. The first part of the name tells where: global, user, session, socket, run, config, or a local variable.',
  schema: object(
    {
      name: { type: 'string', description: 'Path of the variable; `[]` at the end appends.' },
      value: { description: 'Any value. Copied.' },
      type: {
        type: 'string',
        enum: TYPES,
        default: 'replace',
        description: '`merge` concatenates lists and merges objects one level deep; `push` appends.',
      },
      lifespan: {
        type: 'number',
        description: 'Seconds until the path is removed (contexts only). Set again, it begins anew; set again without one, the path stays.',
      },
      interface: { type: 'string', description: 'Of the editor; ignored.' },
      clone: { type: 'boolean', description: 'Accepted: values are always copied.' },
    },
    { required: ['name', 'value'] },
  ),
  examples: [
    { title: 'appends to a list of the session', source: "- set: { name: 'session.cart[]', value: { sku: '{{body.sku}}' } }" },
    { title: 'counts, safely under concurrency', source: "- set: { name: global.visits, value: '{% {{global.visits}} + 1 %}' }" },
  ],
  compile(args, context) {
    if (!isPlainObject(args)) {
      return {
        run() {
          throw fault('InvalidInstructionError', { message: 'Invalid set instruction : undefined or null payload' });
        },
      };
    }
    const path = context.name(args.name, 'name');
    const value = context.template(args.value, 'value');
    const lifespan = context.template(args.lifespan, 'lifespan');
    const typeTemplate = context.template(args.type ?? 'replace', 'type');
    const mask = pathMask(path) | maskOf(value.roots) | maskOf(lifespan.roots) | maskOf(typeTemplate.roots);
    const counter =
      CONTEXT_NAMES.includes(path.root as ContextName) &&
      !path.append &&
      (args.type ?? 'replace') === 'replace' &&
      args.lifespan === undefined
        ? context.counter(args.name as string, args.value, 'value')
        : null;
    if (counter)
      return {
        mask,
        run: (frame) => count(frame, [...path.evaluate(frame, frame.run.env)], counter) as Promise<Outcome & undefined>,
      };
    return {
      mask,
      run(frame) {
        const { env } = frame.run;
        const type = typeTemplate.evaluate(frame, env) as WriteType;
        if (!TYPES.includes(type))
          throw fault('InvalidInstructionError', {
            message: `Invalid set instruction: unknown type '${toKey(type)}'; use ${TYPES.join(', ')}.`,
          });
        const given = lifespan.evaluate(frame, env);
        const seconds = given === undefined || given === null || given === '' ? Number.NaN : toNumber(given);
        return assign(
          frame,
          path.evaluate(frame, env),
          path.append,
          type,
          value.evaluate(frame, env),
          seconds > 0 ? seconds : undefined,
        ) as Outcome & undefined;
      },
    };
  },
});
