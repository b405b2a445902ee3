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

/** A copy without the text at `path`; the value itself when there is nothing. */
function redactAt<T extends object>(value: T, path: string[], at = 0): T {
  const head = path[at] as string;
  if (!Object.hasOwn(value, head)) return value;
  if (at === path.length - 1) return { ...value, [head]: 'REDACTED' };
  const inner = (value as JsonObject)[head];
  if (!isPlainObject(inner)) return value;
  const redacted = redactAt(inner, path, at + 1);
  return redacted === inner ? value : { ...value, [head]: redacted };
}

/** Paths to redact in events of a type, by rules: worked out once. */
const known = new WeakMap<RedactionRule[], Map<string, string[][]>>();
const MAX_KNOWN = 1_000;
function secretPaths(type: string, rules: RedactionRule[]): string[][] {
  let byType = known.get(rules);
  if (!byType || byType.size > MAX_KNOWN) {
    byType = new Map();
    known.set(rules, byType);
  }
  let paths = byType.get(type);
  if (!paths) {
    paths = rules.filter(({ events }) => concerns(events, type)).flatMap(({ fields }) => fields.map((field) => field.split('.')));
    byType.set(type, paths);
  }
  return paths;
}

/** The event as the history keeps it. @param fields those its workspace has declared for its type */
export function preprocess(event: PrismeEvent, fields?: Map<string, string>, rules: RedactionRule[] = REDACTIONS): PrismeEvent {
  let kept = event;
  for (const path of secretPaths(event.type, rules)) kept = redactAt(kept, path);
  const isWanted = event.options?.aggPayload;
  if (fields && isWanted !== false) kept = { ...kept, aggPayload: mappedPayload(kept.payload, fields) } as PrismeEvent;
  else if (isWanted === true) kept = { ...kept, aggPayload: kept.payload } as PrismeEvent;
  return kept;
}
