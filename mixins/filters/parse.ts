/**
 * parse — subscription filters (what a socket, a stream or a poll asks for) → terms of conditions.
 *
 * `types`, `text` and `appInstanceDepth` hold for every term; `payloadQuery` is one term, or a list of alternatives. Each entry of a term is a
 * dotted path and a value: text (`*` not empty, `pre*`, `*post`, `*part*`, "" empty), a list of alternatives, or operators ($in, $gt, …).
 */
import { fault } from '../shared/errors.ts';
import { isHostileName, isPlainObject } from '../shared/json.ts';
import type { Condition } from '../storage/datalake/contract.ts';
import { allOf, anyOf, NEVER, quoteText } from './condition.ts';

export interface Filters {
  types?: string[];
  text?: string;
  appInstanceDepth?: number;
  payloadQuery?: Record<string, unknown> | Record<string, unknown>[];
}

/** One alternative of a subscription. */
export interface Term {
  condition: Condition;
  /** Names `source.sessionId` and not `source.socketId`: answers to a socket of the session go to that socket only. */
  currentSocketOnly: boolean;
}

const MAX_TERMS = 100;
const MAX_ENTRIES = 50;
const MAX_VALUES = 1000;
const MAX_TEXT = 2000;

const bad = (message: string) => fault('BadParametersError', { message });

const FALSY_NEVER = new Set<unknown>([0, false]);
const ORDER: Record<string, 'gt' | 'gte' | 'lt' | 'lte'> = { $gt: 'gt', $gte: 'gte', $lt: 'lt', $lte: 'lte' };

const isScalar = (value: unknown): value is string | number | boolean | null =>
  value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

/** Text with stars as one condition on a field. */
export function patternCondition(field: string, text: string): Condition {
  if (text.length > MAX_TEXT) throw bad(`The filter on '${field}' is longer than ${MAX_TEXT} characters.`);
  if (text === '*') return { field, op: 'exists', truthy: true };
  const first = text.indexOf('*');
  if (first < 0) return { field, op: 'eq', value: text };
  if (first === text.length - 1) return { field, op: 'prefix', value: text.slice(0, -1) };
  if (text.lastIndexOf('*') === 0) return { field, op: 'suffix', value: text.slice(1) };
  return { field, op: 'wildcard', value: text.replace(/[\\?]/g, '\\$&') };
}

function operators(field: string, value: Record<string, unknown>): Condition {
  const parts = Object.entries(value).map(([name, operand]): Condition => {
    const order = ORDER[name];
    if (order && isScalar(operand)) return { field, op: order, value: operand };
    if (name === '$eq' && isScalar(operand)) return { field, op: 'eq', value: operand };
    if (name === '$ne' && isScalar(operand)) return { field, op: 'ne', value: operand };
    if (name === '$exists') return { field, op: operand ? 'exists' : 'empty' };
    if ((name === '$in' || name === '$nin') && Array.isArray(operand) && operand.every(isScalar) && operand.length <= MAX_VALUES) {
      const within: Condition = { field, op: 'in', values: operand };
      return name === '$in' ? within : { not: within };
    }
    return NEVER;
  });
  return parts.length === 0 ? NEVER : allOf(...parts);
}

/** Path and value of a filter → condition. An object that is not made of operators never matches. */
export function entryCondition(field: string, value: unknown): Condition {
  if (field.split('.').some((segment) => isHostileName(segment.trim()))) throw bad(`'${field}' is not a field of events.`);
  if (Array.isArray(value)) {
    if (value.length > MAX_VALUES) throw bad(`The filter on '${field}' has more than ${MAX_VALUES} values.`);
    const plain = value.filter((item) => typeof item === 'string' && item !== '' && !item.includes('*')) as string[];
    const others = value.filter((item) => !(typeof item === 'string' && item !== '' && !item.includes('*')) && !Array.isArray(item));
    const parts = others.map((item) => entryCondition(field, item));
    if (plain.length > 0)
      parts.unshift(plain.length === 1 ? { field, op: 'eq', value: plain[0] as string } : { field, op: 'in', values: plain });
    return anyOf(parts);
  }
  if (value === '' || value === null || value === undefined) return { field, op: 'empty', truthy: true };
  if (typeof value === 'string') return patternCondition(field, value);
  if (FALSY_NEVER.has(value)) return NEVER;
  if (typeof value === 'number' || typeof value === 'boolean') return { field, op: 'eq', value };
  return isPlainObject(value) ? operators(field, value) : NEVER;
}

