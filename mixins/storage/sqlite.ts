/**
 * sqlite — opens a database file that several processes of one machine share: WAL, a busy time-out, prepared statements kept.
 * @see https://www.sqlite.org/wal.html
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

export type SqlValue = SQLInputValue;

export interface Sqlite {
  db: DatabaseSync;
  /** The prepared statement of `sql`, compiled once. */
  sql(text: string): StatementSync;
  /** Runs `work` in one immediate transaction; a throw rolls it back. */
  transaction<T>(work: () => T): T;
  close(): void;
}

const BUSY_TIMEOUT_MS = 10_000;
const KEPT_STATEMENTS = 500;

/**
 * @param durability `full`: a commit survives a power cut (one flush each) · `normal`: it survives the death of the process, and a power cut
 *   may take the last moments but never breaks the file
 */
export function openSqlite(file: string, durability: 'full' | 'normal'): Sqlite {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  chmodSync(file, 0o600);
  enterWal(db);
  db.exec(`PRAGMA synchronous = ${durability}; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;`);

  const statements = new Map<string, StatementSync>();
  return {
    db,
    sql(text) {
      let statement = statements.get(text);
      if (statement) return statement;
      if (statements.size >= KEPT_STATEMENTS) statements.clear();
      statement = db.prepare(text);
      statements.set(text, statement);
      return statement;
    },
    transaction(work) {
      db.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        db.exec('COMMIT');
        return result;
      } catch (error) {
        // A failed COMMIT may have ended the transaction already.
        if (db.isTransaction) db.exec('ROLLBACK');
        throw error;
      }
    },
    close() {
      statements.clear();
      if (db.isOpen) db.close();
    },
  };
}

/** Changing the journal mode ignores the busy time-out when two processes do it at once, so it is tried again. */
function enterWal(db: DatabaseSync): void {
  for (let attempt = 0; ; attempt++) {
    try {
      db.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (attempt >= 100) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
