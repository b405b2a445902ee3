/**
 * mappings — which payload fields of which event types a workspace wants to count and sum: `events.types.<type>.schema` of its index. Such events are kept with a
 * copy of those fields, `aggPayload`, in the declared types.
 *
 * The history never waits for an edit to be told elsewhere: it reads every event in order, so it sees the one that changes a mapping before those that follow.
 */

import { MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { isNative } from '../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { lru } from '../../mixins/shared/lru.ts';

/** Declared types by field, by event type. */
export type EventTypes = Map<string, Map<string, string>>;

export interface Mappings {
  /** The declared fields of an event, or undefined when its type declares none. */
  fieldsOf(event: PrismeEvent): Map<string, string> | undefined;
  /** Loads what `fieldsOf` needs for these events. Does not reject. */
  prepare(events: PrismeEvent[]): Promise<void>;
}

const MAX_WORKSPACES = 5_000;
const TTL_MS = 10 * MINUTE;
const RETRY_MS = 30 * SECOND;
const CHANGES = new Set(['workspaces.updated', 'workspaces.events.updated', 'workspaces.imported', 'workspaces.versions.rollback']);

/** Fields of `events.types` that declare a type; anything else is left out. */
export function eventTypesOf(events: unknown): EventTypes {
  const found: EventTypes = new Map();
  const types = isPlainObject(events) && isPlainObject(events.types) ? events.types : {};
  for (const [type, declared] of Object.entries(types)) {
    const schema = isPlainObject(declared) && isPlainObject(declared.schema) ? declared.schema : {};
    const fields = isPlainObject(schema.properties) ? schema.properties : schema;
    const named = Object.entries(fields).flatMap(([name, field]) =>
      isPlainObject(field) && typeof field.type === 'string' ? [[name, field.type] as const] : [],
    );
    if (named.length > 0) found.set(type, new Map(named));
  }
  return found;
}

function inType(value: unknown, type: string): unknown {
  if (type === 'number' || type === 'integer') {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
  }
  if (type === 'boolean') return value === 'true' ? true : value === 'false' ? false : typeof value === 'boolean' ? value : undefined;
  if (type === 'string') return value === null || typeof value === 'object' ? undefined : String(value);
  return value;
}

/** The declared fields of a payload in their types; values that do not fit are left out. */
export function mappedPayload(payload: JsonObject, fields: Map<string, string>): JsonObject {
  const mapped: JsonObject = {};
  for (const [name, type] of fields) {
    if (!Object.hasOwn(payload, name)) continue;
    const value = inType(payload[name], type);
    if (value !== undefined) mapped[name] = value as JsonObject[string];
  }
  return mapped;
}

/** @param load the `events` section of a workspace. May reject: the workspace then has none for a while. */
export function createMappings(load: (workspaceId: string) => Promise<unknown>): Mappings {
  const known = lru<string, EventTypes>({ max: MAX_WORKSPACES, ttl: TTL_MS });
  const none: EventTypes = new Map();

  return {
    fieldsOf: ({ type, source }) => known.get(source.workspaceId ?? '')?.get(type),
    async prepare(events) {
      const wanted = new Set<string>();
      for (const event of events) {
        const { workspaceId } = event.source;
        if (!workspaceId) continue;
        if (CHANGES.has(event.type) && isNative(event)) known.delete(workspaceId);
        else if (isNative(event)) continue;
        if (!known.has(workspaceId)) wanted.add(workspaceId);
      }
      await Promise.all(
        [...wanted].map((workspaceId) =>
          load(workspaceId).then(
            (section) => known.set(workspaceId, eventTypesOf(section)),
            () => known.set(workspaceId, none, { ttl: RETRY_MS }),
          ),
        ),
      );
    },
  };
}
