import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { compileConditions, toCondition } from '../../../mixins/auth/abilities/conditions.ts';
import { compile } from '../../../mixins/filters/condition.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { DocumentsDriver, Query } from '../../../mixins/storage/documents/contract.ts';
import { sqliteDocuments } from '../../../mixins/storage/documents/drivers/sqlite.ts';

const folder = mkdtempSync(join(tmpdir(), 'prisme-conditions-'));
let documents: DocumentsDriver;

/** By id; every shape that rules meet: scalars, nothing, lists, lists of objects, nesting, names of prototypes. */
const OBJECTS: Record<string, JsonObject> = {
  a: { type: 'survey.answered', n: 1, tags: ['x', 'y'], source: { sessionId: 's1' }, public: true },
  b: { type: 'survey.opened', n: 2, tags: [], source: { sessionId: 's2' }, public: false },
  c: {
    type: 'order.paid',
    n: 10,
    tags: ['y'],
    items: [
      { sku: 'k1', count: 1 },
      { sku: 'k2', count: 5 },
    ],
  },
  d: { type: 'apikeys.created', n: -1, tags: ['x', 'y', 'z'], source: {} },
  e: { type: null, source: null, n: '1' },
  f: {},
  g: { type: 'Survey.Answered', n: 1.5, tags: 'x', items: [] },
};

/** [conditions, ids that match, whether the event history can be asked the same] */
const TABLE: [JsonObject, string, boolean][] = [
  [{}, 'abcdefg', true],
  [{ type: 'order.paid' }, 'c', true],
  [{ type: { $eq: 'order.paid' } }, 'c', true],
  [{ type: null }, 'ef', true],
  [{ 'source.sessionId': null }, 'cdefg', true],
  [{ type: { $ne: 'order.paid' } }, 'abdefg', true],
  [{ n: { $gt: 1 } }, 'bcg', true],
  [{ n: { $gte: 2 } }, 'bc', true],
  [{ n: { $lt: 1 } }, 'd', true],
  [{ n: { $lte: 1 } }, 'ad', true],
  [{ type: { $in: ['order.paid', 'survey.opened'] } }, 'bc', true],
  [{ type: { $in: [] } }, '', true],
  [{ type: { $in: [null, 'order.paid'] } }, 'cef', true],
  [{ type: { $nin: ['order.paid', 'survey.opened'] } }, 'adefg', true],
  [{ tags: 'x' }, 'adg', true],
  [{ tags: { $all: ['x', 'y'] } }, 'ad', true],
  [{ tags: { $size: 1 } }, 'c', false],
  [{ type: { $regex: '^survey\\.' } }, 'ab', true],
  [{ type: { $regex: '^survey\\.', $options: 'i' } }, 'abg', true],
  [{ public: { $exists: true } }, 'ab', true],
  [{ public: { $exists: false } }, 'cdefg', true],
  [{ public: true }, 'a', true],
  [{ items: { $elemMatch: { sku: 'k2', count: { $gt: 3 } } } }, 'c', false],
  [{ items: { $elemMatch: { sku: 'k1', count: { $gt: 3 } } } }, '', false],
  [{ 'items.sku': 'k1' }, 'c', false],
  [{ $and: [{ n: { $gt: 0 } }, { tags: 'y' }] }, 'ac', true],
  [{ $or: [{ type: 'order.paid' }, { 'source.sessionId': 's1' }] }, 'ac', true],
  [{ $nor: [{ type: 'order.paid' }, { 'source.sessionId': 's1' }] }, 'bdefg', true],
  [{ type: { $not: { $regex: '^apikeys\\.' } } }, 'abcefg', true],
  [{ 'source.sessionId': 's1', public: true }, 'a', true],
];

beforeAll(async () => {
  documents = await sqliteDocuments(join(folder, 'documents.db'));
  await documents.open({ name: 'things' });
  for (const [id, value] of Object.entries(OBJECTS)) await documents.insert('things', { id, ...value });
});
afterAll(async () => {
  await documents?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('conditions of rules', () => {
  it.each(TABLE)('%j matches %j in memory, in the document store and in the event history alike', async (conditions, ids, isEvent) => {
    const wanted = [...ids];
    const test = compileConditions(conditions);

    expect(Object.keys(OBJECTS).filter((id) => test(OBJECTS[id]))).toEqual(wanted);
    expect((await documents.find('things', conditions as Query)).map(({ id }) => id)).toEqual(wanted);
    if (isEvent) {
      const matches = compile(toCondition(conditions));
      expect(Object.keys(OBJECTS).filter((id) => matches(OBJECTS[id] as object))).toEqual(wanted);
    }
  });

  it.each([
    [{ $where: 'true' }],
    [{ $expr: {} }],
    [{ a: { $function: {} } }],
    [{ a: { $in: 'x' } }],
    [{ $and: {} }],
    [{ $or: [1] }],
    [{ a: { $regex: '(?=x)' } }],
    [{ a: { $regex: 'x'.repeat(3000) } }],
    [{ a: { $constructor: 1 } }],
    [{ a: { $elemMatch: 1 } }],
  ])('%j is refused as InvalidSecurity', (conditions) => {
    expect(() => compileConditions(conditions as JsonObject)({ a: [1] })).toThrow(expect.objectContaining({ type: 'InvalidSecurity' }));
  });

  it('reach no prototype', () => {
    expect(compileConditions({ 'constructor.name': 'Object' })({})).toBe(false);
    expect(compileConditions({ '__proto__.x': { $exists: true } })({})).toBe(false);
    expect(compileConditions({ toString: { $exists: true } })({})).toBe(false);
  });
});
