/** Why a store failed is in the log of the node where it failed, once; callers hear that it failed. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { causesMiddleware } from '../../../mixins/shared/causes.middleware.ts';
import { fault } from '../../../mixins/shared/errors.ts';

describe('the log of causes', () => {
  const lines: string[] = [];
  let broker: ServiceBroker;

  beforeEach(async () => {
    lines.length = 0;
    jest.spyOn(console, 'warn').mockImplementation((...args) => void lines.push(args.map(String).join(' ')));
    broker = new ServiceBroker({
      logger: {
        type: 'Console',
        options: { level: 'warn', formatter: (_type: string, args: unknown[]) => args },
      } as never,
      middlewares: [causesMiddleware()],
    });
    broker.createService({
      name: 'store',
      actions: {
        read() {
          throw fault('UpstreamUnavailable', { message: 'The store does not answer.', cause: new Error('ECONNREFUSED 10.0.0.3') });
        },
        refuse() {
          throw fault('ObjectNotFoundError', { cause: new Error('not worth a line') });
        },
        outer: (ctx) => ctx.call('store.read'),
      },
    });
    await broker.start();
  });
  afterEach(async () => {
    await broker.stop();
    jest.restoreAllMocks();
  });

  it('names the action and the cause once, however many actions the failure passes', async () => {
    await expect(broker.call('store.outer')).rejects.toMatchObject({ message: 'The store does not answer.' });

    expect(lines.filter((line) => line.includes('ECONNREFUSED'))).toEqual([
      expect.stringMatching(/^store\.read: UpstreamUnavailable: The store does not answer\. Error: ECONNREFUSED 10\.0\.0\.3/),
    ]);
  });

  it('is silent about what callers did wrong', async () => {
    await expect(broker.call('store.refuse')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });

    expect(lines).toEqual([]);
  });
});
