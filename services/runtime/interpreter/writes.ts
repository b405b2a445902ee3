/** writes — changes of local variables: the same operations as on contexts, on plain values, never through a prototype. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { isLiveStream } from './effects.ts';
import type { Frame } from './frame.ts';
import type { Budget } from './limits.ts';

export type LocalOperation = { type: 'replace' | 'merge' | 'push' | 'concat'; value: unknown } | { type: 'delete' };

/** Pays for copies, and ends those that grow too large: a value that holds itself twice doubles with every copy. */
export interface Meter {
  maxNodes: number;
  charge(steps: number): void;
}

export const meterOf = ({ limits, charge }: Budget): Meter => ({ maxNodes: limits.maxValueNodes, charge });

const UNMETERED: Meter = { maxNodes: Number.POSITIVE_INFINITY, charge() {} };
/** Nodes paid at a time. */
const NODES_PER_CHARGE = 256;
const MAX_NESTING = 1000;
/** How far behind its end a list may be written: the gap is filled with nulls, and a wild index must not fill the memory. */
export const MAX_GAP = 1000;

/**
 * A copy that shares nothing that can change with the original; streams and bytes pass by reference. Cheap for plain scalars.
 * Undefined fields stay: they are dropped only when a value leaves as JSON.
 */
export function copy<T>(value: T, meter: Meter = UNMETERED): T {
  if (typeof value !== 'object' || value === null) return value;
  let nodes = 0;
  const copied = (item: unknown, depth: number): unknown => {
    if (typeof item !== 'object' || item === null || isLiveStream(item) || item instanceof Uint8Array) return item;
    if (depth > MAX_NESTING) throw fault('LimitExceededError', { message: 'This value is nested too deeply.' });
    const keys = Array.isArray(item) ? null : Object.keys(item);
    pay(keys ? keys.length : (item as unknown[]).length);
    if (!keys) return (item as unknown[]).map((one) => copied(one, depth + 1));
    const made: JsonObject = {};
    for (const key of keys) if (!isHostileName(key)) made[key] = copied((item as JsonObject)[key], depth + 1);
    return made;
  };
  const pay = (more: number): void => {
    const before = nodes;
    nodes += 1 + more;
    if (nodes > meter.maxNodes) throw tooLarge(meter.maxNodes);
    const owed = Math.floor(nodes / NODES_PER_CHARGE) - Math.floor(before / NODES_PER_CHARGE);
    if (owed > 0) meter.charge(owed * NODES_PER_CHARGE);
  };
  return copied(value, 0) as T;
}

/** A copy paid for by the run. */
export const copyFor = <T>(frame: Frame, value: T): T =>
  typeof value === 'object' && value !== null ? copy(value, meterOf(frame.run.budget)) : value;

const tooLarge = (max: number) =>
  fault('LimitExceededError', { message: `A value may have ${max} parts.`, data: { limit: 'maxValueNodes', max } });

const isContainer = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && !isLiveStream(value);

/** Value after an operation on `before` (runtime.md 5.2): arrays are concatenated, in place, objects merged one level deep. */
export function changed(before: unknown, operation: LocalOperation, meter: Meter = UNMETERED): unknown {
  if (operation.type === 'delete') return undefined;
  const { type, value } = operation;
  if (type === 'replace') return value;
  // In place: a loop that fills a list stays linear.
  if (type === 'push') return appended(Array.isArray(before) ? before : [], [value], meter);
  if (type === 'concat') return appended(Array.isArray(before) ? before : [], value as unknown[], meter);
  if (Array.isArray(before)) return appended(before, Array.isArray(value) ? value : [value], meter);
  if (before !== null && !isPlainObject(before)) return value;
  // Something that is no object cannot be merged into one: what is there stays.
  if (!isPlainObject(value)) return before;
  const merged = { ...before, ...value };
  meter.charge(Object.keys(merged).length);
  return merged;
}

function appended(list: unknown[], more: unknown[], { maxNodes, charge }: Meter): unknown[] {
  if (list.length + more.length > maxNodes) throw tooLarge(maxNodes);
  charge(more.length);
  for (const item of more) list.push(item);
  return list;
}

/** Refuses to write at `key` of a list when it is no place of it. @throws InvalidInstructionError */
export function assertPlace(list: unknown[], key: string | number, variable: string): void {
  if (typeof key === 'number' && Number.isInteger(key) && key >= 0 && key <= list.length + MAX_GAP) return;
  throw fault('InvalidInstructionError', {
    message:
      typeof key === 'number'
        ? `Invalid set instruction: the place ${key} of '${variable}' is too far behind the end of a list of ${list.length}.`
        : `Invalid set instruction: '${variable}' is a list and cannot hold '${key}'.`,
    data: { variable: `${variable}.${key}` },
  });
}

/** Refuses to write below a text or number. */
export const cannotHold = (variable: string, value: unknown, key: string | number, whole: string) =>
  fault('InvalidInstructionError', {
    message: `Invalid set instruction: '${variable}' is a ${typeof value} and cannot hold '${String(key)}'.`,
    data: { variable: whole },
  });

function put(at: JsonObject, key: string | number, value: unknown, variable: string): void {
  if (Array.isArray(at)) {
    assertPlace(at, key, variable);
    while (at.length < (key as number)) at.push(null);
  }
  at[key] = value;
}

/** Applies `operation` at `path` (root name first). @throws InvalidInstructionError when a scalar stands in the way */
export function writeLocal(root: JsonObject, path: readonly (string | number)[], operation: LocalOperation, meter?: Meter): void {
  let at: JsonObject = root;
  const nameOf = (length: number) => path.slice(0, length).join('.');
  for (let n = 0; n < path.length - 1; n++) {
    const key = path[n] as string;
    const next = Object.hasOwn(at, key) ? at[key] : undefined;
    if (next === undefined || next === null) {
      if (operation.type === 'delete') return;
      const made: JsonObject = {};
      put(at, key, made, nameOf(n));
      at = made;
    } else if (isContainer(next)) at = next;
    else {
      if (operation.type === 'delete') return;
      throw cannotHold(nameOf(n + 1), next, path[n + 1] as string | number, path.join('.'));
    }
  }
  const last = path.at(-1) as string | number;
  if (operation.type !== 'delete')
    put(at, last, changed(Object.hasOwn(at, last) ? at[last] : undefined, operation, meter), nameOf(path.length - 1));
  else if (!Array.isArray(at)) delete at[last];
  else if (typeof last === 'number') at.splice(last, 1);
}
