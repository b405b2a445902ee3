/**
 * sqlite.engine — the tables of the embedded event history and the statements on them. Synchronous: sqlite.ts decides on which thread it runs.
 *
 * `events` holds one narrow row per event (the fields people search by), `bodies` its JSON text, `words` (FTS5) its words. The three share `seq`.
 * Narrow rows keep counts and aggregations away from the payloads. `usages` counts what each workspace holds, in the transaction that changes it.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { globMatches, indexedText, type Test, textOf, valueAt } from '../../../filters/condition.ts';
import { fault } from '../../../shared/errors.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import { ulidTime } from '../../../shared/ids.ts';
import { type AggregationTree, aggregate, parseAggregations } from '../aggregations.ts';
import type { SearchRequest, SearchResult } from '../contract.ts';
import { sqliteRows } from './sqlite.rows.ts';
import { COLUMNS, columnOf, jsonPath, newBuild, type SqlValue, sqlOf } from './sqlite.where.ts';

// `words` gets what indexedText made: split and folded already (wordsOf), or plain ASCII, which its tokenizer cuts and folds the same way.
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, ${COLUMNS.map(({ name }) => name).join(', ')}, odd);
  CREATE TABLE IF NOT EXISTS bodies (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
  CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(word, content = '', contentless_delete = 1, detail = none, tokenize = ascii);
  CREATE UNIQUE INDEX IF NOT EXISTS events_id ON events (id);
  CREATE INDEX IF NOT EXISTS events_time ON events (ws, ts, type, depth);
  CREATE INDEX IF NOT EXISTS events_type ON events (ws, type, ts);
  CREATE INDEX IF NOT EXISTS events_corr ON events (corr, ts);
  CREATE INDEX IF NOT EXISTS events_user ON events (ws, usr, ts) WHERE usr IS NOT NULL;
  CREATE INDEX IF NOT EXISTS events_session ON events (ws, ses, ts) WHERE ses IS NOT NULL;
  CREATE INDEX IF NOT EXISTS events_topic ON events (ws, ttopic, ts) WHERE ttopic IS NOT NULL;
  CREATE INDEX IF NOT EXISTS events_target ON events (ws, tuser, ts) WHERE tuser IS NOT NULL;
  CREATE INDEX IF NOT EXISTS events_age ON events (ts);
  CREATE TABLE IF NOT EXISTS usages (ws TEXT PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
`;

/** Rows removed, pages given back and full text merged by one call: writers get their turn in between. */
const SLICE = 2_000;
const MERGED_PAGES = 300;

const MAX_LIMIT = 10_000;
const COUNTED_AT_MOST = 10_000;

export interface SqliteEngine {
  /** Takes events as JSON text, which they are kept as and which crosses threads fastest. `at`: place in the batch of what is refused. */
  store(texts: string[]): { refused: { at: number; reason: string }[] };
  search(request: SearchRequest): SearchResult;
  get(workspaceId: string, id: string): PrismeEvent | null;
  /** Removes one slice of the selection; called until it returns 0. */
  remove(selection: { workspaceId?: string; before?: string; userId?: string; types?: string[] }): number;
  /** Gives back a slice of the space of what was removed; `false` once there is nothing more to give. */
  compact(isFirst: boolean): boolean;
  /** Writes a row and takes it away again, in one transaction. */
  probe(): void;
  usage(workspaceId?: string): { workspaceId: string; events: number; bytes: number }[];
  close(): void;
}

/** Value of a column for an event, and whether the event's own value fits it. */
function cellOf(event: PrismeEvent, { path, kind }: (typeof COLUMNS)[number]): { value: SqlValue; fits: boolean } {
  const found = valueAt(event, path);
  if (found === undefined || found === null) return { value: null, fits: true };
  if (kind === 'moment') return { value: Date.parse(String(found)), fits: true };
  if (kind === 'number') return typeof found === 'number' ? { value: found, fits: true } : { value: null, fits: false };
  return { value: textOf(found) ?? null, fits: typeof found === 'string' };
}

