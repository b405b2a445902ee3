/** The bus on a real Redis, and what only a server can do to it: lose its data, die, be cut off, run as a cluster. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { type OpenedBus, openBus } from '../../mixins/bus/bus.ts';
import { type Client, checkServer } from '../../mixins/bus/carriers/redis/connect.ts';
import { headOf } from '../../mixins/bus/carriers/redis/entries.ts';
import { keysOf } from '../../mixins/bus/carriers/redis/keys.ts';
import { shardOf } from '../../mixins/bus/topics.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { hexId, ulidOf } from '../../mixins/shared/ids.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { busContract, emit, numberOf } from './bus.suite.ts';

let made = 0n;
const idAt = (at: number) => ulidOf(at, ++made);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

if (redisAvailable()) {
  let redis: TestRedis;
  let nodes: OpenedBus[] = [];
  beforeAll(async () => {
    redis = await startRedis({ appendOnly: true, isolated: true });
  });
  afterAll(() => redis.stop());
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.close({ drainMs: 0 })));
    nodes = [];
  });

  busContract('Redis', async () => ({ config: { busUrl: redis.url, namespace: `t${hexId()}` }, remove: async () => {} }));

  const openNode = async (busUrl: string, namespace: string) => {
    const config = loadConfig({}, { busUrl, namespace, nodeId: `node${nodes.length + 1}` });
    const node = await openBus(config, { service: 'test', leaseMs: 1_000, tickMs: 50, settleMs: 5, timeoutMs: 15_000 });
    nodes.push(node);
    return node;
  };

  /** Replicas that have everything written up to now, by anybody: WAIT asks for the writes of its own connection only, so there is one. */
  async function replicated(master: Redis): Promise<number> {
    await master.set('mark', 1);
    return master.wait(1, 15_000);
  }

  /** Sends numbers until told to stop; a refused one is sent again. Answers those confirmed. */
  function keepSending(node: OpenedBus, first = 1) {
    const workspaces = 4;
    const confirmed: number[] = [];
    let isOn = true;
    const done = (async () => {
      for (let n = first; isOn; n++) {
        for (let isSent = false; !isSent; )
          isSent = await emit(node, `w${n % workspaces}`, n).then(
            () => true,
            () => pause(50).then(() => false),
          );
        confirmed.push(n);
        await pause(1);
      }
    })();
    return {
      confirmed,
      stop: async () => {
        isOn = false;
        await done;
      },
    };
  }

  describe('the bus when its Redis', () => {
    it('is killed and restarted with append-only on: consumption resumes by itself, nothing confirmed is lost', async () => {
      const server = await startRedis({ appendOnly: true, isolated: true });
      try {
        const node = await openNode(server.url, 'aof');
        const seen = new Set<number>();
        await node.on('*', (event) => void seen.add(numberOf(event)), { group: 'g' });
        const sending = keepSending(node);
        await eventually(() => sending.confirmed.length > 50);

        await server.kill();
        await pause(300);
        await server.restart();

        const before = sending.confirmed.length;
        await eventually(() => sending.confirmed.length > before + 50, { timeoutMs: 20_000 });
        await sending.stop();
        await eventually(() => sending.confirmed.every((n) => seen.has(n)), { timeoutMs: 20_000 });
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        await server.stop();
      }
    });

    it('loses everything (FLUSHALL): groups are made again and later events arrive', async () => {
      const server = await startRedis({ isolated: true });
      const client = new Redis(server.url);
      try {
        const node = await openNode(server.url, 'flush');
        const seen: number[] = [];
        await node.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });
        const heard: number[] = [];
        await node.on('*', (event) => void heard.push(numberOf(event)), { mode: 'broadcast' });
        await emit(node, 'w', 1);
        await eventually(() => seen.includes(1) && heard.includes(1));

        // Positions are times: an entry written in the same millisecond as the last one that was lost would stand at its place.
        await pause(5);
        await client.flushall();
        await emit(node, 'w', 2);
        await emit(node, 'w', 3);

        // What was handled before the loss was noticed could not be settled: it is handled again. A failure says what came.
        await eventually(
          () =>
            expect([[...new Set(seen)], [...new Set(heard)]]).toEqual([
              [1, 2, 3],
              [1, 2, 3],
            ]),
          { timeoutMs: 45_000 },
        );
        await eventually(async () => (await node.lag())[0]?.entries === 0);
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        client.disconnect();
        await server.stop();
      }
    });

    it('cannot be reached for a while: the network is cut, then heals', async () => {
      const proxy = await openTcpProxy(redis.port);
      try {
        const node = await openNode(`redis://127.0.0.1:${proxy.port}/0`, `cut${hexId()}`);
        const seen = new Set<number>();
        await node.on('*', (event) => void seen.add(numberOf(event)), { group: 'g' });
        const sending = keepSending(node);
        await eventually(() => sending.confirmed.length > 30);

        proxy.cut();
        await pause(1_500);
        proxy.heal();

        const before = sending.confirmed.length;
        await eventually(() => sending.confirmed.length > before + 30, { timeoutMs: 20_000 });
        await sending.stop();
        await eventually(() => sending.confirmed.every((n) => seen.has(n)), { timeoutMs: 20_000 });
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        await proxy.close();
      }
    });

    it('fails over to its replica: what the replica had is handled, and sends go on', async () => {
      const [master, replica] = [await startRedis({ isolated: true }), await startRedis({ isolated: true })];
      const proxy = await openTcpProxy(master.port);
      const client = new Redis(replica.url);
      try {
        await client.replicaof('127.0.0.1', master.port);
        await eventually(async () => (await client.info('replication')).includes('master_link_status:up'), { timeoutMs: 15_000 });
        const node = await openNode(`redis://127.0.0.1:${proxy.port}/0`, 'failover');
        const seen = new Set<number>();
        await node.on('*', (event) => void seen.add(numberOf(event)), { group: 'g' });
        const before = keepSending(node);
        await eventually(() => before.confirmed.length > 50);
        await before.stop();
        const main = new Redis(master.url);
        await emit(node, 'w', 1_000_000);
        expect(await replicated(main)).toBe(1);
        main.disconnect();

        await master.kill();
        proxy.retarget(replica.port);
        // Read-only until it is promoted: refused, not lost.
        const after = keepSending(node, 100_001);
        await pause(300);
        expect(after.confirmed).toEqual([]);
        await client.replicaof('NO', 'ONE');

        await eventually(() => after.confirmed.length > 30, { timeoutMs: 20_000 });
        await after.stop();
        await eventually(() => [...before.confirmed, ...after.confirmed, 1_000_000].every((n) => seen.has(n)), { timeoutMs: 20_000 });
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        client.disconnect();
        await proxy.close();
        await Promise.all([master.stop(), replica.stop()]);
      }
    });

    it('fails over to a replica that lags: what it had not seen is gone, and everything later arrives, whatever the clocks say', async () => {
      const [master, replica] = [await startRedis({ isolated: true }), await startRedis({ isolated: true })];
      const proxy = await openTcpProxy(master.port);
      const [main, copy] = [new Redis(master.url), new Redis(replica.url)];
      main.on('error', () => {});
      try {
        await copy.replicaof('127.0.0.1', master.port);
        await eventually(async () => (await copy.info('replication')).includes('master_link_status:up'), { timeoutMs: 15_000 });
        const node = await openNode(`redis://127.0.0.1:${proxy.port}/0`, 'lag');
        const seen: number[] = [];
        const heard: number[] = [];
        await node.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });
        await node.on('*', (event) => void heard.push(numberOf(event)), { mode: 'broadcast' });
        await emit(node, 'w', 1);
        await eventually(async () => seen.includes(1) && (await node.lag())[0]?.entries === 0);
        expect(await replicated(main)).toBe(1);
        await copy.replicaof('NO', 'ONE');
        // Only the master has this one, and its clock is an hour ahead.
        const event = { ...(await emit(node, 'w', 2)), id: 'ahead', payload: { n: 3 } };
        const head = headOf({ shard: 0, id: 'ahead', workspaceId: 'w', group: '', topic: EMIT_TOPIC, body: '' });
        const log = keysOf('lag').log(shardOf('w', 16));
        await main.xadd(log, `${Date.now() + 3_600_000}-0`, 'h', head, 'b', JSON.stringify(event));
        await eventually(() => new Set(seen).size === 3 && heard.length === 3);

        await master.kill();
        proxy.retarget(replica.port);

        await eventually(
          () =>
            emit(node, 'w', 4).then(
              () => true,
              () => false,
            ),
          { timeoutMs: 20_000 },
        );
        await eventually(() => seen.includes(4) && heard.includes(4), { timeoutMs: 20_000 });
        await emit(node, 'w', 5);
        await eventually(() => seen.includes(5) && heard.includes(5));
        await eventually(async () => (await node.lag())[0]?.entries === 0);
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        main.disconnect();
        copy.disconnect();
        await proxy.close();
        await Promise.all([master.stop(), replica.stop()]);
      }
    });

    it('takes no settlement for entries that its log has lost, or entries to come would count as handled', async () => {
      const namespace = `lost${hexId()}`;
      const { carrier } = (await openNode(redis.url, namespace)).core;
      const draft = { shard: 3, id: 'a', topic: 't', workspaceId: 'w', group: '', body: '{}' };
      await carrier.register('g');
      await carrier.append([draft]);
      const [entry] = await carrier.read(3, '0', 10);
      const lease = await carrier.lease('g', 3, 'me', 60_000);
      const settlement = { cursor: entry?.position as string, passed: 1, ahead: [], forget: [], failures: [], dead: [] };
      const [time] = settlement.cursor.split('-');
      const lost = { ...settlement, cursor: `${Number(time) + 3_600_000}-0` };

      expect(await carrier.settle('g', 3, lease?.token as string, lost)).toBe(false);

      const again = await carrier.lease('g', 3, 'me', 60_000);
      expect(again).toMatchObject({ cursor: '0', wasReleased: true });
      expect(await carrier.settle('g', 3, again?.token as string, settlement)).toBe(true);

      // What was trimmed after it was settled is not lost.
      const client = new Redis(redis.url);
      expect(await client.xdel(keysOf(namespace).log(3), settlement.cursor)).toBe(1);
      client.disconnect();
      expect(await carrier.settle('g', 3, again?.token as string, { ...settlement, passed: 0, forget: [settlement.cursor] })).toBe(true);
    });

    it('goes silent for one member: the others take its shards, and it starts nothing meanwhile', async () => {
      const proxy = await openTcpProxy(redis.port);
      const namespace = `silent${hexId()}`;
      try {
        const deaf = await openNode(`redis://127.0.0.1:${proxy.port}/0`, namespace);
        const healthy = await openNode(redis.url, namespace);
        const seen = new Map<number, string>();
        await deaf.on('*', (event) => void seen.set(numberOf(event), 'deaf'), { group: 'g' });
        await healthy.on('*', (event) => void seen.set(numberOf(event), 'healthy'), { group: 'g' });
        await eventually(async () => {
          seen.clear();
          await Promise.all([...Array(32).keys()].map((n) => emit(healthy, `w${n}`, n)));
          await eventually(() => seen.size === 32);
          return new Set(seen.values()).size === 2;
        });

        proxy.freeze();
        await pause(1_200);
        seen.clear();
        await Promise.all([...Array(32).keys()].map((n) => emit(healthy, `w${n}`, n)));

        await eventually(() => seen.size === 32, { timeoutMs: 20_000 });
        expect([...new Set(seen.values())]).toEqual(['healthy']);
        proxy.heal();
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        await proxy.close();
      }
    });

    it('is full: producers are refused with a retryable error, groups go on, and once they have settled producers are heard again', async () => {
      const server = await startRedis({ isolated: true });
      const client = new Redis(server.url);
      try {
        const node = await openNode(server.url, 'full');
        const body = 'x'.repeat(20_000);
        const send = (n: number) => node.send('big', { n, body }, { topic: EMIT_TOPIC, source: { workspaceId: `w${n % 5}` } });
        let stored = 0;
        while (stored < 200) await send(stored++);
        const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
        await client.config('SET', 'maxmemory', String(used + 1_000_000));
        let refusal: unknown;
        await eventually(
          () =>
            send(stored).then(
              () => {
                stored++;
                return false;
              },
              (error) => {
                refusal = error;
                return true;
              },
            ),
          { everyMs: 0 },
        );
        expect(refusal).toMatchObject({ type: 'BusOverloaded', retryable: true });
        await client.config('SET', 'maxmemory', '1');
        const seen = new Set<number>();

        await node.on('*', (event) => void seen.add(numberOf(event)), { group: 'g' });

        await eventually(() => seen.size === stored, { timeoutMs: 10_000 });
        await eventually(async () => (await node.lag())[0]?.entries === 0);
        // What was settled is trimmed to make room, although the replay window would keep it.
        await client.config('SET', 'maxmemory', String(used + 1_000_000));
        await eventually(
          () =>
            send(stored)
              .then(() => true)
              .catch(() => false),
          { timeoutMs: 10_000 },
        );
        await Promise.all(nodes.splice(0).map((one) => one.close({ drainMs: 0 })));
      } finally {
        client.disconnect();
        await server.stop();
      }
    });

    it('has a long log: an event is found where its id says, or further and further from there, without reading all of it', async () => {
      const client = new Redis(redis.url);
      const namespace = `find${hexId()}`;
      const node = await openNode(redis.url, namespace);
      const log = keysOf(namespace).log(3);
      const began = Date.now() - 120_000;
      const entries = 40_000;
      /** Times are milliseconds since the log began. */
      const add = (pipeline: ReturnType<typeof client.pipeline>, at: number, id: string) =>
        pipeline.xadd(log, `${began + at}-*`, 'h', headOf({ shard: 3, id, topic: 't', workspaceId: 'w', group: '', body: '' }), 'b', '{}');
      const special: [made: number, written: number][] = [
        [60_000, 60_002], // as it should be
        [70_000, 69_900], // its producer's clock is ahead
        [90_000, 60_500], // far ahead
        [20_000, 80_000], // written after an outage, or sent once more by a run that was interrupted
        [117_000, 117_000],
      ];
      const ids = special.map(([made]) => idAt(began + made));
      const named = `${idAt(began + 30_000)}E`;
      for (let n = 0; n < entries; ) {
        const pipeline = client.pipeline();
        for (let i = 0; i < 1_000; i++, n++) {
          const at = n * 3;
          for (const [k, [, written]] of special.entries()) if (written >= at && written < at + 3) add(pipeline, at, ids[k] as string);
          if (at === 30_000) add(pipeline, at, named);
          add(pipeline, at, idAt(began + at));
        }
        await pipeline.exec();
      }
      const looks = async () => Number(/cmdstat_xrange:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]);
      const { carrier } = node.core;
      try {
        for (const [k, id] of [...ids, named].entries()) {
          const position = (await carrier.find(3, id)) as string;
          expect([k, (await carrier.fetch(3, [position]))[0]?.id]).toEqual([k, id]);
        }
        expect(await carrier.find(3, ids[1] as string, true)).not.toBeNull();
        expect(await carrier.find(3, ids[3] as string, true)).toBeNull(); // written too late for a quick look
        const before = await looks();
        await carrier.find(3, ids[0] as string);
        await carrier.find(3, ids[4] as string);
        expect((await looks()) - before).toBe(2);
        expect(await carrier.find(3, idAt(began + 60_000))).toBeNull();
        expect(await carrier.find(3, idAt(began - 10_000_000))).toBeNull();
        const rubbish = await looks();
        expect(await carrier.find(3, 'nothing of the kind')).toBeNull();
        expect(await looks()).toBe(rubbish);
        expect(await carrier.find(4, ids[0] as string)).toBeNull();
      } finally {
        client.disconnect();
      }
    });

    it('forgets its scripts: the next call brings them again', async () => {
      const client = new Redis(redis.url);
      const node = await openNode(redis.url, `scripts${hexId()}`);
      const seen: number[] = [];
      await node.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });
      await emit(node, 'w', 1);

      await client.script('FLUSH');
      await node.sendAll(
        [2, 3].map((n) => ({ type: 'e', payload: { n }, options: { topic: EMIT_TOPIC, source: { workspaceId: `w${n}` } } })),
      );

      await eventually(() => new Set(seen).size === 3);
      client.disconnect();
    });

    it('does not answer at start: one line names BUS_URL, without the password', async () => {
      const opening = openNode('redis://:verysecret@127.0.0.1:1/0', 'x');

      await expect(opening).rejects.toMatchObject({ type: 'ConfigurationError', data: { variable: 'BUS_URL' } });
      await opening.catch((error) => expect(error.message).not.toContain('verysecret'));
    }, 20_000);

    it('is set so that events may vanish: a warning for each setting', async () => {
      const server = await startRedis({ isolated: true });
      const client = new Redis(server.url) as Client;
      try {
        await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
        const warnings: string[] = [];
        const logger = { info() {}, warn: (text: string) => void warnings.push(text), error() {} };
        const check = async () => {
          warnings.length = 0;
          await checkServer(client, logger);
          return warnings.map((text) => /Set `(.*?)`/.exec(text)?.[1]);
        };

        expect(await check()).toEqual(['appendonly yes', 'maxmemory-policy noeviction', 'maxmemory']);
        await client.config('SET', 'appendonly', 'yes');
        await client.config('SET', 'appendfsync', 'no');
        expect(await check()).toEqual(['appendfsync', 'maxmemory-policy noeviction', 'maxmemory']);
        await client.config('SET', 'maxmemory-policy', 'noeviction');
        await client.config('SET', 'maxmemory', '100mb');
        await client.config('SET', 'appendfsync', 'everysec');
        expect(await check()).toEqual([]);
      } finally {
        client.disconnect();
        await server.kill(); // it refuses to end in order while it writes its first append-only file
        await server.stop();
      }
    });

    it('is too old: the start ends with a line that names BUS_URL', async () => {
      const old = { info: async () => 'redis_version:5.0.14\r\naof_enabled:1\r\n' } as unknown as Client;

      await expect(checkServer(old, { info() {}, warn() {}, error() {} })).rejects.toMatchObject({
        type: 'ConfigurationError',
        message: 'BUS_URL: Redis 5.0.14 is too old; 6.2 or later is needed.',
      });
    });

    it('holds a log of a newer version: the start ends with a line that names BUS_URL, and nothing was changed', async () => {
      const namespace = `newer${hexId()}`;
      const client = new Redis(redis.url);
      const older = await openNode(redis.url, namespace);
      await emit(older, 'w', 1);
      await client.set(keysOf(namespace).format, '2');

      await expect(openNode(redis.url, namespace)).rejects.toMatchObject({ type: 'ConfigurationError', data: { variable: 'BUS_URL' } });

      expect(await client.get(keysOf(namespace).format)).toBe('2');
      client.disconnect();
    });

    it('holds something else in the stream: it is put aside', async () => {
      const namespace = `odd${hexId()}`;
      const client = new Redis(redis.url);
      const node = await openNode(redis.url, namespace);
      const seen: number[] = [];
      await node.on('*', (event) => void seen.push(numberOf(event)), { group: 'g' });

      await client.xadd(keysOf(namespace).log(shardOf('w', 16)), '*', 'value', 'what?');
      await emit(node, 'w', 1);

      await eventually(async () => seen.includes(1) && (await node.deadLetters({})).length === 1);
      client.disconnect();
    });
  });
}
