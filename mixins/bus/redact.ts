/** redact — keeps secrets and private addresses out of events. Values are walked, never their JSON text: a secret with a quote in it is found too. */
import ipaddr from 'ipaddr.js';
import { lru } from '../shared/lru.ts';

export const REDACTED = 'REDACTED';

/** Shorter secrets would blank out half of every text; they are not searched for. */
const MIN_SECRET_LENGTH = 4;

/** Every form under which a secret may appear: as is, base64, base64url, URL-encoded. Longest first, so that no tail of one stays behind. */
function variants(secrets: Iterable<string>): string[] {
  const found = new Set<string>();
  for (const secret of secrets) {
    if (typeof secret !== 'string' || secret.length < MIN_SECRET_LENGTH) continue;
    const bytes = Buffer.from(secret, 'utf8');
    for (const form of [secret, bytes.toString('base64'), bytes.toString('base64url'), encodeForUrl(secret)]) found.add(form);
  }
  return [...found].sort((a, b) => b.length - a.length);
}

function encodeForUrl(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return text; // a lone surrogate has no URL form
  }
}

/** A copy of `value` with every secret inside its strings replaced by REDACTED; the same object when there is nothing to replace. */
export function redactSecrets<T>(value: T, secrets: Iterable<string>): T {
  const forms = variants(secrets);
  return forms.length ? (walk(value, forms) as T) : value;
}

function walk(value: unknown, forms: string[]): unknown {
  if (typeof value === 'string') return forms.reduce((text, form) => (text.includes(form) ? text.replaceAll(form, REDACTED) : text), value);
  if (Array.isArray(value)) return value.map((item) => walk(item, forms));
  if (typeof value !== 'object' || value === null) return value;
  const json = (value as { toJSON?: unknown }).toJSON;
  if (typeof json === 'function') return walk(json.call(value), forms);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, forms)]));
}

/** Address → whether it is private: the same callers come again and again. */
const knownAddresses = lru<string, boolean>({ max: 1_000 });

/** The first address of a forwarded list, or `undefined` when it is a private IPv4 address (RFC 1918). */
export function publicIp(ip: unknown): string | undefined {
  if (typeof ip !== 'string') return undefined;
  const first = ip.split(',', 1)[0]?.trim();
  if (!first) return undefined;
  let isPrivate = knownAddresses.get(first);
  if (isPrivate === undefined) {
    isPrivate = ipaddr.isValid(first) && ipaddr.process(first).range() === 'private';
    knownAddresses.set(first, isPrivate);
  }
  return isPrivate ? undefined : first;
}
