import { describe, expect, it } from '@jest/globals';
import { createOrganisations } from '../../../services/runtime/organisations.ts';

const CONTEXT = { orgSlugs: ['one'], permissions: {}, permissionList: ['a:*'], scopes: [] };

describe('organisations of runs', () => {
  it('are asked for once in a while, for each person and session', async () => {
    const asked: object[] = [];
    const organisations = createOrganisations({
      ask: async (params) => {
        asked.push(params);
        return CONTEXT;
      },
      log() {},
    });
    expect(await organisations.of({}, 'c')).toBeUndefined();
    expect(await organisations.of({ userId: 'u', sessionId: 's' }, 'c')).toEqual({ userId: 'u', ...CONTEXT });
    await organisations.of({ userId: 'u', sessionId: 's' }, 'c');
    await organisations.of({ userId: 'u', sessionId: 't' }, 'c');
    expect(asked).toEqual([
      { userId: 'u', sessionId: 's' },
      { userId: 'u', sessionId: 't' },
    ]);
    organisations.forget();
    await organisations.of({ userId: 'u', sessionId: 's' }, 'c');
    expect(asked).toHaveLength(3);
  });

  it('read before a change are not remembered after it', async () => {
    let answer: (context: typeof CONTEXT) => void = () => {};
    let asked = 0;
    const organisations = createOrganisations({
      ask: () => {
        asked++;
        return new Promise((resolve) => (answer = resolve));
      },
      log() {},
    });
    const first = organisations.of({ userId: 'u' }, 'c');
    organisations.forget();
    answer(CONTEXT);
    await first;
    const second = organisations.of({ userId: 'u' }, 'c');
    answer({ ...CONTEXT, permissionList: [] });
    expect((await second)?.permissionList).toEqual([]);
    expect(asked).toBe(2);
  });

  it('that cannot be asked for are none: rights are lost, the run goes on, and the next one asks again', async () => {
    const logged: string[] = [];
    let problem: object | undefined = Object.assign(new Error('no'), { type: 'SERVICE_NOT_FOUND' });
    const organisations = createOrganisations({
      ask: async () => {
        if (problem) throw problem;
        return CONTEXT;
      },
      log: (message) => void logged.push(message),
    });
    expect(await organisations.of({ userId: 'u' }, 'c')).toBeUndefined();
    expect(logged).toEqual([]);
    problem = new Error('down');
    expect(await organisations.of({ userId: 'u' }, 'c')).toBeUndefined();
    expect(logged).toHaveLength(1);
    problem = undefined;
    expect(await organisations.of({ userId: 'u' }, 'c')).toBeDefined();
  });
});
