/**
 * writer — appends to the log: what one turn of the event loop sends leaves in one packet, bounded in number and size; beyond, and when Redis is
 * full, producers are refused.
 */
import { fault, isFault } from '../../../shared/errors.ts';
import type { Draft, Logger } from '../../carrier.ts';
import type { Client } from './connect.ts';
import { headOf } from './entries.ts';
import type { Keys } from './keys.ts';

/** Drafts of this process that Redis has not confirmed; beyond, producers are refused. */
const MAX_UNCONFIRMED = 50_000;
/** Their bodies, in characters: what an outage of Redis may cost this process in memory. */
const MAX_UNCONFIRMED_LENGTH = 64 * 1024 * 1024;
/** Entries of one call: Redis does nothing else meanwhile. */
const CALL_COUNT = 1_000;
/** How often the length of the log is measured while something is written, and how often a full Redis is trimmed. */
const MEASURE_MS = 1_000;
/**
 * From this share of its room on the log lets go of settled entries, down to the other: before it is full, as other processes fill it too, and not of all
 * of them, as they are kept for replay.
 */
const HIGH = 0.9;
const LOW = 0.8;

interface Pending {
  drafts: Draft[];
  resolve: () => void;
  reject: (error: Error) => void;
}

/** One call of append.lua: the logs it writes to, numbered from 1, and its entries. */
interface Call {
  parts: Pending[];
  logs: Map<number, number>;
  args: (string | number)[];
  count: number;
}

export interface WriterOptions {
  client: Client;
  isCluster: boolean;
  keys: Keys;
  maxEntries: number;
  timeoutMs: number;
  logger: Logger;
  /** Entries in the whole log. */
  count(): Promise<number>;
  /** Removes settled entries, about `most` of them at most; answers how many. */
  trim(most: number): Promise<number>;
}

export interface Writer {
  readonly unconfirmed: number;
  append(drafts: Draft[]): Promise<void>;
}

export function openWriter({ client, isCluster, keys, maxEntries, timeoutMs, logger, count, trim }: WriterOptions): Writer {
  let pending: Pending[] = [];
  let unconfirmed = 0;
  let unconfirmedLength = 0;
  let isScheduled = false;
  /** Length of the whole log when it was last measured, and what this process has written since. */
  let length = 0;
  let measuredAt = Number.NEGATIVE_INFINITY;
  let measuring: Promise<void> | null = null;
  /** It was full when it was last measured, and nothing gave way. */
  let isStuck = false;
  let trimmedAt = Number.NEGATIVE_INFINITY;

  function append(drafts: Draft[]): Promise<void> {
    const bodies = lengthOf(drafts);
    if (unconfirmed + drafts.length > MAX_UNCONFIRMED || unconfirmedLength + bodies > MAX_UNCONFIRMED_LENGTH)
      return Promise.reject(fault('BusOverloaded', { message: 'Redis does not take events as fast as they are made; retry later.' }));
    if (isCluster && drafts.some(({ shard }) => shard !== drafts[0]?.shard))
      return Promise.reject(fault('BrokerError', { message: 'On a Redis Cluster events written together belong to one workspace.' }));
    unconfirmed += drafts.length;
    unconfirmedLength += bodies;
    if (!isScheduled) {
      isScheduled = true;
      setImmediate(flush);
    }
    return new Promise<void>((resolve, reject) => {
      pending.push({ drafts, resolve, reject });
    });
  }

  async function flush(): Promise<void> {
    isScheduled = false;
    const parts = pending;
    pending = [];
    const refuse = (error: Error) => {
      for (const part of parts) part.reject(error);
    };
    const late = setTimeout(
      () => refuse(fault('ServiceUnavailable', { message: 'The Redis of the event bus does not answer.' })),
      timeoutMs,
    );
    try {
      if (await isFull()) throw fault('BusOverloaded', { data: { maxEntries } });
      await Promise.all(callsOf(parts, isCluster).map(send));
    } catch (error) {
      refuse(refusalOf(error as Error));
    } finally {
      clearTimeout(late);
      for (const { drafts } of parts) {
        unconfirmed -= drafts.length;
        unconfirmedLength -= lengthOf(drafts);
      }
    }
  }

  async function send({ parts, logs, args, count }: Call): Promise<void> {
    try {
      const answer = await client.busAppend(logs.size, ...[...logs.keys()].map(keys.log), maxEntries, ...args);
      if (answer < 0) {
        // Others have filled it. These are not tried again: what was sent after them may be written already.
        length = Math.max(length, maxEntries);
        if (!isStuck) measuring ??= measure();
        throw fault('BusOverloaded', { data: { maxEntries } });
      }
      length += count;
      for (const { resolve } of parts) resolve();
    } catch (error) {
      const refusal = refusalOf(error as Error);
      for (const { reject } of parts) reject(refusal);
    }
  }

  function refusalOf(cause: Error): Error {
    if (isFault(cause)) return cause;
    // Redis refuses writes when `maxmemory` is reached and nothing may be evicted.
    if (!/\bOOM\b/.test(cause.message))
      return fault('ServiceUnavailable', { message: `The event could not be written: ${cause.message}`, cause });
    if (performance.now() - trimmedAt > MEASURE_MS) {
      trimmedAt = performance.now();
      trim(Number.POSITIVE_INFINITY).catch((error) => logger.warn(`bus: the log cannot be trimmed: ${(error as Error).message}`));
    }
    return fault('BusOverloaded', { message: 'The Redis of the event bus is full; retry later.', cause });
  }

  /** Measured now and then, and at once when it seems to be full. */
  async function isFull(): Promise<boolean> {
    const isDue = performance.now() - measuredAt > MEASURE_MS;
    if (isDue || (length >= maxEntries && !isStuck)) {
      measuring ??= measure();
      if (length >= maxEntries || measuredAt < 0) await measuring;
    }
    return length >= maxEntries;
  }

  async function measure(): Promise<void> {
    try {
      let now = await count();
      if (now >= maxEntries * HIGH && (await trim(now - maxEntries * LOW)) > 0) now = await count();
      length = now;
      isStuck = now >= maxEntries;
    } catch (error) {
      logger.warn(`bus: the log cannot be measured: ${(error as Error).message}`);
    } finally {
      measuredAt = performance.now();
      measuring = null;
    }
  }

  return {
    get unconfirmed() {
      return unconfirmed;
    },
    append,
  };
}

/** In order; a call is one step, so its parts stand or fall together. On a cluster a call is of one shard, as its parts are. */
function callsOf(parts: Pending[], isCluster: boolean): Call[] {
  const open = new Map<number, Call>();
  const calls: Call[] = [];
  for (const part of parts) {
    const place = isCluster ? (part.drafts[0]?.shard ?? 0) : 0;
    let call = open.get(place);
    if (!call || call.count >= CALL_COUNT) {
      call = { parts: [], logs: new Map(), args: [], count: 0 };
      open.set(place, call);
      calls.push(call);
    }
    call.parts.push(part);
    call.count += part.drafts.length;
    for (const draft of part.drafts) {
      let log = call.logs.get(draft.shard);
      if (!log) {
        log = call.logs.size + 1;
        call.logs.set(draft.shard, log);
      }
      call.args.push(log, headOf(draft), draft.body);
    }
  }
  return calls;
}

const lengthOf = (drafts: Draft[]): number => drafts.reduce((sum, { body }) => sum + body.length, 0);
