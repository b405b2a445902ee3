/** sqlite.thread — calls to an engine that runs on a thread of its own. */
import { Worker } from 'node:worker_threads';
import { CATALOGUE, type FaultType, fault } from '../../../shared/errors.ts';
import { slotMap } from '../../../shared/slot-map.ts';
import type { SqliteEngine } from './sqlite.engine.ts';

export interface EngineThread {
  call<M extends keyof SqliteEngine>(method: M, ...args: Parameters<SqliteEngine[M]>): Promise<ReturnType<SqliteEngine[M]>>;
  close(): Promise<void>;
}

export interface EngineThreadOptions {
  readOnly?: boolean;
  /** How long a call may take. */
  timeoutMs?: number;
  /** The other threads of the process go first where there are fewer cores than work. */
  givesWay?: boolean;
}

/** An engine on a thread of its own, started by the first call. */
export function engineThread(file: string, { readOnly = false, timeoutMs, givesWay = false }: EngineThreadOptions = {}): EngineThread {
  let worker: Worker | null = null;
  let next = 0;
  let isClosing = false;
  const waiting = slotMap<number, { resolve: (value: any) => void; reject: (error: unknown) => void }>();

  const failAll = (error: Error) => {
    worker = null;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  /** SQLite cannot be interrupted from outside: a search that takes too long ends with its thread, and those that wait behind it may ask again. */
  const stopAll = () => {
    const stuck = worker;
    failAll(
      fault('TimeoutError', { message: `The search took more than ${timeoutMs} ms; narrow it by time or type.`, data: { timeoutMs } }),
    );
    void stuck?.terminate();
  };
  const start = (): Worker => {
    const started = new Worker(new URL('./sqlite.worker.ts', import.meta.url), {
      workerData: { file, readOnly, givesWay },
      execArgv: ['--disable-warning=ExperimentalWarning'],
      resourceLimits: { maxYoungGenerationSizeMb: 3 },
    });
    started.on('message', ({ id, result, error }) => {
      const asked = waiting.delete(id);
      if (waiting.size === 0 && !isClosing) started.unref();
      if (!asked) return;
      if (!error) return asked.resolve(result);
      asked.reject(Object.hasOwn(CATALOGUE, error.type ?? '') ? fault(error.type as FaultType, error) : new Error(error.message));
    });
    started.on('error', (error) => worker === started && failAll(error as Error));
    started.on('exit', () => worker === started && failAll(new Error('The thread of the event history ended.')));
    return started;
  };

  return {
    call(method, ...args) {
      return new Promise((resolve, reject) => {
        worker ??= start();
        const id = next++;
        const timer = timeoutMs ? setTimeout(() => stopAll(), timeoutMs) : undefined;
        timer?.unref();
        const settled =
          <T>(settle: (value: T) => void) =>
          (value: T) => {
            clearTimeout(timer);
            settle(value);
          };
        waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
        worker.ref(); // The process stays until the answer is there, and only until then.
        worker.postMessage({ id, method, args });
      });
    },
    async close() {
      if (!worker) return;
      isClosing = true;
      const ended = new Promise<void>((resolve) => worker?.once('exit', () => resolve()));
      this.call('close').catch(() => {}); // the thread answers by ending
      await ended;
    },
  };
}
