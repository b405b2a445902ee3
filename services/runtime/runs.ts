/**
 * runs — what is known of a run outside the memory of its node: one record per run that must survive (or that failed), in the cache.
 * States and who moves between them: docs/decisions/030-crash-proof-runs.md.
 *
 * Keys: `run:{ws}:record:<id>` the record, its version is the fence between owners · `run:{ws}:payload|answer:<id>:<n>` what of it is large, for
 * those who need it: written before the record that names it, and living no shorter · `run:{ws}:open` ids of runs that have not ended, newest
 * first · `run:{ws}:ended|failed:<day>` those that ended on that day, as long as their records ·
 * `run:{ws}:correlation:<id>` runs of a correlation id · `runs:due` when somebody must look at a suspended or accepted run ·
 * `runs:of:<node>` runs a node has taken · `runs:nodes` last sign of life of each node.
 */

import { DAY, HOUR } from '../../mixins/shared/clock.ts';
import { isFault } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { RunIdentity, TriggerInfo } from './interpreter/index.ts';
import { fromRecord, journalKey, type KeptJournal, toRecord } from './journal.ts';
import { keyPart } from './key-part.ts';
import type { ModelParts } from './models.ts';

/** All that is needed to execute a run again from the top. Plain JSON, but for the `rawBody` of a webhook, which may be bytes. */
export interface RunRequest {
  /** Derived from what started it, so that a redelivery is the same run. */
  id: string;
  workspaceId: string;
  /** Full slug: `Instance.automation`. */
  automation: string;
  payload: JsonObject;
  trigger: TriggerInfo;
  identity: RunIdentity;
  /** `run` fields known from the start. */
  run: JsonObject & { correlationId: string; depth: number };
  /** Milliseconds. */
  acceptedAt: number;
  /** Survives its node. */
  isDurable: boolean;
  /** Called by another run, which waits for it: it takes no turn, or all turns could be held by runs that wait for one. */
  isNested?: boolean;
  /** Of query and body, when the caller gave an Idempotency-Key: another request with that key is a mistake. */
  fingerprint?: string;
  /** Set when the run is begun again after what it executes was changed: its effects are new ones. */
  again?: number;
}

/** What the keys of a run's effects begin with, in the bus, in the cache and at fetched services. */
export const effectRoot = ({ id, again }: RunRequest): string => (again ? `${id}~${again}` : id);

export type RunState = 'accepted' | 'running' | 'waiting' | 'done' | 'failed' | 'dead' | 'cancelled';
export const FINAL_STATES: readonly RunState[] = ['done', 'failed', 'dead', 'cancelled'];

export interface RunRecord {
  id: string;
  workspaceId: string;
  automation: string;
  trigger: TriggerInfo;
  correlationId: string;
  state: RunState;
  startedAt: string;
  updatedAt: string;
  /** Milliseconds, once ended. */
  durationMs?: number;
  waitingFor?: { events: string[]; until: string };
  error?: { error: string; message: string; details?: unknown };
  /** Executions begun: 1 is the undisturbed case. */
  attempts: number;
  revision: number;
  /** Start-up of a node that works on it. */
  owner?: string;
  /** Its payload is `{}` when it is kept apart, except for who created or claimed the run, and once the run is done: nobody executes it again. */
  request: RunRequest;
  /** Where a large payload is kept. */
  payloadAt?: string;
  /** Kept for a caller who may ask again with the same Idempotency-Key. */
  answer?: unknown;
  /** Where a large answer is kept. */
  answerAt?: number;
  /** Waits of a suspended run. */
  waits?: { id: string; deadline: number }[];
  /** Of a run that was begun again. `at`: milliseconds. */
  kept?: KeptJournal & { at: number };
}

export type RunSummary = Omit<RunRecord, 'request' | 'payloadAt' | 'owner' | 'answer' | 'answerAt' | 'waits' | 'kept'>;

export const DUE_KEY = 'runs:due';
export const NODES_KEY = 'runs:nodes';
export const nodeRunsKey = (owner: string): string => `runs:of:${owner}`;
const recordKey = (ws: string, id: string) => `run:{${ws}}:record:${id}`;
const payloadKey = ({ workspaceId: ws, id, payloadAt }: RunRecord) => `run:{${ws}}:payload:${id}:${payloadAt}`;
const answerKey = (ws: string, id: string, at: number) => `run:{${ws}}:answer:${id}:${at}`;
const openKey = (ws: string) => `run:{${ws}}:open`;
const endKey = (ws: string, kind: EndKind, day: number) => `run:{${ws}}:${kind}:${day}`;
const correlationKey = (ws: string, correlationId: string) => `run:{${ws}}:correlation:${keyPart(correlationId)}`;
const snapshotKey = (ws: string, version: string) => `run:{${ws}}:model:${version}`;

