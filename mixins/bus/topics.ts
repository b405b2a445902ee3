/** topics — which events a subscription wants, and which shard an event lives in. */

/** Matches exact names, `prefix.*` and `'*'`. */
export function topicMatcher(topics: string | string[]): (topic: string) => boolean {
  const list = typeof topics === 'string' ? [topics] : topics;
  if (list.includes('*')) return () => true;
  const names = new Set(list.filter((topic) => !topic.endsWith('.*')));
  const prefixes = list.filter((topic) => topic.endsWith('.*')).map((topic) => topic.slice(0, -1));
  if (!prefixes.length) return (topic) => names.has(topic);
  return (topic) => names.has(topic) || prefixes.some((prefix) => topic.startsWith(prefix));
}

/** FNV-1a of the workspace (of the topic for platform events) modulo the number of shards. @see http://www.isthe.com/chongo/tech/comp/fnv/ */
export function shardOf(key: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % shards;
}
