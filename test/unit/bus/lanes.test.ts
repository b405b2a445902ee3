import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { Entry, Failure } from '../../../mixins/bus/carrier.ts';
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
  const shard = { state: 'open', lanes: new Map(), dangerous: 0, running: 0, isAlone: false, setAside: [] } as unknown as Shard;
  const window = openWindow('0');
  const running: Running[] = [];
  const started: string[] = [];
  let position = 0;
  const lanes = openLanes({
    maxInFlight: 20,
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
  /** @param crashes from two on, the item is dangerous */
  const offer = (key: string, crashes = 0) => {
    const item = window.add({ position: String(++position), body: '{}' } as Entry, { crashes } as Failure);
    item.isDangerous = crashes > 1;
    if (item.isDangerous) shard.dangerous++;
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
    offer('dangerous', 3);
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

  it('run ten at a time while something has crashed twice', async () => {
    const { offer, end, started, running } = openTest();
    for (let n = 0; n < 25; n++) offer(`${n}`, n === 20 ? 2 : 0);
    await sleep(1);
    expect(running).toHaveLength(10);

    for (const { key } of [...running].slice(1)) await end(key);
    expect(running).toHaveLength(1); // the others wait for the last one
    await end(running[0]?.key as string);
    expect(running).toHaveLength(10);
    for (const { key } of [...running]) await end(key);
    expect(started.slice(20)).toEqual(['20', '21', '22', '23', '24']);
  });

  it('go on when nothing dangerous is left, whatever still runs', async () => {
    const { offer, end, running } = openTest();
    for (let n = 0; n < 12; n++) offer(`${n}`, n === 0 ? 2 : 0);
    await sleep(1);
    expect(running).toHaveLength(10);

    await end('0');
    expect(running.map(({ key }) => key).slice(-2)).toEqual(['10', '11']);
  });

  it('run nothing beside what has crashed more often', async () => {
    const { offer, end, started, running } = openTest();
    offer('a');
    await sleep(1);
    for (const key of ['d1', 'd2']) offer(key, 3);
    offer('b', 2);
    await sleep(1);
    for (const key of ['a', 'd1', 'd2', 'b']) {
      expect(running.map((one) => one.key)).toEqual([key]);
      await end(key);
    }
    expect(started).toEqual(['a', 'd1', 'd2', 'b']);
  });

  it('let what must be alone have its turn, however much comes behind it', async () => {
    const { offer, end, started, running } = openTest();
    const busy = ['a', 'b', 'c'];
    for (const key of busy) offer(key);
    offer('d', 4);
    await sleep(1);
    for (let round = 0; round < 3 && !started.includes('d'); round++) {
      for (const key of busy) offer(key);
      for (const { key } of [...running]) await end(key);
    }
    expect(running.map((one) => one.key)).toEqual(['d']);
  });
});
