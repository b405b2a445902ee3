import { describe, it } from '@jest/globals';
import { redisAvailable, startRedis } from '../support/redis.ts';
import { testStores } from '../support/runtime-node.ts';
import { runsSuite } from './runtime-runs.suite.ts';

if (redisAvailable())
  runsSuite('runs over Redis', async () => {
    const redis = await startRedis();
    const stores = testStores(redis.url);
    return {
      stores,
      close: async () => {
        stores.cleanUp();
        await redis.stop();
      },
    };
  });
else describe('runs over Redis', () => it.skip('needs Redis', () => {}));
