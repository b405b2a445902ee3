/** headers — security headers of every answer, and the headers of a request that are believed or handed on. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../../../mixins/shared/config.ts';
import { isOrganisationKey } from '../organisations/credentials.ts';
import { SESSION_COOKIE } from './cookies.ts';

/** Headers the platform's own names begin with; from outside only these two mean anything. */
const OWN_PREFIX = 'x-prismeai-';
const FROM_OUTSIDE = new Set(['x-prismeai-api-key', 'x-prismeai-csrf-token']);

export function securityHeaders(config: Config): Record<string, string> {
  const pages = config.pagesHost.replace(/:\d+$/, '').replace(/^\./, '');
  const ancestors = ["'self'", ...config.consoleUrl, `*.${pages}`].join(' ');
  return {
    'content-security-policy': `default-src 'none'; frame-ancestors ${ancestors}`,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'x-dns-prefetch-control': 'off',
    'cross-origin-opener-policy': 'same-origin',
    ...(config.apiUrl.startsWith('https:') ? { 'strict-transport-security': 'max-age=31536000; includeSubDomains' } : {}),
  };
}

/**
 * What an action that asks for raw headers may see: nothing of the platform's own names, and no credential this gateway has accepted
 * (an automation must not learn the token of its caller). A bearer value of somebody else still passes.
 */
export function forwardedHeaders(headers: IncomingHttpHeaders, accepted: { authorization: boolean }): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined) continue;
    if (name.startsWith(OWN_PREFIX) && !FROM_OUTSIDE.has(name)) continue;
    // A key of a workspace is its own; one of an organisation is good elsewhere too.
    if (name === 'x-prismeai-api-key' && isOrganisationKey(String(value))) continue;
    if (name === 'x-prismeai-csrf-token' || (name === 'authorization' && accepted.authorization)) continue;
    if (name === 'cookie') {
      const others = String(value)
        .split(';')
        .filter((pair) => pair.split('=')[0]?.trim() !== SESSION_COOKIE)
        .join(';');
      if (others.trim()) visible[name] = others.trim();
      continue;
    }
    visible[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return visible;
}
