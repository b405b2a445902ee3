/**
 * matcher — which of many subscriptions an event concerns: an inverted index over (field, value), so that the cost follows the
 * number of subscriptions that can match, not of those that exist.
 *
 * Each subscription is compiled once. Those with the same conditions share one entry (`Class`). A class is filed under its anchors: pairs
 * (field, value) of which at least one must hold for the condition to hold. A class without anchors is tried on every event.
 */
import type { PrismeEvent } from '../shared/event.ts';
import type { Condition } from '../storage/datalake/contract.ts';
import { allOf, compile, isMoment, pathOf, type Test, textOf, valueAt } from './condition.ts';
import type { Term } from './parse.ts';

export interface Subscription {
  terms: Term[];
  /** Read rules of the subscriber; `null` reads nothing. */
  readable?: Condition | null;
  /** Logical socket id, for the current-socket rule. */
  socketId?: string;
}

interface Class {
  key: string;
  readable: Test;
  terms: { test: Test; currentSocketOnly: boolean }[];
  anchors: [field: string, value: string][] | null;
  /** Subscription id → logical socket id. */
  members: Map<string, string | undefined>;
}

export interface Matcher {
  /** Adds or replaces a subscription. */
  set(id: string, subscription: Subscription): void;
  remove(id: string): void;
  /** Ids of the subscriptions that want and may read `event`. */
  match(event: PrismeEvent): string[];
  readonly size: number;
}

/** Pairs of which one must hold for `condition` to hold, or `null` when there is no such set. */
export function anchorsOf(condition: Condition): [string, string][] | null {
  if ('all' in condition) {
    let best: [string, string][] | null = null;
    for (const part of condition.all) {
      const anchors = anchorsOf(part);
      if (anchors && (best === null || rank(anchors) < rank(best))) best = anchors;
    }
    return best;
  }
  if ('any' in condition) {
    const anchors: [string, string][] = [];
    for (const part of condition.any) {
      const own = anchorsOf(part);
      if (own === null) return null;
      anchors.push(...own);
    }
    return anchors;
  }
  if (!('field' in condition) || isMoment(pathOf(condition.field))) return null;
  const field = pathOf(condition.field).join('.');
  if (condition.op === 'eq' && condition.value !== null) return [[field, String(condition.value)]];
  if (condition.op === 'in' && !condition.values.includes(null)) return condition.values.map((value) => [field, String(value)]);
  return null;
}

/** Lower is rarer: few pairs first, and fields that many events share last. */
const COMMON = new Set(['type', 'source.serviceTopic', 'source.workspaceId']);
const rank = (anchors: [string, string][]) => anchors.reduce((sum, [field]) => sum + (COMMON.has(field) ? 1000 : 1), 0);

function makeClass(key: string, { terms, readable }: Subscription): Class {
  const wanted: Condition = { any: terms.map((term) => term.condition) };
  return {
    key,
    readable: readable === undefined ? () => true : readable === null ? () => false : compile(readable),
    terms: terms.map(({ condition, currentSocketOnly }) => ({ test: compile(condition), currentSocketOnly })),
    anchors: readable === null ? [] : anchorsOf(readable === undefined ? wanted : allOf({ all: [wanted] }, { all: [readable] })),
    members: new Map(),
  };
}

export function createMatcher(): Matcher {
  const classes = new Map<string, Class>();
  const classOf = new Map<string, Class>();
  const everything = new Set<Class>();
  /** field → value → classes. */
  const index = new Map<string, { path: string[]; values: Map<string, Set<Class>> }>();

  const file = (entry: Class) => {
    if (entry.anchors === null) return void everything.add(entry);
    for (const [field, value] of entry.anchors) {
      const byField = index.get(field) ?? { path: field.split('.'), values: new Map<string, Set<Class>>() };
      index.set(field, byField);
      const found = byField.values.get(value);
      if (found) found.add(entry);
      else byField.values.set(value, new Set([entry]));
    }
  };
  const unfile = (entry: Class) => {
    everything.delete(entry);
    for (const [field, value] of entry.anchors ?? []) {
      const byField = index.get(field);
      const found = byField?.values.get(value);
      if (!byField || !found) continue;
      found.delete(entry);
      if (found.size === 0) byField.values.delete(value);
      if (byField.values.size === 0) index.delete(field);
    }
  };
  const remove = (id: string) => {
    const entry = classOf.get(id);
    if (!entry) return;
    classOf.delete(id);
    entry.members.delete(id);
    if (entry.members.size > 0) return;
    classes.delete(entry.key);
    unfile(entry);
  };
  const candidates = (event: PrismeEvent): Set<Class> => {
    const found = new Set(everything);
    for (const { path, values } of index.values()) {
      const value = valueAt(event, path);
      if (value === undefined || value === null) continue;
      const text = textOf(value);
      if (text !== undefined) for (const entry of values.get(text) ?? []) found.add(entry);
      if (Array.isArray(value))
        for (const item of value) {
          const one = textOf(item);
          if (one !== undefined) for (const entry of values.get(one) ?? []) found.add(entry);
        }
    }
    return found;
  };

  return {
    set(id, subscription) {
      const key = JSON.stringify([subscription.terms, subscription.readable ?? (subscription.readable === null ? 'nothing' : 'all')]);
      let entry = classes.get(key);
      if (entry && classOf.get(id) === entry) return void entry.members.set(id, subscription.socketId);
      entry ??= makeClass(key, subscription); // compiles first: a refused expression leaves the old subscription as it was
      remove(id);
      if (!classes.has(key)) {
        classes.set(key, entry);
        file(entry);
      }
      entry.members.set(id, subscription.socketId);
      classOf.set(id, entry);
    },
    remove,
    match(event) {
      const ids: string[] = [];
      const origin = event.target?.currentSocket === false ? undefined : event.source.socketId;
      for (const entry of candidates(event)) {
        const hits = entry.terms.filter((term) => term.test(event));
        if (hits.length === 0 || !entry.readable(event)) continue;
        const onlyOrigin = origin !== undefined && hits.every((term) => term.currentSocketOnly);
        for (const [id, socketId] of entry.members) if (!onlyOrigin || socketId === origin) ids.push(id);
      }
      return ids;
    },
    get size() {
      return classOf.size;
    },
  };
}
