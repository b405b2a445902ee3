import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { createThrottle, createTurns, RunTurn, rateOf } from '../../../services/runtime/limits.ts';
import { testCache } from '../../support/runtime-node.ts';

describe('rates of a workspace', () => {
  const config = loadConfig({}, {});

  it('have the defaults of the product, changed by reserved secrets given as text or number', () => {
    expect(rateOf('automations', config, {})).toEqual({ perSecond: 100, burst: 400 });
    expect(rateOf('emits', config, { ratelimit_emits: '5', ratelimit_emits_burst: 7 })).toEqual({ perSecond: 5, burst: 7 });
  });

  it('are off at zero, by secret and by configuration', () => {
    expect(rateOf('emits', config, { ratelimit_emits: 0 })).toBeNull();
    expect(rateOf('emits', config, { ratelimit_disabled: 'yes' })).toBeNull();
    expect(rateOf('emits', { ...config, rateLimitDisabled: true }, {})).toBeNull();
  });
});

describe('throttling', () => {
  let cache: Awaited<ReturnType<typeof testCache>>;
  beforeEach(async () => {
    cache = await testCache();
  });
  afterEach(() => cache.drop());

  it('delays what exceeds the bucket of the whole cluster, and refuses nothing', async () => {
    const config = loadConfig({}, { rateFetchs: 50, rateFetchsBurst: 10 });
    const nodes = [createThrottle(cache, config), createThrottle(cache, config)];
    const began = Date.now();

    const slept = await Promise.all(Array.from({ length: 20 }, (_, n) => (nodes[n % 2] as (typeof nodes)[0])('w', {}, 'fetchs', 1)));

    // 20 tokens, 10 in the bucket, 50 a second: the last one waits about a fifth of a second.
    expect(Date.now() - began).toBeGreaterThan(150);
    expect(slept.filter((ms) => ms > 0).length).toBeGreaterThanOrEqual(9);
  });

  it('lets a loop ask for more than the bucket holds', async () => {
    const throttle = createThrottle(cache, loadConfig({}, { rateRepeats: 10_000, rateRepeatsBurst: 100 }));

    expect(await throttle('w', {}, 'repeats', 500)).toBeGreaterThan(0);
  });
});

describe('turns', () => {
  it('are given in the round: a busy workspace waits behind itself only', async () => {
    const turns = createTurns({ total: 2, perWorkspace: 1 });
    const order: string[] = [];
    const run = async (workspace: string, name: string) => {
      const done = await turns.take(workspace);
      order.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      done();
    };

    await Promise.all([...Array.from({ length: 5 }, (_, n) => run('busy', `busy${n}`)), run('calm', 'calm0'), run('calm', 'calm1')]);

    expect(order.indexOf('calm0')).toBeLessThan(2);
    expect(order.indexOf('calm1')).toBeLessThan(5);
    expect(order).toHaveLength(7);
    expect([turns.busy(), turns.waiting()]).toEqual([0, 0]);
  });
});

describe('the turn of a run', () => {
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  it('is given back while it rests, and taken again before it goes on', async () => {
    const turns = createTurns({ total: 10, perWorkspace: 1 });
    const [first, second] = [new RunTurn(turns, 'w'), new RunTurn(turns, 'w')];
    expect(first.take()).toBeUndefined();
    let isSecondOn = false;
    void second.take()?.then(() => {
      isSecondOn = true;
    });
    await settled();
    expect(isSecondOn).toBe(false);

    first.rest();
    await settled();
    expect(isSecondOn).toBe(true);
    const back = first.take();
    expect(first.take()).toBe(back); // branches that are woken together take one turn
    second.end();
    await back;
    expect(turns.busy()).toBe(1);
    first.end();
    first.end();
    expect(turns.busy()).toBe(0);
  });

  it('is not kept when the run has ended while it was waiting for one', async () => {
    const turns = createTurns({ total: 10, perWorkspace: 1 });
    const [first, second] = [new RunTurn(turns, 'w'), new RunTurn(turns, 'w')];
    void first.take();
    const waiting = second.take();
    second.end();
    expect(second.take()).toBeUndefined();

    first.end();

    await waiting;
    expect(turns.busy()).toBe(0);
  });
});
