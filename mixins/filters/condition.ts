/**
 * condition — what a Condition means, in memory. Every store must give the same answer as `compile` (vectors: test/fixtures/filters).
 *
 * Values   Scalars are compared as text, so 5 equals "5"; a list matches when one element does, or as its joined text.
 *          `createdAt` (also `@timestamp`) is compared as a moment: ISO text or milliseconds.
 * Order    gt, gte, lt, lte compare numbers with numbers and texts with texts; a numeric text on the right also compares with numbers.
 * Empty    `exists` / `empty` ask for present and not null; with `truthy`, also for not "", 0 or false.
 * Text     Words, all of which must occur among the event's values (case and accents ignored, `word*` is a prefix);
 *          a "quoted part" must occur verbatim in the JSON text of the event.
 */
import { eventText, type PrismeEvent } from '../shared/event.ts';
import { isHostileName } from '../shared/json.ts';
import { re2js } from '../shared/packages.ts';
import type { Condition } from '../storage/datalake/contract.ts';

export type Test = (event: object) => boolean;
export type Scalar = string | number | boolean | null;

export const NEVER: Condition = { any: [] };
export const ALWAYS: Condition = { all: [] };

/** Segments of a dotted path: trimmed, empty ones dropped, numeric ones index lists. */
export function pathOf(field: string): string[] {
  if (field === '@timestamp') return ['createdAt'];
  return field
    .split('.')
    .map((segment) => segment.trim())
    .filter(Boolean);
}

/** Own value of `event` at a path; never reaches a prototype. */
export function valueAt(event: object, path: readonly string[]): unknown {
  let value: unknown = event;
  for (const segment of path) {
    if (value === null || typeof value !== 'object' || isHostileName(segment) || !Object.hasOwn(value, segment)) return undefined;
    value = (value as Record<string, unknown>)[segment];
  }
  return value;
}

/** Text a scalar or list is compared by; `undefined` for what cannot be compared. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return value.map((item) => textOf(item) ?? '').join(',');
  return undefined;
}

/** Milliseconds of ISO text or a number; NaN otherwise. */
export const momentOf = (value: unknown): number =>
  typeof value === 'number' ? value : typeof value === 'string' ? Date.parse(value) : NaN;

export const isMoment = (path: readonly string[]): boolean => path.length === 1 && path[0] === 'createdAt';

/** Whether `*` (any text) and `?` (one character) make `pattern` equal to `text`; backslash takes the next character as it is. Linear. */
export function globMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const isEscape = pattern[p] === '\\' && p + 1 < pattern.length;
    if (!isEscape && pattern[p] === '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.length && (isEscape ? pattern[p + 1] === text[t] : pattern[p] === '?' || pattern[p] === text[t])) {
      p += isEscape ? 2 : 1;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p >= pattern.length;
}

const WORD = /[\p{L}\p{N}\p{Co}]+/gu;
const MAX_WORD = 64;

/** Words of a text: lower case, without accents, at most 64 characters each. */
export function wordsOf(text: string): string[] {
  const words =
    text
      .normalize('NFD')
      .replace(/\p{Mn}+/gu, '')
      .toLowerCase()
      .match(WORD) ?? [];
  return words.map((word) => (word.length > MAX_WORD ? word.slice(0, MAX_WORD) : word));
}

function leaves(value: unknown, into: string[], depth = 0): void {
  if (typeof value === 'string') into.push(value);
  else if (typeof value === 'number' || typeof value === 'boolean') into.push(String(value));
  else if (value !== null && typeof value === 'object' && depth < 64)
    for (const key of Object.keys(value)) leaves((value as any)[key], into, depth + 1);
}

function searchedTexts(event: object): string[] {
  const { type, id, source, target, payload } = event as PrismeEvent;
  const { host: _host, serviceTopic: _topic, ...origin } = source ?? {};
  const found: string[] = [];
  leaves([id, type, origin, target, payload], found);
  return found;
}

/** Distinct words a full-text search finds an event by: its type, source (without host and topic), target and payload values. */
export function eventWords(event: object): Set<string> {
  return new Set(wordsOf(searchedTexts(event).join(' ')));
}

const ASCII = /^[\0-\x7f]*$/;
const isLong = (text: string) => text.length > MAX_WORD;