/** Events of the workspace itself and of apps down to `depth`; those without depth always. */
export const depthCondition = (depth: number): Condition => ({
  any: [
    { field: 'source.appInstanceDepth', op: 'empty', truthy: true },
    { field: 'source.appInstanceDepth', op: 'lte', value: depth },
  ],
});

export function typesCondition(types: unknown): Condition {
  const list = Array.isArray(types) ? types : [types];
  if (list.some((type) => typeof type !== 'string')) throw bad('`types` is a list of event types.');
  return entryCondition('type', list);
}

/** What holds for every term. */
function common(filters: Record<string, unknown>): Condition[] {
  const parts: Condition[] = [];
  if (filters.types) parts.push(typesCondition(filters.types));
  if (filters.text) parts.push({ text: quoteText(String(filters.text).slice(0, MAX_TEXT)) });
  const depth = Number(filters.appInstanceDepth);
  if (filters.appInstanceDepth && Number.isFinite(depth)) parts.push(depthCondition(depth));
  return parts;
}

/** Alternatives of a subscription; at least one. @throws BadParametersError when it is not an object, or too large */
export function parseFilters(filters: unknown): Term[] {
  if (filters === undefined || filters === null) return [{ condition: { all: [] }, currentSocketOnly: false }];
  if (!isPlainObject(filters)) throw bad('Filters are an object.');
  const always = common(filters);
  const query = filters.payloadQuery;
  const terms = Array.isArray(query) ? query : [query ?? {}];
  if (terms.length > MAX_TERMS) throw bad(`A subscription has at most ${MAX_TERMS} alternatives.`);
  if (terms.length === 0) return [{ condition: allOf(...always), currentSocketOnly: false }];
  return terms.map((term) => {
    if (!isPlainObject(term)) throw bad('`payloadQuery` is an object or a list of objects.');
    const entries = Object.entries(term);
    if (entries.length > MAX_ENTRIES) throw bad(`An alternative has at most ${MAX_ENTRIES} fields.`);
    const fields = new Set(entries.map(([field]) => field.trim()));
    return {
      condition: allOf(...always, ...entries.map(([field, value]) => entryCondition(field, value))),
      currentSocketOnly: fields.has('source.sessionId') && !fields.has('source.socketId'),
    };
  });
}

const RESERVED = new Set(['EIO', 'transport', 't', 'b64', 'sid']);

/** Filters of a query string: types split on commas, text, depth (1 unless given), every other key a field. */
export function filtersOfQuery(query: Record<string, unknown>): Filters {
  const { types, text, appInstanceDepth, payloadQuery, ...fields } = query;
  const entries = Object.entries(fields).filter(([name]) => !RESERVED.has(name));
  const filters: Filters = {};
  if (types !== undefined) filters.types = listOf(types);
  if (text !== undefined) filters.text = String(text);
  const depth = Number(appInstanceDepth);
  if (appInstanceDepth !== undefined && Number.isFinite(depth)) filters.appInstanceDepth = depth;
  else if (!Object.hasOwn(fields, 'source.appInstanceDepth')) filters.appInstanceDepth = 1;
  const base = Object.fromEntries(entries);
  const alternatives = alternativesOf(payloadQuery);
  filters.payloadQuery = alternatives ? alternatives.map((term) => ({ ...base, ...term })) : base;
  return filters;
}

/** Comma separated text or a list → list of texts. */
export function listOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value])
    .flatMap((item) => String(item).split(','))
    .map((item) => item.trim())
    .filter(Boolean);
}

/** `payloadQuery` as JSON text or already parsed. */
export function alternativesOf(payloadQuery: unknown): Record<string, unknown>[] | undefined {
  if (payloadQuery === undefined || payloadQuery === '') return undefined;
  let value = payloadQuery;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      throw bad('`payloadQuery` is not valid JSON.');
    }
  }
  const list = Array.isArray(value) ? value : [value];
  if (!list.every(isPlainObject)) throw bad('`payloadQuery` is an object or a list of objects.');
  return list.length > 0 ? list : undefined;
}
