/** Who of a group is gone, on a real Redis: long before his leases run out, and nobody who is only hard to reach. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { type CoreOptions, type OpenedBus, openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { emit, numberOf } from './bus.suite.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** Leases that no test waits for. */
const LEASE_MS = 120_000;

if (redisAvailable()) {
  let redis: TestRedis;
  let namespace: string;
  let nodes: OpenedBus[] = [];
  const ends: (() => unknown)[] = [];
  beforeAll(async () => {
    redis = await startRedis({ appendOnly: true, isolated: true });
  });
  afterAll(() => redis.stop());
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.close({ drainMs: 0 })));
    for (const end of ends.splice(0)) await end();
    nodes = [];
    namespace = '';
  });

  const openNode = async (busUrl = redis.url, options: CoreOptions = {}) => {
    namespace ||= `t${hexId()}`;
    const config = loadConfig({}, { busUrl, namespace, nodeId: `node${nodes.length + 1}` });
    const node = await openBus(config, { service: 'test', leaseMs: LEASE_MS, tickMs: 100, settleMs: 5, timeoutMs: 1_000, ...options });
    nodes.push(node);
    return node;
  };
  const shardsOf = async (node: OpenedBus) => (await node.status()).node.members[0]?.shards.length;

  describe('a process of the bus on Redis', () => {
    it('is gone when its connections end: the others have its shards within seconds, and what it had in hand', async () => {
      const proxy = await openTcpProxy(Number(new URL(redis.url).port));
      ends.push(() => proxy.close());
      const mortal = await openNode(`redis://127.0.0.1:${proxy.port}`);
      const inHand: number[] = [];
      const hang = (n: number): Promise<void> => {
        inHand.push(n);
        return new Promise(() => {});
      };
      await mortal.on(EMIT_TOPIC, (event) => hang(numberOf(event)), { group: 'g' });
      const sender = await openNode();
      await Promise.all(Array.from({ length: 40 }, (_, n) => emit(sender, `w${n}`, n)));
      await eventually(() => inHand.length === 40);

      const survivor = await openNode();
      const seen: number[] = [];
      await survivor.on(EMIT_TOPIC, (event) => void seen.push(numberOf(event)), { group: 'g' });
      await pause(500);
      const began = Date.now();
      proxy.cut();

      await eventually(async () => (await shardsOf(survivor)) === 16);
      await eventually(() => new Set(seen).size === 40);
      expect(Date.now() - began).toBeLessThan(15_000);
    });

    it('is not gone while its subscription comes back, and is told that others may think so', async () => {
      const [here, there] = [await openNode(), await openNode()];
      const told: boolean[] = [];
      here.announce('here', (isSeen) => told.push(isSeen));
      await eventually(async () => (await there.gone(['here'])).length === 0 && (await pubsub('here')) === 1);
      expect(await there.gone(['here'])).toEqual([]);

      const admin = new Redis(redis.url);
      ends.push(() => admin.disconnect());
      await admin.client('KILL', 'TYPE', 'pubsub');
      await eventually(() => told.join().endsWith('false,true'));
      for (let look = 0; look < 15; look++) {
        expect(await there.gone(['here'])).toEqual([]);
        await pause(100);
      }
    });

    it('is not gone when nobody was ever seen under its name', async () => {
      const node = await openNode();
      for (let look = 0; look < 12; look++) {
        expect(await node.gone(['stranger'])).toEqual([]);
        await pause(100);
      }
    });

    it('is gone for those alone who saw it since they are connected: what Redis forgot in a restart makes nobody dead', async () => {
      const [here, there] = [await openNode(), await openNode()];
      here.announce('here');
      await eventually(async () => (await there.gone(['here'])).length === 0 && (await pubsub('here')) === 1);
      await there.gone(['here']);
      await here.close();
      nodes = nodes.filter((node) => node !== here);

      const admin = new Redis(redis.url);
      ends.push(() => admin.disconnect());
      await admin.client('KILL', 'TYPE', 'normal');
      await eventually(() => there.status().then(() => true));
      for (let look = 0; look < 12; look++) {
        expect(await there.gone(['here'])).toEqual([]);
        await pause(100);
      }
    });

    it('is judged by its leases where Redis does not let the platform see who is connected', async () => {
      const admin = new Redis(redis.url);
      ends.push(() => admin.disconnect());
      await admin.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', 'allchannels', '+@all', '-pubsub');
      const url = redis.url.replace('redis://', 'redis://blind:secret@');
      const lines: string[] = [];
      const logger = { info: (line: string) => void lines.push(line), warn: () => {}, error: () => {} };
      const node = await openNode(url, { logger });
      node.announce('here');
      expect(await node.gone(['here'])).toEqual([]);
      expect(lines.filter((line) => line.includes('noticed when their leases end'))).toHaveLength(1);
      const seen: number[] = [];
      await node.on(EMIT_TOPIC, (event) => void seen.push(numberOf(event)), { group: 'g' });
      await emit(node, 'w', 1);
      await eventually(() => seen.length === 1);
    });
  });

  async function pubsub(name: string): Promise<number> {
    const admin = new Redis(redis.url);
    ends.push(() => admin.disconnect());
    const [, count] = (await admin.pubsub('NUMSUB', `{${namespace}:bus}:alive:${name}`)) as [string, number];
    return Number(count);
  }
}
