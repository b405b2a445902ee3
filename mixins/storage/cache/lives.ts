/**
 * lives — lives of single paths of a document (`until` of a PathOperation). They stand in the document itself, in a field that its owner names: path as
 * JSON → when it ends, milliseconds. So one atomic step changes both, on every driver. Pure.
 *
 * `opened` takes them out, with all that is over; `noted` follows an operation; `closed` puts back what is left. Who replaces, counts or deletes a value
 * ends its life and those below (to its author, a counter is a value that is set like any other); who appends to it, merges into it or writes below it
 * leaves its life as it is.
 *
 * Programs could write that field once: what is found there is not trusted.
 */
import { isHostileName, isPlainObject, type JsonObject, readPath } from '../../shared/json.ts';
import type { PathLives, PathOperation } from './contract.ts';

type Path = (string | number)[];
/** Path as JSON → when its life ends. */
type Lives = Map<string, number>;

/** Longest path that an operation may have. */
export const MAX_DEPTH = 100;

/** The lives that go on, taken out of `document` together with what is over; null when it has none. Changes `document`. */
export function opened(document: JsonObject, { field, now }: PathLives): Lives | null {
  if (!Object.hasOwn(document, field)) return null;
  const lives: Lives = new Map();
  const removed = takeOver(document, field, now, lives);
  return removed ? moved(lives, removed) : lives;
}

/** The document as it is now, without the field of its lives. Changes `document`; costs nothing when it has none. */
export function alive(document: JsonObject, field: string, now: number): JsonObject {
  if (Object.hasOwn(document, field)) takeOver(document, field, now);
  return document;
}

/** The lives after `operation`, which is about to be applied to `root`. */
export function noted(lives: Lives | null, root: unknown, operation: PathOperation): Lives | null {
  const next = lives?.size ? outliving(lives, root, operation) : lives;
  if (operation.until === undefined || operation.type === 'delete') return next;
  return (next ?? new Map<string, number>()).set(JSON.stringify(operation.path), operation.until);
}

/** Writes `lives` into `document`. No operation has a say in their field. */
export function closed(document: JsonObject, lives: Lives | null, field: string): JsonObject {
  // Last, where it is cheap to take out again: objects that lose a field from their middle become slow ones.
  if (Object.hasOwn(document, field)) delete document[field];
  if (lives?.size) document[field] = Object.fromEntries(lives);
  return document;
}

/** Takes the field and what is over out of `document`; the others go into `lives`. */
function takeOver(document: JsonObject, field: string, now: number, lives?: Lives): Removed | null {
  const found = document[field];
  delete document[field];
  if (!isPlainObject(found)) return null;
  const over: Path[] = [];
  for (const [name, until] of Object.entries(found)) {
    if (typeof until !== 'number') continue;
    if (until > now) lives?.set(name, until);
    else {
      const path = pathOf(name);
      if (path) over.push(path);
    }
  }
  if (over.length === 0) return null;
  const removed = treeOf(over);
  if (removed.isOver) for (const name of Object.keys(document)) delete document[name];
  markLists(document, removed);
  removeFrom(document, removed);
  return removed;
}

function outliving(lives: Lives, root: unknown, operation: PathOperation): Lives {
  const { path, type } = operation;
  if (type === 'push' || type === 'merge') {
    const before = readPath(root, path);
    if (Array.isArray(before)) return lives;
    if (type === 'merge' && (before === null || isPlainObject(before)))
      return isPlainObject(operation.value) ? withoutFields(lives, path, operation.value) : lives;
  }
  if (type === 'delete' && Array.isArray(readPath(root, path.slice(0, -1)))) {
    const removed = treeOf([path]);
    markLists(root, removed);
    return moved(lives, removed);
  }
  return withoutPath(lives, path);
}