/** @param file path, or `:memory:` */
export function openSqliteEngine(file: string, { readOnly = false } = {}): SqliteEngine {
  if (file !== ':memory:' && !readOnly) mkdirSync(dirname(file), { recursive: true });
  const db = new DatabaseSync(file, { readOnly, timeout: 15_000 });
  if (!readOnly) {
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;');
    db.exec(SCHEMA);
    // Files from before there were counts.
    if (db.prepare('SELECT 1 FROM usages LIMIT 1').get() === undefined)
      db.exec('INSERT OR IGNORE INTO usages SELECT ws, count(*), coalesce(sum(bytes), 0) FROM events WHERE ws IS NOT NULL GROUP BY ws');
  }
  // FULL: a stored event survives a power cut; the cost is one flush per batch, not per event. Writers gain nothing from more than 12 MB of pages, at a million
  // events either; searches do.
  const cache = readOnly
    ? 'PRAGMA cache_size = -32000; PRAGMA mmap_size = 268435456;'
    : 'PRAGMA cache_size = -12000; PRAGMA mmap_size = 0;';
  db.exec(`PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; ${cache}`);
  // Users and sessions spread over their indexes: a batch touches thousands of pages, which a log of 64 MB writes back once instead of at every batch.
  db.exec('PRAGMA wal_autocheckpoint = 16000;');

  let tests: Test[] = [];
  let lastText: string | undefined;
  let lastEvent: object = {};
  db.function('event_matches', (k: unknown, body: unknown) => {
    if (body !== lastText) {
      lastText = body as string;
      lastEvent = JSON.parse(lastText);
    }
    return (tests[k as number] as Test)(lastEvent) ? 1 : 0;
  });
  db.function('text_globs', (pattern: unknown, text: unknown) =>
    typeof text === 'string' && globMatches(pattern as string, text) ? 1 : 0,
  );
  db.function('text_matches', (k: unknown, value: unknown) => ((tests[k as number] as Test)({ value }) ? 1 : 0));

  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const found = statements.get(sql);
    if (found) return found;
    if (statements.size > 300) statements.clear();
    const made = db.prepare(sql);
    statements.set(sql, made);
    return made;
  };

  function transaction<T>(work: () => T): T {
    db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      db.exec('COMMIT');
      return result;
    } catch (error) {
      db.exec('ROLLBACK');
      throw error;
    }
  }

  const insertSql = `INSERT INTO events (${COLUMNS.map(({ name }) => name).join(', ')}, odd) VALUES (${COLUMNS.map(() => '?').join(', ')}, ?) ON CONFLICT (id) DO NOTHING`;

  /** Whether the event is new. */
  function storeOne(event: PrismeEvent, text: string): boolean {
    const values: SqlValue[] = [];
    let odd = 0;
    for (const column of COLUMNS) {
      const { value, fits } = cellOf(event, column);
      values.push(value);
      if (!fits && column.loose) odd = 1;
    }
    if (!Number.isFinite(values[3])) throw new Error('createdAt is not a date');
    const { changes, lastInsertRowid } = prepare(insertSql).run(...values, odd);
    if (Number(changes) === 0) return false;
    prepare('INSERT INTO bodies (seq, body) VALUES (?, ?)').run(lastInsertRowid, text);
    prepare('INSERT INTO words (rowid, word) VALUES (?, ?)').run(lastInsertRowid, indexedText(event));
    return true;
  }

  /** Adds to what workspaces hold; negative numbers take away. */
  function count(rows: { ws: string | null | undefined; bytes: unknown }[], sign: 1 | -1): void {
    const sums = new Map<string, [number, number]>();
    for (const { ws, bytes } of rows) {
      if (typeof ws !== 'string') continue;
      const sum = sums.get(ws) ?? [0, 0];
      sums.set(ws, [sum[0] + sign, sum[1] + sign * (typeof bytes === 'number' ? bytes : 0)]);
    }
    for (const [ws, [events, bytes]] of sums) {
      prepare(
        'INSERT INTO usages (ws, events, bytes) VALUES (?, ?, ?) ON CONFLICT (ws) DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes',
      ).run(ws, events, bytes);
      if (sign < 0) prepare('DELETE FROM usages WHERE ws = ? AND events <= 0').run(ws);
    }
  }
  const counted = ({ source, size }: PrismeEvent) => ({ ws: source?.workspaceId, bytes: size });

  /** The whole batch in one go, and in nothing but the transaction: inside a savepoint every page would be copied before its first change. */
  function storeBatch(texts: string[]): void {
    const added: ReturnType<typeof counted>[] = [];
    for (const text of texts) {
      const event: PrismeEvent = JSON.parse(text);
      if (storeOne(event, text)) added.push(counted(event));
    }
    count(added, 1);
  }

  /** One event per savepoint, so that a bad one does not take its batch along. */
  function storeEach(texts: string[]): { at: number; reason: string }[] {
    const refused: { at: number; reason: string }[] = [];
    for (const [at, text] of texts.entries()) {
      db.exec('SAVEPOINT one');
      try {
        const event: PrismeEvent = JSON.parse(text);
        if (storeOne(event, text)) count([counted(event)], 1);
      } catch (error) {
        db.exec('ROLLBACK TO one');
        if (isOutage(error)) throw error;
        refused.push({ at, reason: (error as Error).message });
      }
      db.exec('RELEASE one');
    }
    return refused;
  }

  const parse = (row: unknown): PrismeEvent => JSON.parse((row as { body: string }).body);

  /** Chronological position of an event, stored or not. */
  function position(id: string, name: string): [number, string] {
    const row = prepare('SELECT ts FROM events WHERE id = ?').get(id) as { ts: number } | undefined;
    const ts = row?.ts ?? ulidTime(id);
    if (!Number.isFinite(ts)) throw fault('BadParametersError', { message: `'${name}' is not the id of an event.` });
    return [ts, id];
  }

  function orderBy(sort: NonNullable<SearchRequest['sort']>, params: SqlValue[]): { sql: string; needsBody: boolean } {
    let needsBody = false;
    const keys = sort.map(({ field, order }) => {
      const direction = order === 'asc' ? 'ASC' : 'DESC';
      const own = columnOf(field);
      if (own) return `e.${own.name} ${direction}`;
      const path = jsonPath(field.split('.'));
      if (path === null) throw fault('SearchError', { message: `Events cannot be sorted by '${field}'.` });
      needsBody = true;
      params.push(path);
      return `(b.body ->> ?) ${direction}`;
    });
    if (!sort.some(({ field }) => field === 'id')) keys.push(`e.id ${sort[0]?.order === 'asc' ? 'ASC' : 'DESC'}`);
    return { sql: keys.join(', '), needsBody };
  }

  function search(request: SearchRequest): SearchResult {
    const { limit: wanted = 50, page = 0, trackTotal } = request;
    const limit = Math.min(wanted, MAX_LIMIT);
    tests = [];
    const build = newBuild(tests);
    const parts: string[] = [];
    if (request.workspaceId !== undefined) {
      build.params.push(request.workspaceId);
      parts.push('e.ws = ?');
    }
    for (const condition of [request.where, request.readable]) if (condition) parts.push(sqlOf(condition, build));
    const where = parts.length === 0 ? '1' : parts.join(' AND ');
    const base = { where, params: build.params, needsBody: build.needsBody };
    const from = (needsBody: boolean) => `events e${needsBody ? ' CROSS JOIN bodies b ON b.seq = e.seq' : ''}`;

    const events: PrismeEvent[] = [];
    let hasMore = false;
    if (limit > 0) {
      const params = [...base.params];
      let windowed = where;
      for (const [id, name, sign] of [
        [request.beforeId, 'beforeId', '<'],
        [request.afterId, 'afterId', '>'],
      ] as const) {
        if (!id) continue;
        const [ts, tie] = position(id, name);
        windowed += ` AND e.ts ${sign}= ? AND (e.ts, e.id) ${sign} (?, ?)`;
        params.push(ts, ts, tie);
      }
      const order = orderBy(request.sort?.length ? request.sort : [{ field: 'createdAt', order: 'desc' }], params);
      // Rows are chosen and sorted by their narrow part; the bodies of the page are read afterwards.
      const chosen = `SELECT e.seq FROM ${from(base.needsBody || order.needsBody)} WHERE ${windowed} ORDER BY ${order.sql} LIMIT ? OFFSET ?`;
      const rows = prepare(chosen).all(...params, limit + 1, page * limit) as { seq: number }[];
      hasMore = rows.length > limit;
      const body = prepare('SELECT body FROM bodies WHERE seq = ?');
      for (const { seq } of rows.slice(0, limit)) events.push(parse(body.get(seq)));
    }
    const result: SearchResult = { total: events.length, events };
    if (hasMore && events.length > 0) result.nextCursor = events.at(-1)?.id;
    const counted =
      trackTotal === true || (trackTotal !== false && (hasMore || page > 0 || limit === 0 || request.beforeId || request.afterId));
    if (counted) {
      const cap = trackTotal === true ? '' : ` LIMIT ${COUNTED_AT_MOST}`;
      const sql = `SELECT count(*) AS total FROM (SELECT 1 FROM ${from(base.needsBody)} WHERE ${where}${cap})`;
      result.total = (prepare(sql).get(...base.params) as { total: number }).total;
    }
    if (request.aggs) {
      const tree: AggregationTree = parseAggregations(request.aggs);
      const rows = sqliteRows({ workspaceId: request.workspaceId, prepare, tests, base, from });
      result.aggs = aggregate(tree, rows);
    }
    return result;
  }

  function removeRows(where: string, params: SqlValue[]): number {
    return transaction(() => {
      const chosen = prepare(`SELECT seq, ws, bytes FROM events e WHERE ${where} LIMIT ${SLICE}`).all(...params) as {
        seq: number;
        ws: string | null;
        bytes: unknown;
      }[];
      for (const { seq } of chosen) {
        prepare('DELETE FROM words WHERE rowid = ?').run(seq);
        prepare('DELETE FROM bodies WHERE seq = ?').run(seq);
        prepare('DELETE FROM events WHERE seq = ?').run(seq);
      }
      count(chosen, -1);
      return chosen.length;
    });
  }

  const pragma = (name: string): number => Number(Object.values(db.prepare(`PRAGMA ${name}`).get() as object)[0]);
  const changes = (): number => (prepare('SELECT total_changes() AS n').get() as { n: number }).n;

  /** @see https://www.sqlite.org/fts5.html#the_merge_command: negative begins a merge of everything; fewer than two changes mean that it is done */
  function compact(isFirst: boolean): boolean {
    const before = changes();
    db.exec(`INSERT INTO words (words, rank) VALUES ('merge', ${isFirst ? -MERGED_PAGES : MERGED_PAGES})`);
    if (changes() - before >= 2) return true;
    if (pragma('freelist_count') > 0) {
      db.exec(`PRAGMA incremental_vacuum(${SLICE})`);
      return true;
    }
    // The space goes back to the file system, not only to the file.
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return false;
  }

  return {
    store(texts) {
      try {
        transaction(() => storeBatch(texts));
        return { refused: [] };
      } catch (error) {
        if (isOutage(error)) throw error;
        return { refused: transaction(() => storeEach(texts)) };
      }
    },
    search,
    get(workspaceId, id) {
      const row = prepare('SELECT b.body FROM events e JOIN bodies b ON b.seq = e.seq WHERE e.id = ? AND e.ws = ?').get(id, workspaceId);
      return row ? parse(row) : null;
    },
    remove({ workspaceId, before, userId, types }) {
      const parts: string[] = [];
      const params: SqlValue[] = [];
      const add = (sql: string, ...values: SqlValue[]) => {
        parts.push(sql);
        params.push(...values);
      };
      if (workspaceId !== undefined) add('e.ws = ?', workspaceId);
      if (before !== undefined) add('e.ts < ?', Date.parse(before));
      if (userId !== undefined) add('(e.usr = ? OR e.tuser = ?)', userId, userId);
      if (types !== undefined) add(`e.type IN (${types.map(() => '?').join(',')})`, ...types);
      if (parts.length === 0) throw fault('BadParametersError', { message: 'Nothing selects the events to remove.' });
      return removeRows(parts.join(' AND '), params);
    },
    compact,
    probe: () =>
      transaction(() => {
        db.exec("INSERT INTO usages (ws, events, bytes) VALUES ('.probe', 0, 0)");
        db.exec("DELETE FROM usages WHERE ws = '.probe'");
      }),
    usage(workspaceId) {
      const filter = workspaceId === undefined ? '1' : 'ws = ?';
      const rows = prepare(`SELECT ws AS workspaceId, events, bytes FROM usages WHERE ${filter}`).all(
        ...(workspaceId === undefined ? [] : [workspaceId]),
      );
      return rows.map((row) => ({ ...row })) as { workspaceId: string; events: number; bytes: number }[];
    },
    close: () => db.close(),
  };
}

/** Failures of the store itself (disk full, locked, I/O), against those of one event. */
function isOutage(error: unknown): boolean {
  const code = (error as { errcode?: number }).errcode;
  // @see https://www.sqlite.org/rescode.html: BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN
  return code !== undefined && [5, 6, 7, 8, 10, 11, 13, 14].includes(code & 0xff);
}
