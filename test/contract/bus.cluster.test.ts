/** The bus on a Redis in cluster mode: no command and no script may touch two slots. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable } from '../support/redis.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';
import { busContract, emit, numberOf } from './bus.suite.ts';

if (redisAvailable()) {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    cluster = await startRedisCluster({ isProxied: true });
  });
  afterAll(() => cluster.stop());

  busContract('Redis Cluster', async () => ({ config: { busUrl: cluster.url, namespace: `t${hexId()}` }, remove: async () => {} }), {
    isCluster: true,
  });

  describe('the bus whose connections to a Redis Cluster', () => {
    const proxy = () => cluster.proxy as TcpProxy;
    const open = () =>
      openBus(loadConfig({}, { busUrl: cluster.url, namespace: `t${hexId()}`, nodeId: 'n' }), { leaseMs: 2_000, tickMs: 100, settleMs: 5 });

    it.each([
      ['are dropped', () => proxy().retarget(cluster.port)],
      ['are stranded: nothing comes and nobody is told', () => proxy().strand()],
    ])(
      '%s connects again by itself',
      async (_, disturb) => {
        const node = await open();
        const seen: number[] = [];
        await node.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });
        await emit(node, 'w', 1);
        await eventually(() => seen.length === 1);

        disturb();

        await eventually(
          () =>
            emit(node, 'w', 2).then(
              () => true,
              () => false,
            ),
          { timeoutMs: 30_000 },
        );
        await eventually(() => seen.includes(2), { timeoutMs: 30_000 });
        await node.close({ drainMs: 0 });
        expect(seen[0]).toBe(1);
      },
      90_000,
    );
  });
}
