import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { Entry } from '../../../mixins/bus/carrier.ts';
import { openLanes, type Turn } from '../../../mixins/bus/lanes.ts';
import type { Shard } from '../../../mixins/bus/shard.ts';
import { systemTimers } from '../../../mixins/bus/timers.ts';
import { type Item, openWindow } from '../../../mixins/bus/window.ts';

interface Running {
  key: string;
  end: () => void;
}

/** Lanes of one shard whose turns end when the test says so. */
function openTest() {
  const shard = { state: 'open', lanes: new Map(), dangerous: 0, running: 0, hasSetAside: false } as unknown as Shard;
  const window = openWindow('0');
  const running: Running[] = [];
  const started: string[] = [];
  let position = 0;
  const lanes = openLanes({
    maxInFlight: 10,
    batchSize: 1,
    timers: systemTimers,
    fetch: async () => [],
    mayRun: () => true,
    turned: () => {},
    perform: ([turn]: Turn[]) =>
      new Promise<Map<Item, number>>((resolve) => {
        const { lane, items } = turn as Turn;
        started.push(lane.key);
        running.push({
          key: lane.key,
          end: () => {
            for (const item of items) if (item.isDangerous) shard.dangerous--;
            resolve(new Map());
          },
        });
      }),
  });
  const offer = (key: string, isDangerous = false) => {
    const item = window.add({ position: String(++position), body: '{}' } as Entry);
    item.isDangerous = isDangerous;
    if (isDangerous) shard.dangerous++;
    lanes.offer(shard, item, key);
  };
  const end = async (key: string) => {
    const at = running.findIndex((one) => one.key === key);
    running.splice(at, 1)[0]?.end();
    await sleep(1);
  };
  return { offer, end, started, running };
}

describe('lanes', () => {
  it('run side by side, and in order within one', async () => {
    const { offer, end, started, running } = openTest();
    for (const key of ['a', 'b', 'a']) offer(key);
    await sleep(1);
    expect(started).toEqual(['a', 'b']);

    await end('a');
    expect(started).toEqual(['a', 'b', 'a']);
    expect(running).toHaveLength(2);
  });

  it('go on after the last dangerous item, which they had made way for', async () => {
    const { offer, end, started } = openTest();
    offer('dangerous', true);
    await sleep(1);
    // They come while it runs, and nothing comes after them.
    for (const key of ['b', 'c', 'b']) offer(key);
    await sleep(1);
    expect(started).toEqual(['dangerous']);

    await end('dangerous');
    expect(started).toEqual(['dangerous', 'b', 'c']);
    await end('b');
    expect(started).toEqual(['dangerous', 'b', 'c', 'b']);
  });

  it('run one thing at a time while there is something dangerous', async () => {
    const { offer, end, started, running } = openTest();
    offer('a');
    await sleep(1);
    for (const key of ['d1', 'd2']) offer(key, true);
    offer('b');
    await sleep(1);
    expect(started).toEqual(['a']);

    for (const key of ['a', 'd1', 'd2', 'b']) {
      expect(running.map((one) => one.key)).toEqual([key]);
      await end(key);
    }
    expect(started).toEqual(['a', 'd1', 'd2', 'b']);
  });
});
