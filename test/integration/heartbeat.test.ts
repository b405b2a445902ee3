/** A node that says nothing any more is taken for dead within its time, and for alive as soon as it speaks again. Over a real Redis. */
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { loadConfig } from '../../mixins/shared/config.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';

interface Registry {
  getNodeList(options: { onlyAvailable: boolean }): { id: string }[];
  discoverer: { startHeartbeatTimers(): void; stopHeartbeatTimers(): void };
}
const registryOf = (broker: ServiceBroker) => broker.registry as unknown as Registry;

if (redisAvailable())
  describe('a silent node', () => {
    let redis: TestRedis;
    let brokers: ServiceBroker[];
    beforeAll(async () => {
      redis = await startRedis();
      const namespace = `beat${hexId()}`;
      brokers = ['a', 'b'].map((nodeId) => {
        const options = brokerOptions(loadConfig({}, { nodeId: `${nodeId}-${namespace}`, namespace, transporterUrl: redis.url }));
        return new ServiceBroker({ ...options, logger: false, heartbeatTimeout: 2 });
      });
      await Promise.all(brokers.map((broker) => broker.start()));
    });
    afterAll(async () => {
      await Promise.all(brokers.map((broker) => broker.stop()));
      await redis.stop();
    });

    it('is asked no more, until it speaks again', async () => {
      const [asker, silent] = brokers as [ServiceBroker, ServiceBroker];
      const isKnown = () =>
        registryOf(asker)
          .getNodeList({ onlyAvailable: true })
          .some(({ id }) => id === silent.nodeID);
      await eventually(isKnown);

      registryOf(silent).discoverer.stopHeartbeatTimers();

      await eventually(() => !isKnown(), { timeoutMs: 15_000 });
      registryOf(silent).discoverer.startHeartbeatTimers();
      await eventually(isKnown, { timeoutMs: 15_000 });
    });
  });
