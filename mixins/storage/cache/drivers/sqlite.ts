/**
 * sqlite — shared state in one file, for the processes of one machine. Writes of one turn of the event loop share a transaction (group commit),
 * so a call costs tens of microseconds; it resolves once its transaction is committed, which `kill -9` does not undo.
 *
 * `entries` has a row per key; the elements of lists, sets and sorted sets hang on its id. Lives are measured on the wall clock.
 */
import { HOUR, SECOND } from '../../../shared/clock.ts';
import { fault, isFault } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import { openSqlite } from '../../sqlite.ts';
import { bucketLifeMs, takeFrom } from '../bucket.ts';
import type { CacheDriver, Versioned } from '../contract.ts';
import { applyOperations, checkSize, toText } from '../document.ts';

export interface SqliteCacheOptions {
  sweepEveryMs?: number;
  now?: () => number;
}

const KINDS = ['document', 'counter', 'bucket', 'list', 'set', 'sorted set'] as const;
type Kind = (typeof KINDS)[number];

interface Entry {
  id: number;
  kind: number;
  value: string | number | null;
  version: number;
  expires: number | null;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, value, version INTEGER NOT NULL, expires INTEGER);
  CREATE INDEX IF NOT EXISTS entries_expires ON entries (expires) WHERE expires IS NOT NULL;
  CREATE TABLE IF NOT EXISTS items (entry INTEGER NOT NULL, seq INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (entry, seq)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS members (entry INTEGER NOT NULL, member TEXT NOT NULL, PRIMARY KEY (entry, member)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS scores (entry INTEGER NOT NULL, member TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (entry, member)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS scores_order ON scores (entry, score, member);
  CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS applied (key TEXT NOT NULL, operation TEXT NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (key, operation)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS applied_expires ON applied (expires);
`;

/** Table of the elements of a kind, if it has any. */
const ELEMENTS: Partial<Record<Kind, string>> = { list: 'items', set: 'members', 'sorted set': 'scores' };
/** Writes of one transaction; more wait for the next turn, so that the event loop is not held for long. */
const GROUP_MAX = 300;
const SWEEP_CHUNK = 500;
const PAGE = 500;
const OPERATION_LIFE_MS = HOUR;

interface Write {
  work: () => unknown;
  resolve: (value: any) => void;
  reject: (error: unknown) => void;
}

export function sqliteCache(file: string, { sweepEveryMs = 30 * SECOND, now = Date.now }: SqliteCacheOptions = {}): CacheDriver {
  const { db, sql, transaction, close } = openSqlite(file, 'normal');
  transaction(() => db.exec(SCHEMA));

  const select = db.prepare('SELECT id, kind, value, version, expires FROM entries WHERE key = ?');
  const insert = db.prepare('INSERT OR IGNORE INTO entries (key, kind, value, version, expires) VALUES (?, ?, ?, ?, ?)');
  const update = db.prepare('UPDATE entries SET value = ?, version = ?, expires = ? WHERE id = ?');
  const erase = db.prepare('DELETE FROM entries WHERE id = ?');

  // Group commit -----------------------------------------------------------------------------------------------------------------
  const waiting: Write[] = [];
  let isScheduled = false;
  let isClosed = false;

  function write<T>(work: () => T): Promise<T> {
    if (isClosed) return Promise.reject(fault('ServiceUnavailable', { message: 'The cache is closed.' }));
    return new Promise((resolve, reject) => {
      waiting.push({ work, resolve, reject });
      if (!isScheduled) setImmediate(flush);
      isScheduled = true;
    });
  }

  function flush(): void {
    const group = waiting.splice(0, GROUP_MAX);
    isScheduled = waiting.length > 0;
    if (isScheduled) setImmediate(flush);
    if (!commit(group) && group.length > 1) for (const one of group) commit([one]);
  }

  /** Commits the writes together, then answers them. `false`: one broke in an unforeseen way, so none was done and each is to be tried alone. */
  function commit(group: Write[]): boolean {
    const answers: (() => void)[] = [];
    try {
      transaction(() => {
        for (const { work, resolve, reject } of group) {
          try {
            const value = work();
            answers.push(() => resolve(value));
          } catch (error) {
            // A fault is thrown before its write has changed anything: the others of the group are not concerned.
            if (!isFault(error)) throw error;
            answers.push(() => reject(error));
          }
        }
      });
    } catch (cause) {
      if (group.length > 1) return false;
      group[0]?.reject(fault('ServiceUnavailable', { message: `The cache could not write: ${(cause as Error).message}`, cause }));
      return true;
    }
    for (const answer of answers) answer();
    return true;
  }

  // Entries ----------------------------------------------------------------------------------------------------------------------
  const isLive = (entry: Entry): boolean => entry.expires === null || entry.expires > now();

  /** The live entry of `key`. @throws BadParametersError when it is of another kind */
  function find(key: string, kind: Kind): Entry | null {
    const entry = select.get(key) as unknown as Entry | undefined;
    if (!entry || !isLive(entry)) return null;
    if (KINDS[entry.kind] !== kind)
      throw fault('BadParametersError', { message: `'${key}' holds a ${KINDS[entry.kind]}, not a ${kind}.`, data: { key } });
    return entry;
  }

  function discard(entry: Entry): void {
    const table = ELEMENTS[KINDS[entry.kind] as Kind];
    if (table) sql(`DELETE FROM ${table} WHERE entry = ?`).run(entry.id);
    erase.run(entry.id);
  }

  /** Makes an entry in the place of an expired one. */
  function create(key: string, kind: Kind, value: string | number | null, version: number, expires: number | null): number {
    const insertIt = () => insert.run(key, KINDS.indexOf(kind), value, version, expires);
    const { changes, lastInsertRowid } = insertIt();
    if (Number(changes) === 1) return Number(lastInsertRowid);
    discard(select.get(key) as unknown as Entry);
    return Number(insertIt().lastInsertRowid);
  }

  /** The entry of a collection of elements, made when absent; a new life when one is given. */
  function reach(key: string, kind: Kind, ttlMs: number | undefined): number {
    const entry = find(key, kind);
    const expires = ttlMs === undefined ? undefined : Math.ceil(now() + ttlMs);
    if (!entry) return create(key, kind, null, 0, expires ?? null);
    if (expires !== undefined) update.run(entry.value, entry.version, expires, entry.id);
    return entry.id;
  }

  function save(key: string, entry: Entry | null, text: string, ttlMs: number | undefined): number {
    const version = (entry?.version ?? 0) + 1;
    const expires = ttlMs === undefined ? (entry?.expires ?? null) : Math.ceil(now() + ttlMs);
    if (entry) update.run(text, version, expires, entry.id);
    else create(key, 'document', text, version, expires);
    return version;
  }

  function checkVersion(key: string, entry: Entry | null, ifVersion: number | undefined): void {
    const actual = entry?.version ?? 0;
    if (ifVersion !== undefined && ifVersion !== actual) throw fault('VersionConflict', { data: { key, expected: ifVersion, actual } });
  }

  function read<T>(key: string): Versioned<T> | null {
    const entry = find(key, 'document');
    return entry ? { value: parseJson<T>(entry.value as string), version: entry.version } : null;
  }

  /** Whether this operation was applied before; remembers it otherwise. */
  function isRepeated(key: string, operationId: string | undefined): boolean {
    if (operationId === undefined) return false;
    return sql('SELECT 1 FROM applied WHERE key = ? AND operation = ? AND expires > ?').get(key, operationId, now()) !== undefined;
  }

  function removeEmpty(entry: Entry, table: string): void {
    if (!sql(`SELECT 1 FROM ${table} WHERE entry = ? LIMIT 1`).get(entry.id)) erase.run(entry.id);
  }

  // Expired rows are invisible at once; this gives their space back, a chunk per transaction.
  const sweeper = setInterval(() => void sweep().catch(() => {}), sweepEveryMs).unref();
  async function sweep(): Promise<void> {
    for (let removed = SWEEP_CHUNK; removed >= SWEEP_CHUNK && !isClosed; ) {
      removed = await write(() => {
        const expired = sql('SELECT id, kind, expires FROM entries WHERE expires <= ? LIMIT ?').all(
          now(),
          SWEEP_CHUNK,
        ) as unknown as Entry[];
        expired.forEach(discard);
        const operations = sql(
          'DELETE FROM applied WHERE (key, operation) IN (SELECT key, operation FROM applied WHERE expires <= ? LIMIT ?)',
        ).run(now(), SWEEP_CHUNK);
        sql('DELETE FROM leases WHERE expires <= ?').run(now());
        return Math.max(expired.length, Number(operations.changes));
      });
    }
  }

  return {
    async get<T>(key: string) {
      return read<T>(key);
    },
    async getMany(keys) {
      return keys.map((key) => read(key));
    },

    set(key, value, { ttlMs, ifVersion } = {}) {
      return write(() => {
        const entry = find(key, 'document');
        checkVersion(key, entry, ifVersion);
        // A replaced document does not inherit the life of the one before.
        return save(key, entry ? { ...entry, expires: null } : null, toText(value), ttlMs);
      });
    },

    delete(key) {
      return write(() => {
        const entry = select.get(key) as unknown as Entry | undefined;
        if (!entry) return false;
        const wasLive = isLive(entry);
        discard(entry);
        return wasLive;
      });
    },

    expire(key, ttlMs) {
      return write(
        () =>
          Number(
            sql('UPDATE entries SET expires = ? WHERE key = ? AND (expires IS NULL OR expires > ?)').run(
              Math.ceil(now() + ttlMs),
              key,
              now(),
            ).changes,
          ) > 0,
      );
    },

    apply(key, operations, options = {}) {
      const { operationId, ttlMs, ifVersion } = options;
      return write(() => {
        if (isRepeated(key, operationId)) return read(key) ?? { value: null, version: 0 };
        const entry = find(key, 'document');
        checkVersion(key, entry, ifVersion);
        const value = applyOperations(entry ? parseJson(entry.value as string) : undefined, operations, options.lives);
        let version = 0;
        let size = {};
        if (value !== undefined) {
          const text = toText(value);
          size = checkSize(text, options, key);
          version = save(key, entry, text, ttlMs);
        } else if (entry) discard(entry);
        if (operationId !== undefined)
          sql('INSERT OR REPLACE INTO applied (key, operation, expires) VALUES (?, ?, ?)').run(key, operationId, now() + OPERATION_LIFE_MS);
        return { value: value ?? null, version, ...size };
      });
    },

    increment(key, by, ttlMs) {
      return write(() => {
        const entry = find(key, 'counter');
        const expires = entry?.expires ?? Math.ceil(now() + ttlMs);
        const count = Number(entry?.value ?? 0) + by;
        if (entry) update.run(count, 0, expires, entry.id);
        else create(key, 'counter', count, 0, expires);
        return { count, expiresInMs: Math.max(1, expires - now()) };
      });
    },

    takeTokens(key, count, limit) {
      return write(() => {
        const entry = find(key, 'bucket');
        const { state, result } = takeFrom(entry ? { tokens: Number(entry.value), at: entry.version } : undefined, count, limit, now());
        const at = Math.floor(state.at);
        const expires = at + bucketLifeMs(state, limit);
        if (entry) update.run(state.tokens, at, expires, entry.id);
        else create(key, 'bucket', state.tokens, at, expires);
        return result;
      });
    },

    append(key, records, { ttlMs } = {}) {
      return write(() => {
        const length = () => Number(sql('SELECT coalesce(max(seq) + 1, 0) AS n FROM items WHERE entry = ?').get(id)?.n);
        if (records.length === 0 && !find(key, 'list')) return 0;
        const id = reach(key, 'list', ttlMs);
        let next = length();
        for (const record of records) sql('INSERT INTO items (entry, seq, value) VALUES (?, ?, ?)').run(id, next++, toText(record));
        return next;
      });
    },

    async list<T>(key: string, start = 0) {
      const entry = find(key, 'list');
      if (!entry) return [];
      return sql('SELECT value FROM items WHERE entry = ? AND seq >= ? ORDER BY seq')
        .all(entry.id, start)
        .map((row) => parseJson<T>(row.value as string));
    },

    addMembers(key, members, { ttlMs } = {}) {
      return write(() => {
        const id = reach(key, 'set', ttlMs);
        let added = 0;
        for (const member of members)
          added += Number(sql('INSERT OR IGNORE INTO members (entry, member) VALUES (?, ?)').run(id, member).changes);
        return added;
      });
    },

    removeMembers(key, members) {
      return write(() => {
        const entry = find(key, 'set');
        if (!entry) return 0;
        let removed = 0;
        for (const member of members)
          removed += Number(sql('DELETE FROM members WHERE entry = ? AND member = ?').run(entry.id, member).changes);
        removeEmpty(entry, 'members');
        return removed;
      });
    },

    async members(key) {
      const entry = find(key, 'set');
      return entry
        ? sql('SELECT member FROM members WHERE entry = ? ORDER BY member')
            .all(entry.id)
            .map((row) => row.member as string)
        : [];
    },

    async hasMember(key, member) {
      const entry = find(key, 'set');
      return entry !== null && sql('SELECT 1 FROM members WHERE entry = ? AND member = ?').get(entry.id, member) !== undefined;
    },

    addScored(key, member, score) {
      return write(() => {
        const id = reach(key, 'sorted set', undefined);
        sql('INSERT OR REPLACE INTO scores (entry, member, score) VALUES (?, ?, ?)').run(id, member, score);
      });
    },

    async scoredUpTo(key, max, limit) {
      const entry = find(key, 'sorted set');
      if (!entry) return [];
      return sql('SELECT member, score FROM scores WHERE entry = ? AND score <= ? ORDER BY score, member LIMIT ?')
        .all(entry.id, max, limit)
        .map((row) => ({ member: row.member as string, score: row.score as number }));
    },

    removeScored(key, member) {
      return write(() => {
        const entry = find(key, 'sorted set');
        if (!entry) return false;
        const isRemoved = Number(sql('DELETE FROM scores WHERE entry = ? AND member = ?').run(entry.id, member).changes) > 0;
        removeEmpty(entry, 'scores');
        return isRemoved;
      });
    },

    lease(name, owner, ttlMs) {
      return write(
        () =>
          Number(
            sql(
              `INSERT INTO leases (name, owner, expires) VALUES (?, ?, ?)
               ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires WHERE owner = excluded.owner OR expires <= ?`,
            ).run(name, owner, Math.ceil(now() + ttlMs), now()).changes,
          ) > 0,
      );
    },

    async releaseLease(name, owner) {
      await write(() => sql('DELETE FROM leases WHERE name = ? AND owner = ?').run(name, owner));
    },

    async *keys(prefix) {
      const page = sql('SELECT key FROM entries WHERE key > ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?');
      const first = sql('SELECT key FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)').get(prefix, now());
      if (first) yield prefix;
      for (let last = prefix; ; ) {
        const keys = page.all(last, now(), PAGE).map((row) => row.key as string);
        for (const key of keys) {
          if (!key.startsWith(prefix)) return;
          yield key;
        }
        if (keys.length < PAGE) return;
        last = keys.at(-1) as string;
      }
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(sweeper);
      while (waiting.length) flush();
      close();
    },
  };
}
