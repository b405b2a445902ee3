/**
 * redis — shared state in Redis, for any number of nodes. Documents are hashes {v JSON text, n version, t token of the last write}; whatever needs
 * more than one command is a script. Lives and buckets run on the server's clock.
 *
 * As durable as the server is told to be: run it with `appendonly yes` and `maxmemory-policy noeviction`.
 */
import { fault, isFault } from '../../../shared/errors.ts';
import { hexId } from '../../../shared/ids.ts';
import { parseJson } from '../../../shared/json.ts';
import type { CacheDriver, Versioned } from '../contract.ts';
import { toText } from '../document.ts';
import { connect } from './redis/commands.ts';
import { mastersOf } from './redis/connection.ts';
import { keysIn } from './redis/keys.ts';
import { lanes } from './redis/lanes.ts';

export interface RedisCacheOptions {
  /** First part of every key: one per installation. */
  namespace: string;
  /** How long a server that is just starting is waited for. */
  startWithinMs?: number;
}

const SCAN_COUNT = 500;

/** @throws ConfigurationError */
export async function redisCache(url: string, { namespace, startWithinMs }: RedisCacheOptions): Promise<CacheDriver> {
  const commands = await connect(url, startWithinMs);
  const { redis, run } = commands;
  const keys = keysIn(namespace);
  const apply = lanes(commands, keys);

  const toVersioned = <T>([text, version]: (string | null)[]): Versioned<T> | null =>
    text == null ? null : { value: parseJson<T>(text), version: Number(version) };
  const read = async <T>(key: string) => toVersioned<T>(await redis.hmget(keys.of(key), 'v', 'n'));

  const driver: CacheDriver = {
    get: read,
    getMany: (wanted) => Promise.all(wanted.map((key) => read(key))),

    async set(key, value, { ttlMs, ifVersion } = {}) {
      const args = [toText(value), hexId(), ttlMs === undefined ? -1 : Math.ceil(ttlMs), ifVersion ?? -1];
      const [version, actual] = await run<[number, number]>('set-document', [keys.of(key)], args);
      if (version < 0) throw fault('VersionConflict', { data: { key, expected: ifVersion, actual } });
      return version;
    },
    delete: async (key) => (await redis.del(keys.of(key))) > 0,
    expire: async (key, ttlMs) => (await redis.pexpire(keys.of(key), Math.ceil(ttlMs))) > 0,

    apply: (key, operations, options = {}) => apply(key, operations, options),

    async increment(key, by, ttlMs) {
      const [count, expiresInMs] = await run<[number, number]>('increment-window', [keys.of(key)], [by, Math.ceil(ttlMs)]);
      return { count, expiresInMs: Math.max(1, expiresInMs) };
    },
    async takeTokens(key, count, { perSecond, burst, wait }) {
      const [ok, remaining, retryAfterMs] = await run<[number, number, number]>(
        'take-tokens',
        [keys.of(key)],
        [count, perSecond, burst, wait ? 1 : 0],
      );
      return { ok: ok === 1, remaining, retryAfterMs };
    },

    async append(key, records, { ttlMs } = {}) {
      if (records.length === 0) return redis.llen(keys.of(key));
      return run<number>('add-elements', [keys.of(key)], ['RPUSH', ttlMs === undefined ? 0 : Math.ceil(ttlMs), ...records.map(toText)]);
    },
    list: async <T>(key: string, start = 0) => (await redis.lrange(keys.of(key), start, -1)).map((text) => parseJson<T>(text)),

    addMembers: (key, members, { ttlMs } = {}) =>
      run<number>('add-elements', [keys.of(key)], ['SADD', ttlMs === undefined ? 0 : Math.ceil(ttlMs), ...members]),
    removeMembers: (key, members) => redis.srem(keys.of(key), ...members),
    members: (key) => redis.smembers(keys.of(key)),
    hasMember: async (key, member) => (await redis.sismember(keys.of(key), member)) === 1,

    async addScored(key, member, score) {
      await redis.zadd(keys.of(key), score, member);
    },
    async scoredUpTo(key, max, limit) {
      const flat = await redis.zrangebyscore(keys.of(key), '-inf', max === Infinity ? '+inf' : max, 'WITHSCORES', 'LIMIT', 0, limit);
      return Array.from({ length: flat.length / 2 }, (_, i) => ({ member: flat[i * 2] as string, score: Number(flat[i * 2 + 1]) }));
    },
    removeScored: async (key, member) => (await redis.zrem(keys.of(key), member)) === 1,

    lease: async (name, owner, ttlMs) => (await run<number>('lease', [keys.lease(name)], [owner, Math.ceil(ttlMs)])) === 1,
    async releaseLease(name, owner) {
      await run('release-lease', [keys.lease(name)], [owner]);
    },

    async *keys(prefix) {
      // SCAN may answer a name twice while the table is resized, or while a slot moves.
      const yielded = new Set<string>();
      for (const server of mastersOf(redis)) {
        for (const { match, keyOf } of keys.patterns(prefix)) {
          let cursor = '0';
          do {
            const [next, names] = await server.scan(cursor, 'MATCH', match, 'COUNT', SCAN_COUNT);
            cursor = next;
            for (const name of names) {
              const key = keyOf(name);
              if (key === null || !key.startsWith(prefix) || yielded.has(key)) continue;
              yielded.add(key);
              yield key;
            }
          } while (cursor !== '0');
        }
      }
    },

    async close() {
      // Not `quit`: it waits for a server that may be gone.
      redis.disconnect();
    },
  };
  return withFaults(driver);
}

/** Errors of the client and the server as faults of the catalogue. */
function withFaults(driver: CacheDriver): CacheDriver {
  const wrapped: Record<string, unknown> = { keys: driver.keys, close: driver.close };
  for (const [name, method] of Object.entries(driver)) {
    if (name === 'keys' || name === 'close') continue;
    wrapped[name] = async (...args: unknown[]) => {
      try {
        return await (method as (...args: unknown[]) => Promise<unknown>)(...args);
      } catch (error) {
        throw toFault(error as Error, String(args[0]));
      }
    };
  }
  return wrapped as unknown as CacheDriver;
}

function toFault(error: Error, key: string): Error {
  if (isFault(error)) return error;
  if (/WRONGTYPE|not an integer/.test(error.message))
    return fault('BadParametersError', { message: `'${key}' holds something of another kind.`, data: { key }, cause: error });
  return fault('UpstreamUnavailable', { message: 'The cache does not answer.', cause: error });
}
