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

const HOSTILE = /(?:^|&|\[)(__proto__|constructor|prototype)(?:[\]=&[]|$)/;

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
  // The parser drops such names without a word.
  const [, hidden] = HOSTILE.exec(safelyDecoded(text)) ?? [];
  if (hidden) throw fault('BadParametersError', { message: `The query parameter '${hidden}' is refused.`, data: { parameter: hidden } });
  const query = qs.parse(text, { depth: 5, parameterLimit: 200, arrayLimit: 100, allowPrototypes: false }) as JsonObject;
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