/**
 * The words of an event as text, for an index that cuts at everything but ASCII letters and digits and folds ASCII case: most events are plain ASCII, and
 * need not be cut here first.
 */
export function indexedText(event: object): string {
  const texts = searchedTexts(event);
  const text = texts.join(' ');
  return ASCII.test(text) && !texts.some(isLong) ? text : [...new Set(wordsOf(text))].join(' ');
}

export interface TextQuery {
  words: string[];
  prefixes: string[];
  /** Verbatim parts. */
  parts: string[];
}

/** Splits `some words pre* "verbatim part"`. Inside quotes, backslash takes the next character as it is. */
export function parseText(text: string): TextQuery {
  const query: TextQuery = { words: [], prefixes: [], parts: [] };
  const rest = text.replace(/"((?:[^"\\]|\\.)*)"?/gs, (_, part: string) => {
    const verbatim = part.replace(/\\(.)/gs, '$1');
    if (verbatim) query.parts.push(verbatim);
    return ' ';
  });
  for (const piece of rest.split(/\s+/).filter(Boolean)) {
    const words = wordsOf(piece);
    const last = piece.endsWith('*') ? words.pop() : undefined;
    query.words.push(...words);
    if (last) query.prefixes.push(last);
  }
  return query;
}

/** A verbatim part in the syntax of `parseText`. */
export const quoteText = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&')}"`;

const jsonTexts = new WeakMap<object, string>();
const wordSets = new WeakMap<object, Set<string>>();

/** JSON text of an event, made once however many filters ask for it. */
export function jsonText(event: object): string {
  const known = jsonTexts.get(event);
  if (known !== undefined) return known;
  const text = eventText(event as PrismeEvent);
  jsonTexts.set(event, text);
  return text;
}

function textTest(text: string): Test {
  const { words, prefixes, parts } = parseText(text);
  return (event) => {
    if (parts.length > 0 && !parts.every((part) => jsonText(event).includes(part))) return false;
    if (words.length + prefixes.length === 0) return true;
    const known = wordSets.get(event) ?? eventWords(event);
    wordSets.set(event, known);
    return words.every((word) => known.has(word)) && prefixes.every((prefix) => [...known].some((word) => word.startsWith(prefix)));
  };
}

/** `predicate` on the field's text, or on one element of a list of texts. */
const onText =
  (path: string[], predicate: (text: string) => boolean): Test =>
  (event) => {
    const value = valueAt(event, path);
    if (typeof value === 'string') return predicate(value);
    return Array.isArray(value) && value.some((item) => typeof item === 'string' && predicate(item));
  };

/** As `onText` for what is compared as text: numbers and booleans too. */
const onAnyText =
  (path: string[], predicate: (text: string) => boolean): Test =>
  (event) => {
    const value = valueAt(event, path);
    if (Array.isArray(value)) {
      for (const item of value) {
        const text = textOf(item);
        if (text !== undefined && predicate(text)) return true;
      }
    }
    const text = textOf(value);
    return text !== undefined && predicate(text);
  };

function equals(path: string[], values: Scalar[]): Test {
  if (isMoment(path)) {
    const moments = new Set(values.map(momentOf));
    return (event) => moments.has(momentOf(valueAt(event, path)));
  }
  const acceptsNull = values.includes(null);
  const texts = new Set(values.filter((value) => value !== null).map(String));
  const inTexts =
    texts.size === 0
      ? () => false
      : onAnyText(
          path,
          texts.size === 1
            ? (
                (only) => (text: string) =>
                  text === only
              )([...texts][0])
            : (text) => texts.has(text),
        );
  if (!acceptsNull) return inTexts;
  return (event) => (valueAt(event, path) ?? null) === null || inTexts(event);
}

type Comparison = 'gt' | 'gte' | 'lt' | 'lte';
const COMPARE: Record<Comparison, (a: any, b: any) => boolean> = {
  gt: (a, b) => a > b,
  gte: (a, b) => a >= b,
  lt: (a, b) => a < b,
  lte: (a, b) => a <= b,
};

/** Whether a text also compares with numbers. */
export const isNumeric = (value: unknown): boolean =>
  typeof value === 'number' ? Number.isFinite(value) : typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value));

