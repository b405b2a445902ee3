/** keys — names of everything the Redis carrier keeps. The braces are hash tags: all that one script touches lives in one slot of a Redis Cluster. */
export function keysOf(namespace: string) {
  const root = `{${namespace}:bus}`;
  const shardKey = (shard: number, name: string) => `{${namespace}:bus:${shard}}:${name}`;
  return {
    format: `${root}:format`,
    /** Channel, not a key: who is subscribed lives. */
    alive: (name: string) => `${root}:alive:${name}`,
    groups: `${root}:groups`,
    members: (group: string) => `${root}:members:${group}`,
    log: (shard: number) => shardKey(shard, 'log'),
    lease: (shard: number, group: string) => shardKey(shard, `lease:${group}`),
    state: (shard: number, group: string) => shardKey(shard, `state:${group}`),
    ahead: (shard: number, group: string) => shardKey(shard, `ahead:${group}`),
    failures: (shard: number, group: string) => shardKey(shard, `failures:${group}`),
    dead: (shard: number, group: string) => shardKey(shard, `dead:${group}`),
    /** Everything kept for a group in a shard. */
    ofGroup: (shard: number, group: string) =>
      ['lease', 'state', 'ahead', 'failures', 'dead'].map((name) => shardKey(shard, `${name}:${group}`)),
  };
}

export type Keys = ReturnType<typeof keysOf>;
