/**
 * keys — where things lie in Redis. Everything of one key shares a hash tag, so that a script may touch all of it on a Redis Cluster: a key
 * with a `{tag}` keeps it, any other is its own tag.
 *
 *   <namespace>:t:<key with a tag>   <namespace>:k:{<key>}   what the key holds
 *   <namespace>:o:<the same>:<id>    an operation id, for an hour
 *   <namespace>:l:{<name>}           a lease
 */

export interface Keys {
  of(key: string): string;
  operation(key: string, id: string): string;
  lease(name: string): string;
  /** SCAN patterns of the keys that begin with `prefix`, and the key of a name found so (`null`: not one of these). */
  patterns(prefix: string): { match: string; keyOf(name: string): string | null }[];
}

const isTagged = (key: string): boolean => /\{[^}]+\}/.test(key) && key.indexOf('}', key.indexOf('{')) > key.indexOf('{') + 1;
const escaped = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&');

export function keysIn(namespace: string): Keys {
  const tagged = `${namespace}:t:`;
  const plain = `${namespace}:k:{`;
  return {
    of: (key) => (isTagged(key) ? tagged + key : `${plain}${key}}`),
    operation: (key, id) => `${namespace}:o:${isTagged(key) ? key : `{${key}}`}:${id}`,
    lease: (name) => `${namespace}:l:{${name}}`,
    patterns: (prefix) => [
      { match: `${escaped(tagged + prefix)}*`, keyOf: (name) => (name.startsWith(tagged) ? name.slice(tagged.length) : null) },
      { match: `${escaped(plain + prefix)}*`, keyOf: (name) => (name.startsWith(plain) ? name.slice(plain.length, -1) : null) },
    ],
  };
}
