/** A process subscribes to its own channel when its connection is ready, and is not seen before. */
import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { openPresence } from '../../../mixins/bus/carriers/redis/presence.ts';

class FakeClient extends EventEmitter {
  status = 'connecting';
  readonly subscribed: string[] = [];
  subscribe = async (channel: string) => this.subscribed.push(channel);
  pubsub = async () => [];
  disconnect() {}
}

const logger = { info() {}, warn() {}, error() {} };

describe('the subscription by which a process is seen', () => {
  it('waits for its connection: before, it would forbid the client to ask whether the server is ready', async () => {
    const subscriber = new FakeClient();
    const presence = openPresence({
      client: new FakeClient() as never,
      another: () => subscriber as never,
      channelOf: (name) => `alive:${name}`,
      logger,
    });

    presence.announce('one');
    presence.announce('two');
    expect(subscriber.subscribed).toEqual([]);

    subscriber.status = 'ready';
    subscriber.emit('ready');
    presence.announce('three');
    expect(subscriber.subscribed).toEqual(['alive:one', 'alive:two', 'alive:three']);

    // Coming back, the client subscribes by itself.
    subscriber.emit('ready');
    expect(subscriber.subscribed).toHaveLength(3);
    presence.stop();
  });
});
