import { describe, expect, it } from '@jest/globals';
import type { RunIdentity } from '../../../services/runtime/interpreter/index.ts';
import { createOrganisations } from '../../../services/runtime/organisations.ts';

const CONTEXT = { orgSlugs: ['one'], permissions: {}, permissionList: ['a:*'], scopes: [] };

const NOBODY = { find: async () => null };
const U = { userId: 'u', isProven: true } as const;
const by = (identity: RunIdentity, sourceWorkspaceId?: string) => ({
  identity,
  workspaceId: 'w',
  run: { correlationId: 'c', depth: 0, ...(sourceWorkspaceId ? { sourceWorkspaceId } : {}) },
});

describe('organisations of runs', () => {
  it('are asked for once in a while, for each person and session', async () => {
    const asked: object[] = [];
    const organisations = createOrganisations({
      sessions: NOBODY,
      ask: async (params) => {
        asked.push(params);
        return CONTEXT;
      },
      log() {},
    });
    expect(await organisations.of(by({}))).toBeUndefined();
    expect(await organisations.of(by({ ...U, sessionId: 's' }))).toEqual({ userId: 'u', ...CONTEXT });
    await organisations.of(by({ ...U, sessionId: 's' }));
    await organisations.of(by({ ...U, sessionId: 't' }));
    expect(asked).toEqual([
      { userId: 'u', sessionId: 's' },
      { userId: 'u', sessionId: 't' },
    ]);
    organisations.forget();
    await organisations.of(by({ ...U, sessionId: 's' }));
    expect(asked).toHaveLength(3);
  });

  it("are nobody's who is merely named: his session must be open, and his", async () => {
    const session = { sessionId: 's', userId: 'u', startedAt: 0, expiresAt: 1 };
    const organisations = createOrganisations({
      sessions: { find: async (id) => (id === 's' ? session : null) },
      ask: async () => CONTEXT,
      log() {},
    });
    expect(await organisations.of(by({ userId: 'u', sessionId: 's' }))).toBeDefined();
    for (const identity of [
      { userId: 'u' },
      { userId: 'u', sessionId: 'u' },
      { userId: 'victim', sessionId: 's' },
      { userId: 'sa:org:bot', sessionId: 'sa:org:bot' },
    ])
      expect(await organisations.of(by(identity))).toBeUndefined();
  });

  it('stay behind when a workspace calls another one in the name of its visitor', async () => {
    const organisations = createOrganisations({ sessions: NOBODY, ask: async () => CONTEXT, log() {} });
    expect(await organisations.of(by(U, 'w'))).toBeDefined();
    expect(await organisations.of(by(U, 'other'))).toBeUndefined();
    // Nor does it come back when the workspace that was called calls itself.
    expect(await organisations.of(by({ ...U, isAway: true }, 'w'))).toBeUndefined();
  });

  it('read before a change are not remembered after it', async () => {
    let answer: (context: typeof CONTEXT) => void = () => {};
    let asked = 0;
    const organisations = createOrganisations({
      sessions: NOBODY,
      ask: () => {
        asked++;
        return new Promise((resolve) => (answer = resolve));
      },
      log() {},
    });
    const first = organisations.of(by(U));
    organisations.forget();
    answer(CONTEXT);
    await first;
    const second = organisations.of(by(U));
    answer({ ...CONTEXT, permissionList: [] });
    expect((await second)?.permissionList).toEqual([]);
    expect(asked).toBe(2);
  });

  it('that cannot be asked for are none: rights are lost, the run goes on, and the next one asks again', async () => {
    const logged: string[] = [];
    let problem: object | undefined = Object.assign(new Error('no'), { type: 'SERVICE_NOT_FOUND' });
    const organisations = createOrganisations({
      sessions: NOBODY,
      ask: async () => {
        if (problem) throw problem;
        return CONTEXT;
      },
      log: (message) => void logged.push(message),
    });
    expect(await organisations.of(by(U))).toBeUndefined();
    expect(logged).toEqual([]);
    problem = new Error('down');
    expect(await organisations.of(by(U))).toBeUndefined();
    expect(logged).toHaveLength(1);
    problem = undefined;
    expect(await organisations.of(by(U))).toBeDefined();
  });
});
