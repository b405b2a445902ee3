/** What is looked at, what is told of it to whom, and for how long it is remembered. */
import { describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { moduleError, runChecks } from '../../../mixins/readiness/checks.ts';
import type { Readiness } from '../../../mixins/readiness/contract.ts';
import { readiness } from '../../../mixins/readiness/readiness.mixin.ts';
import { brokerCheck, driverOf } from '../../../mixins/readiness/stores.ts';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { merged, platformReadiness } from '../../../services/gateway/readiness.ts';
import { eventually } from '../../support/eventually.ts';

const DATABASE = { module: 'database', driver: 'mongodb' };
const CACHE = { module: 'cache', driver: 'redis' };
const READY: Readiness = { status: 'ready', modulesReady: [DATABASE, CACHE], errors: [] };
const broken = (message = 'x'): Readiness => ({
  status: 'error',
  modulesReady: [CACHE],
  errors: [{ ...DATABASE, error: 'ECONNREFUSED', message }],
});

describe('looks at modules', () => {
  it('tell of each one, whatever becomes of the others', async () => {
    const failed: unknown[] = [];
    const answer = await runChecks(
      [
        { ...CACHE, check: async () => 1 },
        { ...DATABASE, check: () => new Promise(() => {}) },
        {
          module: 'broker',
          driver: 'redis',
          check: () => {
            throw fault('ServiceUnavailable', { message: 'it stood at 10.1.2.3' });
          },
        },
      ],
      ({ module }) => failed.push(module),
      20,
    );

    expect(answer).toEqual({
      status: 'error',
      modulesReady: [CACHE],
      errors: [
        { ...DATABASE, error: 'TimeoutError', message: 'It did not answer in time.' },
        { module: 'broker', driver: 'redis', error: 'ServiceUnavailable', message: 'It does not work; the log of the node says more.' },
      ],
    });
    expect(failed.sort()).toEqual(['broker', 'database']);
  });

  it('do not ask the bus how far groups are behind: a node that has much to catch up with is ready', async () => {
    const bus = { size: async () => 1_000_000, lag: () => new Promise<never>(() => {}) };
    const check = brokerCheck(loadConfig({}, { busUrl: 'sqlite:bus.db' }), bus as never);

    const answer = await runChecks([check], () => {}, 20);

    expect(answer).toEqual({ status: 'ready', modulesReady: [{ module: 'broker', driver: 'sqlite' }], errors: [] });
  });

  it.each([
    [Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:27017'), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
    [fault('ServiceUnavailable', { cause: Object.assign(new Error('getaddrinfo db.secret'), { code: 'ENOTFOUND' }) }), 'ENOTFOUND'],
    [Object.assign(new Error('mongodb://user:s3cret@db'), { name: 'MongoServerSelectionError' }), 'MongoServerSelectionError'],
    [Object.assign(new Error('s3cret'), { code: 'mongodb://user:s3cret@db', name: 's3cret at 10.0.0.7' }), 'Error'],
    ['redis://:s3cret@10.0.0.7', 'Error'],
    [undefined, 'Error'],
  ])('never tell where a module is, nor how it is entered: %#', (error, name) => {
    const told = moduleError(DATABASE, error);

    expect(told.error).toBe(name);
    expect(JSON.stringify(told)).not.toMatch(/s3cret|10\.0|27017|secret/);
  });

  it('name a driver by the scheme of its URL alone', () => {
    expect(['mongodb+srv://u:p@h/d', 'rediss://:p@h', 'https://u:p@h', 's3://k:s@h/b', undefined].map((url) => driverOf(url))).toEqual([
      'mongodb',
      'redis',
      'elasticsearch',
      's3',
      'sqlite',
    ]);
  });
});

describe('the action of a service', () => {
  it('waits for a module that hangs, instead of asking it again and again', async () => {
    let asked = 0;
    let isMended = false;
    let answer = () => {};
    const broker = new ServiceBroker({ logger: false });
    const checks = () => [
      {
        ...DATABASE,
        check: () => {
          asked++;
          if (isMended) return Promise.resolve();
          return new Promise<void>((done) => {
            answer = done;
          });
        },
      },
    ];
    broker.createService({ name: 'some', mixins: [readiness(checks, 50)] });
    await broker.start();
    try {
      const [one, two] = await Promise.all([broker.call('some.readiness'), broker.call('some.readiness')]);
      const third = await broker.call('some.readiness');
      for (const told of [one, two, third]) expect(told).toMatchObject({ status: 'error', errors: [{ error: 'TimeoutError' }] });
      expect(asked).toBe(1);
      answer();
      await eventually(async () => expect(await broker.call('some.readiness')).toMatchObject({ status: 'error' }));
      expect(asked).toBe(2);
      isMended = true;
      answer();
      expect(await broker.call('some.readiness')).toEqual({ status: 'ready', modulesReady: [DATABASE], errors: [] });
    } finally {
      await broker.stop();
    }
  });
});

describe('the answer of several nodes', () => {
  it('shows the one whose module is broken, and does not call that module ready', () => {
    expect(
      merged([
        { node: 'a', answer: READY },
        { node: 'b', answer: broken() },
      ]),
    ).toEqual({
      status: 'error',
      modulesReady: [CACHE],
      errors: [{ ...DATABASE, error: 'ECONNREFUSED', message: 'x', node: 'b' }],
    });
  });

  it('is an error when there is no node', () => {
    expect(merged([])).toMatchObject({ status: 'error', modulesReady: [], errors: [{ module: 'node', error: 'ServiceUnavailable' }] });
  });
});

describe('the readiness of the platform', () => {
  function platform(nodes: Record<string, () => Promise<Readiness>>) {
    const asked: string[] = [];
    let at = 1_000;
    const readiness = platformReadiness(
      {
        core: { config: { readinessCacheTtlMs: 30_000 } },
        logger: { warn: () => {} },
        systemMeta: () => ({}),
        broker: {
          started: true,
          registry: {
            getServiceList: () =>
              Object.keys(nodes).flatMap((nodeID) => ['gateway', 'workspaces', 'runtime', 'events'].map((name) => ({ name, nodeID }))),
          },
          call(action: string, _params: object, { nodeID }: { nodeID: string }) {
            asked.push(`${nodeID} ${action}`);
            return nodes[nodeID]?.();
          },
        },
      } as never,
      () => at,
    );
    return {
      readiness,
      asked,
      pass: (ms: number) => {
        at += ms;
      },
    };
  }

  it('asks every node once, however many ask, and again when its time is over', async () => {
    const { readiness, asked, pass } = platform({ a: async () => READY, b: async () => READY });

    await Promise.all([readiness.ofPlatform('runtime', true), readiness.ofPlatform('runtime', false)]);
    pass(29_000);
    await readiness.ofPlatform('runtime', true);
    expect(asked).toEqual(['a runtime.readiness', 'b runtime.readiness']);
    pass(2_000);
    await readiness.ofPlatform(null, true);
    expect(asked).toHaveLength(10);
  });

  it('remembers trouble for a second only', async () => {
    let isBroken = true;
    const { readiness, pass } = platform({ a: async () => (isBroken ? broken() : READY) });

    expect((await readiness.ofPlatform('events', false)).status).toBe(400);
    isBroken = false;
    expect((await readiness.ofPlatform('events', false)).status).toBe(400);
    pass(1_001);
    expect(await readiness.ofPlatform('events', false)).toEqual({
      status: 200,
      body: { status: 'ready', services: { events: { status: 'ready' } } },
    });
  });

  it('shows a node that does not answer', async () => {
    const { readiness } = platform({
      a: async () => READY,
      b: async () => {
        throw Object.assign(new Error('Request is timed out when call on b at 10.0.0.7'), { name: 'RequestTimeoutError' });
      },
    });

    const { status, body } = await readiness.ofPlatform('events', true);
    expect(status).toBe(400);
    expect(body.services).toEqual({
      events: {
        status: 'error',
        response: {
          status: 'error',
          modulesReady: [DATABASE, CACHE],
          errors: [
            { module: 'node', driver: 'transporter', error: 'RequestTimeoutError', message: 'The node does not answer.', node: 'b' },
          ],
        },
      },
    });
    expect(JSON.stringify(await readiness.ofPlatform('events', false))).not.toMatch(/errors|driver|"node"/);
  });

  it('refuses a service it does not know, and says which there are', async () => {
    const { readiness, asked } = platform({ a: async () => READY });

    await expect(readiness.ofPlatform('runtime,rutnime', true)).rejects.toMatchObject({
      type: 'BadParametersError',
      data: { services: ['gateway', 'workspaces', 'runtime', 'events'] },
    });
    expect(asked).toEqual([]);
  });
});
