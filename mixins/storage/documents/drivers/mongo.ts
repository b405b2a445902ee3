/**
 * mongo — collections of MongoDB through moleculer-db-adapter-mongo. Of the adapter only find, findOne, count, insert, updateMany and removeMany are
 * used, so that another client can take its place. An update is read, patched here and written only over the revision that was read.
 *
 * Tested against a stand-in that speaks the wire protocol (test/support/mongo.ts); a real server by TEST_MONGODB_URL. See docs/decisions/023.
 */
import { setTimeout as delay } from 'node:timers/promises';
import MongoDbAdapter from 'moleculer-db-adapter-mongo';
import { MINUTE } from '../../../shared/clock.ts';
import { fault, isFault } from '../../../shared/errors.ts';
import type { JsonObject } from '../../../shared/json.ts';
import { configurationFault, reach } from '../../locations.ts';
import type { Collection, DocumentsDriver, FindOptions, Patch, Query, Stored } from '../contract.ts';
import { patched } from '../patch.ts';
import { nameOfGroup, toDocument, toFilter, toPath, toRecord } from './mongo-names.ts';

/** What is used of moleculer-db-adapter-mongo. */
interface Adapter {
  init(broker: unknown, service: unknown): void;
  connect(): Promise<void>;
  client?: { close(): Promise<void> };
  db: { collection(name: string): NativeCollection };
  collection: NativeCollection;
  find(params: { query: JsonObject; sort?: JsonObject; limit?: number; offset?: number }): Promise<JsonObject[]>;
  findOne(query: JsonObject): Promise<JsonObject | null>;
  count(params: { query: JsonObject }): Promise<number>;
  insert(document: JsonObject): Promise<JsonObject>;
  updateMany(query: JsonObject, update: JsonObject): Promise<number>;
  removeMany(query: JsonObject): Promise<number>;
}
interface NativeCollection {
  createIndex(keys: JsonObject, options: JsonObject): Promise<unknown>;
}

interface Opened {
  adapter: Adapter;
  uniques: string[][];
  expiresAt: string | undefined;
}

export interface MongoDocumentsOptions {
  startWithinMs?: number;
  sweepEveryMs?: number;
}

const VARIABLE = 'DOCUMENTS_URL';
/** Lost races of one update before it gives up. */
const ATTEMPTS_MAX = 100;
const SILENT = { info() {}, warn() {}, error() {} };

