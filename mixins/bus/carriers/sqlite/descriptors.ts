/**
 * descriptors — the file of a database once more, for who wants to flush it without SQLite.
 *
 * Never closed: with any descriptor of a file a process gives up all locks it holds on that file (POSIX), those of SQLite too.
 * @see https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { openSync, statSync } from 'node:fs';

const opened = new Map<string, number>();

/** @returns one descriptor per file and process, however often it is asked for. @throws what the file system says */
export function descriptorOf(file: string): number {
  const { dev, ino } = statSync(file);
  const key = `${dev}:${ino}`;
  const known = opened.get(key);
  if (known !== undefined) return known;
  const descriptor = openSync(file, 'r+');
  opened.set(key, descriptor);
  return descriptor;
}
