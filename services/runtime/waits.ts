/**
 * waits — automations that wait for an event, kept where every node can find them.
 *
 * A registration is durable before the run goes on (or leaves memory). Any node that meets a matching event decides the wait: the first to
 * write the outcome wins, against other events and against the time-out alike. Who waits in memory learns it at once through a hint and
 * surely by looking; a suspended run is woken by whoever decided.
 *
 * Keys, all of one workspace together:
 *   `wait:{ws}:type:<type>`                 fields by which waits on that type can be found
 *   `wait:{ws}:at:<type>|<field>|<value>`   ids of waits whose filters ask for that value ('' field: any event of the type)
 *   `wait:{ws}:doc:<id>`                    the registration
 *   `wait:{ws}:end:<id>`                    the outcome
 *   `wait:{ws}:mutes:<event id>`            ids of waits that may have taken the event for themselves (`cancelTriggers`); their outcomes tell
 */

import { allOf, compile, NEVER, type Test, textOf, valueAt } from '../../mixins/filters/condition.ts';
import { anchorsOf } from '../../mixins/filters/matcher.ts';
import { DAY, HOUR } from '../../mixins/shared/clock.ts';
import { isFault } from '../../mixins/shared/errors.ts';
import { eventText, isNative, type PrismeEvent } from '../../mixins/shared/event.ts';
import { isHostileName, isPlainObject, type JsonObject, parseJson } from '../../mixins/shared/json.ts';
import { slotMap } from '../../mixins/shared/slot-map.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Condition } from '../../mixins/storage/datalake/contract.ts';
import { keyPart } from './key-part.ts';

export interface Wait {
  /** `<run id>/<effect key>`: the same when the run is executed again. */
  id: string;
  workspaceId: string;
  runId: string;
  /** Event types already carry the prefix of their app instance. */
  oneOf: { event: string; filters?: JsonObject; cancelTriggers?: boolean }[];
  /** Milliseconds since the epoch. */
  deadline: number;
  /** Suspends: to be woken by whoever decides. */
  isDurable: boolean;
  /** Of one that does not suspend: the start-up of the node whose memory the run is in. Without it the wait is over. */
  owner?: string;
  /** Ids of the events that earlier waits of the run have got, at most MAX_TAKEN: not for this one. */
  taken?: string[];
}

export interface Outcome {
  event: PrismeEvent | null;
}

/** The one native event that every app instance may wait for under its own name. */
export const EXECUTED = 'runtime.automations.executed';
/** Newest events taken before that a registration names: who matches is behind by less than these. */
export const MAX_TAKEN = 100;
/** Longest wait. */
export const MAX_WAIT_MS = 30 * DAY;
const KEEP_OUTCOME_MS = HOUR;
const INDEX_TTL_MS = MAX_WAIT_MS + DAY;
const LOOK_EVERY_MS = 400;
/** Keys asked for, and waits decided, at a time. */
const PART = 500;

type Scalar = string | number | boolean | null;
const isScalar = (value: unknown): value is Scalar => value === null || ['string', 'number', 'boolean'].includes(typeof value);

const OPERATORS: Record<string, (field: string, operand: unknown) => Condition> = {
  $eq: (field, value) => scalarCondition(field, value),
  $ne: (field, value) => (isScalar(value) ? { field, op: 'ne', value } : NEVER),
  $gt: (field, value) => (isScalar(value) ? { field, op: 'gt', value } : NEVER),
  $gte: (field, value) => (isScalar(value) ? { field, op: 'gte', value } : NEVER),
  $lt: (field, value) => (isScalar(value) ? { field, op: 'lt', value } : NEVER),
  $lte: (field, value) => (isScalar(value) ? { field, op: 'lte', value } : NEVER),
  $in: (field, value) => (Array.isArray(value) && value.every(isScalar) ? { field, op: 'in', values: value } : NEVER),
  $nin: (field, value) => (Array.isArray(value) && value.every(isScalar) ? { not: { field, op: 'in', values: value } } : NEVER),
  $regex: (field, value) => (typeof value === 'string' && value.length <= 200 ? { field, op: 'regex', value } : NEVER),
  $exists: (field, value) => ({ field, op: value ? 'exists' : 'empty' }),
};

function scalarCondition(field: string, value: unknown): Condition {
  if (value === null || value === undefined) return { field, op: 'empty' };
  return isScalar(value) ? { field, op: 'eq', value } : NEVER;
}

/** Filters of a `wait` (dotted path of the event → scalar or operators, all must hold) as a condition. */
export function filterCondition(filters: JsonObject | undefined): Condition {
  const parts = Object.entries(filters ?? {}).map(([field, value]): Condition => {
    if (field.split('.').some(isHostileName)) return NEVER;
    if (!isPlainObject(value)) return scalarCondition(field, value);
    const operators = Object.entries(value).map(([name, operand]) =>
      Object.hasOwn(OPERATORS, name) ? (OPERATORS[name] as (field: string, operand: unknown) => Condition)(field, operand) : NEVER,
    );
    return operators.length ? allOf(...operators) : NEVER;
  });
  return parts.length ? allOf(...parts) : { all: [] };
}

