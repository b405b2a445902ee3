/**
 * cache — the contract of fast shared state: sessions, contexts, counters, waits, journals. Shared by all nodes, survives their death.
 * Every sentence is a test in test/contract/cache.suite.ts, run on every driver. Every method is one atomic step.
 * Keys are text; the segment between the first `{` and `}` keeps keys of one owner together on a Redis Cluster.
 */

/**
 * One change of a JSON document. `path` [] is the document itself. Missing parents are made as objects.
 * `until`: when the path is to be removed, milliseconds; of a document with `lives` only.
 */
export type PathOperation = { path: (string | number)[]; until?: number } & (
  | { type: 'replace'; value: unknown }
  /** Arrays: concatenated (a single value is appended); objects: one level, the value wins; otherwise replaced. */
  | { type: 'merge'; value: unknown }
  /** Appended as one element; anything but an array is replaced by a new one. */
  | { type: 'push'; value: unknown }
  /** Adds to a number (absent counts as 0). */
  | { type: 'increment'; by: number }
  | { type: 'delete' }
);

export interface ApplyOptions {
  /** Life of the whole document from now; absent keeps the present one (none for a new document). */
  ttlMs?: number;
  /** Apply only over this version; 0 means "only if absent". @throws VersionConflict */
  ifVersion?: number;
  /** A second application with the same id within an hour changes nothing and returns the present version. */
  operationId?: string;
  /** Refuse a result above this many bytes of JSON. @throws LimitExceededError, nothing is written */
  maxBytes?: number;
  /** Tell how many bytes of JSON the result has when it is above this many. */
  largeBytes?: number;
  /**
   * Paths of the document have lives: those that are over are removed first, and neither they nor their book-keeping count for its size. The life of a
   * path ends, with those below it, when another value takes its place, a counted one too; appending, merging and writing below leave it.
   * Such a document is an object and stays one (@throws BadParametersError); a value of another kind counts as none.
   */
  lives?: PathLives;
}

export interface PathLives {
  /** Field of the document in which the lives are kept (lives.ts); operations cannot write it. */
  field: string;
  /** Milliseconds, on the clock of `until`. */
  now: number;
}

export interface Versioned<T = unknown> {
  value: T;
  /** Starts at 1, grows with each change. */
  version: number;
}

/** `bytes`: of JSON, when above `largeBytes`. */
export type Applied = Versioned & { bytes?: number };

export interface BucketResult {
  ok: boolean;
  remaining: number;
  /** Milliseconds until the request could succeed; 0 when ok. */
  retryAfterMs: number;
}

export interface CacheDriver {
  get<T = unknown>(key: string): Promise<Versioned<T> | null>;
  /** One answer per key, in order, `null` for the absent. */
  getMany(keys: string[]): Promise<(Versioned | null)[]>;
  /** Replaces the document. `ifVersion` 0: only if absent. @throws VersionConflict */
  set(key: string, value: unknown, options?: { ttlMs?: number; ifVersion?: number }): Promise<number>;
  /** Whether there was one. */
  delete(key: string): Promise<boolean>;
  /** Gives a document, list, set or sorted set a new life from now. */
  expire(key: string, ttlMs: number): Promise<boolean>;

  /** Path-level operations, in order, all or nothing. Returns the version and the document after them. */
  apply(key: string, operations: PathOperation[], options?: ApplyOptions): Promise<Applied>;

  /** Adds to a counter that lives `ttlMs` from its first increment: a fixed window. */
  increment(key: string, by: number, ttlMs: number): Promise<{ count: number; expiresInMs: number }>;
  /**
   * Token bucket of `burst` tokens, refilled at `perSecond`, starting full.
   * @param wait true: always takes, possibly going below zero, and `retryAfterMs` tells how long the caller must sleep (throttling);
   *             false: takes only when there are enough
   */
  takeTokens(key: string, count: number, limit: { perSecond: number; burst: number; wait: boolean }): Promise<BucketResult>;

  /** Appends records to a list; returns its length. */
  append(key: string, records: unknown[], options?: { ttlMs?: number }): Promise<number>;
  /** Records from `start` (0-based) to the end. */
  list<T = unknown>(key: string, start?: number): Promise<T[]>;

  addMembers(key: string, members: string[], options?: { ttlMs?: number }): Promise<number>;
  removeMembers(key: string, members: string[]): Promise<number>;
  members(key: string): Promise<string[]>;
  hasMember(key: string, member: string): Promise<boolean>;

  /** Sorted set: members with a score (a due time, say). An existing member gets the new score. */
  addScored(key: string, member: string, score: number): Promise<void>;
  /** Members with a score ≤ `max`, lowest first. */
  scoredUpTo(key: string, max: number, limit: number): Promise<{ member: string; score: number }[]>;
  /** Whether this caller removed it: of several nodes one only gets true. */
  removeScored(key: string, member: string): Promise<boolean>;

  /** Takes a lease on `name` for `ttlMs`, or prolongs the caller's own; false when another owner has it. */
  lease(name: string, owner: string, ttlMs: number): Promise<boolean>;
  releaseLease(name: string, owner: string): Promise<void>;

  /** Every live key that starts with `prefix`; for maintenance and tests, not for hot paths. */
  keys(prefix: string): AsyncIterable<string>;
  close(): Promise<void>;
}
