/** sqlite.worker — one engine on a thread of its own: messages `{ id, method, args }` in, `{ id, result }` or `{ id, error }` out. */
import { parentPort, workerData } from 'node:worker_threads';
import { giveWay } from '../../../shared/thread-priority.ts';
import { openSqliteEngine, type SqliteEngine } from './sqlite.engine.ts';

const { file, readOnly, givesWay } = workerData as { file: string; readOnly: boolean; givesWay: boolean };
if (givesWay) giveWay();
const engine = openSqliteEngine(file, { readOnly });

parentPort?.on('message', ({ id, method, args }: { id: number; method: keyof SqliteEngine; args: unknown[] }) => {
  try {
    parentPort?.postMessage({ id, result: (engine[method] as (...given: unknown[]) => unknown)(...args) });
  } catch (error) {
    // Faults lose their class between threads: what makes them one is sent along.
    const { message, type, data } = error as { message: string; type?: string; data?: object };
    parentPort?.postMessage({ id, error: { message, type, data } });
  }
  if (method === 'close') process.exit(0);
});
