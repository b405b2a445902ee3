/**
 * A crash-proof run that is executed again: whatever it had learnt when its node died, it asks the same things under the same keys, and ends
 * with the same contexts. What is recorded is answered at once, so branches that ran side by side meet in another order than before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { EffectRequest } from '../../../../services/runtime/interpreter/index.ts';
import { fakeWorld } from '../../../support/fake-world.ts';
import { type ModelData, run } from '../../../support/run-automation.ts';

interface Recorded {
  type: string;
  result: unknown;
}

/** Kept by the stores, whatever happens to the run. */
interface Stores {
  contexts: Record<string, any>;
  /** Effects by key: done once, as the stores recognise the key of a repetition. */
  done: Map<string, Recorded>;
}

/** Runs `data` with what `journal` holds; adds to it. Each wait takes as long as it says, in units of 10 ms. */
async function execute(data: ModelData, stores: Stores, journal: Map<string, Recorded>) {
  const inner = fakeWorld({ fetch: () => ({ status: 200, body: {} }) });
  Object.assign(inner.contexts, stores.contexts);
  const asked: string[] = [];
  const perform = async (request: EffectRequest) => {
    const { key, effect } = request;
    asked.push(`${key} ${effect.type}`);
    const recorded = journal.get(key);
    if (recorded) {
      if (recorded.type !== effect.type) throw new Error(`'${key}' was ${recorded.type} and is ${effect.type}`);
      return structured(recorded.result);
    }
    if (effect.type === 'wait') await sleep((effect.timeoutS ?? 0) * 10);
    if (effect.type === 'fetch') await sleep(25);
    const before = effect.type === 'context.write' ? stores.done.get(key) : undefined;
    const result = before ? before.result : await inner.perform(request);
    stores.done.set(key, { type: effect.type, result: structured(result) });
    journal.set(key, { type: effect.type, result: structured(result) });
    Object.assign(stores.contexts, inner.contexts);
    return result;
  };
  const { output } = await run(data, { world: { ...inner, perform }, identity: { userId: 'ada', sessionId: 'sa' } });
  return { output, asked: asked.toSorted(), contexts: structured(stores.contexts) };
}

const structured = <T>(value: T): T => (value === undefined ? value : JSON.parse(JSON.stringify(value)));

/** The run as it is, then once more after each number of records that its journal may have had. */
async function everyReplay(data: ModelData) {
  const journal = new Map<string, Recorded>();
  const stores: Stores = { contexts: {}, done: new Map() };
  const first = await execute(data, stores, journal);
  const records = [...journal];
  const replays = [];
  for (let known = 0; known <= records.length; known++)
    replays.push(
      await execute(data, { contexts: structured(first.contexts), done: new Map(stores.done) }, new Map(records.slice(0, known))),
    );
  return { first, replays };
}

const set = (name: string, value: unknown) => ({ set: { name, value } });
const wait = (timeout: number) => ({ wait: { timeout } });

describe('a run that is executed again', () => {
  it('acts as the same people in a batch, and ends the same', async () => {
    const turn = [
      set('session.id', '{{item}}'),
      wait('{{$index}}' as never),
      set('user.name', '{{item}}'),
      set('user.seen', '{{user.name}} {{user.id}}'),
    ];
    const data = {
      automations: {
        main: { name: 'Main', do: [{ repeat: { on: ['u3', 'u2', 'u1'], batch: { size: 3 }, do: turn } }], output: '{{user.id}}' },
      },
    };

    const { first, replays } = await everyReplay(data);

    expect(first.output).toBe('ada');
    expect(first.contexts).toEqual(Object.fromEntries(['u1', 'u2', 'u3'].map((id) => [`user:${id}`, { name: id, seen: `${id} ${id}` }])));
    for (const replay of replays) expect(replay).toEqual(first);
  });

  it('goes on after all as who the last switch in the list says, and ends the same', async () => {
    const branch = (id: string, ticks: number) => ({
      try: { do: [wait(ticks), set('session.id', id), wait(ticks), set('user.name', id)] },
    });
    const data = {
      automations: {
        main: {
          name: 'Main',
          do: [{ all: [branch('u1', 3), branch('u2', 1), branch('u3', 2)] }, set('user.after', true)],
          output: '{{user.id}}',
        },
      },
    };

    const { first, replays } = await everyReplay(data);

    expect(first.output).toBe('u3');
    expect(first.contexts).toEqual({ 'user:u1': { name: 'u1' }, 'user:u2': { name: 'u2' }, 'user:u3': { name: 'u3', after: true } });
    for (const replay of replays) expect(replay).toEqual(first);
  });

  it('reads contexts again where a branch has waited itself, whatever those beside it forget', async () => {
    const data = {
      automations: {
        main: {
          name: 'Main',
          do: [
            {
              all: [
                { try: { do: [wait(2), wait(1), { emit: { event: 'a' } }] } },
                {
                  try: {
                    do: [
                      wait(1),
                      set('x', '{{global.n}}'),
                      { fetch: { url: 'http://x' } },
                      set('y', '{{global.n}}'),
                      { emit: { event: 'b' } },
                    ],
                  },
                },
              ],
            },
          ],
        },
      },
    };

    const { first, replays } = await everyReplay(data);

    for (const replay of replays) expect(replay).toEqual(first);
  });

  it('reads contexts again after a batch in which a turn has waited', async () => {
    const turn = [
      { conditions: { '{{item}} == 1': [wait(2)] } },
      set('x', '{{user.n}}{{global.n}}'),
      { fetch: { url: 'http://x' } },
      set('user.n', '{% ({{user.n}} or 0) + 1 %}'),
      { conditions: { '{{item}} == 2': [wait(3)] } },
    ];
    const data = {
      automations: {
        main: {
          name: 'Main',
          do: [
            { repeat: { on: [0, 1, 2, 3], batch: { size: 2 }, do: turn } },
            set('global.n', '{{user.n}}'),
            set('user.done', '{{global.n}}'),
          ],
        },
      },
    };

    const { first, replays } = await everyReplay(data);

    expect(first.contexts).toEqual({ 'user:ada': { n: 4, done: 4 }, global: { n: 4 } });
    for (const replay of replays) expect(replay).toEqual(first);
  });
});
