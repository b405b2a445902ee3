/** documents.suite — every sentence of the documents contract. `open` gives a fresh view of one shared store, as another process would have. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DocumentsDriver, Query, Stored } from '../../mixins/storage/documents/contract.ts';
import { guarded } from '../../mixins/storage/documents/policy.ts';
import { eventually } from '../support/eventually.ts';

interface Row extends Stored {
  [field: string]: unknown;
}

const type = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error) => error.type,
  );

const COLLECTIONS = [
  { name: 'things', indexes: ['kind', 'age', 'tags', 'owner.id', ['kind', 'age']] },
  { name: 'users', indexes: ['name'], uniques: ['email', ['realm', 'login']] },
  { name: 'tokens', indexes: ['userId'], uniques: ['code'], expiresAt: 'expiresAt' },
];

export function documentsContract(
  name: string,
  open: () => Promise<DocumentsDriver>,
  tearDown: () => Promise<void> = async () => {},
): void {
  describe(`documents on ${name}`, () => {
    let store: DocumentsDriver;
    let other: DocumentsDriver;

    beforeAll(async () => {
      store = guarded(await open());
      other = guarded(await open());
      await Promise.all([store, other].map(async (each) => Promise.all(COLLECTIONS.map((collection) => each.open(collection)))));
    });
    afterAll(async () => {
      await store?.close();
      await other?.close();
      await tearDown();
    });
    beforeEach(async () => {
      for (const { name: collection } of COLLECTIONS) await store.removeMany(collection, {});
    });

    const insert = (collection: string, record: Record<string, unknown>) => store.insert<Row>(collection, record as never);
    const ids = async (query: Query, options = {}) => (await other.find<Row>('things', query, options)).map(({ id }) => id);

    describe('records', () => {
      it('answers null for what is absent', async () => {
        expect(await store.get('things', 'nothing')).toBeNull();
      });

      it('returns a record as it was inserted, at revision 1', async () => {
        const record = {
          id: 'a',
          text: 'é😀\u2028',
          n: 1.5,
          big: 1e21,
          yes: true,
          none: null,
          list: [1, [], {}, null],
          map: { 'a.b@c.d': { $odd: 1, '100%': 2, '%2E': 3 } },
          '': 1,
        };

        const inserted = await insert('things', record);

        expect(inserted).toEqual({ ...record, _rev: 1 });
        expect(await other.get('things', 'a')).toEqual({ ...record, _rev: 1 });
      });

      it('keeps ids of every shape apart', async () => {
        const all = ['507f1f77bcf86cd799439011', 'twelve chars', 'a/b', '1', 'A', 'a', 'é', '😀', "o'clock", '__proto__'];
        for (const id of all) await insert('things', { id });

        for (const id of all) expect((await other.get<Row>('things', id))?.id).toBe(id);
        expect(await store.count('things', {})).toBe(all.length);
      });

      it('refuses an id that is taken and writes nothing', async () => {
        await insert('things', { id: 'a', n: 1 });

        await expect(insert('things', { id: 'a', n: 2 })).rejects.toMatchObject({ type: 'AlreadyUsedError', data: { fields: ['id'] } });
        expect((await store.get<Row>('things', 'a'))?.n).toBe(1);
      });

      it('removes, saying whether there was one', async () => {
        await insert('things', { id: 'a' });

        expect(await other.remove('things', 'a')).toBe(true);
        expect(await store.remove('things', 'a')).toBe(false);
      });

      it('removes what a query finds, and all with an empty one', async () => {
        for (let i = 0; i < 6; i++) await insert('things', { id: `${i}`, kind: i % 2 ? 'odd' : 'even' });

        expect(await store.removeMany('things', { kind: 'odd' })).toBe(3);
        expect(await ids({})).toEqual(['0', '2', '4']);
        expect(await store.removeMany('things', {})).toBe(3);
        expect(await store.removeMany('things', {})).toBe(0);
      });
    });

    describe('updates', () => {
      it('sets and removes fields at dotted paths and counts the revision up', async () => {
        await insert('things', { id: 'a', n: 1, deep: { x: 1, y: [1, 2] }, gone: 1, odd: null });

        const updated = await other.update<Row>('things', 'a', {
          set: { n: 2, 'deep.x': { z: 1 }, 'deep.y.1': 9, 'new.path': true, 'odd.now': 1 },
          unset: ['gone', 'not.there'],
        });

        const expected = { id: 'a', _rev: 2, n: 2, deep: { x: { z: 1 }, y: [1, 9] }, new: { path: true }, odd: { now: 1 } };
        expect(updated).toEqual(expected);
        expect(await store.get('things', 'a')).toEqual(expected);
      });

      it('replaces a whole object when its path is set', async () => {
        await insert('things', { id: 'a', map: { x: 1, y: 2 } });

        expect(await store.update<Row>('things', 'a', { set: { map: { z: 3 } } })).toMatchObject({ map: { z: 3 } });
        expect((await store.get<Row>('things', 'a'))?.map).toEqual({ z: 3 });
      });

      it('loses none of many updates at once', async () => {
        await insert('things', { id: 'a' });

        await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? store : other).update('things', 'a', { set: { [`f${i}`]: i } })));

        const record = await store.get<Row>('things', 'a');
        expect(record?._rev).toBe(41);
        expect(Object.keys(record!)).toHaveLength(42);
      });

      it('lets one of two writers of the same revision win', async () => {
        await insert('things', { id: 'a' });

        const outcomes = await Promise.all([
          type(store.update('things', 'a', { set: { by: 1 } }, 1)),
          type(other.update('things', 'a', { set: { by: 2 } }, 1)),
        ]);

        expect(outcomes.sort()).toEqual(['VersionConflict', 'none']);
        expect((await store.get<Row>('things', 'a'))?._rev).toBe(2);
      });

      it('refuses to update what is absent', async () => {
        expect(await type(store.update('things', 'nothing', { set: { a: 1 } }))).toBe('ObjectNotFoundError');
      });

      it.each([
        ['id'],
        ['_rev'],
        ['_rev.x'],
        ['_id'],
        ['__proto__.x'],
        ['a.constructor'],
        ['$set'],
        ['a.$x'],
        [''],
        ['a..b'],
      ])('refuses to set or remove %j', async (path) => {
        await insert('things', { id: 'a' });

        expect(await type(store.update('things', 'a', { set: { [path]: 1 } }))).toBe('BadParametersError');
        expect(await type(store.update('things', 'a', { unset: [path] }))).toBe('BadParametersError');
      });

      it('refuses two changes of one field in a patch', async () => {
        await insert('things', { id: 'a' });

        expect(await type(store.update('things', 'a', { set: { a: 1, 'a.b': 2 } }))).toBe('BadParametersError');
        expect(await type(store.update('things', 'a', { set: { a: 1 }, unset: ['a'] }))).toBe('BadParametersError');
      });
    });

    describe('unique fields', () => {
      it('lets one of many inserts with the same value win', async () => {
        const outcomes = await Promise.all(
          Array.from({ length: 10 }, (_, i) => type((i % 2 ? store : other).insert('users', { id: `${i}`, email: 'a@b.c' } as never))),
        );

        expect(outcomes.filter((outcome) => outcome === 'none')).toHaveLength(1);
        expect(outcomes.filter((outcome) => outcome === 'AlreadyUsedError')).toHaveLength(9);
      });

      it('names the fields that are taken, on insert and on update', async () => {
        await insert('users', { id: '1', email: 'a@b.c', realm: 'x', login: 'l' });
        await insert('users', { id: '2', email: 'd@e.f', realm: 'y', login: 'l' });

        await expect(insert('users', { id: '3', realm: 'x', login: 'l' })).rejects.toMatchObject({
          type: 'AlreadyUsedError',
          data: { fields: ['realm', 'login'] },
        });
        await expect(store.update('users', '2', { set: { email: 'a@b.c' } })).rejects.toMatchObject({ data: { fields: ['email'] } });
        expect(await store.get('users', '2')).toEqual({ id: '2', email: 'd@e.f', realm: 'y', login: 'l', _rev: 1 });
        expect(await store.count('users', {})).toBe(2);
      });

      it('is not concerned with records that lack one of the fields', async () => {
        await insert('users', { id: '1', realm: 'x' });
        await insert('users', { id: '2', realm: 'x' });
        await insert('users', { id: '3', email: null });

        expect(await type(insert('users', { id: '4', email: null }))).toBe('none');
      });

      it('gives a value free when its record lets go of it', async () => {
        await insert('users', { id: '1', email: 'a' });
        await insert('users', { id: '2', email: 'b' });
        await store.update('users', '1', { unset: ['email'] });
        await store.remove('users', '2');

        expect(await type(insert('users', { id: '3', email: 'a' }))).toBe('none');
        expect(await type(insert('users', { id: '4', email: 'b' }))).toBe('none');
      });
    });

    describe('queries', () => {
      const records = [
        { id: 'ann', kind: 'cat', age: 3, tags: ['x', 'y'], owner: { id: 'u1', roles: ['a'] }, note: 'Hello World' },
        { id: 'bob', kind: 'dog', age: 7, tags: ['y'], owner: { id: 'u2' }, note: 'hello' },
        {
          id: 'cat',
          kind: 'cat',
          age: 10,
          tags: [],
          note: null,
          items: [
            { n: 1, s: 'a' },
            { n: 2, s: 'b' },
          ],
        },
        { id: 'dan', kind: 'dog', age: '7', tags: 'x', on: true, owner: [{ id: 'u1' }, { id: 'u3' }] },
        { id: 'eve', age: -1.5, on: false, items: [{ n: 1, s: 'b' }], note: 'zażółć [1]' },
      ];
      beforeEach(async () => {
        for (const record of records) await insert('things', record);
      });

      const cases: [string, Query, string][] = [
        ['everything', {}, 'ann bob cat dan eve'],
        ['an id', { id: 'bob' }, 'bob'],
        ['several ids', { id: { $in: ['eve', 'ann', 'nobody'] } }, 'ann eve'],
        ['a value', { kind: 'cat' }, 'ann cat'],
        ['a number, not the text of it', { age: 7 }, 'bob'],
        ['a text, not the number', { age: '7' }, 'dan'],
        ['true', { on: true }, 'dan'],
        ['1 is not true', { on: 1 }, ''],
        ['false is not missing', { on: false }, 'eve'],
        ['all fields hold', { kind: 'cat', age: 3 }, 'ann'],
        ['an element of a list', { tags: 'x' }, 'ann dan'],
        ['a field of an object', { 'owner.id': 'u1' }, 'ann dan'],
        ['a field of an object in a list', { 'items.s': 'b' }, 'cat eve'],
        ['a place in a list', { 'tags.0': 'y' }, 'bob'],
        ['null and missing', { note: null }, 'cat dan'],
        ['null in a list of values', { kind: { $in: ['dog', null] } }, 'bob dan eve'],
        ['$eq', { kind: { $eq: 'dog' } }, 'bob dan'],
        ['$ne, also what is missing', { kind: { $ne: 'dog' } }, 'ann cat eve'],
        ['$ne on lists: no element equals', { tags: { $ne: 'y' } }, 'cat dan eve'],
        ['$gt among numbers only', { age: { $gt: 3 } }, 'bob cat'],
        ['$gte', { age: { $gte: 3 } }, 'ann bob cat'],
        ['$lt', { age: { $lt: 3 } }, 'eve'],
        ['$lte with a range', { age: { $gte: 3, $lte: 7 } }, 'ann bob'],
        ['comparisons of texts', { age: { $gt: '5' } }, 'dan'],
        ['comparisons within lists', { 'items.n': { $gte: 2 } }, 'cat'],
        ['$in', { kind: { $in: ['cat', 'cow'] } }, 'ann cat'],
        ['$in with nothing', { kind: { $in: [] } }, ''],
        ['$nin', { kind: { $nin: ['cat'] } }, 'bob dan eve'],
        ['$all', { tags: { $all: ['y', 'x'] } }, 'ann'],
        ['$all on a single value', { tags: { $all: ['x'] } }, 'ann dan'],
        ['$all with nothing', { tags: { $all: [] } }, ''],
        ['$exists counts null as present', { note: { $exists: true } }, 'ann bob cat eve'],
        ['$exists false', { owner: { $exists: false } }, 'cat eve'],
        ['$exists of a nested field', { 'owner.roles': { $exists: true } }, 'ann'],
        ['$regex', { note: { $regex: '^hel' } }, 'bob'],
        ['$regex without case', { note: { $regex: '^hel', $options: 'i' } }, 'ann bob'],
        ['$regex on lists', { tags: { $regex: 'x|z' } }, 'ann dan'],
        ['$regex beyond ASCII', { note: { $regex: 'żół. \\[\\d\\]$' } }, 'eve'],
        ['$size', { tags: { $size: 2 } }, 'ann'],
        ['$size 0', { tags: { $size: 0 } }, 'cat'],
        ['$not', { age: { $not: { $gt: 3 } } }, 'ann dan eve'],
        ['$not with $regex', { note: { $not: { $regex: 'o' } } }, 'cat dan eve'],
        ['$elemMatch: one element satisfies all', { items: { $elemMatch: { n: 1, s: 'b' } } }, 'eve'],
        ['fields of different elements', { 'items.n': 1, 'items.s': 'b' }, 'cat eve'],
        ['$or', { $or: [{ kind: 'dog' }, { age: 3 }] }, 'ann bob dan'],
        ['$or with nothing holds for none', { $or: [] }, ''],
        ['$and', { $and: [{ tags: 'x' }, { tags: 'y' }] }, 'ann'],
        ['$and with nothing holds for all', { $and: [] }, 'ann bob cat dan eve'],
        ['$nor', { $nor: [{ kind: 'dog' }, { age: 3 }] }, 'cat eve'],
        ['$nor with nothing holds for all', { $nor: [] }, 'ann bob cat dan eve'],
        ['nested logic', { kind: 'cat', $or: [{ $and: [{ age: { $gt: 5 } }, { note: null }] }, { 'owner.id': 'u1' }] }, 'ann cat'],
        ['a field named like a method', { toString: 'x' }, ''],
      ];
      it.each(cases)('finds and counts by %s', async (_, query, expected) => {
        expect((await ids(query)).join(' ')).toBe(expected);
        expect(await store.count('things', query)).toBe(expected === '' ? 0 : expected.split(' ').length);
      });

      it('sorts by fields in either direction, then by id', async () => {
        expect(await ids({ age: { $gte: -100 } }, { sort: { age: -1 } })).toEqual(['cat', 'bob', 'ann', 'eve']);
        expect(await ids({ kind: { $exists: true } }, { sort: { kind: 1 } })).toEqual(['ann', 'cat', 'bob', 'dan']);
        expect(await ids({ kind: { $exists: true } }, { sort: { kind: -1, id: -1 } })).toEqual(['dan', 'bob', 'cat', 'ann']);
        expect(await ids({ id: { $ne: 'dan' } }, { sort: { 'owner.id': -1 }, limit: 3 })).toEqual(['bob', 'ann', 'cat']);
      });

      it('sorts texts by code point', async () => {
        await store.removeMany('things', {});
        for (const id of ['\u{1F600}', '\uFFFD', 'z', 'Z', 'é', 'a']) await insert('things', { id, name: id });

        expect(await ids({}, { sort: { name: 1 } })).toEqual(['Z', 'a', 'z', 'é', '\uFFFD', '\u{1F600}']);
        expect(await ids({})).toEqual(['Z', 'a', 'z', 'é', '\uFFFD', '\u{1F600}']);
        expect(await ids({ name: { $gt: '\uFFFD' } })).toEqual(['\u{1F600}']);
      });

      it('pages with skip and limit', async () => {
        expect(await ids({}, { limit: 2 })).toEqual(['ann', 'bob']);
        expect(await ids({}, { skip: 3, limit: 10 })).toEqual(['dan', 'eve']);
        expect(await ids({ kind: 'dog' }, { skip: 1 })).toEqual(['dan']);
        expect(await ids({}, { limit: 0 })).toEqual([]);
      });

      it('never returns more than 2000 records', async () => {
        await Promise.all(Array.from({ length: 2010 }, (_, i) => insert('users', { id: `u${i}` })));

        expect(await store.find('users', {})).toHaveLength(2000);
        expect(await store.find('users', {}, { limit: 5000 })).toHaveLength(2000);
        expect(await store.count('users', {})).toBe(2010);
      });
    });

    describe('what is refused', () => {
      const deep = (levels: number): Query => (levels === 0 ? { a: 1 } : { $and: [deep(levels - 1)] });
      const bad: [string, unknown][] = [
        ['$where', { $where: 'sleep(1000)' }],
        ['$where below', { $or: [{ $where: '1' }] }],
        ['$expr', { $expr: { $eq: [1, 1] } }],
        ['$function', { a: { $function: {} } }],
        ['$where as a field operator', { a: { $where: '1' } }],
        ['$text', { $text: { $search: 'a' } }],
        ['an unknown operator', { a: { $near: 1 } }],
        ['an operator inherited from the prototype', { a: { toString: 1 } }],
        ['an operator among fields', { a: { $gt: 1, b: 2 } }],
        ['an object as value', { a: { b: 1 } }],
        ['a list as value', { a: [1] }],
        ['an empty object as value', { a: {} }],
        ['undefined as value', { a: undefined }],
        ['an operator as path', { 'a.$b': 1 }],
        ['a hostile path', { 'a.__proto__.b': 1 }],
        ['constructor', { constructor: 1 }],
        ['nesting deeper than 10', deep(11)],
        ['operators nested deeper than 10', { a: Array.from({ length: 12 }).reduce((inner) => ({ $not: inner }), { $eq: 1 }) }],
        ['$in without a list', { a: { $in: 'x' } }],
        ['$in with objects', { a: { $in: [{ $gt: 1 }] } }],
        ['$or without a list', { $or: { a: 1 } }],
        ['$exists without a boolean', { a: { $exists: 'yes' } }],
        ['a regular expression that is too long', { a: { $regex: 'x'.repeat(201) } }],
        ['a regular expression that is not linear', { a: { $regex: '(a)\\1' } }],
        ['a broken regular expression', { a: { $regex: '(' } }],
        ['unknown options', { a: { $regex: 'a', $options: 'x' } }],
        ['$options alone', { a: { $options: 'i' } }],
        ['$size of a fraction', { a: { $size: 1.5 } }],
        ['a date', { a: new Date() }],
        ['infinity', { a: Number.POSITIVE_INFINITY }],
        ['half a surrogate', { a: '\ud800' }],
        ['no object', 'a' as never],
        ['null', null as never],
      ];
      it.each(bad)('refuses a query with %s', async (_, query) => {
        expect(await type(store.find('things', query as Query))).toBe('BadParametersError');
        expect(await type(store.count('things', query as Query))).toBe('BadParametersError');
        expect(await type(store.removeMany('things', query as Query))).toBe('BadParametersError');
      });

      it('accepts nesting of 10', async () => {
        expect(await type(store.find('things', deep(10)))).toBe('none');
      });

      it('refuses hostile names in records, ids that are none and unknown collections', async () => {
        expect(await type(insert('things', { id: 'a', map: JSON.parse('{"__proto__":1}') }))).toBe('BadParametersError');
        expect(await type(insert('things', { id: '' }))).toBe('BadParametersError');
        expect(await type(insert('things', {}))).toBe('BadParametersError');
        expect(await type(store.get('things', { $gt: '' } as never))).toBe('BadParametersError');
        expect(await type(store.get('others', 'a'))).toBe('BadParametersError');
        expect(await type(store.find('sqlite_master', {}))).toBe('BadParametersError');
        expect(await type(store.open({ name: 'a"; DROP TABLE things' }))).toBe('BadParametersError');
      });

      it('refuses pages and orders that make no sense', async () => {
        expect(await type(store.find('things', {}, { limit: -1 }))).toBe('BadParametersError');
        expect(await type(store.find('things', {}, { skip: 1.5 }))).toBe('BadParametersError');
        expect(await type(store.find('things', {}, { sort: { a: 2 as never } }))).toBe('BadParametersError');
        expect(await type(store.find('things', {}, { sort: { $a: 1 } }))).toBe('BadParametersError');
      });
    });

    describe('records that expire', () => {
      it('never returns, counts or updates an expired record', async () => {
        await insert('tokens', { id: 'old', code: 1, expiresAt: Date.now() - 1000 });
        await insert('tokens', { id: 'new', code: 2, expiresAt: Date.now() + 60_000 });
        await insert('tokens', { id: 'forever', code: 3 });

        expect(await store.get('tokens', 'old')).toBeNull();
        expect((await store.find('tokens', {})).map(({ id }) => id)).toEqual(['forever', 'new']);
        expect(await store.count('tokens', {})).toBe(2);
        expect(await store.count('tokens', { code: 1 })).toBe(0);
        expect(await type(store.update('tokens', 'old', { set: { code: 9 } }))).toBe('ObjectNotFoundError');
        expect(await store.remove('tokens', 'old')).toBe(false);
      });

      it('gives the id and the unique values of an expired record free', async () => {
        await insert('tokens', { id: 'a', code: 'c', expiresAt: Date.now() + 40 });
        await eventually(async () => (await store.get('tokens', 'a')) === null);

        expect(await type(insert('tokens', { id: 'a', code: 'c' }))).toBe('none');
      });

      it('follows a change of the expiry', async () => {
        await insert('tokens', { id: 'a', expiresAt: Date.now() + 60_000 });

        await store.update('tokens', 'a', { set: { expiresAt: Date.now() - 1 } });

        expect(await other.get('tokens', 'a')).toBeNull();
      });
    });

    it('opens a collection again without harm', async () => {
      await insert('users', { id: '1', email: 'a' });

      await other.open(COLLECTIONS[1]!);

      expect(await other.get('users', '1')).toEqual({ id: '1', email: 'a', _rev: 1 });
    });
  });
}
