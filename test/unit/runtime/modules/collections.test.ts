import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../../mixins/shared/config.ts';
import type { DocumentsDriver } from '../../../../mixins/storage/documents/contract.ts';
import { openDocumentsDriver } from '../../../../mixins/storage/documents/open.ts';
import { guarded } from '../../../../mixins/storage/documents/policy.ts';
import { createModules, type Modules } from '../../../../services/runtime/modules/index.ts';

describe('collections', () => {
  let dir: string;
  let documents: DocumentsDriver;
  let modules: Modules;
  const sent: string[] = [];
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'collections-'));
    documents = await openDocumentsDriver(loadConfig({}, { dataDir: dir }));
    modules = createModules({
      documents: guarded(documents),
      bus: { send: async (type: string) => void sent.push(type) } as never,
      cache: {} as never,
      keys: () => ({}) as never,
      auth: {} as never,
      organisations: {} as never,
      slugOf: async () => '',
      call: async () => undefined,
    });
  });
  afterAll(async () => {
    await documents.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const call = (
    name: string,
    parameters: object,
    { workspaceId = 'w', appSlug }: { workspaceId?: string; appSlug?: string } = {},
  ): Promise<any> =>
    modules.call(
      { module: 'collections', function: name, parameters: parameters as never },
      { automationSlug: 'a', instance: '', depth: 1, identity: { userId: 'ada' }, ...(appSlug ? { appSlug } : {}) },
      { workspaceId, run: { correlationId: 'c', depth: 0 } } as never,
    );

  it('keep records with their author and dates, found by fields', async () => {
    const { insertedId } = await call('create', { collection: 'pets', data: { name: 'Rex', age: 3 } });
    await call('bulkCreate', {
      collection: 'pets',
      data: [
        { name: 'Tom', age: 5 },
        { name: 'Ida', age: 1 },
      ],
    });

    expect(await call('findOne', { collection: 'pets', query: { _id: insertedId } })).toMatchObject({
      id: insertedId,
      name: 'Rex',
      createdBy: 'ada',
      createdAt: expect.any(String),
    });
    expect(
      (await call('findMany', { collection: 'pets', query: { age: { $gte: 3 } }, opts: { sort: { age: -1 }, fields: ['name'] } })).map(
        ({ name }: any) => name,
      ),
    ).toEqual(['Tom', 'Rex']);
    expect(await call('findAndCount', { collection: 'pets', query: {}, opts: { limit: 1, page: 2, sort: { age: 1 } } })).toMatchObject([
      [{ name: 'Rex' }],
      3,
    ]);
    expect(await call('count', { collection: 'pets', query: { $or: [{ name: 'Rex' }, { name: 'Tom' }] } })).toBe(2);
    expect((await call('distinct', { collection: 'pets', field: 'name' })).sort()).toEqual(['Ida', 'Rex', 'Tom']);
  });

  it('belong to one workspace and one app', async () => {
    expect(await call('findMany', { collection: 'pets', query: {} }, { workspaceId: 'other' })).toEqual([]);
    expect(await call('findMany', { collection: 'pets', query: {} }, { appSlug: 'app' })).toEqual([]);
    expect(await call('listCollections', {})).toEqual(['pets']);
  });

  it('change by fields and operators, and by concurrent writers without loss', async () => {
    await call('create', { collection: 'carts', data: { key: 'c1', n: 0, list: [] } });

    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        call('updateOne', { collection: 'carts', query: { key: 'c1' }, data: { $inc: { n: 1 }, $push: { list: n } } }),
      ),
    );
    await call('updateOne', {
      collection: 'carts',
      query: { key: 'c1' },
      data: { $addToSet: { list: 3 }, $pull: { list: 4 }, $set: { 'deep.x': 1 } },
    });
    await call('updateOne', { collection: 'carts', query: { key: 'c1' }, data: { plain: true } });

    const cart = await call('findOne', { collection: 'carts', query: { key: 'c1' } });
    expect(cart).toMatchObject({ n: 20, deep: { x: 1 }, plain: true, updatedBy: 'ada' });
    expect(cart.list).toHaveLength(19);
  });

  it('are inserted or changed by upsert', async () => {
    const upsert = (data: object) =>
      call('upsert', { collection: 'users', data, opts: { onConflictFields: ['email'], onInsertValues: { fresh: true } } });

    expect(await upsert({ email: 'a', n: 1 })).toMatchObject({ upsertedCount: 1, modifiedCount: 0 });
    expect(await upsert({ email: 'a', n: 2 })).toMatchObject({ upsertedCount: 0, modifiedCount: 1 });
    expect(await call('findMany', { collection: 'users', query: {} })).toMatchObject([{ email: 'a', n: 2, fresh: true }]);
  });

  it('follow their schema once they have one', async () => {
    await call('updateSchema', {
      collection: 'strict',
      properties: { name: { type: 'string' }, note: { type: 'string' } },
      uniques: [['name']],
    });
    await call('create', { collection: 'strict', data: { name: 'one' } });

    expect(await call('findOne', { collection: 'strict', query: { name: 'one' } })).toMatchObject({ name: 'one', note: null });
    await expect(call('create', { collection: 'strict', data: { nmae: 'x' } })).rejects.toMatchObject({ type: 'InvalidInstructionError' });
    await expect(call('findMany', { collection: 'strict', query: { other: 1 } })).rejects.toMatchObject({
      type: 'InvalidInstructionError',
    });
    await expect(call('create', { collection: 'strict', data: { name: 'one' } })).rejects.toMatchObject({ type: 'AlreadyUsedError' });
    expect(sent).toContain('workspaces.collections.updated');
  });

  it('are summed up by stages or by steps', async () => {
    await call('bulkCreate', {
      collection: 'sales',
      data: [
        { shop: 'a', n: 1 },
        { shop: 'a', n: 2 },
        { shop: 'b', n: 5 },
      ],
    });

    expect(
      await call('aggregate', {
        collection: 'sales',
        query: {},
        steps: [{ $group: { _id: '$shop', total: { $sum: '$n' } } }, { $sort: { total: -1 } }],
      }),
    ).toEqual([
      { _id: 'b', total: 5 },
      { _id: 'a', total: 3 },
    ]);
    expect(
      await call('aggregate', {
        collection: 'sales',
        query: {},
        opts: { groupBy: 'shop' },
        steps: [{ inputField: 'n', type: 'avg', outputField: 'mean' }],
      }),
    ).toEqual([
      { shop: 'a', mean: 1.5 },
      { shop: 'b', mean: 5 },
    ]);
  });

  it('refuse what reaches everything by accident, or a prototype', async () => {
    await expect(call('deleteMany', { collection: 'sales', query: {} })).rejects.toMatchObject({ type: 'InvalidInstructionError' });
    await expect(call('create', { collection: 'sales', data: JSON.parse('{"__proto__":{"x":1}}') })).rejects.toMatchObject({
      type: 'InvalidInstructionError',
    });
    await expect(call('findMany', { collection: 'sales', query: { $where: '1' } })).rejects.toMatchObject({
      type: 'InvalidInstructionError',
    });
    expect(await call('deleteMany', { collection: 'sales', query: {}, allowMatchAll: true })).toEqual({ deletedCount: 3 });
  });

  it('change once when the effect of a run is performed again', async () => {
    const again = (name: string, parameters: object, key: string): Promise<any> =>
      modules.call(
        { module: 'collections', function: name, parameters: parameters as never },
        { automationSlug: 'a', instance: '', depth: 1, identity: { userId: 'ada' } },
        { workspaceId: 'w', run: { correlationId: 'c', depth: 0 } } as never,
        { key, at: 1_700_000_000_000 },
      );
    const twice = async (...args: Parameters<typeof again>) => [await again(...args), await again(...args)];
    const collection = 'once';

    const [first, second] = await twice('create', { collection, data: { n: 1, list: [] } }, 'e/1');
    const [many, manyAgain] = await twice('bulkCreate', { collection, data: [{ n: 5 }, { n: 6 }] }, 'e/2');
    await twice('updateOne', { collection, query: { id: first.insertedId }, data: { $inc: { n: 10 }, $push: { list: 'x' } } }, 'e/3');
    await again('updateOne', { collection, query: { id: first.insertedId }, data: { $inc: { n: 10 } } }, 'e/4');
    const [upserted] = await twice('upsert', { collection, data: { name: 'only' }, opts: { onConflictFields: ['name'] } }, 'e/5');

    expect(second).toEqual(first);
    expect(manyAgain).toEqual(many);
    expect(upserted).toMatchObject({ upsertedCount: 1 });
    expect(await again('count', { collection }, 'e/6')).toBe(4);
    const record = await again('findOne', { collection, query: { id: first.insertedId } }, 'e/7');
    expect(record).toMatchObject({ n: 21, list: ['x'] });
    expect(Object.keys(record)).not.toContain('_ops');
  });

  it('of any number are changed, counted and summed up', async () => {
    const data = Array.from({ length: 1_200 }, (_, n) => ({ n, even: n % 2 === 0 }));
    await call('bulkCreate', { collection: 'crowd', data });

    expect(await call('updateMany', { collection: 'crowd', query: { even: true }, data: { $inc: { n: 1 } } })).toEqual({
      matchedCount: 600,
      modifiedCount: 600,
    });
    expect(await call('distinct', { collection: 'crowd', query: {}, field: 'n' })).toHaveLength(600);
    expect(await call('aggregate', { collection: 'crowd', query: {}, steps: [{ $group: { _id: '$even', n: { $sum: 1 } } }] })).toEqual(
      expect.arrayContaining([
        { _id: true, n: 600 },
        { _id: false, n: 600 },
      ]),
    );
  });

  it('unknown functions are refused with the list of those that exist', async () => {
    await expect(call('drop', {})).rejects.toMatchObject({ type: 'InvalidInstructionError', message: expect.stringContaining('findMany') });
  });
});
