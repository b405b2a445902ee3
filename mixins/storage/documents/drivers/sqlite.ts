/**
 * sqlite — one file for all collections, shared by the processes of one machine: a table per collection (id, JSON text), expression indexes on
 * the declared fields. Every write is on the disk when it resolves.
 */
import { MINUTE } from '../../../shared/clock.ts';
import { type Fault, fault } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import { openSqlite, type SqlValue } from '../../sqlite.ts';
import type { Collection, DocumentsDriver, FindOptions, Query, Stored } from '../contract.ts';
import { compileQuery } from '../matcher.ts';
import { patched } from '../patch.ts';
import { keyOf, whereOf } from './sqlite-where.ts';

export interface SqliteDocumentsOptions {
  /** Milliseconds between two removals of expired records. */
  sweepEveryMs?: number;
  now?: () => number;
}

interface Table {
  name: string;
  expiryKey: string | null;
  /** Name of a unique index → its fields. */
  uniques: Map<string, string[]>;
}

export function sqliteDocuments(file: string, { sweepEveryMs = MINUTE, now = Date.now }: SqliteDocumentsOptions = {}): DocumentsDriver {
  const { db, sql, transaction, close } = openSqlite(file, 'full');
  const tables = new Map<string, Table>();
  const sweeper = setInterval(() => sweepAll(), sweepEveryMs).unref();

  function tableOf(collection: string): Table {
    const table = tables.get(collection);
    if (!table) throw fault('BadParametersError', { message: `The collection '${collection}' was not opened.`, data: { collection } });
    return table;
  }

  /** Condition and its values: not expired, and what `query` lets the indexes decide. */
  function candidates(table: Table, query: Query): { sql: string; values: SqlValue[] } {
    const where = whereOf(query);
    const parts = [...(where ? [`(${where.sql})`] : []), ...(table.expiryKey ? [`NOT coalesce(${isExpired(table.expiryKey)}, 0)`] : [])];
    return {
      sql: parts.length ? ` WHERE ${parts.join(' AND ')}` : '',
      values: [...(where?.values ?? []), ...(table.expiryKey ? [now()] : [])],
    };
  }

  function read<T extends Stored>(table: Table, id: string): T | null {
    const condition = table.expiryKey ? ` AND NOT coalesce(${isExpired(table.expiryKey)}, 0)` : '';
    const row = sql(`SELECT body FROM ${table.name} WHERE id = ?${condition}`).get(id, ...(table.expiryKey ? [now()] : []));
    return row ? parseJson<T>(row.body as string) : null;
  }

  function sweep(table: Table): void {
    if (table.expiryKey) sql(`DELETE FROM ${table.name} WHERE ${isExpired(table.expiryKey)}`).run(now());
  }

  function sweepAll(): void {
    try {
      for (const table of tables.values()) sweep(table);
    } catch {
      // Another process holds the file for longer than the time-out: the next sweep does it.
    }
  }

  function* matching<T extends Stored>(table: Table, query: Query, order: string): Generator<T> {
    const where = candidates(table, query);
    const matches = compileQuery(query);
    for (const row of sql(`SELECT body FROM ${table.name}${where.sql}${order}`).iterate(...where.values)) {
      const record = parseJson<T>(row.body as string);
      if (matches(record)) yield record;
    }
  }

  return {
    async open({ name, indexes = [], uniques = [], expiresAt }: Collection) {
      const table: Table = { name: `"c_${name}"`, expiryKey: expiresAt ? keyOf(expiresAt) : null, uniques: new Map() };
      const groups = (list: (string | string[])[]) => list.map((group) => (Array.isArray(group) ? group : [group]));
      const columns = (group: string[]) => {
        const keys = group.map(keyOf);
        if (keys.includes(null))
          throw fault('BadParametersError', { message: `The fields ${group.join(', ')} of '${name}' cannot be indexed.` });
        return keys.join(', ');
      };
      transaction(() => {
        db.exec(`CREATE TABLE IF NOT EXISTS ${table.name} (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)`);
        for (const group of groups([...indexes, ...(expiresAt ? [expiresAt] : [])]))
          db.exec(`CREATE INDEX IF NOT EXISTS "i_${name}:${group.join('+')}" ON ${table.name} (${columns(group)})`);
        for (const group of groups(uniques)) {
          table.uniques.set(`u_${name}:${group.join('+')}`, group);
          db.exec(`CREATE UNIQUE INDEX IF NOT EXISTS "u_${name}:${group.join('+')}" ON ${table.name} (${columns(group)})`);
        }
      });
      tables.set(name, table);
    },

    async get<T extends Stored>(collection: string, id: string) {
      return read<T>(tableOf(collection), id);
    },

    async find<T extends Stored>(collection: string, query: Query, { sort, limit = 2000, skip = 0 }: FindOptions = {}) {
      const found: T[] = [];
      if (limit === 0) return found;
      let passed = 0;
      for (const record of matching<T>(tableOf(collection), query, orderBy(sort))) {
        if (passed++ < skip) continue;
        found.push(record);
        if (found.length >= limit) break;
      }
      return found;
    },

    async count(collection, query) {
      const table = tableOf(collection);
      if (Object.keys(query).length === 0) {
        const where = candidates(table, query);
        return sql(`SELECT count(*) AS n FROM ${table.name}${where.sql}`).get(...where.values)?.n as number;
      }
      let count = 0;
      for (const _ of matching(table, query, '')) count++;
      return count;
    },

    async insert<T extends Stored>(collection: string, record: Omit<T, '_rev'>) {
      const table = tableOf(collection);
      const stored = { ...record, _rev: 1 } as T;
      transaction(() => {
        sweep(table);
        writing(table, () => sql(`INSERT INTO ${table.name} (id, body) VALUES (?, ?)`).run(stored.id, JSON.stringify(stored)));
      });
      return stored;
    },

    async update<T extends Stored>(collection: string, id: string, patch: Parameters<DocumentsDriver['update']>[2], ifRevision?: number) {
      const table = tableOf(collection);
      return transaction(() => {
        sweep(table);
        const record = read<T>(table, id);
        if (!record) throw fault('ObjectNotFoundError', { message: `There is no '${id}' in ${collection}.`, data: { collection, id } });
        if (ifRevision !== undefined && ifRevision !== record._rev)
          throw fault('VersionConflict', { data: { collection, id, expected: ifRevision, actual: record._rev } });
        const next = patched(record, patch);
        writing(table, () => sql(`UPDATE ${table.name} SET body = ? WHERE id = ?`).run(JSON.stringify(next), id));
        return next;
      });
    },

    async remove(collection, id) {
      const table = tableOf(collection);
      return transaction(() => read(table, id) !== null && Number(sql(`DELETE FROM ${table.name} WHERE id = ?`).run(id).changes) > 0);
    },

    async removeMany(collection, query) {
      const table = tableOf(collection);
      return transaction(() => {
        const ids = [...matching(table, query, '')].map(({ id }) => id);
        for (const id of ids) sql(`DELETE FROM ${table.name} WHERE id = ?`).run(id);
        return ids.length;
      });
    },

    async close() {
      clearInterval(sweeper);
      close();
    },
  };
}

