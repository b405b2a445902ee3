import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../mixins/shared/config.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import { type ContextOwner, contextKey, createContexts } from '../../../services/runtime/contexts.ts';
import type { ContextOperation } from '../../../services/runtime/interpreter/index.ts';
import { testCache } from '../../support/runtime-node.ts';

const owner = (more: Partial<ContextOwner> = {}): ContextOwner => ({ workspaceId: 'w', correlationId: 'c', ...more });

describe('contexts', () => {
  let cache: Awaited<ReturnType<typeof testCache>>;
  beforeEach(async () => {
    cache = await testCache();
  });
  afterEach(() => cache.drop());
  const contexts = (over: CacheDriver = cache) => createContexts(over, loadConfig({}));
  const set = (path: string[], value: unknown, lifespanS?: number) => [
    { type: 'replace' as const, path, value, ...(lifespanS ? { lifespanS } : {}) },
  ];

  it('belong to their workspace, user, session, socket and run, the nearest that is known', () => {
    expect(contextKey('global', owner())).toBe('ctx:{w}:global');
    expect(contextKey('user', owner())).toBeNull();
    expect(contextKey('user', owner({ userId: 'u' }))).not.toBe(contextKey('user', owner({ userId: 'v' })));
    expect(contextKey('session', owner({ userId: 'u', sessionId: 's' }))).toContain(':session:');
    expect(contextKey('session', owner({ userId: 'u' }))).not.toBe(contextKey('session', owner()));
    expect(contextKey('socket', owner({ sessionId: 's', socketId: 'k' }))).not.toBe(contextKey('socket', owner({ sessionId: 's' })));
    expect(contextKey('run', owner({ correlationId: 'other' }))).not.toBe(contextKey('run', owner()));
  });

  it('live as long as what they belong to', async () => {
    const lives: Record<string, number | undefined> = {};
    const recorder = new Proxy(cache, {
      get: (target, name) =>
        name === 'apply'
          ? (key: string, operations: never, options: { ttlMs?: number }) => {
              lives[key.split(':')[2] as string] = options.ttlMs;
              return target.apply(key, operations, options);
            }
          : Reflect.get(target, name),
    });
    const who = owner({ userId: 'u', sessionId: 's', sessionTtlMs: 123_456_789 });
    for (const name of ['global', 'user', 'session', 'socket', 'run'] as const)
      await contexts(recorder).write(name, set(['a'], 1), who, name, 0);

    expect(lives).toEqual({ global: undefined, user: undefined, session: 123_456_789, socket: 21_600_000, run: 60_000 });
    await contexts(recorder).write('session', set(['a'], 1), owner(), 'anonymous', 0);
    expect(lives.session).toBe(3_600_000);
  });

  it('forget a path when its life is over, and show nothing of the book-keeping', async () => {
    await contexts().write('global', [...set(['kept'], 1), ...set(['short'], 2, 10)], owner(), 'o', 1_000);

    expect(await contexts().read(['global'], owner(), 10_999)).toEqual({ global: { kept: 1, short: 2 } });
    expect(await contexts().read(['global'], owner(), 11_000)).toEqual({ global: { kept: 1 } });
  });

  it.each([
    [{ oops: 1 }],
    [{ '5': 1, '{}': 1, '[{}]': 1, '[-1.5]': 1, '["__proto__","x"]': 1, '["kept"]': 'soon' }],
    ['text'],
    [[1]],
    [null],
  ])('can be read and written when their book-keeping is broken: %j', async (lifespans) => {
    await cache.set(contextKey('global', owner()) as string, { kept: 1, $lifespans: lifespans });

    expect(await contexts().read(['global'], owner(), 1_000)).toEqual({ global: { kept: 1 } });
    expect(await contexts().write('global', set(['more'], 2, 10), owner(), 'o', 1_000)).toEqual({ kept: 1, more: 2 });
    expect(await contexts().read(['global'], owner(), 11_000)).toEqual({ global: { kept: 1 } });
  });

  it('keep a path that is set again without a lifespan, before and after its life is over', async () => {
    const write = (operations: ContextOperation[], now: number) => contexts().write('global', operations, owner(), `o${now}`, now);
    await write([...set(['x'], 1, 10), ...set(['y'], 1, 10), ...set(['n'], 1, 10), ...set(['z'], 1, 10)], 0);
    await write(set(['x'], 2), 5_000);

    expect(await write(set(['y'], 2), 10_000)).toEqual({ x: 2, y: 2 });
    expect(await write([{ type: 'increment', path: ['n'], by: 1 }], 11_000)).toEqual({ x: 2, y: 2, n: 1 });
    await write([{ type: 'delete', path: ['z'] }, ...set(['z'], 3)], 12_000);
    expect(await contexts().read(['global'], owner(), 99_000)).toEqual({ global: { x: 2, y: 2, n: 1, z: 3 } });
  });

  it('begin the life of a path again when it is set again with a lifespan', async () => {
    await contexts().write('global', set(['x'], 1, 10), owner(), 'first', 0);
    await contexts().write('global', set(['x'], 2, 10), owner(), 'second', 9_000);

    expect(await contexts().read(['global'], owner(), 18_999)).toEqual({ global: { x: 2 } });
    expect(await contexts().read(['global'], owner(), 19_000)).toEqual({ global: {} });
  });

  it('have room again for what is over', async () => {
    const put = (key: string, now: number) =>
      contexts().write('user', set(['cache', key], 'x'.repeat(900_000), 1), owner({ userId: 'u' }), key, now);
    await put('a', 0);
    await put('b', 0);
    await expect(put('c', 999)).rejects.toMatchObject({ type: 'LimitExceededError' });

    expect(Object.keys((await put('d', 1_000)).cache as object)).toEqual(['d']);
    expect(Object.keys((await cache.get<any>(contextKey('user', owner({ userId: 'u' })) as string))?.value.cache)).toEqual(['d']);
  });

  it('that are no object are as if they were empty', async () => {
    await cache.set(contextKey('global', owner()) as string, [1]);

    expect(await contexts().read(['global'], owner(), 0)).toEqual({ global: {} });
    expect(await contexts().write('global', set(['a'], 1), owner(), 'o', 0)).toEqual({ a: 1 });
  });

  it('change once for one operation, and refuse to grow without end', async () => {
    const more = [{ type: 'increment' as const, path: ['n'], by: 1 }];
    await contexts().write('global', more, owner(), 'same', 0);
    await contexts().write('global', more, owner(), 'same', 0);

    expect(await contexts().read(['global'], owner(), 0)).toEqual({ global: { n: 1 } });
    await expect(contexts().write('user', set(['text'], 'x'.repeat(2_100_000)), owner({ userId: 'u' }), 'large', 0)).rejects.toMatchObject({
      type: 'LimitExceededError',
    });
    expect(await contexts().read(['user'], owner({ userId: 'u' }), 0)).toEqual({ user: {} });
  });

  it('are told when they are larger than meant, once a minute', async () => {
    const told: unknown[] = [];
    const grow = (text: string, now: number, over = contexts()) =>
      over.write('user', set(['text'], text), owner({ userId: 'u' }), `${now}`, now, (size) => told.push(size));
    const same = contexts();
    expect(await grow('x'.repeat(100_000), 0, same)).toEqual({ text: 'x'.repeat(100_000) });
    await grow('x'.repeat(100_001), 59_999, same);
    expect(told).toEqual([{ context: 'user', bytes: 100_011, maxBytes: 100_000 }]);
    await grow('x', 60_000, same);
    await grow('x'.repeat(100_002), 60_001, same);
    expect(told).toHaveLength(2);

    await grow('x'.repeat(60), 200_000, createContexts(cache, loadConfig({ CONTEXT_USER_MAX_SIZE: '50' })));
    expect(told[2]).toEqual({ context: 'user', bytes: 71, maxBytes: 50 });
  });

  it('of somebody unknown are his for the run only', async () => {
    expect(await contexts().write('user', set(['a', 'b'], 1), owner(), 'o', 0)).toEqual({ a: { b: 1 } });
    expect(await contexts().read(['user'], owner(), 0)).toEqual({ user: {} });
  });
});
