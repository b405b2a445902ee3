/** writes — changes of local variables: the same operations as on contexts, on plain values, never through a prototype. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { isLiveStream } from './effects.ts';

export type LocalOperation = { type: 'replace' | 'merge' | 'push' | 'concat'; value: unknown } | { type: 'delete' };

/**
 * A copy that shares nothing that can change with the original; streams and bytes pass by reference. Cheap for plain scalars.
 * Undefined fields stay: they are dropped only when a value leaves as JSON.
 */
export function copy<T>(value: T, depth = 0): T {
  if (typeof value !== 'object' || value === null || isLiveStream(value) || value instanceof Uint8Array) return value;
  if (depth > 1000) throw fault('LimitExceededError', { message: 'This value is nested too deeply.' });
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1)) as T;
  const made: JsonObject = {};
  for (const key of Object.keys(value)) if (!isHostileName(key)) made[key] = copy((value as JsonObject)[key], depth + 1);
  return made as T;
}

const isContainer = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && !isLiveStream(value);

/** Value after an operation on `before` (runtime.md 5.2): arrays are concatenated, objects merged one level deep. */
export function changed(before: unknown, operation: LocalOperation): unknown {
  if (operation.type === 'delete') return undefined;
  const { type, value } = operation;
  if (type === 'replace') return value;
  if (type === 'push') return Array.isArray(before) ? [...before, value] : [value];
  if (type === 'concat') return (Array.isArray(before) ? before : []).concat(value);
  if (Array.isArray(before)) return before.concat(value);
  if (before === null || isPlainObject(before)) {
    if (isPlainObject(value)) return { ...before, ...value };
    // Something that is no object cannot be merged into one: what is there stays.
    return before === null && value !== null ? before : before;
  }
  return value;
}

/** Applies `operation` at `path` (root name first). @throws InvalidInstructionError when a scalar stands in the way */
export function writeLocal(root: JsonObject, path: readonly (string | number)[], operation: LocalOperation): void {
  let at: JsonObject = root;
  for (let n = 0; n < path.length - 1; n++) {
    const key = path[n] as string;
    const next = Object.hasOwn(at, key) ? at[key] : undefined;
    if (next === undefined || next === null) {
      if (operation.type === 'delete') return;
      const made: JsonObject = {};
      at[key] = made;
      at = made;
    } else if (isContainer(next)) at = next;
    else {
      if (operation.type === 'delete') return;
      throw fault('InvalidInstructionError', {
        message: `Invalid set instruction: '${path.slice(0, n + 1).join('.')}' is a ${typeof next} and cannot hold '${String(path[n + 1])}'.`,
        data: { variable: path.join('.') },
      });
    }
  }
  const last = path.at(-1) as string | number;
  if (operation.type !== 'delete') {
    const before = Object.hasOwn(at, last) ? at[last] : undefined;
    // Appending in place: a loop that fills a list stays linear.
    if (operation.type === 'push' && Array.isArray(before)) before.push(operation.value);
    else at[last] = changed(before, operation);
  } else if (Array.isArray(at) && typeof last === 'number') at.splice(last, 1);
  else delete at[last];
}
