import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { compile } from '../../../mixins/filters/condition.ts';
import { loadConfig } from '../../../mixins/shared/config.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { openCache } from '../../../mixins/storage/cache/cache.mixin.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import { createWaits, filterCondition, type Wait, type Waits } from '../../../services/runtime/waits.ts';
import { run } from '../../support/run-automation.ts';

const event = { type: 't', payload: { n: 5, text: 'a-b', list: ['x'], none: null, star: 'a*' }, source: { correlationId: 'c' } };
const matches = (filters: object) => compile(filterCondition(filters as never))(event);

describe('filters of a wait', () => {
  it.each([
    [{}, true],
    [{ 'payload.n': 5 }, true],
    [{ 'payload.n': '5' }, true],
    [{ 'payload.n': 6 }, false],
    [{ 'payload.n': 5, 'source.correlationId': 'other' }, false],
    [{ 'payload.star': 'a*' }, true],
    [{ 'payload.text': 'a*' }, false],
    [{ 'payload.n': { $gt: 4, $lte: 5 } }, true],
    [{ 'payload.n': { $in: [1, 5] } }, true],
    [{ 'payload.n': { $nin: [1, 5] } }, false],
    [{ 'payload.n': { $ne: 5 } }, false],
    [{ 'payload.text': { $regex: '^a-' } }, true],
    [{ 'payload.missing': { $exists: false } }, true],
    [{ 'payload.n': { $exists: true } }, true],
    [{ 'payload.n': { $where: 'true' } }, false],
    [{ 'payload.with-dash': 1 }, false],
    [{ '__proto__.x': 1, a: 1 }, false],
    [{ 'payload.constructor': { $exists: true } }, false],
  ])('%j', (filters, expected) => {
    expect(matches(filters)).toBe(expected);
  });
});

describe('filters whose values are not there', () => {
  const filed = async (filters: object) => {
    const { world } = await run({ automations: { main: { do: [{ wait: { oneOf: [{ event: 't', filters }], timeout: 1 } }] } } });
    const asked = world.effects.find(({ type }) => type === 'wait') as unknown as { oneOf: { filters: JsonObject }[] };
    return asked.oneOf[0]?.filters as JsonObject;
  };

  it.each([
    [{ 'payload.n': '{{nothing.here}}' }, false],
    [{ 'payload.missing': '{{nothing.here}}' }, true],
    [{ 'payload.none': '{{nothing.here}}' }, true],
    [{ 'payload.n': { $eq: '{{nothing.here}}' } }, false],
    [{ 'payload.n': { $in: ['{{nothing.here}}'] } }, false],
    [{ 'payload.n': '{% {{nothing.here}} * 2 %}' }, false],
    [{ 'payload.missing': '{% {{text}} * 2 %}' }, false],
    [{ 'payload.n': 5, 'source.correlationId': '{{nothing.here}}' }, false],
    [{ 'payload.n': 5 }, true],
  ])('%j mean the same in memory and where registrations are kept', async (filters, expected) => {
    const found = await filed(filters);

    expect([matches(found), matches(JSON.parse(JSON.stringify(found)))]).toEqual([expected, expected]);
  });
});

