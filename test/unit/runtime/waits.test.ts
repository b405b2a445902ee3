import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { compile } from '../../../mixins/filters/condition.ts';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { openCache } from '../../../mixins/storage/cache/cache.mixin.ts';
import { createWaits, filterCondition } from '../../../services/runtime/waits.ts';

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