/** Without the life of `path` and those below. */
function withoutPath(lives: Lives, path: Path): Lives {
  if (path.length === 0) return new Map();
  const name = JSON.stringify(path);
  // A path below begins with the same text: its segments are quoted or numbers, so that no other path does.
  const below = `${name.slice(0, -1)},`;
  for (const other of lives.keys()) if (other === name || other.startsWith(below)) lives.delete(other);
  return lives;
}

/** Without those of the fields of `value` in the object at `path`, and below. */
function withoutFields(lives: Lives, path: Path, value: JsonObject): Lives {
  const below = path.length === 0 ? '[' : `${JSON.stringify(path).slice(0, -1)},`;
  for (const other of lives.keys()) {
    const field = other.startsWith(below) ? pathOf(other)?.[path.length] : undefined;
    if (field !== undefined && Object.hasOwn(value, field)) lives.delete(other);
  }
  return lives;
}

/** Paths that are removed, as a tree of segments: thousands of them cost one pass, also when they are elements of one list. */
interface Removed {
  isOver: boolean;
  below: Map<string, Removed>;
  /** Places in a list that are removed, in order. */
  gone?: number[];
}

function treeOf(paths: Path[]): Removed {
  const root: Removed = { isOver: false, below: new Map() };
  for (const path of paths) {
    let at = root;
    for (const segment of path) {
      const key = String(segment);
      const next: Removed = at.below.get(key) ?? { isOver: false, below: new Map() };
      at.below.set(key, next);
      at = next;
    }
    at.isOver = true;
  }
  return root;
}

function markLists(at: unknown, removed: Removed): void {
  if (typeof at !== 'object' || at === null) return;
  const gone: number[] = [];
  for (const [key, next] of removed.below) {
    if (!Object.hasOwn(at, key)) continue;
    if (!next.isOver) markLists((at as JsonObject)[key], next);
    else if (/^\d+$/.test(key)) gone.push(Number(key));
  }
  if (Array.isArray(at)) removed.gone = gone.sort((a, b) => a - b);
}

function removeFrom(at: unknown, { below, gone }: Removed): void {
  if (typeof at !== 'object' || at === null) return;
  for (const [key, next] of below) {
    if (!Object.hasOwn(at, key)) continue;
    if (!next.isOver) removeFrom((at as JsonObject)[key], next);
    else if (!Array.isArray(at)) delete (at as JsonObject)[key];
  }
  if (!Array.isArray(at) || !gone?.length) return;
  const places = new Set(gone);
  let kept = 0;
  for (let place = 0; place < at.length; place++) if (!places.has(place)) at[kept++] = at[place];
  at.length = kept;
}

/** `lives` after the removal: none of what is gone, and elements of lists at their new places. */
function moved(lives: Lives, removed: Removed): Lives {
  const next: Lives = new Map();
  for (const [name, until] of lives) {
    const path = pathOf(name);
    const place = path && placeAfter(path, removed);
    if (place) next.set(place === path ? name : JSON.stringify(place), until);
  }
  return next;
}

function placeAfter(path: Path, removed: Removed): Path | null {
  let place = path;
  let at: Removed | undefined = removed;
  for (let n = 0; at; n++) {
    if (at.isOver) return null;
    const segment = path[n];
    if (segment === undefined) break;
    const before = at.gone && typeof segment === 'number' ? countBelow(at.gone, segment) : 0;
    if (before > 0) {
      if (place === path) place = [...path];
      place[n] = (segment as number) - before;
    }
    at = at.below.get(String(segment));
  }
  return place;
}

/** How many of `sorted` are less than `limit`. */
function countBelow(sorted: number[], limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The path of a name, or null when it is none. */
function pathOf(name: string): Path | null {
  try {
    const path: unknown = JSON.parse(name);
    const isPath = (value: unknown): value is Path =>
      Array.isArray(value) &&
      value.length <= MAX_DEPTH &&
      value.every((segment) => (typeof segment === 'string' && !isHostileName(segment)) || Number.isSafeInteger(segment));
    return isPath(path) ? path : null;
  } catch {
    return null;
  }
}
