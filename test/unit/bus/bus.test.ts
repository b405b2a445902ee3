/** The bus as services see it, on the memory carrier: sources of children, topics, shards, the mixin and its waits. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { type Service, ServiceBroker, type ServiceSchema } from 'moleculer';
import { type BusMethods, bus } from '../../../mixins/bus/bus.mixin.ts';
import { type OpenedBus, openBus } from '../../../mixins/bus/bus.ts';
import { memoryStore, openMemory } from '../../../mixins/bus/carriers/memory/carrier.ts';
import { shardOf, topicMatcher } from '../../../mixins/bus/topics.ts';
import { loadConfig, useConfig } from '../../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../../mixins/shared/event.ts';
import { eventually } from '../../support/eventually.ts';
import { manualTimers } from '../../support/manual-timers.ts';

let opened: OpenedBus[] = [];
afterEach(async () => {
  await Promise.all(opened.map((one) => one.close({ drainMs: 0 })));
  opened = [];
});

async function open(): Promise<OpenedBus> {
  const one = await openBus(loadConfig({}, { nodeId: 'n1' }), { carrier: openMemory(memoryStore()), service: 'test' });
  opened.push(one);
  return one;
}

describe('a child of a bus', () => {
  it('adds its source to what it sends', async () => {
    const child = (await open()).child({ workspaceId: 'w', correlationId: 'c' }).child({ automationSlug: 'hello' });

    const event = await child.send('order.paid', {}, { topic: EMIT_TOPIC });

    expect(event.source).toMatchObject({ workspaceId: 'w', correlationId: 'c', automationSlug: 'hello' });
  });

  it('passes neither address nor topic on to its own children', async () => {
    const child = (await open()).child({ ip: '8.8.8.8', serviceTopic: EMIT_TOPIC, userId: 'u' });

    expect((await child.send('order.paid', {})).source).toMatchObject({ ip: '8.8.8.8', serviceTopic: EMIT_TOPIC });
    const { source } = await child.child({}).send('workspaces.deleted', { workspaceId: 'w' });
    expect(source).toMatchObject({ userId: 'u', serviceTopic: 'workspaces.deleted' });
    expect(source).not.toHaveProperty('ip');
  });

  it('forgets the user when asked to', async () => {
    const child = (await open()).child({ userId: 'u', sessionId: 's' }).child({}, { clearUser: true });

    const { source } = await child.send('order.paid', {}, { topic: EMIT_TOPIC });

    expect(source).not.toHaveProperty('userId');
    expect(source.sessionId).toBe('s');
  });
});

describe('topics', () => {
  it.each([
    ['*', 'anything', true],
    ['workspaces.*', 'workspaces.pages.updated', true],
    ['workspaces.*', 'workspaces', false],
    ['workspaces.*', 'workspacesx.y', false],
    [['a', 'b.*'], 'b.c', true],
    [['a', 'b.*'], 'a.b', false],
    [EMIT_TOPIC, EMIT_TOPIC, true],
  ])('%j and %j: %j', (topics, topic, isWanted) => {
    expect(topicMatcher(topics as string | string[])(topic)).toBe(isWanted);
  });

  it('spreads workspaces evenly over the shards', () => {
    const counts = new Array(16).fill(0);
    for (let i = 0; i < 16_000; i++) counts[shardOf(`w${i.toString(36)}`, 16)]++;

    expect(Math.min(...counts)).toBeGreaterThan(700);
    expect(Math.max(...counts)).toBeLessThan(1_300);
  });
});

describe('a workspace with a long backlog', () => {
  it('holds up the workspaces of no other shard', async () => {
    const one = await open();
    const count = 17_000;
    for (let n = 0; n < count; n += 1_000)
      await Promise.all(Array.from({ length: 1_000 }, () => one.send('e', {}, { topic: EMIT_TOPIC, source: { workspaceId: 'busy' } })));
    const quick = Array.from({ length: 40 }, (_, i) => `w${i}`).filter((name) => shardOf(name, 16) !== shardOf('busy', 16));
    const done = new Set<string>();
    let free = () => {};
    const gate = new Promise<void>((resolve) => {
      free = resolve;
    });
    let busy = 0;

    await one.on(
      EMIT_TOPIC,
      ({ source }) => {
        if (source.workspaceId !== 'busy') return void done.add(source.workspaceId as string);
        busy++;
        return gate;
      },
      { group: 'g' },
    );
    for (const workspaceId of quick) await one.send('e', {}, { topic: EMIT_TOPIC, source: { workspaceId } });

    await eventually(() => done.size === quick.length);
    expect(busy).toBe(1);
    free();
    await eventually(() => busy === count);
  });
});

describe('bodies of events', () => {
  it('are kept in memory until their turn, however many have passed, and not read again', async () => {
    const carrier = openMemory(memoryStore(), { keepMs: 0 });
    let fetched = 0;
    const counting = {
      ...carrier,
      fetch: (shard: number, positions: string[]) => {
        fetched += positions.length;
        return carrier.fetch(shard, positions);
      },
    };
    const one = await openBus(loadConfig({}, { nodeId: 'n1' }), { carrier: counting });
    opened.push(one);
    let handled = 0;
    await one.on(EMIT_TOPIC, () => void handled++, { group: 'g' });
    const text = 'x'.repeat(90_000);

    // 45 MB in all: more than a member holds at once.
    for (let n = 0; n < 500; n += 10) {
      await Promise.all(
        Array.from({ length: 10 }, (_, i) => one.send('e', { text }, { topic: EMIT_TOPIC, source: { workspaceId: `w${i}` } })),
      );
      await eventually(() => handled === n + 10);
    }

    expect(fetched).toBe(0);
  });
});

describe('housekeeping', () => {
  it('warns of a group that leaves a tenth of the room behind, and trims what all have settled', async () => {
    const timers = manualTimers();
    const warnings: string[] = [];
    const logger = { info() {}, warn: (text: string) => void warnings.push(text), error() {} };
    const carrier = openMemory(memoryStore(timers.now), { keepMs: 0 });
    const one = await openBus(loadConfig({}, { nodeId: 'n1' }), { carrier, timers, logger, maxEntries: 50, trimMs: 1_000 });
    opened.push(one);
    const slow = await one.on(EMIT_TOPIC, () => {}, { group: 'slow' });
    await one.on(EMIT_TOPIC, () => {}, { group: 'quick' });
    const emit = async () => {
      for (let n = 0; n < 4; n++) await one.send('e', {}, { topic: EMIT_TOPIC, source: { workspaceId: 'w' } });
      await timers.advance(3_000);
    };
    await emit();
    expect([await carrier.size(), warnings]).toEqual([0, []]);
    await slow.stop();

    await emit();
    expect([await carrier.size(), warnings]).toEqual([4, []]);
    await emit();

    expect(await carrier.size()).toBe(8);
    expect(warnings[0]).toMatch(/group 'slow': 8 events are not handled yet .* refused at 50/);
  });
});

describe('a carrier nobody knows', () => {
  it.each(['carrierpigeon://roof', 'no url at all', 'sqlite:'])('%j is refused, naming BUS_URL', async (busUrl) => {
    await expect(openBus(loadConfig({}, { busUrl }))).rejects.toMatchObject({
      type: 'ConfigurationError',
      data: { variable: 'BUS_URL' },
    });
  });
});

describe('the mixin', () => {
  type Self = Service & BusMethods;
  async function start(...schemas: ServiceSchema<object, any>[]): Promise<ServiceBroker> {
    const broker = new ServiceBroker({ logger: false });
    useConfig(broker, loadConfig({}, { busUrl: 'memory:' }));
    for (const schema of schemas) broker.createService(schema as unknown as ServiceSchema);
    await broker.start();
    return broker;
  }

  it('gives the services of a node one bus, each under its own name', async () => {
    const seen: unknown[] = [];
    const listener: ServiceSchema<object, any> = {
      name: 'listener',
      mixins: [bus()],
      async started(this: Self) {
        await this.bus.on('workspaces.*', (event) => void seen.push(event.source.host), { group: 'listener' });
      },
    };
    const teller: ServiceSchema<object, any> = {
      name: 'teller',
      mixins: [bus({ service: 'workspaces' })],
      actions: {
        tell(this: Self) {
          return this.bus.send('workspaces.deleted', { workspaceId: 'w' });
        },
      },
    };
    const broker = await start(listener, teller);

    await broker.call('teller.tell');
    await broker.stop();

    expect(seen).toEqual([expect.objectContaining({ service: 'prisme.ai-workspaces' })]);
  });

  it('asks and hears the answer to its own question, or null', async () => {
    const answerer: ServiceSchema<object, any> = {
      name: 'answerer',
      mixins: [bus()],
      async started(this: Self) {
        await this.bus.on(
          'apps.price.asked',
          async ({ source, payload }) => {
            if (!payload.product) return;
            await this.bus
              .child({ correlationId: source.correlationId })
              .send('apps.price.found', { price: `price of ${payload.product}` });
          },
          { group: 'answerer' },
        );
      },
    };
    const asker: ServiceSchema<object, any> = {
      name: 'asker',
      mixins: [bus()],
      actions: {
        async ask(this: Self, { params }: { params: { product?: string } }) {
          const options = { answers: 'apps.*', timeoutMs: params.product ? 5_000 : 50 };
          return (await this.ask('apps.price.asked', params, options))?.payload ?? null;
        },
        refused(this: Self) {
          return this.ask('workspaces.deleted', {}, { answers: 'apps.*', timeoutMs: 5_000 });
        },
      },
    };
    const broker = await start(answerer, asker);

    const answers = await Promise.all(['tea', 'milk', 'rice'].map((product) => broker.call('asker.ask', { product })));

    expect(answers).toEqual(['tea', 'milk', 'rice'].map((product) => ({ price: `price of ${product}` })));
    expect(await broker.call('asker.ask', {})).toBeNull();
    await expect(broker.call('asker.refused')).rejects.toMatchObject({ type: 'EventValidationError' });
    await broker.stop();
  });

  it('waits for an answer that cannot be missed once it is ready, or says null in time', async () => {
    const asker: ServiceSchema<object, any> = {
      name: 'asker',
      mixins: [bus()],
      actions: {
        async ask(this: Self) {
          const match = (event: { payload: object }) => (event.payload as { workspaceId: string }).workspaceId === 'mine';
          const { ready, event } = this.waitFor('workspaces.deleted', { match, timeoutMs: 5_000 });
          await ready;
          await this.bus.send('workspaces.deleted', { workspaceId: 'other' });
          await this.bus.send('workspaces.deleted', { workspaceId: 'mine' });
          return (await event)?.payload;
        },
        async askNobody(this: Self) {
          return this.waitFor('*', { timeoutMs: 20 }).event;
        },
      },
    };
    const broker = await start(asker);

    expect(await broker.call('asker.ask')).toEqual({ workspaceId: 'mine' });
    expect(await broker.call('asker.askNobody')).toBeNull();

    await broker.stop();
  });
});
