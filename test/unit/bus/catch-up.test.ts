import { describe, expect, it } from '@jest/globals';
import { catchUp, createFeedMemory } from '../../../mixins/bus/catch-up.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { ulid } from '../../../mixins/shared/ids.ts';

const events = (count: number) => Array.from({ length: count }, () => ({ id: ulid() }) as PrismeEvent);

describe('catching up', () => {
  it('hands over each event once, although the feed is behind what the client has seen', async () => {
    const log = events(10);
    const feed = createFeedMemory();
    const afterId = (log[3] as PrismeEvent).id;
    let pending: PrismeEvent[] = [];
    let leftOut: (id: string) => boolean = () => false;
    const received: PrismeEvent[] = [];
    const bring = (event: PrismeEvent) => {
      if (!leftOut(event.id)) pending.push(event);
      feed.add(event.id);
    };
    bring(log[0] as PrismeEvent); // the client has this one and three more
    const reading = catchUp({
      feed,
      afterId,
      read: async () => log.slice(log.findIndex(({ id }) => id === afterId) + 1),
      onCaughtUp: () => {
        pending = [];
      },
      isGone: () => false,
    });
    for (const event of log.slice(1)) bring(event);
    log.push(...events(2)); // in the log, not yet brought
    const { past, replayed } = await reading;
    received.push(...(past ?? []));
    leftOut = replayed.has;
    expect(replayed.isOver()).toBe(false);
    for (const event of [...log.slice(10), ...events(1)]) bring(event);
    received.push(...pending);

    expect(received).toHaveLength(9);
    expect(received.slice(0, 8)).toEqual(log.slice(4, 12));
    expect(replayed.isOver()).toBe(true);
  });

  it('does not wait for a feed that has passed long ago, and says when nobody can tell', async () => {
    const options = { feed: createFeedMemory(), onCaughtUp: () => {}, isGone: () => false };
    const old = '01HZX000000000000000000000';

    expect((await catchUp({ ...options, afterId: old, read: async () => [] })).past).toEqual([]);
    expect((await catchUp({ ...options, afterId: 'unknown', read: async () => null })).past).toBeNull();
  });

  it('remembers the latest events of a feed only', () => {
    const feed = createFeedMemory(2);
    for (const id of ['a', 'b', 'c']) feed.add(id);

    expect(['a', 'b', 'c'].map(feed.hasPassed)).toEqual([false, true, true]);
  });
});
