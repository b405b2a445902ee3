/**
 * checkpoints — when the write-ahead log of the bus is copied into its file, and by whom.
 *
 *  quiet   SQLite copies a thousand pages within a commit, every now and then: nobody notices.
 *  load    several times a second, some ten milliseconds each in which the process stands still. A thread does it then, and flushes the log in between;
 *          the writer does only what has come meanwhile: without that last piece the log would never begin anew, and grow for as long as there is load.
 *
 * Which of the two changes nothing for what survives: it is SQLite's own protocol between connections. @see https://www.sqlite.org/wal.html#ckpt
 */
import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { SECOND } from '../../../shared/clock.ts';
import type { CheckpointOrder } from './checkpoint.worker.ts';
import { PAGE_BYTES } from './database.ts';
import { descriptorOf } from './descriptors.ts';

/** Pages after which SQLite copies by itself: its own default, and as the limit of what the thread may be behind. */
const QUIET_PAGES = 1_000;
const LOAD_PAGES = 40_000;
/** Pages in LOOK_MS from which on there is load. */
const MANY_PAGES = 2_000;
const LOOK_MS = 2 * SECOND;
/**
 * Pages after which the thread is asked to copy: 64 MB, every few seconds under load. The writer's last piece is small, but flushes both files, and for these
 * milliseconds nobody is answered.
 */
const COPY_PAGES = 16_000;
/** Pages after which it is asked to flush the log: commits wait for a flush under way, and one of 4 MB takes 4 ms. */
const FLUSH_PAGES = 1_000;
/** Pages a commit touches beside those of its entries: inner ones, and those of the indexes. */
const OVERHEAD_PAGES = 4;
/** The thread ends after so much time without load. */
const REST_MS = 20 * SECOND;

export interface Checkpoints {
  /** After each commit. @param characters of the entries it wrote */
  committed(characters: number): void;
  close(): Promise<void>;
}

export interface CheckpointsOptions {
  db: DatabaseSync;
  /** Absent: a database in memory. */
  file: string | undefined;
  synchronous: string;
  warn: (message: string) => void;
  now?: () => number;
}

export function openCheckpoints({ db, file, synchronous, warn, now = () => performance.now() }: CheckpointsOptions): Checkpoints {
  if (file === undefined) return { committed() {}, close: async () => {} };
  const copy = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  let worker: Worker | undefined;
  let isAsked = false;
  let mayEnd = false;
  /** Pages written since the last copy, the last flush, and the last look at the load. */
  let toCopy = 0;
  let toFlush = 0;
  let pagesSince = 0;
  let lookedAt = now();
  let busyAt = 0;

  /** With FULL each commit has flushed what it wrote. */
  const flushes = synchronous === 'NORMAL';

  const ask = (order: CheckpointOrder) => worker?.postMessage(order);
  const copyAfter = (count: number) => db.exec(`PRAGMA wal_autocheckpoint = ${count}`);

  /** Never throws, as all that follows a commit. */
  function begin(log: string): void {
    let begun: Worker;
    try {
      begun = new Worker(new URL('./checkpoint.worker.ts', import.meta.url), {
        workerData: { file: log, descriptor: descriptorOf(log), synchronous },
        execArgv: ['--disable-warning=ExperimentalWarning'],
        resourceLimits: { maxYoungGenerationSizeMb: 3 },
      });
    } catch (error) {
      warn(`bus: the thread that copies the write-ahead log cannot begin: ${(error as Error).message}`);
      return;
    }
    begun.unref();
    begun.on('message', () => {
      isAsked = false;
      mayEnd = true;
    });
    begun.on('error', (error) => warn(`bus: the thread that copies the write-ahead log ended: ${(error as Error).message}`));
    begun.on('exit', () => worker === begun && forget());
    worker = begun;
    copyAfter(LOAD_PAGES);
  }

  /** The thread is gone: SQLite copies by itself again. */
  function forget(): void {
    worker = undefined;
    isAsked = false;
    mayEnd = false;
    if (db.isOpen) copyAfter(QUIET_PAGES);
  }

  function look(at: number): void {
    if (at - lookedAt < LOOK_MS) return;
    if (pagesSince >= MANY_PAGES) busyAt = at;
    if (!worker && pagesSince >= MANY_PAGES) begin(file as string);
    else if (worker && !isAsked && at - busyAt > REST_MS) {
      const ended = worker;
      forget();
      void ended.terminate();
    }
    lookedAt = at;
    pagesSince = 0;
  }

  /** Never throws: the commit before it has happened, and a disk that is full now is asked again later. */
  function finish(): void {
    try {
      copy.get();
    } catch (error) {
      warn(`bus: the write-ahead log cannot be copied now: ${(error as Error).message}`);
    }
  }

  return {
    committed(characters) {
      const written = Math.ceil(characters / PAGE_BYTES) + OVERHEAD_PAGES;
      toCopy += written;
      toFlush += written;
      pagesSince += written;
      look(now());
      if (!worker) return;
      if (mayEnd) {
        mayEnd = false;
        finish();
      } else if (isAsked) {
        // A thread that copies flushes by itself.
      } else if (toCopy >= COPY_PAGES) {
        isAsked = true;
        toCopy = 0;
        toFlush = 0;
        ask('copy');
      } else if (toFlush >= FLUSH_PAGES && flushes) {
        toFlush = 0;
        ask('flush');
      }
    },
    async close() {
      const ended = worker;
      worker = undefined;
      await ended?.terminate();
    },
  };
}
