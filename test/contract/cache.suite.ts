/** cache.suite — every sentence of the cache contract. `open` gives a fresh view of one shared store, as another process would have. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CacheDriver, PathOperation } from '../../mixins/storage/cache/contract.ts';
import { guarded } from '../../mixins/storage/cache/policy.ts';
import { eventually } from '../support/eventually.ts';

const type = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error) => error.type,
  );

export function cacheContract(name: string, open: () => Promise<CacheDriver>, tearDown: () => Promise<void> = async () => {}): void {
  describe(`cache on ${name}`, () => {
    let cache: CacheDriver;
    let other: CacheDriver;
    let count = 0;
    const fresh = (prefix = 'key') => `${prefix}${++count}`;

    beforeAll(async () => {
      cache = guarded(await open());
      other = guarded(await open());
    });
    afterAll(async () => {
      await cache?.close();
      await other?.close();
      await tearDown();
    });

    describe('documents', () => {
      it('answers null for what is absent', async () => {
        expect(await cache.get(fresh())).toBeNull();
      });

      it.each([
        [null],
        [false],
        [0],
        [''],
        [[]],
        [{}],
        [{ a: [], b: {} }],
        [1e21],
        [Number.MAX_SAFE_INTEGER],
        [0.1],
        ['é😀\u2028"\\'],
        [[[[]]]],
      ])('returns %j as it was stored', async (value) => {
        const key = fresh();

        await cache.set(key, value);

        expect(await other.get(key)).toEqual({ value, version: 1 });
      });

      it('counts versions from 1, one up with each change', async () => {
        const key = fresh();

        expect(await cache.set(key, 1)).toBe(1);
        expect(await other.set(key, 2)).toBe(2);
        expect((await cache.apply(key, [{ type: 'increment', path: [], by: 1 }])).version).toBe(3);
      });

      it('answers many keys in order, null for the absent', async () => {
        const [a, b] = [fresh(), fresh()];
        await cache.set(a, 'a');
        await cache.set(b, 'b');

        expect((await cache.getMany([b, fresh(), a, b])).map((found) => found?.value ?? null)).toEqual(['b', null, 'a', 'b']);
        expect(await cache.getMany([])).toEqual([]);
      });

      it('lets one of two writers of the same version win', async () => {
        const key = fresh();
        await cache.set(key, 'first');

        const outcomes = await Promise.all([type(cache.set(key, 'a', { ifVersion: 1 })), type(other.set(key, 'b', { ifVersion: 1 }))]);

        expect(outcomes.sort()).toEqual(['VersionConflict', 'none']);
      });

      it('creates only when absent with version 0', async () => {
        const key = fresh();

        const outcomes = await Promise.all([cache, other, cache].map((store) => type(store.set(key, 1, { ifVersion: 0 }))));

        expect(outcomes.sort()).toEqual(['VersionConflict', 'VersionConflict', 'none']);
        expect(await type(cache.set(fresh(), 1, { ifVersion: 3 }))).toBe('VersionConflict');
      });

      it('deletes, saying whether there was one', async () => {
        const key = fresh();
        await cache.set(key, 1);

        expect(await other.delete(key)).toBe(true);
        expect(await cache.delete(key)).toBe(false);
        expect(await cache.get(key)).toBeNull();
      });

      it('forgets a document at the end of its life, and a new one starts at version 1', async () => {
        const key = fresh();
        await cache.set(key, 1);
        await cache.set(key, 2, { ttlMs: 60 });

        await eventually(async () => (await other.get(key)) === null);

        expect(await cache.set(key, 3, { ifVersion: 0 })).toBe(1);
      });

      it('gives a replaced document no life of the one before', async () => {
        const key = fresh();
        await cache.set(key, 1, { ttlMs: 80 });
        await cache.set(key, 2);
        const witness = fresh();
        await cache.set(witness, 1, { ttlMs: 120 });

        await eventually(async () => (await cache.get(witness)) === null);

        expect((await cache.get(key))?.value).toBe(2);
      });

      it('prolongs a life, and says when there is nothing to prolong', async () => {
        const key = fresh();
        await cache.set(key, 1, { ttlMs: 800 });
        const witness = fresh();
        await cache.set(witness, 1, { ttlMs: 900 });

        expect(await other.expire(key, 60_000)).toBe(true);
        await eventually(async () => (await cache.get(witness)) === null);

        expect(await cache.get(key)).not.toBeNull();
        expect(await cache.expire(fresh(), 1000)).toBe(false);
      });
    });

    describe('path operations', () => {
      const cases: [string, unknown, PathOperation[], unknown][] = [
        ['replaces the whole document', { a: 1 }, [{ type: 'replace', path: [], value: [1] }], [1]],
        ['makes missing parents as objects', {}, [{ type: 'replace', path: ['a', 'b', 0], value: 1 }], { a: { b: { 0: 1 } } }],
        ['replaces an element of a list', { l: [1, 2] }, [{ type: 'replace', path: ['l', 1], value: 9 }], { l: [1, 9] }],
        ['fills a small gap in a list', { l: [1] }, [{ type: 'replace', path: ['l', 3], value: 9 }], { l: [1, null, null, 9] }],
        ['merges lists', { l: [1] }, [{ type: 'merge', path: ['l'], value: [2, 3] }], { l: [1, 2, 3] }],
        ['appends a single value merged into a list', { l: [1] }, [{ type: 'merge', path: ['l'], value: { a: 1 } }], { l: [1, { a: 1 }] }],
        [
          'merges objects one level, the new value wins',
          { o: { a: { x: 1 }, b: 1 } },
          [{ type: 'merge', path: ['o'], value: { a: { y: 2 } } }],
          { o: { a: { y: 2 }, b: 1 } },
        ],
        ['replaces when there is nothing to merge', { o: 5 }, [{ type: 'merge', path: ['o'], value: { a: 1 } }], { o: { a: 1 } }],
        ['leaves an object into which no object is merged', { o: { a: 1 } }, [{ type: 'merge', path: ['o'], value: 5 }], { o: { a: 1 } }],
        ['merges an object into null, and nothing else', { o: null }, [{ type: 'merge', path: ['o'], value: [1] }], { o: null }],
        ['pushes one element, also a list', { l: [1] }, [{ type: 'push', path: ['l'], value: [2] }], { l: [1, [2]] }],
        ['pushes onto what is no list as onto a new one', { l: 'x' }, [{ type: 'push', path: ['l'], value: 2 }], { l: [2] }],
        ['adds to a number', { n: 1.5 }, [{ type: 'increment', path: ['n'], by: -0.5 }], { n: 1 }],
        ['counts from 0 when absent', {}, [{ type: 'increment', path: ['n'], by: 2 }], { n: 2 }],
        ['deletes a field', { a: 1, b: 2 }, [{ type: 'delete', path: ['a'] }], { b: 2 }],
        ['deletes an element, the others move up', { l: [1, 2, 3] }, [{ type: 'delete', path: ['l', 1] }], { l: [1, 3] }],
        ['leaves all as it is when there is nothing to delete', { a: 1 }, [{ type: 'delete', path: ['x', 'y'] }], { a: 1 }],
        [
          'keeps empty lists and objects',
          { a: [], b: {}, c: [[]] },
          [{ type: 'replace', path: ['d'], value: {} }],
          { a: [], b: {}, c: [[]], d: {} },
        ],
        [
          'applies several in order',
          { n: 1 },
          [
            { type: 'increment', path: ['n'], by: 1 },
            { type: 'push', path: ['l'], value: 'x' },
            { type: 'replace', path: ['n'], value: 7 },
            { type: 'increment', path: ['n'], by: 1 },
          ],
          { n: 8, l: ['x'] },
        ],
      ];
      it.each(cases)('%s', async (_, before, operations, after) => {
        const key = fresh();
        await cache.set(key, before);

        const result = await cache.apply(key, operations);

        expect(result).toEqual({ value: after, version: 2 });
        expect(await other.get(key)).toEqual({ value: after, version: 2 });
      });

      it('makes the document when there is none', async () => {
        const key = fresh();

        expect(await cache.apply(key, [{ type: 'push', path: ['l'], value: 1 }])).toEqual({ value: { l: [1] }, version: 1 });
      });

      it('removes the document when the operation deletes its root', async () => {
        const key = fresh();
        await cache.set(key, 1);

        expect(await cache.apply(key, [{ type: 'delete', path: [] }])).toEqual({ value: null, version: 0 });
        expect(await other.get(key)).toBeNull();
      });

      it('does all or nothing', async () => {
        const key = fresh();
        await cache.set(key, { n: 1, l: [] });

        const outcome = await type(
          cache.apply(key, [
            { type: 'increment', path: ['n'], by: 1 },
            { type: 'replace', path: ['l', 'word'], value: 1 },
          ]),
        );

        expect(outcome).toBe('BadParametersError');
        expect(await other.get(key)).toEqual({ value: { n: 1, l: [] }, version: 1 });
      });

      it.each([
        [['__proto__', 'x']],
        [['a', 'constructor']],
        [['prototype']],
        [[-1]],
        [[1.5]],
        [[{} as never]],
      ])('refuses the path %j', async (path) => {
        const key = fresh();

        expect(await type(cache.apply(key, [{ type: 'replace', path, value: 1 }]))).toBe('BadParametersError');
        expect(({} as Record<string, unknown>).x).toBeUndefined();
      });

      it('refuses a wild index instead of filling the memory', async () => {
        const key = fresh();
        await cache.set(key, []);

        expect(await type(cache.apply(key, [{ type: 'replace', path: [1e9], value: 1 }]))).toBe('BadParametersError');
      });

      it('applies only over the version asked for', async () => {
        const key = fresh();
        await cache.set(key, 1);

        expect(await type(cache.apply(key, [{ type: 'increment', path: [], by: 1 }], { ifVersion: 2 }))).toBe('VersionConflict');
        expect(await type(cache.apply(key, [{ type: 'increment', path: [], by: 1 }], { ifVersion: 0 }))).toBe('VersionConflict');
        expect((await cache.apply(key, [{ type: 'increment', path: [], by: 1 }], { ifVersion: 1 })).value).toBe(2);
      });

      it('does nothing the second time with the same operation id', async () => {
        const key = fresh();
        const once = { operationId: 'run1/7' };
        await cache.apply(key, [{ type: 'increment', path: ['n'], by: 1 }], once);
        await cache.apply(key, [{ type: 'increment', path: ['n'], by: 10 }]);

        const repeated = await other.apply(key, [{ type: 'increment', path: ['n'], by: 1 }], once);

        expect(repeated).toEqual({ value: { n: 11 }, version: 2 });
        expect((await cache.apply(fresh(), [{ type: 'increment', path: ['n'], by: 1 }], once)).value).toEqual({ n: 1 });
      });

      it('applies an operation once although many try at the same time', async () => {
        const key = fresh();

        await Promise.all(
          [cache, other].flatMap((store) =>
            Array.from({ length: 20 }, (_, i) => store.apply(key, [{ type: 'increment', path: ['n'], by: 1 }], { operationId: `op${i}` })),
          ),
        );

        expect((await cache.get(key))?.value).toEqual({ n: 20 });
      });

      it('refuses a result above the size allowed, counted in bytes', async () => {
        const key = fresh();
        await cache.set(key, { t: 'é' });

        expect(await type(cache.apply(key, [{ type: 'replace', path: ['t'], value: 'é'.repeat(50) }], { maxBytes: 100 }))).toBe(
          'LimitExceededError',
        );
        expect((await cache.get(key))?.value).toEqual({ t: 'é' });
        expect(await type(cache.apply(key, [{ type: 'replace', path: ['t'], value: 'é'.repeat(46) }], { maxBytes: 100 }))).toBe('none');
      });

      it('tells the size of a document that is above `largeBytes`', async () => {
        const key = fresh();
        const sizeWith = async (text: string) =>
          (await cache.apply(key, [{ type: 'replace', path: ['t'], value: text }], { largeBytes: 100 })).bytes;

        expect(await sizeWith('é'.repeat(46))).toBeUndefined();
        expect(await sizeWith('é'.repeat(47))).toBe(102);
      });

      it('keeps the life of the document, or gives the one asked for', async () => {
        const [kept, renewed, made] = [fresh(), fresh(), fresh()];
        await cache.set(kept, { n: 0 }, { ttlMs: 800 });
        await cache.set(renewed, { n: 0 }, { ttlMs: 700 });

        await cache.apply(kept, [{ type: 'increment', path: ['n'], by: 1 }]);
        await cache.apply(renewed, [{ type: 'increment', path: ['n'], by: 1 }], { ttlMs: 60_000 });
        await cache.apply(made, [{ type: 'increment', path: ['n'], by: 1 }]);
        await eventually(async () => (await cache.get(kept)) === null);

        expect(await cache.get(renewed)).not.toBeNull();
        expect(await cache.get(made)).not.toBeNull();
      });

      it('loses nothing of 1000 increments and 1000 pushes from two nodes', async () => {
        const key = fresh('ctx:{w}:global');

        await Promise.all(
          Array.from({ length: 1000 }, (_, i) =>
            (i % 2 ? cache : other).apply(key, [
              { type: 'increment', path: ['n'], by: 1 },
              { type: 'push', path: ['list'], value: i },
            ]),
          ),
        );

        const { value, version } = (await cache.get<{ n: number; list: number[] }>(key))!;
        expect(value.n).toBe(1000);
        expect(new Set(value.list).size).toBe(1000);
        expect(value.list).toHaveLength(1000);
        expect(version).toBe(1000);
      });

      it('answers each operation with its own result', async () => {
        const key = fresh();

        const results = await Promise.all(Array.from({ length: 50 }, () => cache.apply(key, [{ type: 'increment', path: [], by: 1 }])));

        expect(results.map(({ value }) => value).sort((a, b) => Number(a) - Number(b))).toEqual(
          Array.from({ length: 50 }, (_, i) => i + 1),
        );
        for (const { value, version } of results) expect(value).toBe(version);
      });
    });

    describe('lives of paths', () => {
      const at = (now: number) => ({ lives: { field: '$lives', now } });
      const set = (path: (string | number)[], value: unknown, until?: number): PathOperation => ({
        type: 'replace',
        path,
        value,
        ...(until === undefined ? {} : { until }),
      });

      it('are kept with the document, and over ones are gone before the next operation', async () => {
        const key = fresh();
        await cache.apply(key, [set(['a'], 1, 10), set(['b', 'c'], 2, 20), set(['d'], 3)], at(0));
        expect((await other.get(key))?.value).toEqual({ a: 1, b: { c: 2 }, d: 3, $lives: { '["a"]': 10, '["b","c"]': 20 } });

        expect((await other.apply(key, [set(['e'], 4)], at(9))).value).toMatchObject({ a: 1, e: 4 });
        const after = { b: { c: 2 }, d: 3, e: 5, $lives: { '["b","c"]': 20 } };
        expect((await other.apply(key, [set(['e'], 5)], at(10))).value).toEqual(after);
        expect((await cache.get(key))?.value).toEqual(after);
        expect((await cache.apply(key, [set(['e'], 6)], at(20))).value).toEqual({ b: {}, d: 3, e: 6 });
      });

      it('do not count for the size once they are over', async () => {
        const key = fresh();
        const large = 'x'.repeat(80);
        await cache.apply(key, [set(['a'], large, 10)], { ...at(0), maxBytes: 150 });

        expect(await type(cache.apply(key, [set(['b'], large)], { ...at(9), maxBytes: 150 }))).toBe('LimitExceededError');
        expect((await cache.apply(key, [set(['b'], large)], { ...at(10), maxBytes: 150 })).value).toEqual({ b: large });
      });

      const lived = { list: [1, 2], o: { x: { y: 1 }, z: 1 }, n: 1, nil: null, t: 'text' };
      const lives = { '["list"]': 9, '["o"]': 9, '["o","x"]': 9, '["o","x","y"]': 9, '["o","z"]': 9, '["n"]': 9, '["t"]': 9 };
      const without = (...names: string[]) => Object.fromEntries(Object.entries(lives).filter(([name]) => !names.includes(name)));
      const endings: [string, PathOperation, object][] = [
        ['a replaced value ends its own', set(['n'], 2), without('["n"]')],
        ['a new life takes the place of the one before', set(['n'], 2, 8), { ...lives, '["n"]': 8 }],
        ['a counted value ends its own', { type: 'increment', path: ['n'], by: 1 }, without('["n"]')],
        ['a replaced object ends those below it', set(['o'], {}), without('["o"]', '["o","x"]', '["o","x","y"]', '["o","z"]')],
        ['a deleted one too', { type: 'delete', path: ['o', 'x'] }, without('["o","x"]', '["o","x","y"]')],
        ['a value set below leaves those above', set(['o', 'x', 'y'], 2), without('["o","x","y"]')],
        ['a pushed element leaves that of the list', { type: 'push', path: ['list'], value: 3 }, lives],
        ['elements merged leave that of the list', { type: 'merge', path: ['list'], value: [3] }, lives],
        ['what becomes a list ends its own', { type: 'push', path: ['t'], value: 3 }, without('["t"]')],
        ['what becomes an object ends its own', { type: 'merge', path: ['t'], value: { a: 1 } }, without('["t"]')],
        [
          'merged fields end theirs, and leave that of the object',
          { type: 'merge', path: ['o'], value: { x: 1, more: 1 } },
          without('["o","x"]', '["o","x","y"]'),
        ],
        ['what cannot be merged ends none', { type: 'merge', path: ['o'], value: 5 }, lives],
        ['fields merged into the document end theirs', { type: 'merge', path: [], value: { n: 2, t: 2 } }, without('["n"]', '["t"]')],
        ['a replaced document has none', set([], { a: 1 }), {}],
        ['a name that begins alike is another', set(['o","x'], 1), lives],
      ];
      it.each(endings)('%s', async (_, operation, expected) => {
        const key = fresh();
        await cache.set(key, { ...lived, $lives: lives });

        const { value } = await cache.apply(key, [operation], at(0));

        expect((value as { $lives?: object }).$lives ?? {}).toEqual(expected);
      });

      it('of the document itself end all of it', async () => {
        const key = fresh();
        await cache.apply(key, [set([], { a: 1 }, 10), set(['b'], 1, 50)], at(0));

        expect((await cache.apply(key, [set(['c'], 1)], at(10))).value).toEqual({ c: 1 });
      });

      it('end with the path above them, also when it is made anew', async () => {
        const key = fresh();
        await cache.apply(key, [set(['o'], {}, 10), set(['o', 'x'], 1, 20)], at(0));

        await cache.apply(key, [set(['o', 'x', 'y'], 2)], at(10));

        expect((await cache.apply(key, [set(['d'], 1)], at(20))).value).toEqual({ o: { x: { y: 2 } }, d: 1 });
      });

      it('of elements go with them when others are removed', async () => {
        const key = fresh();
        await cache.set(key, { l: ['a', 'b', 'c', { x: 1 }, 'e'], m: [[1, 2]] });
        const elements = [set(['l', 1], 'b', 10), set(['l', 2], 'c', 30), set(['l', 3, 'x'], 1, 20), set(['l', 4], 'e', 10)];
        await cache.apply(key, [...elements, set(['m', 0, 1], 2, 10)], at(0));

        expect((await cache.apply(key, [{ type: 'delete', path: ['l', 0] }], at(9))).value).toEqual({
          l: ['b', 'c', { x: 1 }, 'e'],
          m: [[1, 2]],
          $lives: { '["l",0]': 10, '["l",1]': 30, '["l",2,"x"]': 20, '["l",3]': 10, '["m",0,1]': 10 },
        });
        expect((await cache.apply(key, [set(['d'], 1)], at(10))).value).toEqual({
          l: ['c', { x: 1 }],
          m: [[1]],
          d: 1,
          $lives: { '["l",0]': 30, '["l",1,"x"]': 20 },
        });
        expect((await cache.apply(key, [set(['d'], 2)], at(40))).value).toEqual({ l: [{}], m: [[1]], d: 2 });
      });

      it.each([
        ['text'],
        [[1]],
        [null],
        [{ oops: 1, '{}': 1, '[{}]': 1, '[-0.5]': 1, '["a"]': 'soon', '["constructor"]': 1, '["no","such"]': 1, '["l","length"]': 1 }],
      ])('survive what others wrote in their field: %j', async ($lives) => {
        const key = fresh();
        await cache.set(key, { a: 1, l: [1], $lives });

        expect((await cache.apply(key, [set(['b'], 2, 10)], at(5))).value).toEqual({ a: 1, l: [1], b: 2, $lives: { '["b"]': 10 } });
      });

      it('cannot be written by an operation', async () => {
        const key = fresh();
        await cache.apply(key, [set(['a'], 1, 10)], at(0));

        const attempts: PathOperation[] = [
          set(['$lives'], { x: 1 }),
          set(['$lives', '["a"]'], 5),
          { type: 'delete', path: ['$lives'] },
          { type: 'merge', path: [], value: { $lives: {} } },
        ];
        for (const operation of attempts)
          expect((await cache.apply(key, [operation], at(0))).value).toEqual({ a: 1, $lives: { '["a"]': 10 } });
        expect((await cache.apply(key, [set([], { $lives: { x: 1 }, b: 1 })], at(0))).value).toEqual({ b: 1 });
      });

      it('are of an object that stays one; another value counts as none', async () => {
        const key = fresh();
        await cache.set(key, [1]);

        expect(await type(cache.apply(key, [{ type: 'push', path: [], value: 1 }], at(0)))).toBe('BadParametersError');
        expect((await cache.get(key))?.value).toEqual([1]);
        expect((await cache.apply(key, [set(['a'], 1)], at(0))).value).toEqual({ a: 1 });
      });

      it('hold while two nodes write at once', async () => {
        const key = fresh();
        await cache.apply(
          key,
          Array.from({ length: 50 }, (_, i) => set(['old', `k${i}`], 'x', 10)),
          at(0),
        );

        await Promise.all(
          Array.from({ length: 200 }, (_, i) => {
            const store = i % 2 ? cache : other;
            // What is over is set for good, or with a new life, while others only remove it.
            const path = ['old', `k${i % 50}`];
            if (i < 25) return store.apply(key, [set(path, 'kept')], at(20));
            if (i < 50) return store.apply(key, [set(path, 'again', 30)], at(20));
            return store.apply(key, [{ type: 'increment', path: ['n'], by: 1 }], at(20));
          }),
        );

        const kept = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`k${i}`, 'kept']));
        const { old, n } = (await cache.apply(key, [set(['d'], 1)], at(29))).value as Record<string, any>;
        expect(n).toBe(150);
        expect(Object.keys(old)).toHaveLength(50);
        expect((await cache.apply(key, [set(['d'], 1)], at(30))).value).toEqual({ old: kept, n: 150, d: 1 });
      });
    });

    describe('counters and buckets', () => {
      it('counts in a fixed window that starts with the first increment', async () => {
        const key = fresh();

        const first = await cache.increment(key, 1, 1_000);
        const second = await other.increment(key, 2, 60_000);

        expect(first.count).toBe(1);
        expect(second.count).toBe(3);
        expect(second.expiresInMs).toBeLessThanOrEqual(1_000);
        expect(second.expiresInMs).toBeGreaterThan(0);
        await eventually(async () => (await cache.increment(key, 0, 1_000)).count === 0);
      });

      it('loses no increment', async () => {
        const key = fresh();

        await Promise.all(Array.from({ length: 400 }, (_, i) => (i % 2 ? cache : other).increment(key, 1, 60_000)));

        expect((await cache.increment(key, 0, 60_000)).count).toBe(400);
      });

      it('starts a bucket full and refuses beyond its burst', async () => {
        const key = fresh();
        const limit = { perSecond: 0.1, burst: 3, wait: false };

        const results = [];
        for (let i = 0; i < 4; i++) results.push(await (i % 2 ? cache : other).takeTokens(key, 1, limit));

        expect(results.map(({ ok }) => ok)).toEqual([true, true, true, false]);
        expect(results.map(({ remaining }) => remaining)).toEqual([2, 1, 0, 0]);
        expect(results[0]?.retryAfterMs).toBe(0);
        expect(results[3]?.retryAfterMs).toBeGreaterThan(0);
        expect(results[3]?.retryAfterMs).toBeLessThanOrEqual(10_000);
      });

      it('refills a bucket with time', async () => {
        const key = fresh();
        const limit = { perSecond: 20, burst: 1, wait: false };
        await cache.takeTokens(key, 1, limit);

        await eventually(async () => (await cache.takeTokens(key, 1, limit)).ok);
      });

      it('lets throttled callers go into debt and tells each how long to sleep', async () => {
        const key = fresh();
        const limit = { perSecond: 1, burst: 1, wait: true };

        const waits: number[] = [];
        for (let i = 0; i < 4; i++) waits.push((await cache.takeTokens(key, 1, limit)).retryAfterMs);

        expect(waits[0]).toBe(0);
        expect(waits[1]).toBeGreaterThan(0);
        expect(waits[2]).toBeGreaterThan(waits[1]!);
        expect(waits[3]).toBeGreaterThan(2_500 - 1_000);
        expect(waits[3]).toBeLessThanOrEqual(3_000);
      });

      it('gives no token twice', async () => {
        const key = fresh();
        const limit = { perSecond: 0.001, burst: 50, wait: false };

        const results = await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? cache : other).takeTokens(key, 1, limit)));

        expect(results.filter(({ ok }) => ok)).toHaveLength(50);
      });
    });

    describe('lists, sets and sorted sets', () => {
      it('appends records and lists them from a place on', async () => {
        const key = fresh();

        expect(await cache.append(key, [{ n: 1 }, 'two'])).toBe(2);
        expect(await other.append(key, [[], null])).toBe(4);

        expect(await cache.list(key)).toEqual([{ n: 1 }, 'two', [], null]);
        expect(await cache.list(key, 2)).toEqual([[], null]);
        expect(await cache.list(key, 9)).toEqual([]);
        expect(await cache.list(fresh())).toEqual([]);
        expect(await cache.append(key, [])).toBe(4);
      });

      it('keeps the order of many appends at once and loses none', async () => {
        const key = fresh();

        await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? cache : other).append(key, [i, i])));

        const list = await cache.list<number>(key);
        expect(list).toHaveLength(400);
        expect(new Set(list).size).toBe(200);
        for (let i = 0; i < 400; i += 2) expect(list[i]).toBe(list[i + 1]);
      });

      it('appends more records in one call than a script can hold at once', async () => {
        const key = fresh();

        expect(
          await cache.append(
            key,
            Array.from({ length: 12_000 }, (_, i) => i),
          ),
        ).toBe(12_000);
        expect((await cache.list(key, 11_999))[0]).toBe(11_999);
      });

      it('gives lists and sets a life', async () => {
        const [list, set] = [fresh(), fresh()];
        await cache.append(list, [1], { ttlMs: 60 });
        await cache.addMembers(set, ['a'], { ttlMs: 60 });

        await eventually(async () => (await cache.list(list)).length + (await cache.members(set)).length === 0);

        expect(await cache.append(list, [2])).toBe(1);
      });

      it('keeps members once, and counts what is new or gone', async () => {
        const key = fresh();

        expect(await cache.addMembers(key, ['a', 'b', 'a'])).toBe(2);
        expect(await other.addMembers(key, ['b', 'c'])).toBe(1);
        expect((await cache.members(key)).sort()).toEqual(['a', 'b', 'c']);
        expect(await cache.hasMember(key, 'c')).toBe(true);
        expect(await cache.removeMembers(key, ['c', 'x'])).toBe(1);
        expect(await other.hasMember(key, 'c')).toBe(false);
        expect(await cache.members(fresh())).toEqual([]);
      });

      it('orders members by score, then by name', async () => {
        const key = fresh();
        await cache.addScored(key, 'late', 30);
        await cache.addScored(key, 'b', 10);
        await cache.addScored(key, 'a', 10);
        await cache.addScored(key, 'moved', 99);
        await cache.addScored(key, 'moved', 5.5);

        expect(await other.scoredUpTo(key, 10, 10)).toEqual([
          { member: 'moved', score: 5.5 },
          { member: 'a', score: 10 },
          { member: 'b', score: 10 },
        ]);
        expect(await other.scoredUpTo(key, 1e15, 1)).toEqual([{ member: 'moved', score: 5.5 }]);
        expect(await other.scoredUpTo(fresh(), 1, 1)).toEqual([]);
      });

      it('lets one of several nodes remove a due member', async () => {
        const key = fresh();
        await cache.addScored(key, 'job', 1);

        const outcomes = await Promise.all([cache, other, cache, other].map((store) => store.removeScored(key, 'job')));

        expect(outcomes.filter(Boolean)).toHaveLength(1);
      });

      it('refuses to use a key as two kinds', async () => {
        const key = fresh();
        await cache.append(key, [1]);

        expect(await type(cache.apply(key, [{ type: 'push', path: [], value: 1 }]))).toBe('BadParametersError');
        expect(await type(cache.addMembers(key, ['a']))).toBe('BadParametersError');
        expect(await cache.list(key)).toEqual([1]);
      });
    });

    describe('leases', () => {
      it('gives a lease to one owner, who may prolong it', async () => {
        const name = fresh('lease');

        expect(await cache.lease(name, 'a', 60_000)).toBe(true);
        expect(await other.lease(name, 'b', 60_000)).toBe(false);
        expect(await other.lease(name, 'a', 60_000)).toBe(true);
      });

      it('gives a lease on when it is released by its owner, and not by another', async () => {
        const name = fresh('lease');
        await cache.lease(name, 'a', 60_000);

        await other.releaseLease(name, 'b');
        expect(await other.lease(name, 'b', 60_000)).toBe(false);
        await cache.releaseLease(name, 'a');
        expect(await other.lease(name, 'b', 60_000)).toBe(true);
      });

      it('gives a lease on when its owner let it run out', async () => {
        const name = fresh('lease');
        await cache.lease(name, 'a', 50);

        await eventually(() => other.lease(name, 'b', 60_000));

        expect(await cache.lease(name, 'a', 50)).toBe(false);
      });
    });

    describe('keys', () => {
      it('lists every live key that starts with a prefix, of every kind, also beyond a page', async () => {
        const prefix = fresh('many*?[x]');
        await Promise.all(Array.from({ length: 1200 }, (_, i) => cache.set(`${prefix}:{t}:${i}`, i)));
        await cache.append(`${prefix}:list`, [1]);
        await cache.addMembers(`${prefix}:set`, ['a']);
        await cache.set(`${prefix}:gone`, 1, { ttlMs: 1 });
        await cache.set(`x${prefix}`, 1);

        await eventually(async () => (await cache.get(`${prefix}:gone`)) === null);

        const found: string[] = [];
        for await (const key of other.keys(prefix)) found.push(key);
        expect(found).toHaveLength(1202);
        expect(new Set(found).size).toBe(1202);
        expect(found.every((key) => key.startsWith(prefix))).toBe(true);
        expect(found).toContain(`${prefix}:list`);
      });

      it.each([
        ['a{b}c'],
        ['{}'],
        ['}x{'],
        ['{a'],
        ['a b\n'],
        ['é😀'],
        ['__proto__'],
        ["o'clock"],
        ['%_*'],
      ])('keeps %j apart from all others', async (key) => {
        await cache.set(key, { key });

        expect((await other.get(key))?.value).toEqual({ key });
        const found: string[] = [];
        for await (const name of other.keys(key)) found.push(name);
        expect(found).toContain(key);
        expect(await cache.delete(key)).toBe(true);
      });

      it.each([[''], ['a\0b'], ['x'.repeat(1001)], [undefined as never], [5 as never]])('refuses %j as a key', async (key) => {
        expect(await type(cache.get(key))).toBe('BadParametersError');
        expect(await type(cache.set(key, 1))).toBe('BadParametersError');
      });

      it('refuses lives and counts that make no sense', async () => {
        expect(await type(cache.set(fresh(), 1, { ttlMs: 0 }))).toBe('BadParametersError');
        expect(await type(cache.set(fresh(), 1, { ttlMs: Number.NaN }))).toBe('BadParametersError');
        expect(await type(cache.increment(fresh(), 1.5, 1000))).toBe('BadParametersError');
        expect(await type(cache.takeTokens(fresh(), 1, { perSecond: 0, burst: 1, wait: false }))).toBe('BadParametersError');
      });
    });
  });
}