function compares(path: string[], op: Comparison, value: Scalar): Test {
  const compare = COMPARE[op];
  if (isMoment(path)) {
    const moment = momentOf(value);
    return (event) => compare(momentOf(valueAt(event, path)), moment);
  }
  const number = isNumeric(value) ? Number(value) : undefined;
  const text = typeof value === 'string' ? value : undefined;
  const one = (found: unknown) =>
    typeof found === 'number'
      ? number !== undefined && compare(found, number)
      : typeof found === 'string' && text !== undefined && compare(found, text);
  return (event) => {
    const found = valueAt(event, path);
    return Array.isArray(found) ? found.some(one) : one(found);
  };
}

function present(path: string[], isTruthy: boolean): Test {
  return isTruthy ? (event) => Boolean(valueAt(event, path)) : (event) => (valueAt(event, path) ?? null) !== null;
}

/** The text a pattern such as `^apikeys\\.` asks values to begin with; null for any other pattern. Far cheaper than an expression, and indexed. */
export function literalPrefix(field: string, pattern: string): string | null {
  const found = /^\^((?:[\w -]|\\[^\w\s])+)(\.\*)?(\$)?$/.exec(pattern);
  // `$` after `.*` also refuses line breaks, which a type cannot hold.
  if (!found || (found[3] && !(found[2] && field === 'type'))) return null;
  return (found[1] as string).replace(/\\(.)/g, '$1');
}

const isKind = <K extends string>(condition: object, key: K): condition is Record<K, any> => Object.hasOwn(condition, key);

/** The condition as a function. @throws SyntaxError (RE2JSSyntaxException) for a regular expression that is not one */
export function compile(condition: Condition): Test {
  if (isKind(condition, 'all')) {
    const tests = (condition.all as Condition[]).map(compile);
    return tests.length === 1 ? (tests[0] as Test) : (event) => tests.every((test) => test(event));
  }
  if (isKind(condition, 'any')) {
    const tests = (condition.any as Condition[]).map(compile);
    return tests.length === 1 ? (tests[0] as Test) : (event) => tests.some((test) => test(event));
  }
  if (isKind(condition, 'not')) {
    const test = compile(condition.not);
    return (event) => !test(event);
  }
  if (isKind(condition, 'text')) return textTest(condition.text);
  return compileField(condition as Extract<Condition, { field: string }>);
}

function compileField(condition: Extract<Condition, { field: string }>): Test {
  const path = pathOf(condition.field);
  switch (condition.op) {
    case 'eq':
      return equals(path, [condition.value]);
    case 'ne': {
      const test = equals(path, [condition.value]);
      return (event) => !test(event);
    }
    case 'in':
      return equals(path, condition.values);
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return compares(path, condition.op, condition.value);
    case 'prefix':
      return onText(path, (text) => text.startsWith(condition.value));
    case 'suffix':
      return onText(path, (text) => text.endsWith(condition.value));
    case 'wildcard':
      return onText(path, (text) => globMatches(condition.value, text));
    case 'regex': {
      const literal = literalPrefix(condition.field, condition.value);
      if (literal !== null) return onText(path, (text) => text.startsWith(literal));
      const pattern = re2js().RE2JS.compile(condition.value);
      return onText(path, (text) => pattern.matcher(text).find());
    }
    case 'exists':
      return present(path, condition.truthy === true);
    case 'empty': {
      const test = present(path, condition.truthy === true);
      return (event) => !test(event);
    }
  }
}

/** Whether `event` satisfies `condition`. Compile once where the same condition meets many events. */
export const matches = (condition: Condition, event: object): boolean => compile(condition)(event);

/** `all` of the given conditions, without nesting that says nothing. */
export function allOf(...conditions: (Condition | undefined)[]): Condition {
  const parts = conditions.flatMap((condition) =>
    condition === undefined ? [] : isKind(condition, 'all') ? (condition.all as Condition[]) : [condition],
  );
  return parts.length === 1 ? (parts[0] as Condition) : { all: parts };
}

/** `any` of the given conditions. */
export const anyOf = (conditions: Condition[]): Condition => (conditions.length === 1 ? (conditions[0] as Condition) : { any: conditions });