/** @throws ConfigurationError */
export async function mongoDocuments(
  url: string,
  { startWithinMs = 8_000, sweepEveryMs = MINUTE }: MongoDocumentsOptions = {},
): Promise<DocumentsDriver> {
  const options = {
    useUnifiedTopology: true,
    useNewUrlParser: true,
    serverSelectionTimeoutMS: 3_000,
    ignoreUndefined: true,
    writeConcern: { w: 'majority' },
  };
  const newAdapter = (collection: string): Adapter => {
    const adapter = new MongoDbAdapter(url, options, databaseOf(url)) as unknown as Adapter;
    adapter.init(null, { schema: { collection }, logger: SILENT });
    return adapter;
  };
  const first = newAdapter('_');
  await reach(VARIABLE, url, () => first.connect(), startWithinMs);
  const collections = new Map<string, Opened>();
  const sweeper = setInterval(() => void Promise.all([...collections.values()].map(sweep)).catch(() => {}), sweepEveryMs).unref();

  function opened(name: string): Opened {
    const found = collections.get(name);
    if (!found) throw fault('BadParametersError', { message: `The collection '${name}' was not opened.`, data: { collection: name } });
    return found;
  }

  return {
    async open({ name, indexes = [], uniques = [], expiresAt }: Collection) {
      // The adapter opens a pool per collection; all share the pool of the first.
      const adapter = newAdapter(name);
      adapter.db = first.db;
      adapter.collection = first.db.collection(name);
      const groups = uniques.map((group) => [group].flat());
      for (const group of [...indexes, ...uniques, ...(expiresAt ? [expiresAt] : [])])
        await guard(() =>
          adapter.collection.createIndex(Object.fromEntries([group].flat().map((path) => [toPath(path), 1])), { background: true }),
        );
      for (const group of groups)
        await guard(() =>
          adapter.collection.createIndex({ [`_unique.${nameOfGroup(group)}`]: 1 }, { name: indexName(group), unique: true, sparse: true }),
        );
      collections.set(name, { adapter, uniques: groups, expiresAt });
    },

    get: <T extends Stored>(collection: string, id: string) =>
      guard(async () => {
        const found = opened(collection);
        const document = await found.adapter.findOne(live(found, { id }));
        return document && toRecord<T>(document);
      }),

    find: <T extends Stored>(collection: string, query: Query, { sort = {}, limit = 2000, skip = 0 }: FindOptions = {}) =>
      guard(async () => {
        if (limit === 0) return [];
        const found = opened(collection);
        const order = Object.fromEntries(
          Object.entries({ ...sort, ...('id' in sort ? {} : { id: 1 }) }).map(([path, way]) => [toPath(path), way]),
        );
        const documents = await found.adapter.find({ query: live(found, query), sort: order, limit, offset: skip });
        return documents.map(toRecord<T>);
      }),

    count: (collection, query) => guard(async () => opened(collection).adapter.count({ query: live(opened(collection), query) })),

    insert: <T extends Stored>(collection: string, record: Omit<T, '_rev'>) =>
      guard(async () => {
        const found = opened(collection);
        await sweep(found);
        const stored = { ...record, _rev: 1 } as T;
        await found.adapter.insert(toDocument(stored, found.uniques));
        return stored;
      }, collections.get(collection)),

    update: <T extends Stored>(collection: string, id: string, patch: Patch, ifRevision?: number) =>
      guard(async () => {
        const found = opened(collection);
        for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
          const before = await found.adapter.findOne(live(found, { id }));
          if (!before) throw fault('ObjectNotFoundError', { message: `There is no '${id}' in ${collection}.`, data: { collection, id } });
          const revision = before._rev as number;
          if (ifRevision !== undefined && ifRevision !== revision)
            throw fault('VersionConflict', { data: { collection, id, expected: ifRevision, actual: revision } });
          const next = patched(toRecord<T>(before), structuredCopy(patch));
          if ((await found.adapter.updateMany({ _id: id, _rev: revision }, changes(before, toDocument(next, found.uniques)))) === 1)
            return next;
          await delay(Math.random() * Math.min(2 ** attempt, 50));
        }
        throw fault('ServiceUnavailable', { message: `'${id}' is written by too many at once; retry later.`, data: { collection, id } });
      }, collections.get(collection)),

    remove: (collection, id) => guard(async () => (await opened(collection).adapter.removeMany(live(opened(collection), { id }))) > 0),
    removeMany: (collection, query) => guard(async () => opened(collection).adapter.removeMany(live(opened(collection), query))),

    async close() {
      clearInterval(sweeper);
      await first.client?.close();
    },
  };
}

/** Name of the database in the URL's path; `prisme` when it has none. */
function databaseOf(url: string): string {
  const path = /^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]*)/.exec(url)?.[1];
  if (!/^mongodb(\+srv)?:\/\/[^/]/.test(url)) throw configurationFault(VARIABLE, url, 'mongodb://host:port/database is expected');
  return path || 'prisme';
}

const indexName = (group: string[]): string => `unique ${group.join('+')}`;

/** The query, and not expired. The server's own expiry wants dates and is a minute late. */
function live({ expiresAt }: Opened, query: Query): JsonObject {
  const filter = toFilter(query);
  return expiresAt ? { $and: [filter, { $nor: [{ [toPath(expiresAt)]: { $lte: Date.now() } }] }] } : filter;
}

async function sweep({ adapter, expiresAt }: Opened): Promise<void> {
  if (expiresAt) await adapter.removeMany({ [toPath(expiresAt)]: { $lte: Date.now() } });
}

/** Each attempt patches anew: the values of the patch become part of the record. */
const structuredCopy = (patch: Patch): Patch => JSON.parse(JSON.stringify(patch));

/** What makes `after` of `before`: only top-level fields that differ. */
function changes(before: JsonObject, after: JsonObject): JsonObject {
  const set = Object.entries(after).filter(([name, value]) => name !== '_id' && JSON.stringify(before[name]) !== JSON.stringify(value));
  const gone = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  return { $set: Object.fromEntries(set), ...(gone.length ? { $unset: Object.fromEntries(gone.map((name) => [name, ''])) } : {}) };
}

/** Errors of the server and the client as faults of the catalogue. */
async function guard<T>(work: () => Promise<T>, collection?: Opened): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isFault(error)) throw error;
    const { code, message } = error as { code?: unknown; message: string };
    if (code === 11000) {
      const fields = collection?.uniques.find((group) => message.includes(indexName(group))) ?? ['id'];
      throw fault('AlreadyUsedError', { message: `Another record has the same ${fields.join(' and ')}.`, data: { fields } });
    }
    throw fault('UpstreamUnavailable', { message: 'The document store does not answer.', cause: error });
  }
}
