/**
 * redaction — keeps secrets out of what leaves a run: native events, errors, answers of a failed call. Works on values, never on JSON text,
 * so a secret holding quotes is found and a short one cannot break the payload.
 */
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';

export const REDACTED = 'REDACTED';
/** Shorter secrets are hidden only where they are a whole value: inside words they would hide ordinary text. */
const MIN_INSIDE = 4;
const MAX_DEPTH = 100;

/** Forms under which a secret may surface: as is, base64, percent-encoded. */
const variants = (text: string): string[] =>
  text.length < MIN_INSIDE
    ? [text]
    : [text, Buffer.from(text).toString('base64'), Buffer.from(text).toString('base64url'), encodeURIComponent(text)];

/** Texts to hide, with their forms. */
class Secrets {
  readonly whole = new Set<string>();
  readonly inside = new Set<string>();

  add(texts: Iterable<string>): this {
    for (const text of texts) {
      if (typeof text !== 'string' || text === '') continue;
      this.whole.add(text);
      if (text.length >= MIN_INSIDE) for (const variant of variants(text)) this.inside.add(variant);
    }
    return this;
  }
}

/** Secrets of a model: the same list for all its runs. */
const ofList = new WeakMap<readonly string[], Secrets>();
function secretsOf(texts: readonly string[]): Secrets {
  let secrets = ofList.get(texts);
  if (!secrets) {
    secrets = new Secrets().add(texts);
    ofList.set(texts, secrets);
  }
  return secrets;
}

export class Redactor {
  private readonly lists: Secrets[] = [];
  /** Secrets that only this run has met. */
  private own: Secrets | undefined;

  /** Hides a list that does not change: its forms are made once for all runs. */
  addAll(texts: readonly string[]): void {
    if (texts.length === 0) return;
    const secrets = secretsOf(texts);
    if (!this.lists.includes(secrets)) this.lists.push(secrets);
  }

  /** Adds texts to hide from now on. */
  add(texts: readonly string[]): void {
    if (texts.length === 0) return;
    if (!this.own) {
      this.own = new Secrets();
      this.lists.push(this.own);
    }
    this.own.add(texts);
  }

  /** A copy without the secrets; shares what has none. */
  clean<T>(value: T): T {
    return this.lists.length === 0 ? value : (this.cleaned(value, 0) as T);
  }

  private isWhole(text: string): boolean {
    for (const { whole } of this.lists) if (whole.has(text)) return true;
    return false;
  }

  private cleanText(text: string): string {
    if (this.isWhole(text)) return REDACTED;
    let result = text;
    for (const { inside } of this.lists)
      for (const secret of inside) if (result.includes(secret)) result = result.replaceAll(secret, REDACTED);
    return result;
  }

  private cleaned(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.cleanText(value);
    if (typeof value === 'number' || typeof value === 'boolean') return this.isWhole(String(value)) ? REDACTED : value;
    if (value === null || typeof value !== 'object' || depth > MAX_DEPTH) return value;
    if (Array.isArray(value)) {
      const items = value.map((item) => this.cleaned(item, depth + 1));
      return items.some((item, i) => item !== value[i]) ? items : value;
    }
    if (!isPlainObject(value)) return value;
    let copy: JsonObject | null = null;
    for (const key of Object.keys(value)) {
      const name = this.cleanText(key);
      const item = this.cleaned(value[key], depth + 1);
      if (name === key && item === value[key]) continue;
      copy ??= { ...value };
      if (name !== key) delete copy[key];
      copy[name] = item;
    }
    return copy ?? value;
  }
}

const HIDDEN_HEADERS = /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-prismeai-.*)$/i;

/** Headers for an event: credentials masked. */
export function maskHeaders(headers: unknown): unknown {
  if (!isPlainObject(headers)) return headers;
  const masked: JsonObject = {};
  for (const [name, value] of Object.entries(headers)) masked[name] = HIDDEN_HEADERS.test(name) ? REDACTED : value;
  return masked;
}
