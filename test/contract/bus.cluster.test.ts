/** The bus on a Redis in cluster mode: no command and no script may touch two slots. */
import { afterAll, beforeAll } from '@jest/globals';
import { hexId } from '../../mixins/shared/ids.ts';
import { redisAvailable } from '../support/redis.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { busContract } from './bus.suite.ts';

if (redisAvailable()) {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  busContract('Redis Cluster', async () => ({ config: { busUrl: cluster.url, namespace: `t${hexId()}` }, remove: async () => {} }), {
    isCluster: true,
  });
}
