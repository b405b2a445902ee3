import { describe, expect, it } from '@jest/globals';
import { hexId } from '../../mixins/shared/ids.ts';
import { redisCache } from '../../mixins/storage/cache/drivers/redis.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
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
} else {
  describe('cache on Redis', () => {
    it('is skipped: no Redis can be had here', () => expect(true).toBe(true));
  });
}
