import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import type { Effect, Frame } from '../../../services/runtime/interpreter/index.ts';
import { createJournal, type JournalHead } from '../../../services/runtime/journal.ts';
import { Redactor } from '../../../services/runtime/redaction.ts';
import { createWorld, type WorldOptions } from '../../../services/runtime/world.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Asked {
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** A world whose contexts answer when the test says so. */
function openWorld(broken: unknown[] = []) {
  const asked: Asked[] = [];
  const options = {
    services: { contexts: { read: () => new Promise((resolve, reject) => asked.push({ resolve, reject })) }, platform: {} },
    request: { id: 'r', workspaceId: 'w', isDurable: false, run: { correlationId: 'c' } },
    loaded: { root: {} },
    redactor: new Redactor(),
    control: new AbortController(),
    seed: () => '0'.repeat(32),
    startedAt: 0,
    onBroken: (error: unknown) => broken.push(error),
  } as unknown as WorldOptions;
  return { world: createWorld(options), asked, control: options.control };
}
const read: Effect = { type: 'context.read', contexts: ['global'] };
const frame = (): Frame => ({ automationSlug: 'a', instance: '', depth: 1, identity: {} });

describe('the world of a run', () => {
  it('answers what was asked, and counts what is still open', async () => {
    const { world, asked } = openWorld();
    const answer = world.perform({ key: '0', effect: read, frame: frame() });

    expect(world.pending).toBe(1);
    asked[0]?.resolve({ global: { n: 1 } });
    await expect(answer).resolves.toEqual({ global: { n: 1 } });
    expect(world.pending).toBe(0);
  });

  it('tells a cancelled run so, whatever the store says', async () => {
    const { world, asked, control } = openWorld();
    const answer = world.perform({ key: '0', effect: read, frame: frame() });
    control.abort();
    asked[0]?.reject(new Error('connection lost'));

    await expect(answer).rejects.toMatchObject({ type: 'RunCancelledError' });
    expect(() => world.perform({ key: '1', effect: read, frame: frame() })).toThrow(expect.objectContaining({ type: 'RunCancelledError' }));
  });

  it('sends an event under the same id when its node died right after, also behind what is not remembered', async () => {
    const written: unknown[] = [];
    const ids: string[] = [];
    const execute = async (records: unknown[]) => {
      const journal = createJournal({
        head: { startedAt: 0, seed: '', revision: 1 } as unknown as JournalHead,
        records,
        onFirstWrite: async () => {},
        assertOwned: async () => {},
        append: async (more) => void written.push(...more),
      });
      const world = createWorld({
        services: {
          platform: { rateLimit: async () => ({ ok: true }) },
          events: { executed: async () => {} },
          bus: { send: async (_type: string, _payload: object, { id }: { id: string }) => ids.push(id) },
        },
        request: { id: 'r', workspaceId: 'w', isDurable: true, trigger: { type: 'event' }, run: { correlationId: 'c' }, identity: {} },
        loaded: { root: {}, byInstance: new Map() },
        redactor: new Redactor(),
        control: new AbortController(),
        seed: () => '0'.repeat(32),
        startedAt: 0,
        journal,
        onBroken: (error: unknown) => {
          throw error;
        },
      } as unknown as WorldOptions);
      const perform = (key: string, effect: object) => world.perform({ key, effect: effect as Effect, frame: frame() });
      await perform('0', { type: 'rateLimit' });
      await sleep(5);
      await perform('1', { type: 'executed', report: { startedAt: new Date().toISOString(), duration: 1 } });
      await perform('2', { type: 'emit', event: 'e', payload: {} });
    };
    await execute([]);
    await sleep(5);
    await execute([...written]);

    expect(ids).toHaveLength(2);
    expect(ids[1]).toBe(ids[0]);
  });

  it('never answers once silenced, and keeps nothing of the run in memory for that', async () => {
    const collected: boolean[] = [];
    const registry = new FinalizationRegistry<number>((n) => (collected[n] = true));
    const begin = async () => {
      const { world, asked } = openWorld();
      const before = frame();
      const later = frame();
      registry.register(before, 0);
      registry.register(later, 1);
      const heard: string[] = [];
      const listen = async (at: Frame) => {
        await world.perform({ key: '0', effect: read, frame: at });
        heard.push(at.automationSlug);
      };
      void listen(before);
      world.silence();
      void listen(later);
      asked[0]?.resolve({});
      await sleep(5);
      return heard;
    };
    const heard = await begin();
    for (let tries = 0; tries < 50 && !(collected[0] && collected[1]); tries++) {
      collect();
      await sleep(10);
    }

    expect(heard).toEqual([]);
    expect(collected).toEqual([true, true]);
  });
});
