/**
 * bus — what components see of the message broker: durable, balanced events. Protocol and states of an entry: docs/protocol.md.
 */

import type { EventOptions, EventSource, EventTarget, PrismeEvent } from '../shared/event.ts';
import type { JsonObject } from '../shared/json.ts';

export interface SendOptions {
  source?: Partial<EventSource>;
  target?: EventTarget;
  options?: EventOptions;
  /** Channel when it is not the type, e.g. EMIT_TOPIC. */
  topic?: string;
  /** Fields of the payload set to null, in this order, until the event fits the size limit. */
  shrink?: string[];
  maxBytes?: number;
  /** Fixed id, for an emission that may be repeated: the same id is one event (consumers are idempotent by id). */
  id?: string;
  /** Its moment (milliseconds), when the emission may be repeated: the same event has the same `createdAt`. Default: now. */
  at?: number;
  /** Nobody changes the payload any more: readers in this process get the event as it was made, without parsing it. */
  isFinal?: boolean;
  /** Secret texts replaced by REDACTED anywhere inside the payload's strings. */
  redact?: Iterable<string>;
}

export interface Delivery {
  /** 1 for the first delivery. */
  attempt: number;
  /** True when the attempt is the last one before the dead letter. */
  isLast: boolean;
  /** Aborted when the node stops and its drain time is over. */
  signal: AbortSignal;
  /** Gives this event up at once, whatever attempts are left: a dead letter with this reason, once the handler has returned. The rest of a batch goes its way. */
  bury(event: PrismeEvent, reason: unknown): void;
}

/** Returning acknowledges; throwing asks for a retry. Events of broadcasts and batches are shared with other readers: look, do not change. */
export type EventHandler = (event: PrismeEvent, delivery: Delivery) => Promise<void> | void;

export interface GroupOptions {
  mode?: 'group';
  /** The consumer group: a service role (`runtime`, `history`, `subscriptions`, …). Each event goes to one member of each group. */
  group: string;
  /** Events of one lane are handled one after the other, in order. Default: the workspace. */
  lane?: (event: PrismeEvent) => string;
  /** Looks at an event of these topics before it is parsed: false passes it over, as if the topic had not been subscribed. */
  concerns?: (topic: string, workspaceId: string) => boolean;
  /** Handlers running at once on this node. Default 100. */
  maxInFlight?: number;
  /** Deliveries before the dead letter; Infinity: nothing dies of being tried, and no event is suspected of having killed the node that handled it. Default 5. */
  attempts?: number;
  /** Delay before attempt n+1: backoffMs · 2ⁿ⁻¹, at most a minute. Default 500. */
  backoffMs?: number;
  /** Hand over up to this many events in one call of `batch` instead of one by one. */
  batchSize?: number;
}

export interface BroadcastOptions {
  mode: 'broadcast';
  /** Start after this event id when it is still kept, else from now. */
  afterId?: string;
}

export interface Subscription {
  stop(options?: { drainMs?: number }): Promise<void>;
}

export interface GroupLag {
  group: string;
  /** Entries not yet acknowledged. */
  entries: number;
  /** Age of the oldest of them, seconds. */
  seconds: number;
  dead: number;
}

/** What a member of a group does on this node, and has done since it began. */
export interface MemberFigures {
  group: string;
  /** Shards it owns now. */
  shards: number[];
  /** Handlers at work now. */
  running: number;
  /** Entries read and not settled. */
  waiting: number;
  handled: number;
  /** Attempts that failed. */
  failed: number;
  dead: number;
}

export interface BusStatus {
  log: { entries: number; maxEntries: number; shards: number };
  /** Over the cluster. */
  groups: GroupLag[];
  /** Of the node that answers: events sent and refused, members of groups. */
  node: { id: string; sent: number; refused: number; members: MemberFigures[] };
}

export interface DeadLetter {
  id: string;
  group: string;
  event: PrismeEvent;
  attempts: number;
  error: { error: string; message: string };
  diedAt: string;
}

