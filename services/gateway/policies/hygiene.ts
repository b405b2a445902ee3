/**
 * hygiene — requests that two readers could understand differently are refused before anything is read from them: repeated headers that exist once,
 * targets that are not a path, repeated parameters that mean one value. Contradictory lengths and bad chunks are refused by Node's parser itself.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-11.2
 */
import type { IncomingMessage } from 'node:http';
import qs from 'qs';
import { fault } from '../../../mixins/shared/errors.ts';
import { findHostileName, type JsonObject } from '../../../mixins/shared/json.ts';

const MAX_URL_CHARS = 16_000;
/** Node keeps the first of some and joins others: a proxy in front may do it the other way round. */
const SINGLE = new Set([
  'authorization',
  'content-length',
  'content-type',
  'host',
  'if-match',
  'idempotency-key',
  'origin',
  'transfer-encoding',
  'x-correlation-id',
  'x-prismeai-api-key',
  'x-prismeai-csrf-token',
  'x-prismeai-run',
  'x-prismeai-token',
]);
/** Lists by nature. Other names of the events routes are fields of events, of which several values may be asked for. */
const LISTS = new Set(['ids', 'id', 'labels', 'types', 'type', 'fields', 'emails', 'sort']);
const SCALARS = new Set(['page', 'limit', 'afterDate', 'beforeDate', 'afterId', 'beforeId', 'text', 'token', 'version', 'format', 'query']);

/** @throws RequestValidationError */
export function assertClean(request: IncomingMessage): void {
  const { rawHeaders, url = '' } = request;
  if (request.headers.host === undefined && request.httpVersion !== '1.0')
    throw fault('RequestValidationError', { message: 'The request does not say which host it is for.' });
  if (!url.startsWith('/')) throw fault('RequestValidationError', { message: 'The target of the request must be a path.' });
  if (url.length > MAX_URL_CHARS)
    throw fault('RequestValidationError', {
      message: `The address is longer than ${MAX_URL_CHARS} characters.`,
      data: { limit: MAX_URL_CHARS },
    });
  let seen: Set<string> | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!SINGLE.has(name)) continue;
    seen ??= new Set();
    if (seen.has(name)) throw fault('RequestValidationError', { message: `The header '${name}' is given twice.`, data: { header: name } });
    seen.add(name);
  }
}

/** Parameters of one request, which parsers would cut in silence. */
export const MAX_PARAMETERS = 1000;
/** From this index on a place in a list is a name: `a[2024]=1` makes no list of 2025. */
export const ARRAY_LIMIT = 100;
const MAY_BE_HOSTILE = /%|proto|constructor/i;
const HOSTILE = /(?:^|\[)(__proto__|constructor|prototype)(?:[\][]|$)/;

/** Whether there are more than `limit` fields in a query or form. */
export function hasMore(text: string, limit: number): boolean {
  let count = 1;
  for (let at = text.indexOf('&'); at >= 0; at = text.indexOf('&', at + 1)) if (++count > limit) return text.length > at + 1;
  return false;
}

/** What the parser makes of a name given more often than ARRAY_LIMIT, an object with all the numbers from 0 on, as the list it is. */
export function withLists(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const names = Object.keys(value);
  const items = value as JsonObject;
  if (!Array.isArray(value) && names.length > ARRAY_LIMIT && names.every((name, index) => name === String(index)))
    return names.map((name) => items[name]);
  for (const name of names) items[name] = withLists(items[name]);
  return value;
}

/** The first hostile name of a query; values may be what they like. Names are cut out as the parser does, which drops such ones without a word. */
function hostileIn(text: string): string | undefined {
  for (const part of text.replace(/%5b/gi, '[').replace(/%5d/gi, ']').split('&')) {
    const bracket = part.indexOf(']=');
    const end = bracket < 0 ? part.indexOf('=') : bracket + 1;
    const [, name] = HOSTILE.exec(safelyDecoded(end < 0 ? part : part.slice(0, end))) ?? [];
    if (name) return name;
  }
  return undefined;
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The query as a value: `a[b]=1` nests, `a[]=1` is a list.
 * @param isFields names besides the known ones are fields, of which several values may be given (events)
 * @param isForeign an automation reads it: its names are its own affair
 * @throws BadParametersError for a hostile name, an operator of a database, or a repeated parameter
 */
export function queryOf(text: string, { isFields = false, isForeign = false } = {}): JsonObject {
  if (!text) return {};
  const hidden = MAY_BE_HOSTILE.test(text) ? hostileIn(text) : undefined;
  if (hidden) throw fault('BadParametersError', { message: `The query parameter '${hidden}' is refused.`, data: { parameter: hidden } });
  if (hasMore(text, MAX_PARAMETERS))
    throw fault('BadParametersError', { message: `There are more than ${MAX_PARAMETERS} parameters.`, data: { limit: MAX_PARAMETERS } });
  const limits = { depth: 5, parameterLimit: MAX_PARAMETERS, arrayLimit: ARRAY_LIMIT };
  // Names that objects have, such as `toString`, are an automation's own affair too: it reads them as fields, and no code of ours calls them.
  const query = withLists(qs.parse(text, { ...limits, allowPrototypes: isForeign })) as JsonObject;
  const refused = findHostileName(query) ?? (isForeign ? undefined : findOperator(query));
  if (refused) {
    const parameter = refused.slice(0, 60);
    throw fault('BadParametersError', { message: `The query parameter '${parameter}' is refused.`, data: { parameter } });
  }
  if (isForeign) return query;
  for (const [name, value] of Object.entries(query)) {
    if (!Array.isArray(value) || LISTS.has(name) || (isFields && !SCALARS.has(name))) continue;
    // `name[]=…` says that a list is meant.
    if (text.includes(`${encodeURIComponent(name)}[`) || text.includes(`${encodeURIComponent(name)}%5B`)) continue;
    throw fault('BadParametersError', { message: `The query parameter '${name}' is given more than once.`, data: { parameter: name } });
  }
  return query;
}

/** A name such as `$ne`, at any depth: no parameter of ours is called so, but operators of databases are. */
function findOperator(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, item] of Object.entries(value)) {
    const found = name.startsWith('$') ? name : findOperator(item);
    if (found) return found;
  }
  return undefined;
}
