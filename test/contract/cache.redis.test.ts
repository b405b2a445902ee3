import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { hexId } from '../../mixins/shared/ids.ts';
import { redisCache } from '../../mixins/storage/cache/drivers/redis.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { cacheContract } from './cache.suite.ts';

if (redisAvailable()) {
  let server: Promise<TestRedis> | undefined;
  const namespace = `test-${hexId()}`;

  cacheContract(
    'Redis',
    async () => {
      server ??= startRedis();
      return redisCache((await server).url, { namespace });
    },
    async () => (await server)?.stop(),
  );

  let cluster: Promise<{ url: string; stop(): Promise<void> }> | undefined;
  cacheContract(
    'Redis in cluster mode',
    async () => {
      cluster ??= startRedisCluster();
      return redisCache((await cluster).url, { namespace });
    },
    async () => (await cluster)?.stop(),
  );

  describe('a cache on a Redis in trouble', () => {
    it('leaves a peer that went silent, tells who waits, and goes on when it is back', async () => {
      const redis = await startRedis({ isolated: true });
      const proxy = await openTcpProxy(redis.port);
      const cache = await redisCache(`redis://127.0.0.1:${proxy.port}`, { namespace });
      try {
        await cache.set('a', 1);
        proxy.freeze();
        await expect(cache.set('a', 2)).rejects.toMatchObject({
          type: 'UpstreamUnavailable',
          // Not the time-out of the command: the silence itself was noticed.
          cause: expect.objectContaining({ message: expect.stringContaining('the connection broke') }),
        });
        proxy.heal();
        await eventually(async () => (await cache.set('a', 3)) > 0, { timeoutMs: 30_000 });
        expect((await cache.get('a'))?.value).toBe(3);
      } finally {
        await cache.close();
        await proxy.close();
        await redis.stop();
      }
    });

    it('waits for a master that a failover made read-only, and does each write once', async () => {
      const [redis, other] = await Promise.all([startRedis({ isolated: true }), startRedis({ isolated: true })]);
      const cache = await redisCache(redis.url, { namespace });
      const control = new Redis(redis.url);
      try {
        await cache.increment('n', 1, 60_000);
        await control.replicaof('127.0.0.1', other.port);
        await eventually(async () => (await control.info('replication')).includes('master_link_status:up'), { timeoutMs: 30_000 });
        const counts = Array.from({ length: 5 }, () => cache.increment('n', 1, 60_000));
        const document = cache.apply('d', [{ type: 'push', path: ['list'], value: 1 }]);
        await control.replicaof('NO', 'ONE');

        expect((await Promise.all(counts)).map(({ count }) => count).sort()).toEqual([1, 2, 3, 4, 5]);
        expect((await document).value).toEqual({ list: [1] });
      } finally {
        control.disconnect();
        await cache.close();
        await Promise.all([redis.stop(), other.stop()]);
      }
    });

    it.each([
      'redis+cluster://',
      'redis+cluster://host:port',
      'redis+cluster://a:1,b:99999',
      'redis://',
      'redis://h/x',
    ])('names CACHE_URL when it is %s', (url) =>
      expect(redisCache(url, { namespace, startWithinMs: 50 })).rejects.toMatchObject({
        type: 'ConfigurationError',
        data: { variable: 'CACHE_URL' },
      }));
  });
} else {
  describe('cache on Redis', () => {
    it.skip('needs Redis', () => {});
  });
}
