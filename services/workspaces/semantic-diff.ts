/** semantic-diff — what differs between two versions, told by object and by place in it: which instruction, condition or setting. */
import { isDeepStrictEqual } from 'node:util';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { KINDS, type Kind } from './dsul/layout.ts';
import type { Snapshot } from './store/snapshot.ts';

export interface PlaceChange {
  /** `do[2].conditions["{{x}}"][0].set.value` */
  path: string;
  change: 'added' | 'removed' | 'changed';
  /** Name of the instruction concerned, when it is one. */
  instruction?: string;
  before?: unknown;
  after?: unknown;
}

export interface ObjectChange {
  type: 'index' | 'security' | Kind;
  slug?: string;
  change: 'created' | 'updated' | 'deleted';
  places?: PlaceChange[];
}

const MAX_PLACES = 500;

export function compareSnapshots(before: Snapshot, after: Snapshot): ObjectChange[] {
  const changes: ObjectChange[] = [];
  for (const type of ['index', 'security'] as const) {
    const places = comparePlaces(before[type], after[type]);
    if (places.length > 0) changes.push({ type, change: 'updated', places });
  }
  for (const kind of KINDS) {
    const slugs = [...new Set([...Object.keys(before[kind]), ...Object.keys(after[kind])])].sort();
    for (const slug of slugs) {
      const [old, now] = [before[kind][slug], after[kind][slug]];
      if (!old) changes.push({ type: kind, slug, change: 'created' });
      else if (!now) changes.push({ type: kind, slug, change: 'deleted' });
      else if (!isDeepStrictEqual(old, now)) changes.push({ type: kind, slug, change: 'updated', places: comparePlaces(old, now) });
    }
  }
  return changes;
}

/** Smallest differing places of two values, at most 500. */
export function comparePlaces(before: unknown, after: unknown): PlaceChange[] {
  const places: PlaceChange[] = [];
  const visit = (old: unknown, now: unknown, path: string): void => {
    if (places.length >= MAX_PLACES || isDeepStrictEqual(old, now)) return;
    if (isPlainObject(old) && isPlainObject(now) && (path === '' || sharesKey(old, now))) {
      for (const key of [...new Set([...Object.keys(old), ...Object.keys(now)])]) {
        const at = join(path, key);
        if (!Object.hasOwn(old, key)) places.push(place(at, 'added', undefined, now[key]));
        else if (!Object.hasOwn(now, key)) places.push(place(at, 'removed', old[key]));
        else visit(old[key], now[key], at);
      }
    } else if (Array.isArray(old) && Array.isArray(now)) visitList(old, now, path);
    else places.push(place(path, 'changed', old, now));
  };
  /** Equal items at both ends stay; what is between is compared pairwise, the rest was added or removed. */
  const visitList = (old: unknown[], now: unknown[], path: string): void => {
    let head = 0;
    while (head < old.length && head < now.length && isDeepStrictEqual(old[head], now[head])) head++;
    let tail = 0;
    while (tail < old.length - head && tail < now.length - head && isDeepStrictEqual(old.at(-1 - tail), now.at(-1 - tail))) tail++;
    const paired = Math.min(old.length, now.length) - head - tail;
    for (let index = head; index < head + paired; index++) visit(old[index], now[index], `${path}[${index}]`);
    for (let index = head + paired; index < now.length - tail; index++)
      places.push(place(`${path}[${index}]`, 'added', undefined, now[index]));
    for (let index = head + paired; index < old.length - tail; index++) places.push(place(`${path}[${index}]`, 'removed', old[index]));
  };
  visit(before, after, '');
  return places.slice(0, MAX_PLACES);
}

const sharesKey = (a: JsonObject, b: JsonObject): boolean => Object.keys(a).some((key) => Object.hasOwn(b, key));

const join = (path: string, key: string): string =>
  /^[\w-]+$/.test(key) ? (path ? `${path}.${key}` : key) : `${path}[${JSON.stringify(key)}]`;

function place(path: string, change: PlaceChange['change'], before?: unknown, after?: unknown): PlaceChange {
  const step = after ?? before;
  const isStep = /(^|[.\]])(do|[\w-]+)\[\d+\]$|\]\[\d+\]$/.test(path) && isPlainObject(step) && Object.keys(step).length === 1;
  return {
    path,
    change,
    ...(isStep ? { instruction: Object.keys(step as JsonObject)[0] as string } : {}),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  };
}
