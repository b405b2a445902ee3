import { describe, expect, it } from '@jest/globals';
import { createRecovery } from '../../../services/runtime/recovery.ts';
import { DUE_KEY } from '../../../services/runtime/runs.ts';
import { eventually } from '../../support/eventually.ts';

describe('the look at due runs', () => {
  it('leaves a run that is put to sleep meanwhile on the list', async () => {
    const list = new Map([['ws/run', 0]]);
    let state = 'running';
    let isBack = false;
    const cache = {
      addMembers: async () => {},
      members: async () => [],
      removeMembers: async () => {},
      lease: async () => true,
      releaseLease: async () => {},
      scoredUpTo: async (_key: string, max: number) => [...list].filter(([, at]) => at <= max).map(([member]) => ({ member })),
      async removeScored(key: string, member: string) {
        expect(key).toBe(DUE_KEY);
        // Between the look at the record and this, its node writes down when it is to be woken, and that it sleeps.
        list.set(member, Date.now() + 600_000);
        state = 'waiting';
        list.delete(member);
      },
    };
    const recovery = createRecovery({
      cache,
      store: { find: async () => ({ record: { state }, version: 1 }), due: async (ref: string, at: number) => void list.set(ref, at) },
      execution: {
        actives: new Map(),
        suspendIdle: () => {},
        resume: async () => {
          isBack = true;
        },
      },
      bus: { announce: () => {}, gone: async () => [] },
      owner: 'here',
      onBeat: () => {},
      log: (_what: string, error: unknown) => {
        throw error;
      },
    } as unknown as Parameters<typeof createRecovery>[0]);
    await recovery.start();

    await eventually(() => isBack);
    expect(list.get('ws/run')).toBeGreaterThan(Date.now());
    await recovery.stop();
  });
});
