/**
 * checkpoint.worker — brings the write-ahead log and the file to the disk, on a thread of its own.
 *
 *  'flush'  the log only, a few megabytes at a time: a flush of much of it holds up who writes to it, 10 to 30 ms.
 *  'copy'   the log into the file, answered when so little is left that the writer ends it in a moment.
 */
import { fdatasyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

export type CheckpointOrder = 'flush' | 'copy';

const { file, descriptor, synchronous } = workerData as { file: string; descriptor: number; synchronous: string };
/** The first copies what has come since the last time, the second what came meanwhile. */
const ROUNDS = 2;

const db = new DatabaseSync(file);
db.exec(`PRAGMA busy_timeout = 5000; PRAGMA synchronous = ${synchronous}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -200;`);
const passive = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
// SQLite holds no lock on the log itself, so this one may be closed, as it is with the thread.
const log = openSync(`${file}-wal`, 'r+');

/**
 * SQLite flushes the file only when all of the log is copied, which under load is nowhere but in the writer: what a round has copied is flushed here, and
 * little is left for it.
 */
function copy(): void {
  for (let round = 0; round < ROUNDS; round++) {
    passive.get();
    fdatasyncSync(descriptor);
  }
}

parentPort?.on('message', (order: CheckpointOrder) => {
  if (order === 'flush') return fdatasyncSync(log);
  copy();
  parentPort?.postMessage('copied');
});
