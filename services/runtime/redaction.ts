/**
 * redaction — keeps secrets out of what leaves a run: native events, errors, answers of a failed call. Works on values, never on JSON text,
 * so a secret holding quotes is found and a short one cannot break the payload.
 */
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';

export const REDACTED = 'REDACTED';
/** Shorter secrets are hidden only where they are a whole value: inside words they would hide ordinary text. */
const MIN_INSIDE = 4;
/** Bytes from which a secret is looked for in the middle of base64: what is left of a shorter one there could be part of any word. */
const MIN_IN_BASE64 = 6;
const MAX_DEPTH = 100;

/** A text to look for. */
interface Form {
  text: string;
  /** In base64 the characters at its ends may belong to the secret in part: they are hidden with it. */
  edges?: { before: boolean; after: boolean };
}

const encoders: ((text: string) => string)[] = [
  (text) => JSON.stringify(text).slice(1, -1),
  // JSON inside JSON: keys and certificates travel so, and have line breaks.
  (text) => JSON.stringify(JSON.stringify(text).slice(1, -1)).slice(1, -1),
  encodeURI,
  encodeURIComponent,
  // RFC 3986 also reserves what encodeURIComponent leaves alone, and forms write a space as a plus.
  (text) => encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`),
  (text) => new URLSearchParams([['', text]]).toString().slice(1),
];

/**
 * Base64 of a secret that stands anywhere in what was encoded (`user:secret`): three alignments, of each the characters that are the secret's alone.
 * Alignment 0 is also the secret encoded by itself.
 */
function base64Forms(text: string): Form[] {
  const secret = Buffer.from(text);
  if (secret.length < MIN_IN_BASE64) return [{ text: secret.toString('base64') }, { text: secret.toString('base64url') }];
  return [0, 1, 2].flatMap((offset) => {
    const end = offset + secret.length;
    const shifted = Buffer.concat([Buffer.alloc(offset), secret]);
    const [from, to] = [Math.ceil((offset * 8) / 6), Math.floor((end * 8) / 6)];
    const edges = { before: offset > 0, after: end % 3 > 0 };
    return (['base64', 'base64url'] as const).map((encoding) => ({ text: shifted.toString(encoding).slice(from, to), edges }));
  });
}

/** Forms under which a secret may surface. */
function formsOf(text: string): Form[] {
  const forms: Form[] = [{ text }, ...base64Forms(text)];
  for (const encode of encoders) {
    try {
      forms.push({ text: encode(text) });
    } catch {
      // A lone surrogate has no URL form.
    }
  }
  return forms;
}

/** Texts to hide, with their forms. */
class Secrets {
  readonly whole = new Set<string>();
  readonly inside = new Map<string, Form>();
  /** Length of the shortest form: most texts of an event are shorter than any secret. */
  shortest = Number.POSITIVE_INFINITY;

  add(texts: Iterable<string>): this {
    for (const text of texts) {
      if (typeof text !== 'string' || text === '' || this.whole.has(text)) continue;
      this.whole.add(text);
      if (text.length < MIN_INSIDE) continue;
      for (const form of formsOf(text)) {
        this.inside.set(form.text, form);
        this.shortest = Math.min(this.shortest, form.text.length);
      }
    }
    return this;
  }
}

const isBase64 = (character: string | undefined): boolean => character !== undefined && /[A-Za-z0-9+/_-]/.test(character);

/** From where to where a form found at `at` is hidden. */
function rangeOf(text: string, at: number, { text: form, edges }: Form): [from: number, to: number] {
  let [from, to] = [at, at + form.length];
  if (edges?.before && isBase64(text[from - 1])) from--;
  if (edges?.after && isBase64(text[to])) to++;
  if (edges?.after) while (text[to] === '=' && to < at + form.length + 3) to++;
  return [from, to];
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
    let found: [from: number, to: number][] | undefined;
    for (const { inside, shortest } of this.lists) {
      if (text.length < shortest) continue;
      for (const form of inside.values())
        for (let at = text.indexOf(form.text); at >= 0; at = text.indexOf(form.text, at + 1)) {
          found ??= [];
          found.push(rangeOf(text, at, form));
        }
    }
    return found ? withoutRanges(text, found) : text;
  }

  private cleaned(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.cleanText(value);
    if (typeof value === 'number' || typeof value === 'boolean') return this.isWhole(String(value)) ? REDACTED : value;
    if (value === null || typeof value !== 'object') return value;
    // Not looked at is not known to hold none.
    if (depth > MAX_DEPTH) return REDACTED;
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

/** Where secrets overlap, or one begins another, nothing of either may stay: all are found first, then what they cover is taken out. */
function withoutRanges(text: string, ranges: [from: number, to: number][]): string {
  ranges.sort(([a], [b]) => a - b);
  let result = '';
  let end = -1;
  for (const [from, to] of ranges) {
    if (from >= end) result += `${text.slice(Math.max(end, 0), from)}${REDACTED}`;
    end = Math.max(end, to);
  }
  return result + text.slice(end);
}

const HIDDEN_HEADERS = /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-prismeai-.*)$/i;

/** Headers for an event: credentials masked. */
export function maskHeaders(headers: unknown): unknown {
  if (!isPlainObject(headers)) return headers;
  const masked: JsonObject = {};
  for (const [name, value] of Object.entries(headers)) masked[name] = HIDDEN_HEADERS.test(name) ? REDACTED : value;
  return masked;
}

/** An address for an event or a message: whom it names, and his password, masked. */
export const maskUrl = <T>(url: T): T =>
  typeof url === 'string' ? (url.replace(/^(\s*[a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, `$1${REDACTED}@`) as T & string) : url;
