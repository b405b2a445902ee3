/** csrf — a call proven by a cookie must repeat the token of its session: a foreign page can make a browser send the first, not the second. */
import { timingSafeEqual } from 'node:crypto';
import { fault } from '../../../mixins/shared/errors.ts';

export const CSRF_HEADER = 'x-prismeai-csrf-token';
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/** @throws CsrfError */
export function checkCsrf(method: string, via: string | undefined, expected: string | undefined, given: unknown): void {
  if (via !== 'cookie' || SAFE.has(method)) return;
  if (typeof given !== 'string' || given === '') throw fault('CsrfError', { message: 'Missing CSRF token.' });
  const a = Buffer.from(given);
  const b = Buffer.from(expected ?? '');
  if (a.length !== b.length || !timingSafeEqual(a, b)) throw fault('CsrfError', { message: 'Invalid CSRF token found.' });
}
