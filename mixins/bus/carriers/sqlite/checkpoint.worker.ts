/**
 * checkpoint.worker — copies the write-ahead log into the file, on a thread of its own. Any message in: copy; out: how many frames have come meanwhile and
 * are left, which only the writer can end.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const { file, synchronous } = workerData as { file: string; synchronous: string };
/** So few frames cost the writer less than another round here. */
const FEW = 64;
const MOST_ROUNDS = 4;

const db = new DatabaseSync(file);
db.exec(`PRAGMA busy_timeout = 5000; PRAGMA synchronous = ${synchronous}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -200;`);
const copy = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');

parentPort?.on('message', () => {
  let left = Number.POSITIVE_INFINITY;
  for (let round = 0; round < MOST_ROUNDS && left > FEW; round++) {
    const { log, checkpointed } = copy.get() as { log: number; checkpointed: number };
    left = log - checkpointed;
  }
  parentPort?.postMessage(left);
});
