import { describe, it } from '@jest/globals';
import { redisAvailable } from '../support/redis.ts';
import { walkSuite } from './walk.suite.ts';

if (redisAvailable()) {
  walkSuite('four processes over Redis', { mode: 1 });
  walkSuite('eight processes over Redis, two of each service', { mode: 2 });
} else {
  describe('cluster', () => it.skip('needs Redis', () => {}));
}