const safeTest = (filters: JsonObject | undefined): Test => {
  try {
    return compile(filterCondition(filters));
  } catch {
    return () => false;
  }
};

interface Place {
  type: string;
  field: string;
  value: string;
}

/** Where a wait is filed: under values its filters insist on, else under the type alone. */
function placesOf(wait: Wait): Place[] {
  return wait.oneOf.flatMap(({ event, filters }) => {
    const anchors = anchorsOf(filterCondition(filters));
    // An empty list of anchors would mean "never": such a wait is still found by its type, and times out.
    if (!anchors?.length) return [{ type: event, field: '', value: '' }];
    return anchors.map(([field, value]) => ({ type: event, field, value }));
  });
}

function* parts<T>(items: T[]): Generator<T[]> {
  for (let from = 0; from < items.length; from += PART) yield items.slice(from, from + PART);
}

/** Does it for each, some hundred at a time. */
async function inParts<T>(items: T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (const part of parts(items)) await Promise.all(part.map(work));
}

export interface WaitsOptions {
  cache: CacheDriver;
  now?: () => number;
  /** This start-up of this node. */
  owner?: string;
  /** Of these start-ups, those that have come to their end. */
  deadOf?: (owners: string[]) => Promise<string[]>;
  /** Told by the node that decided: wake a suspended run, hint the node that holds it. */
  onDecided: (wait: Wait) => Promise<void> | void;
}

