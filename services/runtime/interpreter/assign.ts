/** assign — writing a variable: a local one, a path of a persisted context, an identity, the configuration, or the HTTP answer. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import { type Counter, type PathTemplate, readProperty } from '../expressions/index.ts';
import { CONTEXT_NAMES, type ContextName, type ContextOperation, type Effect, isLiveStream } from './effects.ts';
import { BIT, type Frame, maskOf } from './frame.ts';
import { assertOwn, isKnown, withoutReserved } from './reserved.ts';
import type { MaybeAsync } from './signals.ts';
import { assertPlace, cannotHold, copyFor, type LocalOperation, meterOf, writeLocal } from './writes.ts';

export type WriteType = 'replace' | 'merge' | 'push';
const isContext = (name: unknown): name is ContextName => CONTEXT_NAMES.includes(name as ContextName);

/** Contexts needed before `path` can be written: those its computed parts read. */
export const pathMask = (path: PathTemplate): number => maskOf(path.roots);

function localOperation(type: WriteType, append: boolean, value: unknown): LocalOperation {
  if (append && type === 'merge' && Array.isArray(value)) return { type: 'concat', value };
  if (append || type === 'push') return { type: 'push', value };
  return { type, value };
}

function contextOperations(keys: (string | number)[], operation: LocalOperation, lifespanS: number | undefined): ContextOperation[] {
  const more = lifespanS === undefined ? {} : { lifespanS };
  if (operation.type === 'concat') return (operation.value as unknown[]).map((value) => ({ type: 'push', path: keys, value, ...more }));
  return [{ ...operation, path: keys, ...more } as ContextOperation];
}

/** A context that is anything else could never be written again: every path of it begins with a name. */
const mustStayObject = (name: ContextName) =>
  fault('InvalidInstructionError', { message: `Invalid set instruction: '${name}' must stay an object.` });

/** Refuses to write below a text or number, as locals do. */
function assertContainer(document: JsonObject, path: (string | number)[], name: string): void {
  for (let n = 1; n < path.length; n++) {
    const value = readPath(document, path.slice(0, n));
    if (value === undefined || value === null) return;
    const variable = [name, ...path.slice(0, n)].join('.');
    if (typeof value !== 'object') throw cannotHold(variable, value, path[n] as string | number, [name, ...path].join('.'));
    if (Array.isArray(value)) assertPlace(value, path[n] as string | number, variable);
  }
}

/** Sets the variable at `keys`. */
export function assign(
  frame: Frame,
  keys: (string | number)[],
  append: boolean,
  type: WriteType,
  given: unknown,
  lifespanS?: number,
): MaybeAsync<void> {
  const [root, ...rest] = keys as [string, ...(string | number)[]];
  if (root === '$http' && rest.length === 0 && Object.hasOwn(frame.locals, '$http')) return answerHttp(frame, given);
  const operation = localOperation(type, append, copyFor(frame, given));
  if (isContext(root)) return writeContext(frame, root, rest, operation, lifespanS);
  if (root === 'config') return writeConfig(frame, rest, operation);
  if (rest.length > 0 || operation.type !== 'replace') frame.protect(root);
  writeLocal(frame.holderOf(root), keys, operation, meterOf(frame.run.budget));
}

async function answerHttp(frame: Frame, given: unknown): Promise<void> {
  if (!isPlainObject(given))
    throw fault('InvalidInstructionError', {
      message: 'Invalid set instruction: $http takes an object with status, headers, chunk or sseKeepAlive.',
    });
  await frame.perform({ type: 'http', message: given as (Effect & { type: 'http' })['message'] });
}

async function writeContext(
  frame: Frame,
  name: ContextName,
  path: (string | number)[],
  operation: LocalOperation,
  lifespanS?: number,
): Promise<void> {
  if (isLiveStream((operation as { value?: unknown }).value))
    throw fault('InvalidInstructionError', { message: 'A stream cannot be kept in a context.' });
  if (operation.type !== 'delete' && path.length === 1 && path[0] === 'id' && (name === 'user' || name === 'session')) {
    const value = (operation as { value: unknown }).value;
    if ((typeof value !== 'string' && typeof value !== 'number') || value === '')
      throw fault('InvalidInstructionError', { message: `Invalid set instruction: ${name}.id must be a text.` });
    return frame.switchIdentity(`${name}.id`, String(value));
  }
  if (path.length === 0 && operation.type !== 'delete') {
    const { type, value } = operation;
    // Nothing leaves an object as it is; sent to the store, it would make null of a context that is not there yet.
    if (type === 'merge' && (value === undefined || value === null)) return;
    if (type === 'push' || !isPlainObject(value)) throw mustStayObject(name);
    operation.value = withoutReserved(name, value);
  }
  assertOwn('set', name, path);
  if (isKnown(name, path)) return;
  if (path.length > 1) {
    await frame.ensure(BIT[name]);
    assertContainer(frame.get(name) as JsonObject, path, name);
  }
  await frame.write(name, contextOperations(path, operation, lifespanS));
}

/** Own automation sees it at once; in an app instance it is kept in the instance's configuration too. */
async function writeConfig(frame: Frame, path: (string | number)[], operation: LocalOperation): Promise<void> {
  const holder: JsonObject = { config: copyFor(frame, frame.config) };
  writeLocal(holder, ['config', ...path], operation);
  frame.changeConfig(isPlainObject(holder.config) ? holder.config : {});
  if (frame.model.instance === '') return;
  await frame.perform({ type: 'config.write', operations: contextOperations(path, operation, undefined) });
}

export async function remove(frame: Frame, keys: (string | number)[]): Promise<void> {
  const [root, ...rest] = keys as [string, ...(string | number)[]];
  if (isContext(root)) {
    assertOwn('delete', root, rest);
    if (isKnown(root, rest)) return;
    await frame.write(root, [{ type: 'delete', path: rest }]);
  } else if (root === 'config') await writeConfig(frame, rest, { type: 'delete' });
  else {
    if (rest.length > 0) frame.protect(root);
    writeLocal(frame.holderOf(root), keys, { type: 'delete' });
  }
}

/** The counter at `keys` as one atomic step onto what is stored by then; replaces it when this is no counting. */
export async function count(frame: Frame, keys: (string | number)[], counter: Counter): Promise<void> {
  const [root, ...path] = keys as [ContextName, ...(string | number)[]];
  assertOwn('set', root, path);
  if (isKnown(root, path)) return;
  await frame.ensure(BIT[root]);
  let before: unknown = frame.get(root);
  for (const key of path) before = readProperty(before, key);
  const { value, by } = counter.evaluate(before, frame, frame.run.env);
  // Nobody's data is not stored: an increment would begin anew each time.
  const isKept = root !== 'user' || frame.view.current.identity.userId !== undefined;
  if (!by || !isKept) return assign(frame, keys, false, 'replace', value);
  assertContainer(frame.get(root) as JsonObject, path, root);
  await frame.write(
    root,
    inOneStep(before, by).map((one) => ({ type: 'increment', path, by: one })),
  );
}

/** Whole numbers are summed up; with fractions the order decides the last bit, and each is added on its own. */
function inOneStep(before: unknown, by: number[]): number[] {
  if (by.length < 2) return by;
  const farthest = by.reduce((sum, one) => sum + Math.abs(one), typeof before === 'number' ? Math.abs(before) : 0);
  return Number.isSafeInteger(farthest) && by.every(Number.isSafeInteger) ? [by.reduce((sum, one) => sum + one)] : by;
}
