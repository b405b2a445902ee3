/**
 * files — the contract of the file store: named byte strings (workspace trees, uploads).
 * Keys are `/`-separated relative paths without `.`, `..`, empty segments or NUL; anything else is refused with BadParametersError.
 * Every sentence is a test in test/contract/files.suite.ts, run on every driver.
 */
import type { Readable } from 'node:stream';

export interface FileInfo {
  key: string;
  /** Bytes. */
  size: number;
  /** Changes whenever the content does. */
  etag: string;
  /** Milliseconds since the epoch. */
  modifiedAt: number;
  contentType?: string;
}

export interface WriteOptions {
  contentType?: string;
  /** Write only over this etag; `null`: only when absent. @throws VersionConflict */
  ifMatch?: string | null;
}

export interface FilesDriver {
  /** Whole content, or `null`. */
  read(key: string): Promise<{ body: Buffer; info: FileInfo } | null>;
  /** Content as a stream, `start` to `end` inclusive (bytes). `null` when there is none. */
  stream(key: string, range?: { start: number; end?: number }): Promise<{ body: Readable; info: FileInfo } | null>;
  info(key: string): Promise<FileInfo | null>;
  /** Atomic and durable: a reader, or a crash, sees the old content or the new one, never a part. */
  write(key: string, body: Buffer | string | Readable, options?: WriteOptions): Promise<FileInfo>;
  /** Whether there was one to remove. */
  remove(key: string): Promise<boolean>;
  /** Removes every key under `prefix/` (never `prefixed`); returns how many. */
  removeAll(prefix: string): Promise<number>;
  /** Every key under `prefix/`, in code-point order, also beyond 1000. `prefix` '' lists all. */
  list(prefix: string): AsyncIterable<FileInfo>;
  /** Copies every key under `from/` to the same name under `to/`; returns how many. */
  copyAll(from: string, to: string): Promise<number>;
  close(): Promise<void>;
}
