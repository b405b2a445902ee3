import { describe, expect, it } from '@jest/globals';
import { rightsOf } from '../../../services/runtime/rights.ts';
import { runIdentity, webhookRequest } from '../../../services/runtime/starts.ts';

const PERSON = { kind: 'user', userId: 'u', sessionId: 's', correlationId: 'c' };
const BY_RUN = { ...PERSON, kind: 'delegated', sourceWorkspaceId: 'w' };
const runsAs = (identity: object, workspaceId = 'w') => runIdentity(identity as never, workspaceId);

describe('who a call runs as', () => {
  it('46: is a person with his rights, also by a run of the same workspace, and named only when another one calls', () => {
    expect(rightsOf(runsAs(PERSON))).toEqual({ userId: 'u', sessionId: 's' });
    expect(rightsOf(runsAs(BY_RUN))).toEqual({ userId: 'u', sessionId: 's' });
    expect(runsAs(BY_RUN, 'other')).toEqual({ userId: 'u', sessionId: 's', isAway: true });
    for (const away of [runsAs(BY_RUN, 'other'), runsAs({ ...BY_RUN, isAway: true })]) expect(rightsOf(away)).toEqual({});
  });

  it('has a proven address where it was proven, and not in runs begun before that was told', () => {
    const proven = { email: 'a@b.c', emailVerified: true };
    expect(rightsOf(runsAs({ ...PERSON, ...proven }))).toMatchObject(proven);
    expect(rightsOf({ userId: 'u', email: 'a@b.c' })).not.toHaveProperty('emailVerified');
    expect(rightsOf({ ...runsAs({ ...PERSON, ...proven }), isPosed: true })).toEqual({});
  });

  it('46: decides whose answer an Idempotency-Key repeats', () => {
    const match = { model: { instance: '', workspace: { source: { automations: {} } } }, automation: { slug: 'a' }, value: 'a' };
    const params = { workspaceId: 'w', endpoint: 'a', method: 'POST', idempotencyKey: 'k' };
    const idOf = (identity: object) => webhookRequest(match as never, params as never, identity as never, runsAs(identity), 'w').id;
    const theirs = { ...BY_RUN, sourceWorkspaceId: 'other' };
    const ids = [PERSON, theirs, { ...theirs, sourceWorkspaceId: 'third' }, { ...BY_RUN, isAway: true }].map(idOf);
    expect(new Set(ids).size).toBe(4);
    expect(idOf(theirs)).toBe(idOf(theirs));
  });
});
