/** schema — tables of the SQLite log. `seq` is the position of an entry: monotonic over all processes, as SQLite has one writer at a time. */
import { BLOCK_INDEX } from './blocks.ts';

export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, shard INTEGER NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    workspace TEXT NOT NULL, grp TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL
  );
  ${BLOCK_INDEX};
  -- What there was instead, in files of earlier versions.
  DROP INDEX IF EXISTS log_by_shard;
  DROP INDEX IF EXISTS log_by_id;
  -- One row: entries ever removed from the log (room.ts).
  CREATE TABLE IF NOT EXISTS trimmed (entries INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS members (
    grp TEXT NOT NULL, member TEXT NOT NULL, expires INTEGER NOT NULL, process TEXT NOT NULL, PRIMARY KEY (grp, member)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS cursors (
    grp TEXT NOT NULL, shard INTEGER NOT NULL, cursor INTEGER NOT NULL, owner TEXT NOT NULL, process TEXT NOT NULL,
    expires INTEGER NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (grp, shard)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS ahead (grp TEXT NOT NULL, shard INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (grp, shard, seq)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS failures (
    grp TEXT NOT NULL, shard INTEGER NOT NULL, seq INTEGER NOT NULL, attempts INTEGER NOT NULL, crashes INTEGER NOT NULL, due INTEGER NOT NULL,
    PRIMARY KEY (grp, shard, seq)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS dead (
    n INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, shard INTEGER NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    workspace TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL, message TEXT NOT NULL, at INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS dead_by_group ON dead (grp, workspace);
`;
