/** collections-writes — how records are made and changed: by fields and operators, by concurrent writers, and once when a run is repeated. */
import { isFault } from '../../../mixins/shared/errors.ts';
import { ulid } from '../../../mixins/shared/ids.ts';
import { findHostileName, isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import { applyLocally } from '../contexts.ts';
import { derivedUlid } from '../native-events.ts';
import { assertFields, bad, OPERATIONS, type Row, type Target } from './collections-store.ts';
import type { ModuleCall } from './index.ts';

/** Operations a record remembers, so that one repeated after the death of its node changes nothing again. */
const REMEMBERED = 20;

export function newRecord(target: Target, data: unknown, n = 0): Omit<Row, '_rev'> {
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
    id: typeof (id ?? _id) === 'string' ? ((id ?? _id) as string) : freshId(target.call, n),
    createdAt: now,
    updatedAt: now,
    ...(by ? { createdBy: by, updatedBy: by } : {}),
  };
}

/** The same record when the same effect of a run is performed again. */
const freshId = ({ operation }: ModuleCall, n: number): string => (operation ? derivedUlid(operation.at, `${operation.key}/${n}`) : ulid());

/** Inserts a record; one that a former attempt of this very effect has inserted is answered as it is. */
export async function insertRow(target: Target, record: Omit<Row, '_rev'>, given: unknown): Promise<Row> {
  const { documents } = target.call.services;
  try {
    return await documents.insert<Row>(target.name, record as Row);
  } catch (error) {
    const isOwn = target.call.operation && isPlainObject(given) && given.id === undefined && given._id === undefined;
    const before = isOwn && isFault(error, 'AlreadyUsedError') ? await documents.get<Row>(target.name, String(record.id)) : null;
    if (!before) throw error;
    return before;
  }
}

const UPDATE_OPERATORS = new Set(['$set', '$push', '$inc', '$addToSet', '$pull', '$unset']);

/** The record after an update: plain data sets fields, operators do what they say. */
function updated(target: Target, row: Row, data: unknown): JsonObject {
  if (!isPlainObject(data)) throw bad('data must be an object.');
  const { operation } = target.call;
  const known = (row[OPERATIONS] as string[] | undefined) ?? [];
  if (operation && known.includes(operation.key)) return row;
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
  // Setting a field twice is setting it once; counting and appending are not.
  if (operation && ('$inc' in changes || '$push' in changes)) record[OPERATIONS] = [...known, operation.key].slice(-REMEMBERED);
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
export async function updateRow(target: Target, row: Row, data: unknown): Promise<Row | null> {
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

export async function updateAll(target: Target, rows: Row[]): Promise<JsonObject> {
  let modifiedCount = 0;
  for (const row of rows) if (await updateRow(target, row, target.call.parameters.data)) modifiedCount++;
  return { matchedCount: rows.length, modifiedCount };
}
