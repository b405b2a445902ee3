/** all — instructions side by side. */
import type { Frame } from '../frame.ts';
import { defineInstruction } from '../instruction.ts';
import type { Outcome } from '../signals.ts';

export const all = defineInstruction({
  name: 'all',
  summary:
    'Starts every instruction of the list at once and waits for all of them; then the first error is raised. They share the variables; who each acts as is its own until all have ended, then the last switch of identity in the list counts.',
  schema: { $ref: '#/block' },
  examples: [
    {
      title: 'asks two services at once',
      source: "- all:\n    - fetch: { url: 'https://a.example.org', output: a }\n    - fetch: { url: 'https://b.example.org', output: b }",
    },
  ],
  compile(args, context) {
    const block = context.block(args, '');
    return {
      deepMask: block.deepMask,
      async run(frame): Promise<Outcome> {
        // Loaded once, not once per branch.
        await frame.ensure(block.deepMask);
        const branch = frame.forkPoint();
        const forks = block.items.map((_, index) => frame.fork(branch(index)));
        const outcomes = await Promise.allSettled(
          block.items.map(async (item, index) => {
            const own = forks[index] as Frame;
            const turn = own.run.world.begins?.();
            if (turn) await turn;
            return context.engine.block({ items: [item], deepMask: item.deepMask }, own);
          }),
        );
        frame.join(forks);
        let ended: Outcome;
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') throw outcome.reason;
          ended ??= outcome.value;
        }
        return ended;
      },
    };
  },
});
