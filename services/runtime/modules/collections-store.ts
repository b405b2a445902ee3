/** collections-store — where the records of a collection are: names, definitions, queries, pages. See collections.ts. */
import { createHash } from 'node:crypto';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import type { Query, Stored } from '../../../mixins/storage/documents/contract.ts';
import type { ModuleCall, ModuleServices } from './index.ts';

export const DEFINITIONS = 'runtime_collections';
export const MAX_LIMIT = 2000;
const PAGE = 500;
/** Records an aggregation or a list of distinct values may look at. */
const MAX_SCANNED = 100_000;
/** Keys of operations, kept in the record and never shown. */
export const OPERATIONS = '_ops';
export const OWN_FIELDS = new Set(['id', '_id', 'createdAt', 'updatedAt', 'createdBy', 'updatedBy']);

export interface Definition extends Stored {
  namespace: string;
  collection: string;
  properties?: Record<string, JsonObject>;
  indexes?: string[][];
  uniques?: string[][];
}

export type Row = Stored & JsonObject;

export const bad = (message: string) => fault('InvalidInstructionError', { message: `collections: ${message}` });
const namespaceOf = ({ request, frame }: ModuleCall) => `${request.workspaceId}/${frame.appSlug ?? ''}`;
const physical = (namespace: string, collection: string) =>
  `c_${createHash('sha256').update(`${namespace}/${collection}`).digest('hex').slice(0, 24)}`;

const opened = new WeakMap<object, Set<string>>();
export async function openOnce(
  { documents }: ModuleServices,
  collection: Parameters<ModuleServices['documents']['open']>[0],
): Promise<void> {
  const known = opened.get(documents) ?? new Set();
  opened.set(documents, known);
  const key = JSON.stringify(collection);
  if (known.has(key)) return;
  await documents.open(collection);
  known.add(key);
}

export interface Target {
  name: string;
  definition: Definition | null;
  call: ModuleCall;
}

export async function definitionsOf(call: ModuleCall): Promise<Definition[]> {
  await openOnce(call.services, { name: DEFINITIONS, indexes: ['namespace'] });
  return call.services.documents.find<Definition>(DEFINITIONS, { namespace: namespaceOf(call) });
}

export async function targetOf(call: ModuleCall): Promise<Target> {
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

export function assertFields(target: Target, names: string[]): void {
  const { properties } = target.definition ?? {};
  if (!properties) return;
  const unknown = names
    .map((name) => name.split('.')[0] as string)
    .filter((name) => !OWN_FIELDS.has(name) && !Object.hasOwn(properties, name));
  if (unknown.length) throw bad(`unknown field(s) ${[...new Set(unknown)].join(', ')} in '${target.definition?.collection}'.`);
}

/** A query as the store takes it: `_id` is `id`; operators it does not know are refused by the store itself. */
export function queryOf(target: Target, query: unknown): Query {
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

export function shown(target: Target, row: Row | null, fields?: unknown): JsonObject | null {
  if (!row) return null;
  const { _rev, [OPERATIONS]: _ops, ...rest } = row;
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

export function findOptions(parameters: JsonObject) {
  const opts = isPlainObject(parameters.opts) ? parameters.opts : {};
  const limit = Math.min(Math.max(1, Number(opts.limit) || 100), MAX_LIMIT);
  const skip = opts.skip === undefined ? (Math.max(1, Number(opts.page) || 1) - 1) * limit : Math.max(0, Number(opts.skip) || 0);
  const sort: Record<string, 1 | -1> = {};
  if (isPlainObject(opts.sort))
    for (const [field, order] of Object.entries(opts.sort))
      sort[field === '_id' ? 'id' : field] = Number(order) < 0 || order === 'desc' ? -1 : 1;
  return { options: { limit, skip, ...(Object.keys(sort).length ? { sort } : {}) }, fields: opts.fields };
}

/** Every record a query accepts, in pages, in the order in which they were made. */
export async function* pagesOf(target: Target): AsyncGenerator<Row[]> {
  const query = queryOf(target, target.call.parameters.query);
  for (let after: string | undefined; ; ) {
    const from = after === undefined ? query : ({ $and: [query, { id: { $gt: after } }] } as unknown as Query);
    const rows = await target.call.services.documents.find<Row>(target.name, from, { sort: { id: 1 }, limit: PAGE });
    if (rows.length) yield rows;
    if (rows.length < PAGE) return;
    after = (rows.at(-1) as Row).id;
  }
}

export async function scanned(target: Target): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const page of pagesOf(target)) {
    rows.push(...page);
    if (rows.length > MAX_SCANNED) throw bad(`the query matches more than ${MAX_SCANNED} records; narrow it.`);
  }
  return rows;
}

export async function findRows(target: Target): Promise<JsonObject[]> {
  const { parameters, services } = target.call;
  const { options, fields } = findOptions(parameters);
  const rows = await services.documents.find<Row>(target.name, queryOf(target, parameters.query), options);
  return rows.map((row) => shown(target, row, fields) as JsonObject);
}
