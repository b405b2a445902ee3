/**
 * collections — records an automation keeps. The namespace is the running workspace and the app that asks, and is no parameter: no other one
 * can be addressed. Each collection is a collection of the document store; its definition is a record of `runtime_collections`.
 *
 * Until a schema is set anything may be stored; with one, unknown fields are refused and missing ones read as null.
 */
import { createHash } from 'node:crypto';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { ulid } from '../../../mixins/shared/ids.ts';
import { findHostileName, isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import type { Query, Stored } from '../../../mixins/storage/documents/contract.ts';
import { applyLocally } from '../contexts.ts';
import { aggregate } from './collections-aggregate.ts';
import type { Module, ModuleCall, ModuleServices } from './index.ts';

const DEFINITIONS = 'runtime_collections';
const MAX_LIMIT = 2000;
const OWN_FIELDS = new Set(['id', '_id', 'createdAt', 'updatedAt', 'createdBy', 'updatedBy']);

interface Definition extends Stored {
  namespace: string;
  collection: string;
  properties?: Record<string, JsonObject>;
  indexes?: string[][];
  uniques?: string[][];
}

type Row = Stored & JsonObject;

const bad = (message: string) => fault('InvalidInstructionError', { message: `collections: ${message}` });
const namespaceOf = ({ request, frame }: ModuleCall) => `${request.workspaceId}/${frame.appSlug ?? ''}`;
const physical = (namespace: string, collection: string) =>
  `c_${createHash('sha256').update(`${namespace}/${collection}`).digest('hex').slice(0, 24)}`;

const opened = new WeakMap<object, Set<string>>();
async function openOnce({ documents }: ModuleServices, collection: Parameters<ModuleServices['documents']['open']>[0]): Promise<void> {
  const known = opened.get(documents) ?? new Set();
  opened.set(documents, known);
  const key = JSON.stringify(collection);
  if (known.has(key)) return;
  await documents.open(collection);
  known.add(key);
}

interface Target {
  name: string;
  definition: Definition | null;
  call: ModuleCall;
}

async function definitionsOf(call: ModuleCall): Promise<Definition[]> {
  await openOnce(call.services, { name: DEFINITIONS, indexes: ['namespace'] });
  return call.services.documents.find<Definition>(DEFINITIONS, { namespace: namespaceOf(call) });
}

async function targetOf(call: ModuleCall): Promise<Target> {
  const { collection } = call.parameters;
  if (typeof collection !== 'string' || !/^[\w -]{1,80}$/.test(collection))
    throw bad('collection must be a name of letters, digits, spaces, dashes and underscores.');
  const namespace = namespaceOf(call);
  const name = physical(namespace, collection);
  await openOnce(call.services, { name: DEFINITIONS, indexes: ['namespace'] });
  let definition = await call.services.documents.get<Definition>(DEFINITIONS, name);
  if (!definition) definition = await define(call, { id: name, namespace, collection });
  await openOnce(call.services, {
    name,
    ...(definition.indexes ? { indexes: definition.indexes } : {}),
    ...(definition.uniques ? { uniques: definition.uniques } : {}),
  });
  return { name, definition, call };
}

async function define(call: ModuleCall, record: Omit<Definition, '_rev'>): Promise<Definition> {
  const { documents } = call.services;
  try {
    return await documents.insert<Definition>(DEFINITIONS, record);
  } catch (error) {
    if (!isFault(error, 'AlreadyUsedError')) throw error;
    return (await documents.get<Definition>(DEFINITIONS, record.id)) as Definition;
  }
}

function assertFields(target: Target, names: string[]): void {
  const { properties } = target.definition ?? {};
  if (!properties) return;
  const unknown = names
    .map((name) => name.split('.')[0] as string)
    .filter((name) => !OWN_FIELDS.has(name) && !Object.hasOwn(properties, name));
  if (unknown.length) throw bad(`unknown field(s) ${[...new Set(unknown)].join(', ')} in '${target.definition?.collection}'.`);
}

/** A query as the store takes it: `_id` is `id`; operators it does not know are refused by the store itself. */
function queryOf(target: Target, query: unknown): Query {
  if (query === undefined || query === null) return {};
  if (!isPlainObject(query)) throw bad('query must be an object.');
  const result: JsonObject = {};
  for (const [field, value] of Object.entries(query)) {
    if (field === '$or' || field === '$and' || field === '$nor') {
      if (!Array.isArray(value)) throw bad(`${field} must be a list.`);
      result[field] = value.map((part) => queryOf(target, part));
      continue;
    }
    if (field.startsWith('$')) throw bad(`${field} is not an operator of queries.`);
    assertFields(target, [field]);
    result[field === '_id' ? 'id' : field] = value;
  }
  return result as Query;
}

function shown(target: Target, row: Row | null, fields?: unknown): JsonObject | null {
  if (!row) return null;
  const { _rev, ...rest } = row;
  const record: JsonObject = { ...rest };
  for (const name of Object.keys(target.definition?.properties ?? {})) record[name] ??= null;
  if (!Array.isArray(fields) || fields.length === 0) return record;
  const chosen: JsonObject = { id: record.id };
  for (const field of fields) {
    const value = readPath(record, String(field).split('.'));
    if (value !== undefined) chosen[String(field)] = value;
  }
  return chosen;
}

function findOptions(parameters: JsonObject) {
  const opts = isPlainObject(parameters.opts) ? parameters.opts : {};
  const limit = Math.min(Math.max(1, Number(opts.limit) || 100), MAX_LIMIT);
  const skip = opts.skip === undefined ? (Math.max(1, Number(opts.page) || 1) - 1) * limit : Math.max(0, Number(opts.skip) || 0);
  const sort: Record<string, 1 | -1> = {};
  if (isPlainObject(opts.sort))
    for (const [field, order] of Object.entries(opts.sort))
      sort[field === '_id' ? 'id' : field] = Number(order) < 0 || order === 'desc' ? -1 : 1;
  return { options: { limit, skip, ...(Object.keys(sort).length ? { sort } : {}) }, fields: opts.fields };
}

async function findRows(target: Target): Promise<JsonObject[]> {
  const { parameters, services } = target.call;
  const { options, fields } = findOptions(parameters);
  const rows = await services.documents.find<Row>(target.name, queryOf(target, parameters.query), options);
  return rows.map((row) => shown(target, row, fields) as JsonObject);
}

function newRecord(target: Target, data: unknown): Omit<Row, '_rev'> {
  if (!isPlainObject(data)) throw bad('data must be an object.');
  const hostile = findHostileName(data);
  if (hostile) throw bad(`'${hostile}' is not a field.`);
  assertFields(target, Object.keys(data));
  const { id, _id, ...fields } = data;
  const by = target.call.frame.identity.userId;
  const now = new Date().toISOString();
  return {
    ...fields,
    // Sorts by time of creation: records come back in the order in which they were made, unless asked otherwise.
    id: typeof (id ?? _id) === 'string' ? ((id ?? _id) as string) : ulid(),
    createdAt: now,
    updatedAt: now,
    ...(by ? { createdBy: by, updatedBy: by } : {}),
  };
}

const UPDATE_OPERATORS = new Set(['$set', '$push', '$inc', '$addToSet', '$pull', '$unset']);

/** The record after an update: plain data sets fields, operators do what they say. */
function updated(target: Target, row: Row, data: unknown): JsonObject {
  if (!isPlainObject(data)) throw bad('data must be an object.');
  const hostile = findHostileName(data);
  if (hostile) throw bad(`'${hostile}' is not a field.`);
  const hasOperators = Object.keys(data).some((key) => key.startsWith('$'));
  const changes = (hasOperators ? data : { $set: data }) as Record<string, unknown>;
  let record: JsonObject = structuredClone(row);
  for (const [operator, fields] of Object.entries(changes)) {
    if (!UPDATE_OPERATORS.has(operator) || !isPlainObject(fields)) throw bad(`${operator} is not an update operator.`);
    assertFields(target, Object.keys(fields));
    for (const [field, value] of Object.entries(fields)) {
      const path = field.split('.');
      if (path[0] === 'id' || path[0] === '_id' || path[0] === '_rev') throw bad('the id of a record cannot be changed.');
      record = applyLocally(record, [change(operator, path, value, readPath(record, path))]) as JsonObject;
    }
  }
  record.updatedAt = new Date().toISOString();
  const by = target.call.frame.identity.userId;
  if (by) record.updatedBy = by;
  return record;
}

type Change = Parameters<typeof applyLocally>[1][number];

function change(operator: string, path: string[], value: unknown, before: unknown): Change {
  const list = Array.isArray(before) ? before : [];
  const items = isPlainObject(value) && Array.isArray(value.$each) ? value.$each : [value];
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  switch (operator) {
    case '$inc':
      return { type: 'increment', path, by: Number(value) || 0 };
    case '$push':
      return { type: 'replace', path, value: [...list, ...items] };
    case '$addToSet':
      return { type: 'replace', path, value: [...list, ...items.filter((item) => !list.some((known) => same(known, item)))] };
    case '$pull':
      return { type: 'replace', path, value: list.filter((item) => !same(item, value)) };
    case '$unset':
      return { type: 'delete', path };
    default:
      return { type: 'replace', path, value };
  }
}

/** Read, change, write over the revision that was read; again when somebody else was faster. */
async function updateRow(target: Target, row: Row, data: unknown): Promise<Row | null> {
  const { documents } = target.call.services;
  let current: Row | null = row;
  for (let attempt = 0; current; attempt++) {
    const { id: _id, _rev, ...fields } = updated(target, current, data);
    const gone = Object.keys(current).filter((name) => name !== 'id' && name !== '_rev' && !Object.hasOwn(fields, name));
    try {
      return await documents.update<Row>(target.name, current.id, { set: fields, ...(gone.length ? { unset: gone } : {}) }, current._rev);
    } catch (error) {
      if (isFault(error, 'ObjectNotFoundError')) return null;
      if (!isFault(error, 'VersionConflict') || attempt >= 20) throw error;
      current = await documents.get<Row>(target.name, current.id);
    }
  }
  return null;
}

/** An empty query reaches everything: only on purpose. */
function assertMeant({ parameters }: ModuleCall): void {
  const { query, allowMatchAll, overrideSecurity } = parameters;
  if ((!isPlainObject(query) || Object.keys(query).length === 0) && allowMatchAll !== true && overrideSecurity !== true)
    throw bad('an empty query matches everything; set allowMatchAll to mean it.');
}

const isEntity = ({ parameters }: ModuleCall) => parameters.outputMode === 'entity';

async function update(call: ModuleCall, limit: number): Promise<JsonObject> {
  assertMeant(call);
  const target = await targetOf(call);
  const rows = await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { limit });
  let modifiedCount = 0;
  for (const row of rows) if (await updateRow(target, row, call.parameters.data)) modifiedCount++;
  return { matchedCount: rows.length, modifiedCount };
}