export interface EventBus {
  /**
   * Makes the event and writes it once. Resolves when it is durable.
   * @throws InvalidEventError (name, payload) · EventValidationError (native schema) · BrokerError (too large) · BusOverloaded (retryable)
   */
  send(type: string, payload: JsonObject, options?: SendOptions): Promise<PrismeEvent>;
  /** Several events, durable together or refused together. */
  sendAll(events: { type: string; payload: JsonObject; options?: SendOptions }[]): Promise<PrismeEvent[]>;
  /**
   * Subscribes to topics: exact names or `prefix.*`; `'*'` is everything. Resolves when nothing sent afterwards can be missed.
   * Topic of an event = its `source.serviceTopic` (EMIT_TOPIC for custom events, the type for native ones).
   */
  on(topics: string | string[], handler: EventHandler, options: GroupOptions | BroadcastOptions): Promise<Subscription>;
  /** As `on('*', …)` handing over batches: acknowledged together when the promise resolves. */
  all(handler: (events: PrismeEvent[], delivery: Delivery) => Promise<void>, options: GroupOptions): Promise<Subscription>;
  /** A bus whose events carry this source too. `ip` and `serviceTopic` never pass to grandchildren; `clearUser` drops the user id. */
  child(source: Partial<EventSource>, options?: { clearUser?: boolean }): EventBus;
  /** Events sent inside are written together when `work` resolves, and dropped when it throws. */
  transaction<T>(work: (bus: EventBus) => Promise<T>): Promise<T>;
  /**
   * Events after `afterId` that are still kept, oldest first: the replay window of live subscribers. `null`: the id is not kept any more.
   * `isQuick`: for who can ask elsewhere; `null` too where it was written long after it was made.
   */
  replay(afterId: string, workspaceId: string, limit: number, options?: { isQuick?: boolean }): Promise<PrismeEvent[] | null>;
  /** How far each group is behind. Takes a while on SQLite when that is far. */
  lag(): Promise<GroupLag[]>;
  /** Entries in the log. Quick, however many: also the question whether the store answers. */
  size(): Promise<number>;
  /** The state of the log, its groups and this node's part in them. */
  status(): Promise<BusStatus>;
  /** From now on other nodes can tell when this process is gone. See Carrier. */
  announce(name: string, onSeen?: (isSeen: boolean) => void): void;
  /** Of these names, those whose process is gone for certain. */
  gone(names: string[]): Promise<string[]>;
  /** Forgets a group that is not used any more, with its dead letters. `false`: it has members, or there is none of that name. */
  forgetGroup(group: string): Promise<boolean>;
  deadLetters(query: { group?: string; workspaceId?: string; ids?: string[]; limit?: number }): Promise<DeadLetter[]>;
  /** Puts dead entries back for their group; returns how many. */
  redrive(query: { group?: string; workspaceId?: string; ids?: string[] }): Promise<number>;
  dropDeadLetters(query: { group?: string; workspaceId?: string; ids?: string[] }): Promise<number>;
}

export interface AskOptions extends SendOptions {
  answers: string | string[];
  match?: (event: PrismeEvent) => boolean;
  timeoutMs: number;
}

/** What the mixin `bus()` gives a service. */
export interface BusMethods {
  bus: EventBus;
  /**
   * First event that `match` accepts, or `null` after `timeoutMs`. Listening has begun when `ready` resolves, so the answer to a question
   * asked after that cannot be missed. For services; automations wait through the runtime's durable waits.
   */
  waitFor(
    topics: string | string[],
    options: { match?: (event: PrismeEvent) => boolean; timeoutMs: number },
  ): {
    ready: Promise<void>;
    event: Promise<PrismeEvent | null>;
    /** Ends the wait: `event` is `null`. */
    cancel(): void;
  };
  /**
   * Sends a question and waits for its answer: the first event of the topics `answers` that carries the question's correlation id and that `match` accepts,
   * or `null` after `timeoutMs`. Whoever handles the question answers with `bus.child({ correlationId })`, whatever its node.
   * @throws what `send` throws: then there was no question
   */
  ask(type: string, payload: JsonObject, options: AskOptions): Promise<PrismeEvent | null>;
}
