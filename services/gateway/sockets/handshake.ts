/** handshake — what a socket says of itself when it connects, and what of that is believed. */
import { parse } from 'qs';
import type { Socket } from 'socket.io';
import { type Filters, filtersOfQuery, parseFilters, type Term } from '../../../mixins/filters/parse.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Credentials } from '../contract.ts';

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : Array.isArray(value) ? text(value[0]) : undefined;

/** Value of a cookie, percent-decoded where that is possible. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const raw = pair
      .slice(equals + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1');
    try {
      return decodeURIComponent(raw);
    } catch {
      return raw;
    }
  }
  return undefined;
}

/** Header names of `auth.extraHeaders` are compared without case, as HTTP does. */
function extraHeader(auth: JsonObject, name: string): string | undefined {
  if (!isPlainObject(auth.extraHeaders)) return undefined;
  for (const [key, value] of Object.entries(auth.extraHeaders)) if (key.toLowerCase() === name) return text(value);
  return undefined;
}

const bearer = (value: string | undefined) => (value === undefined || /^\s*bearer\s*$/i.test(value) ? undefined : value);

/**
 * Credentials in their order of precedence: `auth.extraHeaders.authorization`, `auth.authorization`, the header, then the cookie `access-token`.
 * A browser cannot set headers on a WebSocket, so `auth.extraHeaders` may carry the API key too.
 */
export function credentialsOf({ handshake }: Pick<Socket, 'handshake'>, ip: string | undefined): Credentials {
  const auth = isPlainObject(handshake.auth) ? handshake.auth : {};
  const { headers } = handshake;
  const authorization = bearer(extraHeader(auth, 'authorization')) ?? bearer(text(auth.authorization)) ?? bearer(headers.authorization);
  const credentials: Credentials = {};
  if (authorization) credentials.authorization = authorization;
  else {
    const cookieToken = cookieOf(headers.cookie, 'access-token');
    if (cookieToken) credentials.cookieToken = cookieToken;
  }
  const legacyToken = text(headers['x-prismeai-token']);
  if (legacyToken && !authorization) credentials.legacyToken = legacyToken;
  const apiKey = text(headers['x-prismeai-api-key']) ?? extraHeader(auth, 'x-prismeai-api-key');
  if (apiKey) credentials.apiKey = apiKey;
  if (ip) credentials.ip = ip;
  return credentials;
}

export const hasCredentials = ({ authorization, cookieToken, legacyToken, apiKey }: Credentials): boolean =>
  Boolean(authorization || cookieToken || legacyToken || apiKey);

/** Filters of the handshake: `auth.filters`, else the query string. @throws BadParametersError */
export function termsOf({ handshake }: Pick<Socket, 'handshake'>): Term[] {
  const auth = isPlainObject(handshake.auth) ? handshake.auth : {};
  if (auth.filters !== undefined && auth.filters !== null) return parseFilters(auth.filters);
  const question = handshake.url.indexOf('?');
  const query =
    question < 0 ? {} : parse(handshake.url.slice(question + 1), { depth: 2, arrayLimit: 1000, parameterLimit: 200, plainObjects: false });
  const filters: Filters = filtersOfQuery(query as Record<string, unknown>);
  return parseFilters(filters);
}

/** What a returning client asks for. */
export function resumeOf({ handshake }: Pick<Socket, 'handshake'>): { reuseSocketId?: string; afterId?: string } {
  const auth = isPlainObject(handshake.auth) ? handshake.auth : {};
  const short = (value: unknown) => (typeof value === 'string' && /^[\w-]{1,200}$/.test(value) ? value : undefined);
  return { reuseSocketId: short(auth.reuseSocketId), afterId: short(auth.afterId) };
}
