/** csrf — a call proven by a cookie must repeat the token of its session: a foreign page can make a browser send the first, not the second. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { fault } from '../../../mixins/shared/errors.ts';

export const CSRF_HEADER = 'x-prismeai-csrf-token';
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Whether a foreign page makes its visitor's browser ask for this in passing (a picture, a script, a frame, a fetch): what a cookie with `SameSite=Lax`
 * would not go along with. Links and redirects that the visitor follows are his own doing. @see https://www.w3.org/TR/fetch-metadata/
 */
export const isForeignSubrequest = (headers: IncomingHttpHeaders, isAllowed: (origin: string) => boolean): boolean =>
  (headers['sec-fetch-site'] === 'cross-site' || headers['sec-fetch-site'] === 'same-site') &&
  !(headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document') &&
  !(headers.origin !== undefined && isAllowed(headers.origin));

/** @throws CsrfError */
export function checkCsrf(method: string, via: string | undefined, expected: string | undefined, given: unknown): void {
  if (via !== 'cookie' || SAFE.has(method)) return;
  if (typeof given !== 'string' || given === '') throw fault('CsrfError', { message: 'Missing CSRF token.' });
  const a = Buffer.from(given);
  const b = Buffer.from(expected ?? '');
  if (a.length !== b.length || !timingSafeEqual(a, b)) throw fault('CsrfError', { message: 'Invalid CSRF token found.' });
}
