/** delete — removes a variable, a path of a context, or an element of a list. */
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { pathMask, remove } from '../assign.ts';
import { defineInstruction, object } from '../instruction.ts';

export const deleteInstruction = defineInstruction({
  name: 'delete',
  summary: 'Removes a variable; an index at the end takes the element out of its list. A missing path is no error.',
  schema: object({ name: { type: 'string', description: 'Path of the variable.' } }, { required: ['name'] }),
  examples: [{ title: 'forgets the cart', source: '- delete: { name: session.cart }' }],
  compile(args, context) {
    const path = context.name(isPlainObject(args) ? args.name : args, 'name');
    return {
      mask: pathMask(path),
      async run(frame) {
        await remove(frame, [...path.evaluate(frame, frame.run.env)]);
        return undefined;
      },
    };
  },
});
