/** thread-priority — the place of one thread among the others of the machine. */
import { readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** A tenth of the share of a thread that did not ask for less, where both want the same core. */
const LOWER_BY = 10;
const LOWEST = 19;

/**
 * Lets other threads go first. Counts for the calling thread only and cannot be taken back. Linux gives each thread a priority of its own; elsewhere, or where
 * it is not allowed, nothing happens.
 * @returns whether it took effect
 */
export function giveWay(): boolean {
  try {
    // "<process>/task/<thread>": what the system calls this thread. There is no such file but on Linux, where a thread may be named in place of a process.
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    if (!thread) return false; // 0 would be the whole process
    setPriority(thread, Math.min(getPriority(thread) + LOWER_BY, LOWEST));
    return true;
  } catch {
    return false;
  }
}
