/**
 * sqlite — the embedded event history: one file (WAL) with FTS5.
 *
 * Writes and heavy reads (aggregations, full text, exact counts) run on threads of their own, so that neither holds up the requests of this process;
 * pages of recent events are read here, at the cost of a few index look-ups. `:memory:` keeps everything on this thread.
 */
import { Worker } from 'node:worker_threads';
import { SECOND } from '../../../shared/clock.ts';
import { CATALOGUE, type FaultType, fault } from '../../../shared/errors.ts';
import { eventText, type PrismeEvent } from '../../../shared/event.ts';
import { slotMap } from '../../../shared/slot-map.ts';
import type { Condition, DatalakeDriver, SearchRequest } from '../contract.ts';
import { openSqliteEngine, type SqliteEngine } from './sqlite.engine.ts';
import { columnOf } from './sqlite.where.ts';

interface Remote {
  call<M extends keyof SqliteEngine>(method: M, ...args: Parameters<SqliteEngine[M]>): Promise<ReturnType<SqliteEngine[M]>>;
  close(): Promise<void>;
}

/** An engine on a thread of its own, started by the first call. */
function remoteEngine(file: string, readOnly: boolean, timeoutMs?: number): Remote {
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
      workerData: { file, readOnly },
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

/** Whether a condition is answered by the narrow rows alone. */
function isNarrow(condition: Condition | undefined): boolean {
  if (!condition) return true;
  if ('all' in condition) return condition.all.every(isNarrow);
  if ('any' in condition) return condition.any.every(isNarrow);
  if ('not' in condition) return isNarrow(condition.not);
  return 'field' in condition && columnOf(condition.field) !== undefined && !columnOf(condition.field)?.loose;
}

const MAX_QUICK_OFFSET = 1000;

function isQuick({ where, readable, aggs, trackTotal, limit = 50, page = 0, sort }: SearchRequest): boolean {
  const isByTime = !sort?.length || (sort.length === 1 && columnOf(sort[0]?.field as string)?.name === 'ts');
  return (
    !aggs &&
    trackTotal === false &&
    isByTime &&
    limit > 0 &&
    (page + 1) * limit <= MAX_QUICK_OFFSET &&
    isNarrow(where) &&
    isNarrow(readable)
  );
}

/** Slice by slice: what is to be stored meanwhile does not wait for the end of a large removal. */
async function removeAll(removeSlice: () => Promise<number>, compact: (isFirst: boolean) => Promise<boolean>): Promise<number> {
  let removed = 0;
  for (let slice = await removeSlice(); slice > 0; slice = await removeSlice()) removed += slice;
  if (removed > 0) for (let isFirst = true; await compact(isFirst); ) isFirst = false;
  return removed;
}

type Stored = ReturnType<SqliteEngine['store']>;

async function storeTexts(
  events: PrismeEvent[],
  store: (texts: string[]) => Stored | Promise<Stored>,
): ReturnType<DatalakeDriver['store']> {
  if (events.length === 0) return { refused: [] };
  const { refused } = await store(events.map(eventText));
  return { refused: refused.map(({ at, reason }) => ({ event: events[at] as PrismeEvent, reason })) };
}

/** @param file path of the database, or `:memory:` */
export async function sqliteDatalake(file: string, { searchTimeoutMs = 15 * SECOND } = {}): Promise<DatalakeDriver> {
  if (file === ':memory:') {
    const engine = openSqliteEngine(file);
    return {
      store: (events) => storeTexts(events, engine.store),
      declare: async () => {},
      search: async (request) => engine.search(request),
      get: async (workspaceId, id) => engine.get(workspaceId, id),
      remove: (selection) =>
        removeAll(
          async () => engine.remove(selection),
          async (isFirst) => engine.compact(isFirst),
        ),
      probe: async () => engine.probe(),
      usage: async (workspaceId) => engine.usage(workspaceId),
      close: async () => engine.close(),
    };
  }
  const here = openSqliteEngine(file); // makes the tables, so that the threads find them
  const writer = remoteEngine(file, false);
  const reader = remoteEngine(file, true, searchTimeoutMs);
  return {
    store: (events) => storeTexts(events, (texts) => writer.call('store', texts)),
    declare: async () => {},
    search: async (request) => (isQuick(request) ? here.search(request) : reader.call('search', request)),
    get: async (workspaceId, id) => here.get(workspaceId, id),
    remove: (selection) =>
      removeAll(
        () => writer.call('remove', selection),
        (isFirst) => writer.call('compact', isFirst),
      ),
    probe: () => writer.call('probe'),
    usage: async (workspaceId) => here.usage(workspaceId),
    async close() {
      await writer.close();
      await reader.close();
      here.close();
    },
  };
}