describe('a wait held in the memory of another node', () => {
  it('is woken by the node that met the event, also when nothing hints at it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'prisme-waits-'));
    const cache = await openCache(loadConfig({}, { dataDir: folder }));
    const holder = createWaits({ cache, onDecided: () => {} });
    const finder = createWaits({ cache, onDecided: () => {} });
    const wait = {
      id: 'run/0',
      workspaceId: 'wks0001',
      runId: 'run',
      oneOf: [{ event: 'paid', filters: { 'payload.n': 1 } }],
      deadline: Date.now() + 5_000,
      isDurable: false,
    };
    const paid = {
      id: 'e1',
      type: 'paid',
      payload: { n: 1 },
      source: { workspaceId: 'wks0001', correlationId: 'c' },
      createdAt: new Date().toISOString(),
      size: 1,
    };
    try {
      await holder.register(wait);
      const woken = holder.hold(wait);
      await finder.match([paid]);

      expect((await woken).event?.id).toBe('e1');
    } finally {
      holder.stop();
      finder.stop();
      await cache.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('runs that wait for the same event', () => {
  it('get it each for himself: what one changes in it, nobody else sees', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'prisme-waits-'));
    const cache = await openCache(loadConfig({}, { dataDir: folder }));
    const waits = createWaits({ cache, onDecided: () => {} });
    const waitOf = (runId: string) => ({
      id: `${runId}/0`,
      workspaceId: 'wks0001',
      runId,
      oneOf: [{ event: 'paid' }],
      deadline: Date.now() + 5_000,
      isDurable: false,
    });
    const paid = {
      id: 'e1',
      type: 'paid',
      payload: { list: [1] },
      source: { workspaceId: 'wks0001', correlationId: 'c' },
      createdAt: new Date().toISOString(),
      size: 1,
    };
    try {
      const all = ['run1', 'run2'].map(waitOf);
      for (const wait of all) await waits.register(wait);
      const held = all.map((wait) => waits.hold(wait));
      await waits.match([paid]);
      const [first, second] = await Promise.all(held);
      (first?.event?.payload.list as number[]).push(2);

      expect(first?.event?.payload).toEqual({ list: [1, 2] });
      expect(second?.event?.payload).toEqual({ list: [1] });
      expect(paid.payload).toEqual({ list: [1] });
    } finally {
      waits.stop();
      await cache.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('a batch of events', () => {
  let folder: string;
  let cache: CacheDriver;
  /** Rounds of calls to the cache: those made before one of them is answered are one. */
  let rounds: number;
  const decided: string[] = [];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'prisme-waits-'));
    const driver = await openCache(loadConfig({}, { dataDir: folder }));
    let isOpen = false;
    cache = new Proxy(driver, {
      get(target, name) {
        const found = Reflect.get(target, name);
        if (typeof found !== 'function') return found;
        return (...args: unknown[]) => {
          if (!isOpen) rounds++;
          isOpen = true;
          const answer = found.apply(target, args);
          if (answer instanceof Promise)
            return answer.finally(() => {
              isOpen = false;
            });
          return answer;
        };
      },
    }) as CacheDriver;
    decided.length = 0;
  });
  afterEach(async () => {
    await cache.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const waitOf = (runId: string, oneOf: Wait['oneOf']): Wait => ({
    id: `${runId}/0`,
    workspaceId: 'wks0001',
    runId,
    oneOf,
    deadline: Date.now() + 5_000,
    isDurable: false,
  });
  const eventOf = (id: string, type: string, payload: JsonObject, workspaceId = 'wks0001') => ({
    id,
    type,
    payload,
    source: { workspaceId, correlationId: 'c' },
    createdAt: new Date().toISOString(),
    size: 1,
  });
  const openWaits = () => createWaits({ cache, onDecided: (wait) => void decided.push(wait.runId) });
  const outcomeOf = async (waits: Waits, wait: Wait) => (await waits.outcome(wait))?.event?.id;

  it('decides each wait by the first event it accepts, and leaves those it concerns not', async () => {
    const waits = openWaits();
    const byNumber = [1, 2, 3].map((n) => waitOf(`n${n}`, [{ event: 'paid', filters: { 'payload.n': n } }]));
    const any = waitOf('any', [{ event: 'paid' }, { event: 'sent' }]);
    const sent = waitOf('sent', [{ event: 'sent', filters: { 'payload.tags': 'b' } }]);
    const elsewhere = { ...waitOf('elsewhere', [{ event: 'paid' }]), workspaceId: 'wks0002' };
    const large = waitOf('large', [{ event: 'paid', filters: { 'payload.n': { $gt: 1 } } }]);
    for (const wait of [...byNumber, any, sent, elsewhere, large]) await waits.register(wait);

    await waits.match([
      eventOf('e0', 'other', { n: 1 }),
      eventOf('e1', 'sent', { n: 9, tags: ['a', 'b'] }),
      eventOf('e2', 'paid', { n: 2 }),
      eventOf('e3', 'paid', { n: 1 }),
      eventOf('e4', 'paid', { n: 2 }),
    ]);

    expect(await Promise.all([...byNumber, any, sent, elsewhere, large].map((wait) => outcomeOf(waits, wait)))).toEqual([
      'e3',
      'e2',
      undefined,
      'e1',
      'e1',
      undefined,
      'e2',
    ]);
    expect([...decided].sort()).toEqual(['any', 'large', 'n1', 'n2', 'sent']);
    // Decided ones cannot be found any more, the others can.
    decided.length = 0;
    await waits.match([eventOf('e5', 'paid', { n: 3 }), eventOf('e6', 'paid', { n: 1 }, 'wks0002')]);
    expect([...decided].sort()).toEqual(['elsewhere', 'n3']);
    waits.stop();
  });

  it('takes as many rounds for a hundred waits as for one', async () => {
    const waits = openWaits();
    const costs: number[] = [];
    for (const count of [1, 100]) {
      const list = Array.from({ length: count }, (_, n) => waitOf(`r${count}-${n}`, [{ event: 'paid', filters: { 'payload.n': n } }]));
      for (const wait of list) await waits.register(wait);
      rounds = 0;
      await waits.match(Array.from({ length: 100 }, (_, n) => eventOf(`e${count}-${n}`, 'paid', { n })));
      costs.push(rounds);
      expect(decided).toHaveLength(count);
      decided.length = 0;
    }
    expect(costs[1]).toBeLessThanOrEqual((costs[0] as number) + 2);
    expect(costs[1]).toBeLessThan(10);
    waits.stop();
  });

  it('mutes the event that a wait has taken for itself, and no other', async () => {
    const waits = openWaits();
    await waits.register(waitOf('r', [{ event: 'paid', cancelTriggers: true }]));
    const [first, second] = [eventOf('e1', 'paid', {}), eventOf('e2', 'paid', {})];
    expect(await waits.cancelsTriggers(first)).toBe(true);

    await waits.match([first, second]);

    expect(await waits.cancelsTriggers(first)).toBe(true);
    expect(await waits.cancelsTriggers(second)).toBe(false);
    waits.stop();
  });

  it('mutes one of several events that would do, whoever meets which first', async () => {
    const waits = openWaits();
    const events = [1, 2, 3, 4].map((n) => eventOf(`e${n}`, 'paid', { n }));
    const wait = waitOf('r', [{ event: 'paid', cancelTriggers: true }]);
    await waits.register(wait);

    const muted = await Promise.all([...events.map((event) => waits.cancelsTriggers(event)), waits.match(events)]);

    const taken = await outcomeOf(waits, wait);
    expect(events.filter((_, i) => muted[i]).map(({ id }) => id)).toEqual([taken]);
    // Told the same to whom it is delivered again, also when the run has gone on.
    await waits.remove(wait);
    const again = await Promise.all(events.map((event) => waits.cancelsTriggers(event)));
    expect(again).toEqual(muted.slice(0, 4));
    waits.stop();
  });

  it('mutes nothing for a wait that is dropped', async () => {
    const waits = openWaits();
    const wait = waitOf('r', [{ event: 'paid', filters: { 'payload.n': 1 }, cancelTriggers: true }]);
    await waits.register(wait);

    await waits.drop('wks0001', [wait.id, 'another/0']);

    expect(await waits.cancelsTriggers(eventOf('e1', 'paid', { n: 1 }))).toBe(false);
    expect(await waits.outcome(wait)).toBe(null);
    waits.stop();
  });

  it('leaves out what waits in the memory of a node that is no more', async () => {
    const dead: string[] = [];
    const other = createWaits({ cache, owner: 'other', onDecided: () => {} });
    const waits = createWaits({
      cache,
      owner: 'this',
      deadOf: async (owners) => owners.filter((one) => dead.includes(one)),
      onDecided: () => {},
    });
    const [webhook, durable] = [
      waitOf('webhook', [{ event: 'paid', cancelTriggers: true }]),
      { ...waitOf('durable', [{ event: 'paid' }]), isDurable: true },
    ];
    for (const wait of [webhook, durable]) await other.register(wait);

    dead.push('other');
    const isMuted = await waits.cancelsTriggers(eventOf('e1', 'paid', {}));
    await waits.match([eventOf('e1', 'paid', {})]);

    expect(isMuted).toBe(false);
    expect([await outcomeOf(waits, webhook), await outcomeOf(waits, durable)]).toEqual([undefined, 'e1']);
    // It was only slow.
    dead.pop();
    expect(await waits.cancelsTriggers(eventOf('e2', 'paid', {}))).toBe(true);
    for (const one of [other, waits]) one.stop();
  });
});
