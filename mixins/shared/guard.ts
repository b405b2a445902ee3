/**
 * guard — connections that cannot reach what is not public. Every address a name resolves to is checked at the moment of connecting, so
 * neither a redirect nor a name that changes its address gets around it; hosts an operator allows are the only exception.
 */
import { lookup as resolveName } from 'node:dns';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Agent, Dispatcher } from 'undici';
import type { Config } from './config.ts';
import { fault } from './errors.ts';
import { undici } from './packages.ts';

/** Whether an address is reachable for everybody: anything but global unicast is closed, also inside IPv6 notations of IPv4. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast') return false;
  // Of IPv6 only 2000::/3 is given out; what is left has had other meanings, `::127.0.0.1` among them.
  return parsed.kind() === 'ipv4' || ((parsed as ipaddr.IPv6).parts[0] ?? 0) >> 13 === 1;
}

/** This machine by name, whatever a resolver says. @see https://www.rfc-editor.org/rfc/rfc6761#section-6.3 */
const isLocalName = (host: string): boolean => /(^|\.)localhost\.*$/.test(host);

export interface Guard {
  /** Connections for one hop. @throws ForbiddenHostError */
  dispatcherFor(url: URL, options?: { allowSelfSignedCert?: boolean; isPlatform?: boolean }): Dispatcher;
  close(): Promise<void>;
}

const forbidden = (url: URL | string) => {
  const host = typeof url === 'string' ? url : url.host;
  return fault('ForbiddenHostError', { message: `'${host}' may not be fetched: it is not a public address.`, data: { host } });
};

const bare = (hostname: string) => hostname.replace(/^\[|\]$/g, '').toLowerCase();
const listed = (list: string[], url: URL) => {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const name = bare(url.hostname);
  return list.some((entry) => {
    const item = entry.toLowerCase();
    return item === name || item === `${name}:${port}` || item === `[${name}]:${port}`;
  });
};

type Resolve = (
  hostname: string,
  options: { hints: number; all: true },
  answer: (error: Error | null, addresses: { address: string; family: number }[]) => void,
) => void;
type Answer = (error: Error | null, address?: unknown, family?: number) => void;

/** Resolves a name for a connection that is about to be made, and hands on what it was checked with: nothing is asked twice. */
export function checkedLookup(
  hostname: string,
  options: { all?: boolean; family?: number | string; hints?: number },
  answer: Answer,
  resolve: Resolve = resolveName,
): void {
  resolve(hostname, { hints: options.hints ?? 0, all: true }, (error, addresses) => {
    if (error) return answer(error);
    const closed = addresses.find(({ address }) => !isPublicAddress(address));
    if (closed || addresses.length === 0) return answer(forbidden(hostname));
    if (options.all) return answer(null, addresses);
    answer(null, addresses[0]?.address, addresses[0]?.family);
  });
}

export function createGuard(config: Config): Guard {
  const agents = new Map<string, Agent>();
  const agent = (isOpen: boolean, allowSelfSigned: boolean): Agent => {
    const key = `${isOpen}/${allowSelfSigned}`;
    let found = agents.get(key);
    if (!found) {
      found = new (undici().Agent)({
        headersTimeout: config.fetchTimeoutMs,
        bodyTimeout: config.fetchTimeoutMs,
        keepAliveTimeout: 10_000,
        connections: 128,
        connect: {
          timeout: Math.min(config.fetchTimeoutMs, 10_000),
          ...(isOpen ? {} : { lookup: ((name: string, options: object, done: Answer) => checkedLookup(name, options, done)) as never }),
          ...(allowSelfSigned ? { rejectUnauthorized: false } : {}),
        },
      });
      agents.set(key, found);
    }
    return found;
  };
  return {
    dispatcherFor(url, { allowSelfSignedCert = false, isPlatform = false } = {}) {
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw fault('ForbiddenHostError', {
          message: `Only http and https can be fetched, not '${url.protocol}'.`,
          data: { host: url.host },
        });
      if (listed(config.fetchForbiddenHosts, url)) throw forbidden(url);
      const isOpen = isPlatform || listed(config.fetchAllowedPrivateHosts, url);
      // A literal address is connected to without a look-up.
      const host = bare(url.hostname);
      if (!isOpen && (isLocalName(host) || (isIP(host) && !isPublicAddress(host)))) throw forbidden(url);
      return agent(isOpen, allowSelfSignedCert);
    },
    close: async () => void (await Promise.all([...agents.values()].map((item) => item.destroy()))),
  };
}
