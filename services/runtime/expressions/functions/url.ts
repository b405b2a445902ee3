/** URL */
import { defineFunction, refuse } from '../function.ts';
import { isHostile } from '../values.ts';

const FIELDS = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'] as const;

function parse(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'string' || !URL.canParse(value)) return undefined;
  const parsed = new URL(value);
  const made: Record<string, unknown> = {};
  for (const field of FIELDS) made[field] = parsed[field];
  const searchParams: Record<string, string> = {};
  for (const [key, item] of parsed.searchParams) if (!isHostile(key)) searchParams[key] = item;
  made['searchParams'] = searchParams;
  return made;
}

export const url = defineFunction({
  name: 'URL',
  signature: 'URL(text: text): { href, origin, protocol, username, password, host, hostname, port, pathname, search, searchParams, hash }',
  summary: 'Parts of an absolute address; undefined when the text is none.',
  examples: [
    ['URL("https://example.org:8080/a?b=1#c").hostname', 'example.org'],
    ['URL("https://example.org/a?b=1").searchParams.b', '1'],
    ['URL("not an address")', undefined],
    ['URL(1)', Error],
  ],
  arity: [1, 1],
  apply([value]) {
    if (value !== undefined && value !== null && typeof value !== 'string') refuse(url, 'a text is expected');
    return parse(value);
  },
});
