/** preprocess — what an event loses, or gains, before it is kept: secrets are redacted, mapped payloads get their copy. The event itself is not touched. */
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { mappedPayload } from './mappings.ts';

export interface RedactionRule {
  /** Event types, exact or `prefix.*`. */
  events: string[];
  /** Dotted paths from the event. */
  fields: string[];
}

export const REDACTIONS: RedactionRule[] = [
  { events: ['gateway.login.succeeded'], fields: ['payload.session.token'] },
  { events: ['apikeys.*'], fields: ['payload.apiKey'] },
  {
    events: ['runtime.automations.executed'],
    fields: ['payload.payload.headers.authorization', 'payload.payload.headers.cookie', 'payload.payload.headers.x-prismeai-api-key'],
  },
  { events: ['runtime.fetch.failed'], fields: ['payload.request.headers.authorization', 'payload.request.headers.Authorization'] },
];

const concerns = (patterns: string[], type: string) =>
  patterns.some((pattern) => (pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type));

function redactAt<T extends object>(value: T, path: string[]): T {
  const [head, ...rest] = path as [string, ...string[]];
  if (!Object.hasOwn(value, head)) return value;
  const inner = (value as JsonObject)[head];
  if (rest.length === 0) return { ...value, [head]: 'REDACTED' };
  return isPlainObject(inner) ? { ...value, [head]: redactAt(inner, rest) } : value;
}

/** The event as the history keeps it. @param fields those its workspace has declared for its type */
export function preprocess(event: PrismeEvent, fields?: Map<string, string>, rules: RedactionRule[] = REDACTIONS): PrismeEvent {
  let kept = event;
  for (const { events, fields: secret } of rules)
    if (concerns(events, event.type)) for (const field of secret) kept = redactAt(kept, field.split('.'));
  const isWanted = event.options?.aggPayload;
  if (fields && isWanted !== false) kept = { ...kept, aggPayload: mappedPayload(kept.payload, fields) } as PrismeEvent;
  else if (isWanted === true) kept = { ...kept, aggPayload: kept.payload } as PrismeEvent;
  return kept;
}
