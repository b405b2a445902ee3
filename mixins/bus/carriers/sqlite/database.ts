/** database — the file of the SQLite log: how it is opened, every statement on it, and its rows as entries and dead letters. */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { fault, isFault } from '../../../shared/errors.ts';
import { type Entry, FORMAT, newerFormat, type StoredDeath } from '../../carrier.ts';
import { countEntries } from './room.ts';
import { SCHEMA } from './schema.ts';

export const PAGE_BYTES = 4_096;

export type Row = Record<string, string | number>;

export function openDatabase(file: string, synchronous: string, maxPages: number): DatabaseSync {
  try {
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA temp_store = MEMORY;`);
    if (maxPages) db.exec(`PRAGMA max_page_count = ${maxPages}`);
    const format = Number((db.prepare('PRAGMA user_version').get() as Row).user_version);
    if (format > FORMAT) {
      db.close();
      throw fault('ConfigurationError', { message: newerFormat(format), data: { variable: 'BUS_URL' } });
    }
    db.exec(SCHEMA);
    countEntries(db);
    if (format < FORMAT) db.exec(`PRAGMA user_version = ${FORMAT}`);
    return db;
  } catch (cause) {
    if (isFault(cause)) throw cause;
    throw fault('ConfigurationError', {
      message: `The event log '${file}' (BUS_URL, DATA_DIR) cannot be opened: ${(cause as Error).message}`,
      data: { variable: 'BUS_URL' },
      cause,
    });
  }
}

export type Statements = ReturnType<typeof prepareAll>;

export function prepareAll(db: DatabaseSync) {
  const statements = {
    version: 'PRAGMA data_version',
    last: "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0) AS seq",
    insert: 'INSERT INTO log (shard, id, topic, workspace, grp, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
    after: 'SELECT * FROM log WHERE seq > ? ORDER BY seq LIMIT ?',
    one: 'SELECT * FROM log WHERE seq = ?',
    groupCount: 'SELECT count(*) AS n FROM cursors',
    cursorCount: 'SELECT count(*) AS n FROM cursors WHERE grp = ?',
    size: "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0) - (SELECT entries FROM trimmed) AS n",
    trimmed: 'UPDATE trimmed SET entries = entries + ?',
    pages: 'PRAGMA page_count',
    freePages: 'PRAGMA freelist_count',
    groups: 'SELECT DISTINCT grp FROM cursors ORDER BY grp',
    register: "INSERT OR IGNORE INTO cursors (grp, shard, cursor, owner, process, expires, epoch) VALUES (?, ?, 0, '', '', 0, 0)",
    beat: 'INSERT OR REPLACE INTO members (grp, member, expires, process) VALUES (?, ?, ?, ?)',
    sweepMembers: 'DELETE FROM members WHERE expires <= ?',
    members: 'SELECT member, process FROM members WHERE grp = ? ORDER BY member',
    leave: 'DELETE FROM members WHERE grp = ? AND member = ?',
    cursor: 'SELECT * FROM cursors WHERE grp = ? AND shard = ?',
    take: 'UPDATE cursors SET owner = ?, process = ?, expires = ?, epoch = epoch + 1 WHERE grp = ? AND shard = ?',
    renew: 'UPDATE cursors SET expires = ? WHERE grp = ? AND shard = ? AND owner = ?',
    release: "UPDATE cursors SET owner = '', expires = 0 WHERE grp = ? AND shard = ? AND owner = ?",
    advance: 'UPDATE cursors SET cursor = ? WHERE grp = ? AND shard = ? AND owner = ?',
    ahead: 'SELECT seq FROM ahead WHERE grp = ? AND shard = ?',
    addAhead: 'INSERT OR IGNORE INTO ahead (grp, shard, seq) VALUES (?, ?, ?)',
    forgetAhead: 'DELETE FROM ahead WHERE grp = ? AND shard = ? AND seq = ?',
    aheadCount: 'SELECT count(*) AS ahead FROM ahead WHERE grp = ?',
    failures: 'SELECT * FROM failures WHERE grp = ? AND shard = ?',
    addFailure: 'INSERT OR REPLACE INTO failures (grp, shard, seq, attempts, crashes, due) VALUES (?, ?, ?, ?, ?, ?)',
    forgetFailure: 'DELETE FROM failures WHERE grp = ? AND shard = ? AND seq = ?',
    addDead:
      'INSERT INTO dead (grp, shard, id, topic, workspace, body, attempts, error, message, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    bury: 'DELETE FROM dead WHERE n = ?',
    deadCount: 'SELECT count(*) AS dead FROM dead WHERE grp = ?',
    floor: 'SELECT min(cursor) AS floor FROM cursors WHERE shard = ?',
    cursors: 'SELECT shard, cursor FROM cursors WHERE grp = ?',
  } as const;
  return Object.fromEntries(Object.entries(statements).map(([name, text]) => [name, db.prepare(text)])) as Record<
    keyof typeof statements,
    StatementSync
  >;
}

export function entryOf(row: Row): Entry {
  return {
    position: String(row.seq),
    shard: Number(row.shard),
    id: String(row.id),
    topic: String(row.topic),
    workspaceId: String(row.workspace),
    group: String(row.grp),
    body: String(row.body),
  };
}

export function deathOf(row: Row): StoredDeath {
  return {
    id: String(row.n),
    group: String(row.grp),
    entry: {
      shard: Number(row.shard),
      id: String(row.id),
      topic: String(row.topic),
      workspaceId: String(row.workspace),
      group: '',
      body: String(row.body),
    },
    attempts: Number(row.attempts),
    error: { error: String(row.error), message: String(row.message) },
    diedAt: new Date(Number(row.at)).toISOString(),
  };
}
