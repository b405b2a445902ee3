/**
 * contexts — the persisted variables of runs. One JSON document per context and owner, changed only by path-level operations that the cache
 * applies atomically, so concurrent runs never lose each other's writes.
 *
 * Keys: `ctx:{<workspace>}:global`, `…:user:<id>`, `…:session:<id>`, `…:socket:<id>`, `…:run:<correlation id>`.
 * The life of single paths (`set` with `lifespan`) is kept inside the document under LIFESPANS (lives.ts of the cache): what is over is not shown, and
 * is removed by the next write. A path that is set again without a lifespan has none.
 */
import { HOUR, MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { CacheDriver, PathOperation } from '../../mixins/storage/cache/contract.ts';
import { alive } from '../../mixins/storage/cache/lives.ts';
import { type ContextName, type ContextOperation, LIFESPANS } from './interpreter/index.ts';
import { keyPart } from './key-part.ts';

const TELL_EVERY_MS = MINUTE;
const MAX_TOLD = 10_000;

/** Largest document of a context, bytes of JSON: far above `CONTEXT_…_MAX_SIZE`, where its workspace is told, so that nothing legitimate is refused. */
export const CONTEXT_MAX_BYTES: Record<ContextName, number> = {
  global: 10_000_000,
  user: 2_000_000,
  session: 10_000_000,
  socket: 2_000_000,
  run: 10_000_000,
};

/** Whose contexts a run sees. */
export interface ContextOwner {
  workspaceId: string;
  correlationId: string;
  userId?: string;
  sessionId?: string;
  socketId?: string;
  /** Remaining life of the session, when it is known. */
  sessionTtlMs?: number;
}

/** Key of a context, or `null` when this owner has none (an unknown user is not remembered). */
export function contextKey(name: ContextName, owner: ContextOwner): string | null {
  const base = `ctx:{${owner.workspaceId}}:${name}`;
  if (name === 'global') return base;
  if (name === 'user') return owner.userId ? `${base}:${keyPart(owner.userId)}` : null;
  if (name === 'session') return `${base}:${keyPart(owner.sessionId ?? owner.userId ?? owner.correlationId)}`;
  if (name === 'socket') return `${base}:${keyPart(owner.socketId ?? owner.sessionId ?? owner.userId ?? owner.correlationId)}`;
  return `${base}:${keyPart(owner.correlationId)}`;
}

/** A document above its `CONTEXT_…_MAX_SIZE`. */
export interface LargeContext {
  context: ContextName;
  bytes: number;
  maxBytes: number;
}

export interface Contexts {
  /** The documents of `names`, `{}` for the absent: one round trip. */
  read(names: ContextName[], owner: ContextOwner, now: number): Promise<Record<string, JsonObject>>;
  /**
   * The document after `operations`. `operationId`: a repetition changes nothing. `onLarge`: called at most once a minute for a document that is larger than
   * `CONTEXT_…_MAX_SIZE`.
   * @throws LimitExceededError
   */
  write(
    name: ContextName,
    operations: ContextOperation[],
    owner: ContextOwner,
    operationId: string,
    now: number,
    onLarge?: (size: LargeContext) => void,
  ): Promise<JsonObject>;
  /** Keeps the run context alive at least `ms` longer (waits). */
  keepRun(owner: ContextOwner, ms: number): Promise<void>;
}

export function createContexts(cache: CacheDriver, config: Config): Contexts {
  const ttlMs = (name: ContextName, owner: ContextOwner): number | undefined => {
    if (name === 'run') return config.runContextTtlS * SECOND;
    if (name === 'socket') return config.socketContextTtlS * SECOND;
    if (name === 'session') return Math.max(owner.sessionTtlMs ?? config.anonymousSessionTtlS * SECOND, 10 * SECOND);
    return undefined;
  };
  const largeBytes: Record<ContextName, number> = {
    global: config.globalContextLargeBytes,
    user: config.userContextLargeBytes,
    session: config.sessionContextLargeBytes,
    socket: config.socketContextLargeBytes,
    run: config.runContextLargeBytes,
  };
  /** When a large document was told last. */
  const told = new Map<string, number>();

  function tells(key: string, now: number): boolean {
    if (now - (told.get(key) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return false;
    if (told.size >= MAX_TOLD) told.clear();
    told.set(key, now);
    return true;
  }

  return {
    async read(names, owner, now) {
      const keys = names.map((name) => contextKey(name, owner));
      const wanted = keys.filter((key) => key !== null);
      const found = wanted.length ? await cache.getMany(wanted) : [];
      const documents: Record<string, JsonObject> = {};
      names.forEach((name, i) => {
        const key = keys[i];
        const document = key == null ? null : found[wanted.indexOf(key)];
        documents[name] = visible(document?.value, now);
      });
      return documents;
    },
    async write(name, operations, owner, operationId, now, onLarge) {
      const key = contextKey(name, owner);
      // Nobody's: not kept, so nothing of it has to end.
      if (key === null) return visible(applyLocally({}, operations), now);
      const life = ttlMs(name, owner);
      const maxBytes = largeBytes[name];
      const { value, bytes } = await cache.apply(key, timed(operations, now), {
        operationId,
        lives: { field: LIFESPANS, now },
        maxBytes: CONTEXT_MAX_BYTES[name],
        largeBytes: maxBytes,
        ...(life === undefined ? {} : { ttlMs: life }),
      });
      if (bytes !== undefined && onLarge && tells(key, now)) onLarge({ context: name, bytes, maxBytes });
      return visible(value, now);
    },
    async keepRun(owner, ms) {
      const key = contextKey('run', owner);
      if (key) await cache.expire(key, Math.min(ms + config.runContextTtlS * SECOND, 31 * 24 * HOUR));
    },
  };
}

/** As the store takes them. Most operations have no lifespan and go as they are. */
function timed(operations: ContextOperation[], now: number): PathOperation[] {
  if (operations.every(({ lifespanS }) => lifespanS === undefined)) return operations;
  return operations.map(({ lifespanS, ...operation }) =>
    lifespanS !== undefined && lifespanS > 0 ? { ...operation, until: now + lifespanS * SECOND } : operation,
  );
}

/** The document as automations see it: without expired paths and without the book-keeping. The drivers give each caller a document of its own. */
const visible = (value: unknown, now: number): JsonObject => (isPlainObject(value) ? alive(value, LIFESPANS, now) : {});

/** The same operations on a plain value, for contexts that are not kept. */
export function applyLocally(root: unknown, operations: PathOperation[]): unknown {
  let document = root;
  for (const operation of operations) {
    if (operation.path.some(isHostileName)) continue;
    if (operation.path.length === 0) {
      document = operation.type === 'delete' ? {} : changed(document, operation);
      continue;
    }
    if (!isContainer(document)) document = {};
    let at = document as JsonObject;
    for (const segment of operation.path.slice(0, -1)) {
      if (!Object.hasOwn(at, segment) || !isContainer(at[segment])) at[segment] = {};
      at = at[segment] as JsonObject;
    }
    const last = operation.path.at(-1) as string | number;
    if (operation.type !== 'delete') at[last] = changed(Object.hasOwn(at, last) ? at[last] : undefined, operation);
    else if (Array.isArray(at)) at.splice(Number(last), 1);
    else delete at[last];
  }
  return document;
}

const isContainer = (value: unknown): boolean => typeof value === 'object' && value !== null;

function changed(before: unknown, operation: Exclude<PathOperation, { type: 'delete' }>): unknown {
  if (operation.type === 'replace') return operation.value;
  if (operation.type === 'increment') return (typeof before === 'number' ? before : 0) + operation.by;
  if (operation.type === 'push') return Array.isArray(before) ? [...before, operation.value] : [operation.value];
  if (Array.isArray(before)) return before.concat(operation.value);
  if (isPlainObject(before) && isPlainObject(operation.value)) return { ...before, ...operation.value };
  return operation.value;
}

/** Shortest life that is left to the contexts of a deleted workspace: what its deletion starts still uses them. */
const LAST_USE_MS = HOUR;

/** Gives the contexts of a deleted workspace that live for ever an end. The others end by themselves. */
export async function endContexts(cache: CacheDriver, workspaceId: string, inMs: number): Promise<void> {
  const ttlMs = Math.max(inMs, LAST_USE_MS);
  const owner = { workspaceId, correlationId: '' };
  // Made when there is none: what a run that is still under way writes into it keeps the life it has.
  await cache.apply(contextKey('global', owner) as string, [{ type: 'merge', path: [], value: {} }], { ttlMs });
  for await (const key of cache.keys(`ctx:{${workspaceId}}:user:`)) await cache.expire(key, ttlMs);
}
