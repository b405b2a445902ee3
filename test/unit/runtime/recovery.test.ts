import { describe, expect, it } from '@jest/globals';
import { sleep } from '../../../mixins/shared/clock.ts';
import { createRecovery } from '../../../services/runtime/recovery.ts';
import { DUE_KEY, NODES_KEY, nodeRunsKey } from '../../../services/runtime/runs.ts';
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

describe('a node that the bus says is gone', () => {
  /** A store with one run of the node `there`, whose lease runs for another minute. */
  function cluster(gone: () => string[]) {
    const leases = new Map([['runs:alive:there', 'there']]);
    const resumed: string[] = [];
    const beats: number[] = [];
    let tellSeen = (_isSeen: boolean) => {};
    const recovery = createRecovery({
      cache: {
        addMembers: async () => {},
        members: async (key: string) => (key === NODES_KEY ? ['here', 'there'] : key === nodeRunsKey('there') ? ['ws/run'] : []),
        removeMembers: async () => {},
        get: async () => null,
        set: async () => 1,
        delete: async () => true,
        lease: async (name: string, by: string) => (leases.get(name) ?? by) === by && leases.set(name, by) !== undefined,
        releaseLease: async (name: string, by: string) => void (leases.get(name) === by && leases.delete(name)),
        scoredUpTo: async () => [],
      },
      store: { find: async () => ({ record: { state: 'running', owner: 'there' }, version: 1 }), due: async () => {} },
      execution: {
        actives: new Map(),
        suspendIdle: () => {},
        resume: async (workspaceId: string, id: string, { isRecovery }: { isRecovery: boolean }) => {
          resumed.push(`${workspaceId}/${id} ${isRecovery}`);
        },
      },
      bus: {
        announce: (_name: string, onSeen: (isSeen: boolean) => void) => {
          tellSeen = onSeen;
        },
        gone: async () => gone(),
      },
      owner: 'here',
      aliveMs: 90,
      onBeat: (at: number) => beats.push(at),
      log: (_what: string, error: unknown) => {
        throw error;
      },
    } as unknown as Parameters<typeof createRecovery>[0]);
    return { recovery, resumed, beats, seen: (isSeen: boolean) => tellSeen(isSeen) };
  }

  it('gives up its runs at once, whatever its lease says', async () => {
    let gone: string[] = [];
    const { recovery, resumed } = cluster(() => gone);
    await recovery.start();
    await sleep(200);
    expect(resumed).toEqual([]);

    gone = ['there'];
    await eventually(() => resumed.length > 0);
    expect(resumed[0]).toBe('ws/run true');
    await recovery.stop();
  });

  it('trusts no sign of life of its own while the others may think that of it', async () => {
    const { recovery, beats, seen } = cluster(() => []);
    await recovery.start();
    expect(beats.at(-1)).toBeGreaterThan(0);

    seen(false);
    await sleep(120);
    expect(beats.at(-1)).toBe(0);
    seen(true);
    await eventually(() => (beats.at(-1) as number) > 0);
    await recovery.stop();
  });
});
