/**
 * journal — what a durable run has learnt from the world, by effect key, so that it can be executed again from the top on any node.
 * Protocol and states: docs/decisions/030-crash-proof-runs.md.
 *
 * Results are buffered and written together just before the next effect that changes the world; results of effects that cannot be
 * recognised by their key elsewhere (fetch) are written at once. A run that changes nothing writes nothing.
 */
import { fault, isFault, toPublicError } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { isBeside } from './effect-keys.ts';
import type { ModelName } from './models.ts';

/** First record of a journal: what the run was started with. */
export interface JournalHead extends ModelName {
  startedAt: number;
  /** 32 hexadecimal characters. */
  seed: string;
  /** What it executes (program.ts): says whether another model may believe what is recorded here. */
  program?: string;
}

export interface JournalEntry {
  /** Effect key. */
  k: string;
  /** Effect type: a changed automation must not read another effect's result. */
  y: string;
  /** Time of the result, milliseconds. */
  t: number;
  /** Result; absent for undefined. */
  v?: unknown;
  /** Fault, when it failed. */
  e?: { type: string; message: string; data?: unknown };
}

export interface Journal {
  readonly head: JournalHead;
  /** Whether anything was ever written. */
  readonly isKept: boolean;
  /** Recorded effect, or `undefined`. @throws RunLostError when it was recorded for another kind of effect */
  find(key: string, type: string): JournalEntry | undefined;
  record(key: string, type: string, time: number, result: { value?: unknown; error?: unknown }): void;
  /** Of an effect that is done again by a replay: when it was answered, among the others. */
  recordPlace(key: string, type: string, time: number): void;
  /** Keys of the recorded answers that were given beside others, in the order in which they came. */
  besides(): string[];
  /** Writes what is buffered; nothing to write is free. Concurrent calls share one write, in order. */
  flush(): Promise<void>;
}

export const journalKey = (workspaceId: string, runId: string): string => `run:{${workspaceId}}:journal:${runId}`;

/** Before the key of an entry that is a place only: an earlier version asks for no such key. */
const PLACE = '~';

const BYTES = '$bytes';

/** Objects that would be taken for bytes, or for one of these, when they are read: their key gets one `$` more. */
const ESCAPED = /^\$+bytes$/;
const onlyKey = (value: Record<string, unknown>): string | undefined => {
  const keys = Object.keys(value);
  return keys.length === 1 ? keys[0] : undefined;
};

/** JSON has no bytes: they travel as `{ $bytes: base64 }`, and what only looks so (an answer to a fetch may) as `{ $$bytes: … }`. */
export function toRecord(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [BYTES]: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(toRecord);
  if (!isPlainObject(value)) return value;
  const only = onlyKey(value);
  if (only !== undefined && ESCAPED.test(only)) return { [`$${only}`]: toRecord(value[only]) };
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) copy[key] = toRecord(item);
  return copy;
}

export function fromRecord(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromRecord);
  if (!isPlainObject(value)) return value;
  const only = onlyKey(value);
  if (only === BYTES && typeof value[BYTES] === 'string') return Buffer.from(value[BYTES], 'base64');
  if (only !== undefined && only !== BYTES && ESCAPED.test(only)) return { [only.slice(1)]: fromRecord(value[only]) };
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) copy[key] = fromRecord(item);
  return copy;
}

export interface JournalOptions {
  /** Head of a new journal; an existing one keeps its own. */
  head: JournalHead;
  /** Records read from the cache: the head first. */
  records?: unknown[];
  /** Called once, before the first write: makes the run record, takes ownership. */
  onFirstWrite: () => Promise<void>;
  /** Refuses further writes when another node owns the run now. */
  assertOwned: () => Promise<void>;
  append: (records: unknown[]) => Promise<void>;
}

export function createJournal({ head, records = [], onFirstWrite, assertOwned, append }: JournalOptions): Journal {
  const [firstRecord, ...entries] = records as [JournalHead?, ...JournalEntry[]];
  const known = new Map(entries.map((entry) => [entry.k, entry]));
  const start = firstRecord ?? head;
  let buffer: unknown[] = [];
  let isKept = firstRecord !== undefined;
  let hasStarted = false;
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    if (buffer.length === 0 && hasStarted) return;
    const batch = buffer;
    buffer = [];
    if (!hasStarted) {
      await onFirstWrite();
      hasStarted = true;
    } else await assertOwned();
    if (!isKept) batch.unshift(start);
    isKept = true;
    if (batch.length) await append(batch);
  }

  return {
    head: start,
    get isKept() {
      return isKept;
    },
    find(key, type) {
      const entry = known.get(key);
      if (entry && entry.y !== type)
        throw fault('RunLostError', {
          message: 'The automation was changed while the run was interrupted: it cannot be continued.',
          data: { key, recorded: entry.y, asked: type },
        });
      return entry;
    },
    record(key, type, time, { value, error }) {
      const entry: JournalEntry = { k: key, y: type, t: time };
      if (error !== undefined) {
        const { error: name, message, details } = toPublicError(error);
        entry.e = { type: name, message, data: details };
      } else if (value !== undefined) entry.v = toRecord(value);
      known.set(key, entry);
      buffer.push(entry);
    },
    recordPlace: (key, type, time) => void buffer.push({ k: `${PLACE}${key}`, y: type, t: time } satisfies JournalEntry),
    besides: () => [...new Set(entries.map(({ k }) => (k.startsWith(PLACE) ? k.slice(PLACE.length) : k)).filter(isBeside))],
    flush() {
      writing = writing.then(write, write);
      return writing;
    },
  };
}

/** The recorded failure as it was thrown. */
export function recordedFault(entry: JournalEntry): Error {
  const { type, message, data } = entry.e as { type: string; message: string; data?: unknown };
  const probe = { type } as unknown;
  return isFault(probe)
    ? fault(probe.type as Parameters<typeof fault>[0], { message, data: (data ?? {}) as Record<string, unknown> })
    : Object.assign(new Error(message), { name: type });
}

/**
 * What a run that was begun again believes of its journal. Part of its record: who begins it again writes the record only, so of several who
 * try at once one wins and the others have changed nothing, and a node that dies in between leaves no journal half written. Its model is the one it goes on with.
 */
export interface KeptJournal extends ModelName {
  /** Records before it are of another program: none is believed. */
  from: number;
  /** Records before it were there when the run was begun again. Of those, what failed is tried again. */
  upTo: number;
  /** Contexts are read and written again, so that the run sees what was repaired; a repeated write is known by its key for an hour. */
  readsAgain: boolean;
}

const READ_AGAIN = new Set(['context.read', 'context.write', 'identity.switch', 'sleep']);

/** Records of a kept journal; empty when there is none. */
export async function readJournal(cache: CacheDriver, workspaceId: string, runId: string, kept?: KeptJournal): Promise<unknown[]> {
  const records = await cache.list<JournalHead | JournalEntry>(journalKey(workspaceId, runId), kept?.from ?? 0);
  if (!kept || kept.upTo === kept.from) return records;
  return records.flatMap((record, i): unknown[] => {
    if (!('y' in record)) return i === 0 ? [{ ...record, revision: kept.revision, model: kept.model }] : [record];
    const isTriedAgain = i < kept.upTo - kept.from && (record.e !== undefined || (kept.readsAgain && READ_AGAIN.has(record.y)));
    return isTriedAgain ? [] : [record];
  });
}
