/**
 * redaction — keeps secrets out of what leaves a run: native events, errors, answers of a failed call. Works on values, never on JSON text,
 * so a secret holding quotes is found and a short one cannot break the payload.
 */
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';

export const REDACTED = 'REDACTED';
/** Shorter secrets are hidden only where they are a whole value: inside words they would hide ordinary text. */
const MIN_INSIDE = 4;
const MAX_DEPTH = 100;

export interface Redactor {
  /** Adds texts to hide from now on. */
  add(texts: Iterable<string>): void;
  /** A copy without the secrets; shares what has none. */
  clean<T>(value: T): T;
  texts(): string[];
}

/** Forms under which a secret may surface: as is, base64, percent-encoded. */
const variants = (text: string): string[] =>
  text.length < MIN_INSIDE
    ? [text]
    : [text, Buffer.from(text).toString('base64'), Buffer.from(text).toString('base64url'), encodeURIComponent(text)];

export function createRedactor(initial: Iterable<string> = []): Redactor {
  const whole = new Set<string>();
  const inside = new Set<string>();
  const add = (texts: Iterable<string>) => {
    for (const text of texts) {
      if (typeof text !== 'string' || text === '') continue;
      whole.add(text);
      if (text.length >= MIN_INSIDE) for (const variant of variants(text)) inside.add(variant);
    }
  };
  const cleanText = (text: string): string => {
    if (whole.has(text)) return REDACTED;
    let result = text;
    for (const secret of inside) if (result.includes(secret)) result = result.replaceAll(secret, REDACTED);
    return result;
  };
  const clean = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return cleanText(value);
    if (typeof value === 'number' || typeof value === 'boolean') return whole.size && whole.has(String(value)) ? REDACTED : value;
    if (value === null || typeof value !== 'object' || depth > MAX_DEPTH) return value;
    if (Array.isArray(value)) {
      const items = value.map((item) => clean(item, depth + 1));
      return items.some((item, i) => item !== value[i]) ? items : value;
    }
    if (!isPlainObject(value)) return value;
    let copy: JsonObject | null = null;
    for (const key of Object.keys(value)) {
      const name = cleanText(key);
      const item = clean(value[key], depth + 1);
      if (name === key && item === value[key]) continue;
      copy ??= { ...value };
      if (name !== key) delete copy[key];
      copy[name] = item;
    }
    return copy ?? value;
  };
  add(initial);
  return {
    add,
    clean: <T>(value: T): T => (whole.size === 0 ? value : (clean(value, 0) as T)),
    texts: () => [...whole],
  };
}

const HIDDEN_HEADERS = /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-prismeai-.*)$/i;

/** Headers for an event: credentials masked. */
export function maskHeaders(headers: unknown): unknown {
  if (!isPlainObject(headers)) return headers;
  const masked: JsonObject = {};
  for (const [name, value] of Object.entries(headers)) masked[name] = HIDDEN_HEADERS.test(name) ? REDACTED : value;
  return masked;
}