export function createWaits({ cache, now = Date.now, owner, deadOf = async () => [], onDecided }: WaitsOptions) {
  const base = (workspaceId: string) => `wait:{${workspaceId}}:`;
  const typeKey = (ws: string, type: string) => `${base(ws)}type:${keyPart(type)}`;
  const placeKey = (ws: string, { type, field, value }: Place) => `${base(ws)}at:${keyPart(type)}|${keyPart(field)}|${keyPart(value)}`;
  const docKey = (ws: string, id: string) => `${base(ws)}doc:${id}`;
  const endKey = (ws: string, id: string) => `${base(ws)}end:${id}`;
  const mutesKey = (ws: string, eventId: string) => `${base(ws)}mutes:${eventId}`;

  /** Waits held by runs in the memory of this node. */
  const held = slotMap<string, { wait: Wait; resolve: (outcome: Outcome) => void; timer: NodeJS.Timeout }>();
  let looking: NodeJS.Timeout | undefined;

  const outcome = async (wait: Pick<Wait, 'workspaceId' | 'id'>): Promise<Outcome | null> =>
    (await cache.get<Outcome>(endKey(wait.workspaceId, wait.id)))?.value ?? null;

  /** Writes the outcome unless there is one. Returns the outcome that holds. */
  async function decide(wait: Wait, event: PrismeEvent | null): Promise<Outcome> {
    // The mark comes first: once the outcome is there the run may go on, and with the registration goes all else that tells.
    if (event && mutes(wait, event)) await cache.addMembers(mutesKey(wait.workspaceId, event.id), [wait.id], { ttlMs: HOUR });
    try {
      const ttlMs = KEEP_OUTCOME_MS + Math.max(0, wait.isDurable ? DAY : 0);
      await cache.set(endKey(wait.workspaceId, wait.id), { event }, { ifVersion: 0, ttlMs });
      // A copy of its own for the run: it may change it, and the event is shared with other readers of this process.
      const made = { event: event && parseJson<PrismeEvent>(eventText(event)) };
      settle(wait.id, made);
      await onDecided(wait);
      return made;
    } catch (error) {
      if (!isFault(error, 'VersionConflict')) throw error;
      const made = (await outcome(wait)) ?? { event: null };
      settle(wait.id, made);
      // Who decided may have died before telling anybody.
      if (wait.isDurable) await onDecided(wait);
      return made;
    }
  }

  function settle(id: string, made: Outcome): void {
    const waiting = held.delete(id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    waiting.resolve(made);
  }

  async function look(): Promise<void> {
    const list = [...held.values()];
    if (list.length === 0) return;
    const found = await cache.getMany(list.map(({ wait }) => endKey(wait.workspaceId, wait.id)));
    found.forEach((end, i) => {
      if (end) settle((list[i] as { wait: Wait }).wait.id, end.value as Outcome);
    });
  }

  /** Keys under which a wait that accepts `event` is filed. */
  function placesIn(event: PrismeEvent, fields: string[]): string[] {
    return fields.flatMap((field) => {
      const found = field === '' ? '' : valueAt(event, field.split('.'));
      const values = field === '' ? [''] : [found, ...(Array.isArray(found) ? found : [])].map(textOf).filter((text) => text !== undefined);
      return values.map((value) => placeKey(event.source.workspaceId as string, { type: event.type, field, value }));
    });
  }

  /** Open waits that accept these events, in their order: few round trips, however many events and waits. */
  async function candidates(events: { event: PrismeEvent; fields: string[] }[]): Promise<Wait[][]> {
    const places = events.map(({ event, fields }) => placesIn(event, fields));
    const ids = new Map<string, string[]>();
    await inParts([...new Set(places.flat())], async (place) => void ids.set(place, await cache.members(place)));
    /** Key of a registration → where it was found. */
    const filed = new Map<string, { place: string; id: string }>();
    const keysAt = events.map(({ event }, i) => {
      const found = (places[i] as string[]).flatMap((place) => (ids.get(place) as string[]).map((id) => ({ place, id })));
      const keys = found.map(({ place, id }) => {
        const key = docKey(event.source.workspaceId as string, id);
        filed.set(key, { place, id });
        return key;
      });
      return [...new Set(keys)];
    });
    const documents = new Map<string, Wait>();
    const stale: string[] = [];
    for (const part of parts([...filed.keys()])) {
      const found = await cache.getMany(part);
      for (const [i, key] of part.entries()) {
        const wait = found[i]?.value as Wait | undefined;
        if (wait) documents.set(key, wait);
        else stale.push(key);
      }
    }
    // Left behind by a node that died: the registration has expired, its entry in the index goes too.
    await inParts(stale, (key) => {
      const { place, id } = filed.get(key) as { place: string; id: string };
      return cache.removeMembers(place, [id]);
    });
    await forgetDead(documents);
    return events.map(({ event }, i) =>
      (keysAt[i] as string[])
        .map((key) => documents.get(key))
        .filter((wait) => wait !== undefined)
        .filter((wait) => wait.deadline > now() && accepts(wait, event)),
    );
  }

  /** What tells that an automation has ended is the platform's word: an event that is only called so ends no wait for it. */
  const isForged = (event: PrismeEvent) => event.type === EXECUTED && !isNative(event);

  /**
   * Leaves out what waits in the memory of a node that is no more: nobody would ever hear of the event it takes. It stays filed until its time, for a node
   * that was only slow comes back.
   */
  async function forgetDead(documents: Map<string, Wait>): Promise<void> {
    const elsewhere = [...documents].filter(([, wait]) => wait.owner !== undefined && wait.owner !== owner);
    if (elsewhere.length === 0) return;
    const dead = new Set(await deadOf([...new Set(elsewhere.map(([, wait]) => wait.owner as string))]));
    for (const [key, wait] of elsewhere) if (dead.has(wait.owner as string)) documents.delete(key);
  }

  const accepts = (wait: Wait, event: PrismeEvent) =>
    !isForged(event) &&
    !wait.taken?.includes(event.id) &&
    wait.oneOf.some((choice) => choice.event === event.type && safeTest(choice.filters)(event));
  const mutes = (wait: Wait, event: PrismeEvent) =>
    !isForged(event) &&
    wait.oneOf.some((choice) => choice.cancelTriggers === true && choice.event === event.type && safeTest(choice.filters)(event));

  /** Fields by which waits look for events, by the key of their type; `null`: nobody waits for any of them. */
  async function fieldsOf(keys: Iterable<string>): Promise<Map<string, string[]> | null> {
    const asked = [...new Set(keys)];
    const documents = await cache.getMany(asked);
    if (documents.every((document) => document === null)) return null;
    return new Map(asked.map((key, i) => [key, Object.keys((documents[i]?.value ?? {}) as object).map((name) => name.slice(1))]));
  }

  /** Takes a registration out of the index: no further event can find it. */
  async function unfile(wait: Wait): Promise<void> {
    const ws = wait.workspaceId;
    await Promise.all([
      cache.delete(docKey(ws, wait.id)),
      ...placesOf(wait).map((place) => cache.removeMembers(placeKey(ws, place), [wait.id])),
    ]);
  }

  const waits = {
    decide,
    outcome,
    accepts,

    /** Resolves when every node can find it. Registering again changes nothing. */
    async register(wait: Wait): Promise<void> {
      const ws = wait.workspaceId;
      const ttlMs = wait.deadline - now() + KEEP_OUTCOME_MS;
      const document: Wait = owner === undefined || wait.isDurable ? wait : { ...wait, owner };
      await cache.set(docKey(ws, wait.id), document, { ttlMs: Math.max(ttlMs, KEEP_OUTCOME_MS) });
      await Promise.all(
        placesOf(wait).flatMap((place) => [
          cache.addMembers(placeKey(ws, place), [wait.id], { ttlMs: INDEX_TTL_MS }),
          // A leading mark: an empty name is none, and no field may look like a prototype.
          cache.apply(typeKey(ws, place.type), [{ type: 'replace', path: [`:${place.field}`], value: true }], { ttlMs: INDEX_TTL_MS }),
        ]),
      );
    },

    /**
     * Forgets a registration, by the run that made it. The outcome stays readable, of a durable one for a replay, of one with `cancelTriggers` for whoever
     * asks whether an event was taken.
     */
    async remove(wait: Wait): Promise<void> {
      held.delete(wait.id);
      const isAsked = wait.isDurable || wait.oneOf.some(({ cancelTriggers }) => cancelTriggers === true);
      await Promise.all([unfile(wait), ...(isAsked ? [] : [cache.delete(endKey(wait.workspaceId, wait.id))])]);
    },

    /** Forgets registrations of a run that has left memory and will not come back. */
    async drop(workspaceId: string, ids: string[]): Promise<void> {
      if (ids.length === 0) return;
      const found = await cache.getMany(ids.map((id) => docKey(workspaceId, id)));
      await inParts(
        found.filter((document) => document !== null),
        (document) => unfile(document.value as Wait),
      );
    },

    /** Holds a registered wait in memory until it is decided; decides the time-out itself. */
    hold(wait: Wait): Promise<Outcome> {
      looking ??= setInterval(() => void look().catch(() => {}), LOOK_EVERY_MS).unref();
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => {
            decide(wait, null).catch(reject);
          },
          Math.min(Math.max(0, wait.deadline - now()), 2_147_000_000),
        );
        held.set(wait.id, { wait, resolve, timer });
        // The event may have been matched between the registration and now.
        outcome(wait).then((made) => made && settle(wait.id, made), reject);
      });
    },

    /** Lets go of a wait held in memory, without deciding it (the run leaves memory). */
    letGo(id: string): void {
      const waiting = held.get(id);
      if (waiting) clearTimeout(waiting.timer);
      held.delete(id);
    },

    /** A hint from another node: look at the outcome now. */
    async hint(workspaceId: string, id: string): Promise<void> {
      if (!held.has(id)) return;
      const made = await outcome({ workspaceId, id });
      if (made) settle(id, made);
    },

    /** Decides the waits that these events satisfy. */
    async match(events: PrismeEvent[]): Promise<void> {
      const concerned = events.filter((event) => event.source?.workspaceId);
      if (concerned.length === 0) return;
      const keys = concerned.map(({ source, type }) => typeKey(source.workspaceId as string, type));
      const fields = await fieldsOf(keys);
      if (!fields) return;
      const asked = concerned
        .map((event, at) => ({ event, fields: fields.get(keys[at] as string) ?? [] }))
        .filter((one) => one.fields.length > 0);
      if (asked.length === 0) return;
      const found = await candidates(asked);
      // The first event that a wait accepts decides it.
      const taken = new Map<string, { wait: Wait; event: PrismeEvent }>();
      for (const [at, { event }] of asked.entries())
        for (const wait of found[at] as Wait[]) {
          const key = docKey(wait.workspaceId, wait.id);
          if (!taken.has(key)) taken.set(key, { wait, event });
        }
      await inParts([...taken.values()], ({ wait, event }) => decide(wait, event));
      // The outcome stays: the run that asked may be in the memory of another node, which has yet to read it.
      await inParts([...taken.values()], ({ wait }) => unfile(wait));
    },

    /**
     * Whether a wait has taken this event for itself, so that it starts no automation. Decides it, where that is still open: whoever matches may be behind,
     * and of several events that would do, those that no wait takes start their automations.
     */
    async cancelsTriggers(event: PrismeEvent): Promise<boolean> {
      const ws = event.source.workspaceId as string;
      const key = typeKey(ws, event.type);
      const names = (await fieldsOf([key]))?.get(key) ?? [];
      if (names.length === 0) return false;
      const [found = []] = await candidates([{ event, fields: names }]);
      const asking = found.filter((wait) => mutes(wait, event));
      const made = await Promise.all(asking.map((wait) => decide(wait, event)));
      await Promise.all(asking.map((wait) => unfile(wait)));
      if (made.some((outcome) => outcome.event?.id === event.id)) return true;
      // Registrations that are gone already.
      const marks = await cache.members(mutesKey(ws, event.id));
      if (marks.length === 0) return false;
      const ends = await cache.getMany(marks.map((id) => endKey(ws, id)));
      return ends.some((end) => (end?.value as Outcome | undefined)?.event?.id === event.id);
    },

    heldCount: () => held.size,
    stop(): void {
      clearInterval(looking);
      for (const { timer } of held.values()) clearTimeout(timer);
      held.clear();
    },
  };
  return waits;
}

export type Waits = ReturnType<typeof createWaits>;
