/** query — the parameters of GET …/events → a search of the store. The same field grammar as subscriptions (parse.ts). */
import { fault } from '../shared/errors.ts';
import type { Condition, SearchRequest } from '../storage/datalake/contract.ts';
import { allOf, anyOf } from './condition.ts';
import { isoMoment } from './dates.ts';
import { alternativesOf, depthCondition, entryCondition, listOf, typesCondition } from './parse.ts';

export interface EventsQuery {
  request: Pick<SearchRequest, 'where' | 'limit' | 'page' | 'sort' | 'beforeId' | 'afterId'>;
  /** Whether the answer tells how many events match. */
  isCounted: boolean;
  /** Seconds to hold the request while nothing matches. */
  longpollingS: number;
}

export const MAX_LIMIT = 10_000;
export const MAX_POLL_S = 25;
const MAX_TEXT = 2000;

const KNOWN = new Set([
  'types',
  'text',
  'afterDate',
  'beforeDate',
  'page',
  'limit',
  'sort',
  'appInstanceDepth',
  'beforeId',
  'afterId',
  'longpolling',
  'payloadQuery',
  'query',
  'count',
]);

/** A whole number between bounds. @throws BadParametersError */
export function wholeNumber(value: unknown, name: string, fallback: number, max = Number.MAX_SAFE_INTEGER): number {
  if (value === undefined || value === '') return fallback;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0) throw fault('BadParametersError', { message: `'${name}' must be a whole number.` });
  return Math.min(number, max);
}

const one = (value: unknown): string | undefined =>
  value === undefined || value === '' ? undefined : String(Array.isArray(value) ? value[0] : value);

/** Field entries of a query: `a.b=1`, `a.b[0]=1&a.b[1]=2` (a list or, from some parsers, an object with numeric keys). */
function fieldValue(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => /^\d+$/.test(key)) ? Object.values(value) : value;
}

/** @throws BadParametersError naming the parameter */
export function parseEventsQuery(query: Record<string, unknown>, now: number = Date.now()): EventsQuery {
  const parts: Condition[] = [];
  const types = query.types === undefined ? [] : listOf(query.types);
  if (types.length > 0) parts.push(typesCondition(types));
  const text = one(query.text);
  if (text) parts.push({ text: text.slice(0, MAX_TEXT) });
  if (one(query.afterDate)) parts.push({ field: 'createdAt', op: 'gt', value: isoMoment(one(query.afterDate), 'afterDate', now) });
  if (one(query.beforeDate)) parts.push({ field: 'createdAt', op: 'lt', value: isoMoment(one(query.beforeDate), 'beforeDate', now) });
  const depth = one(query.appInstanceDepth);
  if (depth !== undefined) parts.push(...(Number(depth) ? [depthCondition(Number(depth))] : []));
  else if (!Object.hasOwn(query, 'source.appInstanceDepth')) parts.push(depthCondition(1));
  for (const [field, value] of Object.entries(query)) if (!KNOWN.has(field)) parts.push(entryCondition(field, fieldValue(value)));
  const alternatives = alternativesOf(query.payloadQuery);
  if (alternatives)
    parts.push(anyOf(alternatives.map((term) => allOf(...Object.entries(term).map(([field, value]) => entryCondition(field, value))))));

  const order = one(query.sort)?.toLowerCase() === 'asc' ? 'asc' : 'desc';
  return {
    request: {
      where: allOf(...parts),
      limit: wholeNumber(one(query.limit), 'limit', 50, MAX_LIMIT),
      page: wholeNumber(one(query.page), 'page', 0),
      sort: [{ field: 'createdAt', order }],
      beforeId: one(query.beforeId),
      afterId: one(query.afterId),
    },
    isCounted: one(query.count) === 'true',
    longpollingS: Math.min(MAX_POLL_S, Math.max(0, Number(one(query.longpolling)) || 0)),
  };
}
