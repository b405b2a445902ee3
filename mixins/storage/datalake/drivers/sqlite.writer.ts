/**
 * sqlite.writer — the thread that stores events and removes them.
 *
 * It is in nobody's way: what is answered to clients has the cores first, as long as the history is at most some seconds behind. Then it takes its share
 * like any other thread, until it has caught up. A thread may lower its priority but not raise it, so another one takes over.
 */
import { SECOND } from '../../../shared/clock.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import type { SqliteEngine } from './sqlite.engine.ts';
import { engineThread } from './sqlite.thread.ts';

export interface SqliteWriter {
  /** @param oldest the event among them that has waited the longest */
  store(texts: string[], oldest: PrismeEvent): Promise<ReturnType<SqliteEngine['store']>>;
  call: ReturnType<typeof engineThread>['call'];
  close(): Promise<void>;
}

export interface WriterOptions {
  /** Age of an event about to be stored from which on the writer no longer gives way, and below which it has caught up. */
  behindMs?: number;
  caughtUpMs?: number;
  /** Shortest time between two changes of thread. */
  restMs?: number;
}

export function sqliteWriter(
  file: string,
  { behindMs = 2 * SECOND, caughtUpMs = SECOND, restMs = 30 * SECOND }: WriterOptions = {},
): SqliteWriter {
  let givesWay = true;
  let changedAt = Number.NEGATIVE_INFINITY;
  let thread = engineThread(file, { givesWay });
  /** The last thread, while it ends what it was given; SQLite lets one of the two write at a time. */
  let ending: Promise<void> = Promise.resolve();

  function adjust({ createdAt }: PrismeEvent): void {
    const age = Date.now() - Date.parse(createdAt);
    const isWrong = givesWay ? age > behindMs : age < caughtUpMs;
    if (!isWrong || performance.now() - changedAt < restMs) return;
    givesWay = !givesWay;
    changedAt = performance.now();
    const before = thread;
    ending = ending.then(() => before.close());
    thread = engineThread(file, { givesWay });
  }

  return {
    store(texts, oldest) {
      adjust(oldest);
      return thread.call('store', texts);
    },
    call: (method, ...args) => thread.call(method, ...args),
    async close() {
      await thread.close();
      await ending;
    },
  };
}
