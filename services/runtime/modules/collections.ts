/**
 * collections — records an automation keeps. The namespace is the running workspace and the app that asks, and is no parameter: no other one
 * can be addressed. Each collection is a collection of the document store; its definition is a record of `runtime_collections`.
 *
 * Until a schema is set anything may be stored; with one, unknown fields are refused and missing ones read as null.
 */
import { isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import { aggregate } from './collections-aggregate.ts';
import {
  assertFields,
  bad,
  DEFINITIONS,
  type Definition,
  definitionsOf,
  findOptions,
  findRows,
  OWN_FIELDS,
  openOnce,
  pagesOf,
  queryOf,
  type Row,
  scanned,
  shown,
  targetOf,
} from './collections-store.ts';
import { insertRow, newRecord, updateAll, updateRow } from './collections-writes.ts';
import type { Module, ModuleCall } from './index.ts';

/** An empty query reaches everything: only on purpose. */
function assertMeant({ parameters }: ModuleCall): void {
  const { query, allowMatchAll, overrideSecurity } = parameters;
  if ((!isPlainObject(query) || Object.keys(query).length === 0) && allowMatchAll !== true && overrideSecurity !== true)
    throw bad('an empty query matches everything; set allowMatchAll to mean it.');
}

const isEntity = ({ parameters }: ModuleCall) => parameters.outputMode === 'entity';

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
    const rows = await scanned(target);
    const values = rows.flatMap((row) => readPath(row, field.split('.')) as unknown).filter((value) => value !== undefined);
    return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
  },
  async aggregate(call) {
    const target = await targetOf(call);
    const rows = await scanned(target);
    return aggregate(
      rows.map((row) => shown(target, row) as JsonObject),
      call.parameters,
    );
  },
  async create(call) {
    const target = await targetOf(call);
    const { data } = call.parameters;
    const row = await insertRow(target, newRecord(target, data), data);
    return isEntity(call) ? shown(target, row) : { acknowledged: true, insertedId: row.id };
  },
  async bulkCreate(call) {
    const target = await targetOf(call);
    if (!Array.isArray(call.parameters.data)) throw bad('data must be a list.');
    const { data } = call.parameters;
    // All are looked at before the first is written.
    const records = data.map((item, n) => newRecord(target, item, n));
    const rows: Row[] = [];
    for (const [n, record] of records.entries()) rows.push(await insertRow(target, record, data[n]));
    return isEntity(call)
      ? rows.map((row) => shown(target, row))
      : { acknowledged: true, insertedCount: rows.length, insertedIds: rows.map(({ id }) => id) };
  },
  async updateOne(call) {
    assertMeant(call);
    const target = await targetOf(call);
    return updateAll(target, await call.services.documents.find<Row>(target.name, queryOf(target, call.parameters.query), { limit: 1 }));
  },
  async updateMany(call) {
    assertMeant(call);
    const target = await targetOf(call);
    const total = { matchedCount: 0, modifiedCount: 0 };
    for await (const page of pagesOf(target)) {
      const { matchedCount, modifiedCount } = (await updateAll(target, page)) as typeof total;
      total.matchedCount += matchedCount;
      total.modifiedCount += modifiedCount;
    }
    return total;
  },
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
      : await insertRow(target, newRecord(target, { ...onInsertValues, ...data }), data);
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
