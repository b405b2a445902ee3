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

  it('end with the event of a sign-out, wherever it was asked and in whatever order it comes', async () => {
    const sessions = createSessions(cache);
    const login = (id: string, userId = 'u1') =>
      sessions.apply(event('gateway.login.succeeded', { id: userId, session: { id, expiresIn: 60 } }));
    const alive = async (...ids: string[]) =>
      (await Promise.all(ids.map((id) => createSessions(cache).find(id)))).map((found) => found !== null);
    for (const id of ['s1', 's2', 's3']) await login(id);
    await login('admin', 'admin');

    await sessions.apply(event('gateway.logout.succeeded', { userId: 'u1', sessionId: 's1' }, { sessionId: 's1' }));
    await sessions.apply(event('gateway.logout.succeeded', { userId: 'u1', sessionId: 'late' }));
    await login('late');
    await sessions.learn({ kind: 'user', userId: 'u1', sessionId: 'late' } as never);
    expect(await alive('s1', 's2', 'late')).toEqual([false, true, false]);

    await sessions.apply(event('gateway.sessions.revoked', { userId: 'u1', sessionIds: ['s2'] }, { sessionId: 's3' }));
    expect(await alive('s2', 's3')).toEqual([false, true]);

    await sessions.apply(event('gateway.users.deleted', { userId: 'u1' }, { userId: 'admin', sessionId: 'admin' }));
    expect(await alive('s3', 'admin')).toEqual([false, true]);
  });

  it('that began after a password was reset outlive the news of it', async () => {
    const sessions = createSessions(cache);
    const reset = {
      ...event('gateway.passwordReset.succeeded', { email: 'a@b.c' }, { userId: 'u1' }),
      createdAt: '2026-01-01T00:00:00.000Z',
    };
    const login = (id: string, createdAt: string) =>
      sessions.apply({
        ...event('gateway.login.succeeded', { id: 'u1', session: { id, expires: '2126-01-01T00:00:00.000Z' } }),
        createdAt,
      } as never);
    await login('before', '2025-12-31T00:00:00.000Z');
    await login('after', '2026-01-02T00:00:00.000Z');

    await sessions.apply(reset as never);

    expect([await sessions.find('before'), (await sessions.find('after'))?.userId]).toEqual([null, 'u1']);
  });

  it('are not known any more once expired', async () => {
    let now = Date.now();
    const sessions = createSessions(cache, () => now);
    await sessions.apply(event('gateway.login.succeeded', { id: 'u1', session: { id: 's1', expiresIn: 60 } }));
    expect(await sessions.find('s1')).not.toBeNull();

    now += 61_000;

    expect(await sessions.find('s1')).toBeNull();
  });

  it('know whether the address was proven: at the sign-in, when it is proven later, and not from records that do not say so', async () => {
    const login = (id: string, more: object) =>
      createSessions(cache).apply(
        event('gateway.login.succeeded', { id: 'u1', email: 'a@b.c', authData: {}, session: { id, expiresIn: 3600 * 24 }, ...more }),
      );
    const isProven = async (id: string) => Boolean((await createSessions(cache).find(id))?.emailVerified);
    await login('s1', { emailVerified: true });
    await login('s2', {});
    expect([await isProven('s1'), await isProven('s2')]).toEqual([true, false]);
    const before = await createSessions(cache).find('s2');

    const call = { kind: 'user', userId: 'u1', email: 'a@b.c' };
    await createSessions(cache).learn({ ...call, sessionId: 's2', emailVerified: true } as never);
    await createSessions(cache).learn({ ...call, sessionId: 's3', emailVerified: true } as never);
    await createSessions(cache).learn({ ...call, sessionId: 's1' } as never);

    expect([await isProven('s1'), await isProven('s2'), await isProven('s3')]).toEqual([false, true, true]);
    expect(await createSessions(cache).find('s2')).toMatchObject({ startedAt: before?.startedAt, expiresAt: before?.expiresAt });
    await createSessions(cache).learn({ ...call, userId: 'other', sessionId: 's2' } as never);
    expect((await createSessions(cache).find('s2'))?.userId).toBe('u1');
  });

  it('are learnt from verified calls of users, not of anonymous ones', async () => {
    const sessions = createSessions(cache);
    await sessions.learn({ kind: 'user', userId: 'u1', sessionId: 's1' } as never);
    await sessions.learn({ kind: 'anonymous', userId: 'u2', sessionId: 's2' } as never);

    expect((await createSessions(cache).find('s1'))?.userId).toBe('u1');
    expect(await sessions.find('s2')).toBeNull();
  });
});