export const collections: Module = {
  async updateSchema(call) {
    const { parameters, services } = call;
    const target = await targetOf(call);
    const lists = (value: unknown): string[][] | undefined =>
      Array.isArray(value) ? value.map((item) => (Array.isArray(item) ? item : (item?.fields ?? [item])).map(String)) : undefined;
    const properties = parameters.properties ?? (parameters.schema as JsonObject | undefined)?.properties;
    const set: JsonObject = {};
    if (isPlainObject(properties)) set.properties = properties;
    const indexes = lists(parameters.indexes);
    const uniques = lists(parameters.uniques);
    if (indexes) set.indexes = indexes;
    if (uniques) set.uniques = uniques;
    const definition = await services.documents.update<Definition>(DEFINITIONS, target.name, { set });
    await openOnce(services, { name: target.name, ...(indexes ? { indexes } : {}), ...(uniques ? { uniques } : {}) });
    const { workspaceId } = call.request;
    await services.bus.send(
      'workspaces.collections.updated',
      {
        namespace: definition.namespace,
        workspaceId,
        collection: definition.collection,
        properties: properties ?? {},
        indexes: indexes ?? [],
        uniques: uniques ?? [],
      },
      { source: { workspaceId, correlationId: call.request.run.correlationId }, topic: 'workspaces.collections.updated' },
    );
    return { collection: definition.collection, properties: definition.properties ?? {}, indexes: indexes ?? [], uniques: uniques ?? [] };
  },
  listCollections: async (call) => (await definitionsOf(call)).map(({ collection }) => collection),
  getCollectionSchemas: async (call) =>
    Object.fromEntries(
      (await definitionsOf(call)).map(({ collection, properties = {}, indexes = [], uniques = [] }) => [
        collection,
        { properties, indexes, uniques },
      ]),
    ),
  async getCollectionStats(call) {
    const target = await targetOf(call);
    return { collection: target.definition?.collection, count: await call.services.documents.count(target.name, {}) };
  },
  async inferCollectionSchema(call) {
    const data = Array.isArray(call.parameters.data)
      ? call.parameters.data
      : await call.services.documents.find<Row>((await targetOf(call)).name, {}, { limit: 200 });
    return inferred(data);
  },
  async deleteCollections(call) {
    const { collections: names, all } = call.parameters;
    const wanted = (await definitionsOf(call)).filter(
      ({ collection }) => all === true || (Array.isArray(names) && names.includes(collection)),
    );
    for (const { id } of wanted) {
      await call.services.documents.removeMany(id, {});
      await call.services.documents.remove(DEFINITIONS, id);
    }
    return { deleted: wanted.map(({ collection }) => collection) };
  },
  async findOne(call) {
    const target = await targetOf(call);
    const { options, fields } = findOptions(call.parameters);
    const [row] = await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { ...options, limit: 1 });
    return shown(target, row ?? null, fields);
  },
  findMany: async (call) => findRows(await targetOf(call)),
  async findAndCount(call) {
    const target = await targetOf(call);
    return [await findRows(target), await call.services.documents.count(target.name, queryOf(target, call.parameters.query))];
  },
  async count(call) {
    const target = await targetOf(call);
    return call.services.documents.count(target.name, queryOf(target, call.parameters.query));
  },
  async distinct(call) {
    const target = await targetOf(call);
    const field = String(call.parameters.field ?? '');
    assertFields(target, [field]);
    const rows = await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { limit: MAX_LIMIT });
    const values = rows.flatMap((row) => readPath(row, field.split('.')) as unknown).filter((value) => value !== undefined);
    return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
  },
  async aggregate(call) {
    const target = await targetOf(call);
    const rows = await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { limit: MAX_LIMIT });
    return aggregate(
      rows.map((row) => shown(target, row) as JsonObject),
      call.parameters,
    );
  },
  async create(call) {
    const target = await targetOf(call);
    const row = await call.services.documents.insert<Row>(target.name, newRecord(target, call.parameters.data) as Row);
    return isEntity(call) ? shown(target, row) : { acknowledged: true, insertedId: row.id };
  },
  async bulkCreate(call) {
    const target = await targetOf(call);
    if (!Array.isArray(call.parameters.data)) throw bad('data must be a list.');
    const records = call.parameters.data.map((item) => newRecord(target, item));
    const rows: Row[] = [];
    for (const record of records) rows.push(await call.services.documents.insert<Row>(target.name, record as Row));
    return isEntity(call)
      ? rows.map((row) => shown(target, row))
      : { acknowledged: true, insertedCount: rows.length, insertedIds: rows.map(({ id }) => id) };
  },
  updateOne: (call) => update(call, 1),
  updateMany: (call) => update(call, MAX_LIMIT),
  async upsert(call) {
    const target = await targetOf(call);
    const { data, opts } = call.parameters;
    const { onConflictFields, onInsertValues } = (isPlainObject(opts) ? opts : {}) as {
      onConflictFields?: unknown;
      onInsertValues?: JsonObject;
    };
    if (!isPlainObject(data)) throw bad('data must be an object.');
    const fields = Array.isArray(onConflictFields) && onConflictFields.length ? onConflictFields.map(String) : ['id'];
    const query = Object.fromEntries(fields.map((field) => [field, readPath(data, field.split('.')) ?? null]));
    const [row] =
      query[fields[0] as string] === null ? [] : await call.services.documents.find<Row>(target.name, queryOf(target, query), { limit: 1 });
    const changed = row
      ? await updateRow(target, row, data)
      : await call.services.documents.insert<Row>(target.name, newRecord(target, { ...onInsertValues, ...data }) as Row);
    if (isEntity(call)) return shown(target, changed);
    return { acknowledged: true, upsertedCount: row ? 0 : 1, modifiedCount: row ? 1 : 0 };
  },
  async deleteOne(call) {
    assertMeant(call);
    const target = await targetOf(call);
    const [row] = await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { limit: 1 });
    return { deletedCount: row && (await call.services.documents.remove(target.name, row.id)) ? 1 : 0 };
  },
  async deleteMany(call) {
    assertMeant(call);
    const target = await targetOf(call);
    return { deletedCount: await call.services.documents.removeMany(target.name, queryOf(target, call.parameters.query)) };
  },
};

/** Property types seen in records, with a warning where they disagree. */
function inferred(data: unknown[]): JsonObject {
  const types = new Map<string, Set<string>>();
  for (const item of data)
    for (const [name, value] of Object.entries(isPlainObject(item) ? item : {})) {
      if (OWN_FIELDS.has(name) || name === '_rev' || value === null) continue;
      const type = Array.isArray(value) ? 'array' : typeof value === 'object' ? 'json' : typeof value;
      types.set(name, (types.get(name) ?? new Set()).add(type));
    }
  const properties = Object.fromEntries([...types].map(([name, found]) => [name, { type: found.size === 1 ? [...found][0] : 'json' }]));
  const warnings = [...types].filter(([, found]) => found.size > 1).map(([name, found]) => `${name}: ${[...found].join(', ')}`);
  return { properties, warnings };
}