/** One parameter: now. Texts sort after numbers, so `<=` alone would do for them; a record without a number never expires. */
const isExpired = (key: string): string => `${key} <= ?`;

function orderBy(sort: FindOptions['sort']): string {
  const terms = Object.entries(sort ?? {})
    .map(([path, direction]) => [keyOf(path), direction] as const)
    .filter(([key]) => key !== null)
    .map(([key, direction]) => `${key} ${direction === 1 ? 'ASC' : 'DESC'}`);
  return ` ORDER BY ${[...terms, 'id'].join(', ')}`;
}

/** Runs a write and turns a broken unique index into AlreadyUsedError with the fields it covers. */
function writing(table: Table, write: () => unknown): void {
  try {
    write();
  } catch (error) {
    throw alreadyUsed(table, error as Error) ?? error;
  }
}

function alreadyUsed(table: Table, error: Error): Fault | null {
  const broken = /UNIQUE constraint failed: (?:index '(.+)'|.+\.id$)/.exec(error.message);
  if (!broken) return null;
  const fields = broken[1] === undefined ? ['id'] : (table.uniques.get(broken[1].replaceAll("''", "'")) ?? []);
  return fault('AlreadyUsedError', { message: `Another record has the same ${fields.join(' and ')}.`, data: { fields } });
}
