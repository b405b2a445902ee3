/**
 * carrier — the contract between the bus and what stores its log. A carrier is one folder, `carriers/<scheme of BUS_URL>/carrier.ts`,
 * exporting `open(options): Promise<Carrier>`; every sentence below is a test of test/contract/bus.suite.ts.
 *
 * A log is cut into shards. Inside a shard entries have positions in the order of their writing. For each consumer group a shard has a
 * cursor (everything up to it is settled), the positions settled ahead of it, failures waiting for another attempt, dead letters and a lease: at most
 * one member of the group owns the shard, and only the owner's token may settle. docs/protocol.md tells the whole story.
 */
import { type PrismeEvent, withText } from '../shared/event.ts';
import { parseJson } from '../shared/json.ts';

/** Place of an entry in its shard; opaque, compared with `Carrier.compare`. START is before every entry. */
export type Position = string;
export const START: Position = '0';

/** What is written: the envelope's routing fields beside the JSON text, so that nobody parses what it does not want. */
export interface Draft {
  shard: number;
  /** ULID of the event. */
  id: string;
  topic: string;
  /** Empty for events of the platform. */
  workspaceId: string;
  /** Only this group gets it (a redriven dead letter); empty for all. */
  group: string;
  body: string;
  /** What the body says, when it is known without parsing it: for every reader that only looks at it (`sharedEvent`). */
  event?: PrismeEvent;
}

export interface Entry extends Draft {
  position: Position;
}

/** The event of an entry, the same object for every caller: nobody may change it. @throws SyntaxError */
export const sharedEvent = (entry: Entry): PrismeEvent => (entry.event ??= withText(parseJson<PrismeEvent>(entry.body), entry.body));

/** What is known of an entry that did not succeed yet. */
export interface Failure {
  position: Position;
  /** Deliveries whose handler failed. */
  attempts: number;
  /** Deliveries whose process died. */
  crashes: number;
  /** Milliseconds from now until the next attempt may start. */
  dueInMs: number;
}

export interface Lease {
  shard: number;
  /** Proof of ownership; a later owner has another one. */
  token: string;
  cursor: Position;
  /** Settled ahead of the cursor. */
  ahead: Position[];
  failures: Failure[];
  /** The former owner gave the shard back; otherwise it died with entries in hand. */
  wasReleased: boolean;
}

export interface Death {
  entry: Entry;
  attempts: number;
  error: { error: string; message: string };
}

/** One atomic step forward of a group in a shard. */
export interface Settlement {
  cursor: Position;
  /** Entries between the former cursor and this one, for the count of what is left. */
  passed: number;
  /** Newly settled ahead of the cursor. */
  ahead: Position[];
  /** Formerly ahead or failed, now behind the cursor or settled: no record is needed any more. */
  forget: Position[];
  failures: Failure[];
  dead: Death[];
}

export interface StoredDeath {
  id: string;
  group: string;
  entry: Draft;
  attempts: number;
  error: { error: string; message: string };
  diedAt: string;
}

export interface DeathQuery {
  group?: string;
  workspaceId?: string;
  ids?: string[];
  limit?: number;
}

export interface Backlog {
  group: string;
  entries: number;
  /** How long ago, by the store's clock, the oldest unsettled entry was written, ms; undefined when there is none. */
  ageMs?: number;
  dead: number;
}

/**
 * Entries appended after `after`, in order. No entries at all: the log ends at `after` now, and what was told behind it is lost (a store that came back
 * without its last writes, or empty); positions begin again there.
 */
export type Follower = (shard: number, after: Position, entries: Entry[]) => void;

export interface Carrier {
  readonly shards: number;
  compare(a: Position, b: Position): number;