/** Member of sets that name runs of all workspaces. */
export const runRef = (ws: string, id: string): string => `${ws}/${id}`;
export const parseRef = (ref: string): [workspaceId: string, id: string] => [
  ref.slice(0, ref.indexOf('/')),
  ref.slice(ref.indexOf('/') + 1),
];

/** How long an ended run is remembered: against redelivery when it went well, for its owner when it did not. */
const KEEP_MS: Record<string, number> = { done: DAY, cancelled: DAY, failed: 7 * DAY, dead: 7 * DAY };
/** An answer kept apart outlives the record that names it. */
const ANSWER_MS = DAY + HOUR;
type EndKind = 'ended' | 'failed';
const kindOf = (state: RunState): EndKind => (state === 'failed' || state === 'dead' ? 'failed' : 'ended');
/** Days whose lists may still name a record. */
const DAYS: Record<EndKind, number> = { ended: 2, failed: 8 };
const dayOf = (at: number): number => Math.floor(at / DAY);

/** Newest runs of each list that are looked at for those of one state. */
const LOOKED_AT = 500;
/** A payload or answer of about this many bytes of JSON or more has a key of its own: below, the second write would cost more than it saves. */
const LARGE = 8_000;

/** Whether a JSON value is of `size` or more; looks no further than it must. */
function isLarge(value: unknown, size = LARGE): boolean {
  let left = size;
  const take = (item: unknown): boolean => {
    left -= typeof item === 'string' || item instanceof Uint8Array ? item.length : 4;
    if (left <= 0 || item instanceof Uint8Array || typeof item !== 'object' || item === null) return left <= 0;
    if (Array.isArray(item)) return item.some(take);
    for (const name in item) {
      left -= name.length;
      if (take((item as JsonObject)[name])) return true;
    }
    return false;
  };
  return take(value);
}

const withPayload = (record: RunRecord, payload: JsonObject): RunRecord => ({ ...record, request: { ...record.request, payload } });

/** JSON has no bytes: a webhook's `rawBody` may be some, and nobody but us makes a field of that name at the top of a payload. */
const packed = (payload: JsonObject): JsonObject =>
  payload.rawBody instanceof Uint8Array ? { ...payload, rawBody: toRecord(payload.rawBody) } : payload;
const unpacked = (payload: JsonObject): JsonObject =>
  typeof payload.rawBody === 'object' ? { ...payload, rawBody: fromRecord(payload.rawBody) } : payload;

/** A record as it is written. */
function written(record: RunRecord): RunRecord {
  const { payload } = record.request;
  const kept = record.payloadAt === undefined ? packed(payload) : {};
  return kept === payload ? record : withPayload(record, kept);
}

/** Life of a record of a run that has not ended: longer than any wait. */
export const OPEN_MS = 32 * DAY;

export interface Held {
  record: RunRecord;
  version: number;
}

