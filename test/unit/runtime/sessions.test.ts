import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { createSessions } from '../../../services/runtime/sessions.ts';
import { testCache } from '../../support/runtime-node.ts';

const event = (type: string, payload: object, source = {}): PrismeEvent =>
  ({ id: 'e', type, payload, source: { correlationId: 'c', ...source }, createdAt: new Date().toISOString(), size: 0 }) as PrismeEvent;

describe('sessions', () => {
  let cache: Awaited<ReturnType<typeof testCache>>;
  beforeEach(async () => {
    cache = await testCache();
  });
  afterEach(() => cache.drop());

  it('follow a sign-in, on every node', async () => {
    const [a, b] = [createSessions(cache), createSessions(cache)];

    await a.apply(event('gateway.login.succeeded', { id: 'u1', email: 'a@b.c', authData: { x: 1 }, session: { id: 's1', expiresIn: 60 } }));

    expect(await b.find('s1')).toMatchObject({ userId: 'u1', email: 'a@b.c', authData: { x: 1 } });
    expect(await b.find('s2')).toBeNull();
  });

  it('end with a sign-out at once, one or all of a user', async () => {
    const sessions = createSessions(cache);
    for (const id of ['s1', 's2', 's3'])
      await sessions.apply(event('gateway.login.succeeded', { id: 'u1', session: { id, expiresIn: 60 } }));
    await sessions.find('s1');

    await sessions.revoke({ sessionId: 's1' });
    expect([await sessions.find('s1'), (await sessions.find('s2'))?.userId]).toEqual([null, 'u1']);
    await sessions.revoke({ userId: 'u1' });
    expect(await sessions.find('s3')).toBeNull();
  });

  it('are not known any more once expired', async () => {
    let now = Date.now();
    const sessions = createSessions(cache, () => now);
    await sessions.apply(event('gateway.login.succeeded', { id: 'u1', session: { id: 's1', expiresIn: 60 } }));
    expect(await sessions.find('s1')).not.toBeNull();

    now += 61_000;

    expect(await sessions.find('s1')).toBeNull();
  });

  it('are learnt from verified calls of users, not of anonymous ones', async () => {
    const sessions = createSessions(cache);
    await sessions.learn({ kind: 'user', userId: 'u1', sessionId: 's1' } as never);
    await sessions.learn({ kind: 'anonymous', userId: 'u2', sessionId: 's2' } as never);

    expect((await createSessions(cache).find('s1'))?.userId).toBe('u1');
    expect(await sessions.find('s2')).toBeNull();
  });
});
