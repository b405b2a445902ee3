/**
 * sqlite — the embedded event history: one file (WAL) with FTS5.
 *
 * Writes and heavy reads (aggregations, full text, exact counts) run on threads of their own, so that neither holds up the requests of this process;
 * pages of recent events are read here, at the cost of a few index look-ups. `:memory:` keeps everything on this thread.
 */
import { SECOND } from '../../../shared/clock.ts';
import { eventText, type PrismeEvent } from '../../../shared/event.ts';
import type { Condition, DatalakeDriver, SearchRequest } from '../contract.ts';
import { openSqliteEngine, type SqliteEngine } from './sqlite.engine.ts';
import { engineThread } from './sqlite.thread.ts';
import { columnOf } from './sqlite.where.ts';
import { sqliteWriter } from './sqlite.writer.ts';

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
  const writer = sqliteWriter(file);
  const reader = engineThread(file, { readOnly: true, timeoutMs: searchTimeoutMs });
  return {
    store: (events) => storeTexts(events, (texts) => writer.store(texts, events[0] as PrismeEvent)),
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
