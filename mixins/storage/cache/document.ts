/** document — path operations on a JSON document in memory; every driver writes what this returns, so one meaning holds. Pure. */
import { fault } from '../../shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../shared/json.ts';
import type { ApplyOptions, PathLives, PathOperation } from './contract.ts';
import { closed, MAX_DEPTH, noted, opened } from './lives.ts';

type Container = Record<string | number, unknown>;

/** How far behind its end an array may be written: the gap is filled with nulls, and a wild index must not fill the memory. */
export const MAX_GAP = 1000;

/**
 * `document` after `operations`; changed in place where possible, so hand over a copy. `undefined`: there is none (any more).
 * What stands in the way of a path and is no container is replaced by an object.
 * @param lives when paths of this document have lives: those that are over are gone before the first operation
 * @throws BadParametersError for a hostile or unusable path; the document may then be half changed and must be thrown away
 */
export function applyOperations(document: unknown, operations: PathOperation[], lives?: PathLives): unknown {
  let root = lives && !isPlainObject(document) ? undefined : document;
  let open = lives && root !== undefined ? opened(root as JsonObject, lives) : null;
  for (const operation of operations) {
    checkPath(operation);
    if (lives && (open || operation.until !== undefined)) open = noted(open, root, operation);
    if (operation.path.length === 0) {
      root = operation.type === 'delete' ? undefined : changed(root, operation);
      continue;
    }
    if (operation.type === 'delete') {
      remove(root, operation.path);
      continue;
    }
    if (!isContainer(root)) root = {};
    let at = root as Container;
    for (let i = 0; i < operation.path.length - 1; i++) {
      const segment = operation.path[i] as string | number;
      const below = own(at, segment);
      at = isContainer(below) ? below : (put(at, segment, {}) as Container);
    }
    const last = operation.path.at(-1) as string | number;
    put(at, last, changed(own(at, last), operation));
  }
  if (!lives || root === undefined) return root;
  if (!isPlainObject(root)) throw fault('BadParametersError', { message: 'This document must stay an object.' });
  return closed(root, open, lives.field);
}

/** The bytes of a text, when it is above `largeBytes`; refuses one above `maxBytes`. @throws LimitExceededError */
export function checkSize(text: string, { maxBytes = Infinity, largeBytes = Infinity }: ApplyOptions, key: string): { bytes?: number } {
  // A character is at most 3 bytes of UTF-8: most documents need not be measured.
  if (text.length * 3 <= Math.min(maxBytes, largeBytes)) return {};
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes)
    throw fault('LimitExceededError', {
      message: `The document would be ${bytes} bytes, more than the ${maxBytes} allowed.`,
      data: { key, bytes, maxBytes },
    });
  return bytes > largeBytes ? { bytes } : {};
}

/** JSON text of a value; what JSON cannot hold becomes null. */
export const toText = (value: unknown): string => JSON.stringify(value) ?? 'null';

const isContainer = (value: unknown): value is Container => typeof value === 'object' && value !== null;

function checkPath({ path, type }: PathOperation): void {
  const isFine =
    Array.isArray(path) &&
    path.length <= MAX_DEPTH &&
    path.every(
      (segment) => (typeof segment === 'string' && !isHostileName(segment)) || (Number.isSafeInteger(segment) && (segment as number) >= 0),
    );
  if (!isFine)
    throw fault('BadParametersError', {
      message: 'The path of an operation is not valid.',
      data: { path: JSON.stringify(path)?.slice(0, 200), type },
    });
}

const own = (at: Container, segment: string | number): unknown => (Object.hasOwn(at, segment) ? at[segment] : undefined);

function put(at: Container, segment: string | number, value: unknown): unknown {
  if (Array.isArray(at)) {
    const index = Number(segment);
    if (segment === '' || !Number.isSafeInteger(index) || index < 0)
      throw fault('BadParametersError', { message: `'${segment}' is not a place in a list.`, data: { segment } });
    if (index > at.length + MAX_GAP)
      throw fault('BadParametersError', {
        message: `The place ${index} is too far behind the end of a list of ${at.length}.`,
        data: { segment },
      });
    while (at.length < index) at.push(null);
    at[index] = value;
  } else at[segment] = value;
  return value;
}

function remove(root: unknown, path: (string | number)[]): void {
  let at = root;
  for (const segment of path.slice(0, -1)) {
    if (!isContainer(at)) return;
    at = own(at, segment);
  }
  const last = path.at(-1) as string | number;
  if (!isContainer(at) || !Object.hasOwn(at, last)) return;
  if (!Array.isArray(at)) delete at[last];
  else if (/^\d+$/.test(String(last))) at.splice(Number(last), 1);
}

function changed(before: unknown, operation: Exclude<PathOperation, { type: 'delete' }>): unknown {
  if (operation.type === 'increment') {
    if (typeof operation.by !== 'number' || !Number.isFinite(operation.by))
      throw fault('BadParametersError', { message: 'An increment needs a number.', data: { by: String(operation.by) } });
    return (typeof before === 'number' ? before : 0) + operation.by;
  }
  const value = asJson(operation.value);
  if (operation.type === 'replace') return value;
  if (operation.type === 'push') {
    if (!Array.isArray(before)) return [value];
    before.push(value);
    return before;
  }
  if (operation.type !== 'merge')
    throw fault('BadParametersError', { message: `'${(operation as { type: unknown }).type}' is not an operation.` });
  if (Array.isArray(before)) return before.concat(value);
  if (before !== null && !isPlainObject(before)) return value;
  // What is no object cannot be merged into one: it stays. Not Object.assign, which would run a setter named `__proto__`.
  return isPlainObject(value) ? { ...before, ...value } : before;
}

/** A copy as JSON keeps it: later operations must not change the caller's own value. */
const asJson = (value: unknown): unknown =>
  value === null || typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
    ? value
    : JSON.parse(toText(value));