  /**
   * Writes drafts, all or none, in order per shard. Resolves when they are durable.
   * @throws BusOverloaded when the log is full · ServiceUnavailable when the store does not answer (the drafts may still get written)
   */
  append(drafts: Draft[]): Promise<void>;
  /** Calls `follower` with everything appended by anyone, in order per shard. Resolves when nothing appended afterwards can be missed. */
  follow(follower: Follower): Promise<() => void>;
  /** Up to `limit` entries after `after`, in order. */
  read(shard: number, after: Position, limit: number): Promise<Entry[]>;
  /** The entries at these positions; those not kept any more are left out. */
  fetch(shard: number, positions: Position[]): Promise<Entry[]>;
  /**
   * Position of the entry of an event id, or `null` when it is not kept any more.
   * @param isQuick an event that was written long after it was made need not be found
   */
  find(shard: number, id: string, isQuick?: boolean): Promise<Position | null>;

  /** Makes the group known: nothing it has not settled is trimmed from now on. A new group begins with the oldest entry kept. */
  register(group: string): Promise<void>;
  /**
   * Forgets a group that is not used any more: cursors, failures, dead letters. What it has not settled holds the log no longer.
   * `false`: it has members alive and nothing was done, or there is no such group.
   */
  forget(group: string): Promise<boolean>;
  /** Tells the group that `member` is alive for `ttlMs`; answers all live members, sorted. */
  beat(group: string, member: string, ttlMs: number): Promise<string[]>;
  leave(group: string, member: string): Promise<void>;
  /**
   * From now on others can tell when this process is gone, which goes by `name`; its members are called `<name>/<number>`.
   * @param onSeen told `false` when the others may think so although it is not true, and `true` when they do no longer
   */
  announce(name: string, onSeen?: (isSeen: boolean) => void): void;
  /** Of these names, those whose process is gone. Where a carrier cannot tell, or has never seen it, nobody is: leases run out. */
  gone(names: string[]): Promise<string[]>;
  /** Takes a shard nobody owns, or `null`. */
  lease(group: string, shard: number, member: string, ttlMs: number): Promise<Lease | null>;
  /** Prolongs leases; answers the shards that are still owned. A lease that ran out is still owned as long as nobody took it. */
  renew(group: string, leases: { shard: number; token: string }[], ttlMs: number): Promise<number[]>;
  release(group: string, shard: number, token: string): Promise<void>;
  /** `false`: the token is not the owner's any more and nothing was written. Sending the same settlement twice is harmless. */
  settle(group: string, shard: number, token: string, settlement: Settlement): Promise<boolean>;

  backlog(): Promise<Backlog[]>;
  /** Entries in the log, settled ones kept for replay included. */
  size(): Promise<number>;
  deaths(query: DeathQuery): Promise<StoredDeath[]>;
  /** Each death leaves the list and is written to the log again, for its group alone, in one step. */
  revive(query: DeathQuery): Promise<number>;
  bury(query: DeathQuery): Promise<number>;
  /** Removes entries that every group has settled and that are older than the replay window; answers how many. Never more. */
  trim(): Promise<number>;
  /** Waits for writes in flight, then closes. */
  close(): Promise<void>;
}

export interface Logger {
  info(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  error(...args: unknown[]): void;
}

export interface CarrierOptions {
  /** Value of BUS_URL. */
  url: string;
  namespace: string;
  dataDir: string;
  logger: Logger;
  /** Entries kept in the log before producers are refused. Default 1 000 000. */
  maxEntries?: number;
  /** How long settled entries stay for `replay`, ms. Default 1 hour. */
  keepMs?: number;
  /** How long a write may take before it is refused, ms. Default 10 s. */
  timeoutMs?: number;
}

/**
 * Version of what carriers write; kept with the log. A change that an older node could not read or would damage makes it one more; nodes go on reading
 * every version before it.
 */
export const FORMAT = 1;

/** What to say of a log that a newer version has written. */
export const newerFormat = (format: number): string =>
  `BUS_URL: the log has format ${format}, made by a newer version; this one knows ${FORMAT}. Start the newer version, or use another log.`;

export type OpenCarrier = (options: CarrierOptions) => Promise<Carrier>;