export function createRunStore(cache: CacheDriver, now: () => number = Date.now) {
  /** Lists that this process has given a life. */
  const bounded = lru<string, true>({ max: 1000 });

  /** Moves a run from the open ones to those that ended today. */
  async function fileEnd({ workspaceId: ws, id, startedAt }: RunRecord, state: RunState): Promise<void> {
    const kind = kindOf(state);
    const key = endKey(ws, kind, dayOf(now()));
    await Promise.all([cache.removeScored(openKey(ws), id), cache.addScored(key, id, -Date.parse(startedAt))]);
    if (bounded.has(key)) return;
    await cache.expire(key, DAYS[kind] * DAY);
    bounded.set(key, true);
  }

  /** Lists in which runs of these states are found. */
  function placesOf(ws: string, state: string | undefined): string[] {
    const days = (kind: EndKind) => Array.from({ length: DAYS[kind] }, (_, n) => endKey(ws, kind, dayOf(now()) - n));
    if (state === undefined) return [openKey(ws), ...days('ended'), ...days('failed')];
    return FINAL_STATES.includes(state as RunState) ? days(kindOf(state as RunState)) : [openKey(ws)];
  }

  /** `null`: the payload is gone, and nobody can execute the run any more. */
  async function withItsPayload(held: Held): Promise<Held | null> {
    const { record } = held;
    const isApart = record.payloadAt !== undefined;
    const payload = isApart ? (await cache.get<JsonObject>(payloadKey(record)))?.value : record.request.payload;
    if (payload) return { ...held, record: withPayload(record, unpacked(payload)) };
    // Not the case of a run that has ended meanwhile: its record has changed.
    await store.close(held, 'dead', { error: { error: 'RunLostError', message: 'The payload of the run is gone.' } });
    return null;
  }

  const store = {
    /** With its answer. Who wants to execute the run claims it. */
    async find(ws: string, id: string): Promise<Held | null> {
      const found = await cache.get<RunRecord>(recordKey(ws, id));
      if (!found) return null;
      const { value: record, version } = found;
      if (record.answerAt !== undefined) record.answer = (await cache.get(answerKey(ws, id, record.answerAt)))?.value;
      return { record, version };
    },
    /** To look at: without payloads and answers that are kept apart. */
    async findMany(ws: string, ids: string[]): Promise<(RunRecord | null)[]> {
      if (ids.length === 0) return [];
      return (await cache.getMany(ids.map((id) => recordKey(ws, id)))).map((found) => (found?.value as RunRecord) ?? null);
    },

    /** First record of a run, or `null` when there is one already. */
    async create(first: RunRecord): Promise<Held | null> {
      const { workspaceId: ws, id, owner } = first;
      const ref = runRef(ws, id);
      // A name of its own: another request with this id may have its payload there already, or have left it there when its node died.
      const record = isLarge(first.request.payload) ? { ...first, payloadAt: hexId() } : first;
      const isApart = record.payloadAt !== undefined;
      if (isApart && (await store.find(ws, id))) return null;
      // First the sets by which it is found again: a node may die between any two of these writes.
      if (owner) await cache.addMembers(nodeRunsKey(owner), [ref], { ttlMs: OPEN_MS });
      // Before the record that names it. Should this node die in between, nobody names it, and it goes at the end of its life.
      if (isApart) await cache.set(payloadKey(record), packed(record.request.payload), { ttlMs: OPEN_MS });
      try {
        const version = await cache.set(recordKey(ws, id), written(record), { ifVersion: 0, ttlMs: OPEN_MS });
        await Promise.all([
          cache.addScored(openKey(ws), id, -Date.parse(record.startedAt)),
          cache.addMembers(correlationKey(ws, record.correlationId), [id], { ttlMs: OPEN_MS }),
        ]);
        return { record, version };
      } catch (error) {
        if (!isFault(error, 'VersionConflict')) throw error;
        // It may be this very node that has the run.
        const present = await store.find(ws, id);
        if (owner && present?.record.owner !== owner) await cache.removeMembers(nodeRunsKey(owner), [ref]);
        if (isApart) await cache.delete(payloadKey(record));
        return null;
      }
    },

    /** Changes a record over the version that was read; `null` when somebody else changed it meanwhile. */
    async change(held: Held, change: Partial<RunRecord>): Promise<Held | null> {
      const record: RunRecord = { ...held.record, ...change, updatedAt: new Date(now()).toISOString() };
      for (const key of Object.keys(record) as (keyof RunRecord)[]) if (record[key] === undefined) delete record[key];
      const { workspaceId: ws, id } = record;
      try {
        const keepMs = KEEP_MS[record.state];
        // First the payload of an open run, which must not end before its record; of an ended one see `close`.
        if (record.payloadAt !== undefined && keepMs === undefined) await cache.expire(payloadKey(record), OPEN_MS);
        const version = await cache.set(recordKey(ws, id), written(record), { ifVersion: held.version, ttlMs: keepMs ?? OPEN_MS });
        return { record, version };
      } catch (error) {
        if (isFault(error, 'VersionConflict')) return null;
        throw error;
      }
    },

    /** Writes the end of a run and lets go of what only an open run needs. */
    async close(held: Held, state: 'done' | 'failed' | 'dead' | 'cancelled', change: Partial<RunRecord> = {}): Promise<boolean> {
      const { workspaceId: ws, id, owner, startedAt, payloadAt, request } = held.record;
      // Under the version it is written over: whoever has lost the run meanwhile must not touch the answer of who has it.
      const answerAt = isLarge(change.answer) ? held.version : undefined;
      if (answerAt !== undefined) await cache.set(answerKey(ws, id, answerAt), change.answer, { ttlMs: ANSWER_MS });
      const closed = await store.change(held, {
        ...change,
        ...(answerAt === undefined ? {} : { answer: undefined, answerAt }),
        // Every other end may be begun again.
        ...(state === 'done' ? { request: { ...request, payload: {} }, payloadAt: undefined } : {}),
        state,
        durationMs: now() - Date.parse(startedAt),
        owner: undefined,
        waits: undefined,
        waitingFor: undefined,
      } as Partial<RunRecord>);
      if (!closed) return false;
      await Promise.all([
        fileEnd(closed.record, state),
        // Only a run that was handed over or put to sleep is due: its record was changed for that. What is left all the same goes when it is looked at.
        ...(held.version > 1 ? [cache.removeScored(DUE_KEY, runRef(ws, id))] : []),
        cache.removeMembers(correlationKey(ws, held.record.correlationId), [id]),
        ...(owner ? [cache.removeMembers(nodeRunsKey(owner), [runRef(ws, id)])] : []),
        // Whoever begins it again needs it, as long as there is a record to begin from.
        state === 'done' ? cache.delete(journalKey(ws, id)) : cache.expire(journalKey(ws, id), KEEP_MS[state] as number),
        ...(payloadAt === undefined
          ? []
          : [state === 'done' ? cache.delete(payloadKey(held.record)) : cache.expire(payloadKey(held.record), KEEP_MS[state] as number)]),
      ]);
      return true;
    },

    /** Takes a run for `owner`, with its payload. `null`: somebody else was faster. `attempts`: 1 when the run begins again after a failure. */
    async claim(found: Held, owner: string, attempts: 0 | 1 = 0): Promise<Held | null> {
      const held = await withItsPayload(found);
      if (!held) return null;
      const ref = runRef(held.record.workspaceId, held.record.id);
      // First the set: a claim whose node dies right after it must be found again.
      await cache.addMembers(nodeRunsKey(owner), [ref], { ttlMs: OPEN_MS });
      const claimed = await store.change(held, {
        state: 'running',
        owner,
        attempts: held.record.attempts + attempts,
        waitingFor: undefined,
      } as Partial<RunRecord>);
      if (!claimed) await cache.removeMembers(nodeRunsKey(owner), [ref]);
      return claimed;
    },

    /** Makes an ended run an open one again. `null`: somebody else was faster. */
    async reopen(held: Held, change: Partial<RunRecord>): Promise<Held | null> {
      const { workspaceId: ws, id, startedAt, correlationId } = held.record;
      // Before the record: an open run that cannot be found cannot be cancelled.
      await cache.addMembers(correlationKey(ws, correlationId), [id], { ttlMs: OPEN_MS });
      const opened = await store.change(held, { ...change, state: 'accepted', attempts: 0 });
      if (opened) await cache.addScored(openKey(ws), id, -Date.parse(startedAt));
      return opened;
    },

    /** Newest first; those of one state only when it is given. */
    async list(ws: string, limit: number, state?: string): Promise<RunRecord[]> {
      const places = placesOf(ws, state);
      const lists = await Promise.all(places.map((place) => cache.scoredUpTo(place, 0, Math.max(limit, LOOKED_AT))));
      const scores = new Map(lists.flat().map(({ member, score }) => [member, score]));
      const ids = [...scores.keys()].sort((a, b) => (scores.get(a) as number) - (scores.get(b) as number));
      const listed: RunRecord[] = [];
      // No more than are asked for, unless they turn out to be gone or in another state: then twice as many each time.
      for (let at = 0, size = limit; at < ids.length && listed.length < limit; at += size, size *= 2) {
        const page = ids.slice(at, at + size);
        const records = await store.findMany(ws, page);
        const gone = page.filter((_, i) => records[i] === null);
        await Promise.all(gone.map((id) => cache.removeScored(openKey(ws), id)));
        for (const record of records) if (record && (state === undefined || record.state === state)) listed.push(record);
      }
      return listed.slice(0, limit);
    },
    ofCorrelation: (ws: string, correlationId: string): Promise<string[]> => cache.members(correlationKey(ws, correlationId)),

    due: (ref: string, at: number): Promise<void> => cache.addScored(DUE_KEY, ref, at),

    /** Keeps the model a suspended run must end on, from now on for as long as a run may wait; written once per version. */
    async keepModel(ws: string, version: string, parts: ModelParts): Promise<void> {
      const key = snapshotKey(ws, version);
      // Mostly it is there, kept for a run that was put to sleep weeks ago: this one needs it longer.
      if (await cache.expire(key, OPEN_MS)) return;
      try {
        await cache.set(key, parts, { ifVersion: 0, ttlMs: OPEN_MS });
      } catch (error) {
        if (!isFault(error, 'VersionConflict')) throw error;
      }
    },
    keptModel: async (ws: string, version: string): Promise<ModelParts | null> =>
      (await cache.get<ModelParts>(snapshotKey(ws, version)))?.value ?? null,
  };
  return store;
}

export type RunStore = ReturnType<typeof createRunStore>;

/** A record without what only the machinery needs. */
export function summaryOf({
  request: _request,
  payloadAt: _payload,
  owner: _owner,
  answer: _answer,
  answerAt: _at,
  waits: _waits,
  kept: _kept,
  ...summary
}: RunRecord): RunSummary {
  return summary;
}
