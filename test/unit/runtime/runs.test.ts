/** What is kept of a run, where, and for whom. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import { createRunStore, type Held, type RunRecord, type RunStore } from '../../../services/runtime/runs.ts';
import { temporaryCache } from '../../support/cache.ts';

const WS = 'w';
const large = 'x'.repeat(50_000);
let cache: CacheDriver;
let store: RunStore;
/** Calls of the cache since the test began, and characters of what was read. */
let calls: string[] = [];
let read = 0;
let n = 0;

beforeAll(() => {
  cache = temporaryCache();
  const watched = new Proxy(cache, {
    get: (target, key) => {
      const method = Reflect.get(target, key) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        calls.push(String(key));
        const answer = await method.apply(target, args);
        if (String(key).startsWith('get')) read += JSON.stringify(answer).length;
        return answer;
      };
    },
  });
  store = createRunStore(watched);
});
afterAll(() => cache.close());
beforeEach(() => {
  calls = [];
  read = 0;
});

function record(payload: object, more: Partial<RunRecord> = {}): RunRecord {
  const id = `r${++n}`;
  const startedAt = new Date(Date.now() + n).toISOString();
  return {
    id,
    workspaceId: WS,
    automation: 'a',
    trigger: { type: 'endpoint', value: 'a' },
    correlationId: id,
    state: 'running',
    startedAt,
    updatedAt: startedAt,
    attempts: 1,
    revision: 1,
    owner: 'node',
    request: {
      id,
      workspaceId: WS,
      automation: 'a',
      payload: { ...payload },
      trigger: { type: 'endpoint', value: 'a' },
      identity: {},
      run: { correlationId: id, depth: 0 },
      acceptedAt: Date.now(),
      isDurable: true,
      fingerprint: 'f',
    },
    ...more,
  };
}
const create = async (payload: object, more?: Partial<RunRecord>) => (await store.create(record(payload, more))) as Held;
const keysOf = async (id: string) => {
  const keys: string[] = [];
  for (const part of ['record', 'payload', 'answer'])
    for await (const key of cache.keys(`run:{${WS}}:${part}:${id}`)) if (new RegExp(`:${id}(:|$)`).test(key)) keys.push(part);
  return keys;
};

describe('a small run', () => {
  it('is one record, with its payload and its answer', async () => {
    const held = await create({ body: 'small' });
    expect(calls).toEqual(['addMembers', 'set', 'addScored', 'addMembers']);
    expect((await store.find(WS, held.record.id))?.record.request.payload).toEqual({ body: 'small' });

    calls = [];
    await store.close(held, 'done', { answer: { body: 'short' } });

    expect(calls.filter((call) => call !== 'expire')).toEqual([
      'set',
      'removeScored',
      'addScored',
      'removeMembers',
      'removeMembers',
      'delete',
    ]);
    expect(await keysOf(held.record.id)).toEqual(['record']);
    expect((await store.find(WS, held.record.id))?.record.answer).toEqual({ body: 'short' });
  });
});

describe('a large payload', () => {
  const payload = { body: { text: large }, headers: {} };

  it('is there for who created the run and for who claims it, and for nobody who looks', async () => {
    const held = await create(payload);
    expect(held.record.request.payload).toEqual(payload);

    const found = (await store.find(WS, held.record.id)) as Held;
    expect(found.record.request).toMatchObject({ payload: {}, fingerprint: 'f' });
    expect(read).toBeLessThan(3_000);

    const claimed = (await store.claim(found, 'other', 1)) as Held;
    expect(claimed.record).toMatchObject({ owner: 'other', attempts: 2, request: { payload } });
    const asleep = (await store.change(claimed, { state: 'waiting', owner: undefined } as Partial<RunRecord>)) as Held;
    expect((await store.claim((await store.find(WS, held.record.id)) as Held, 'third'))?.record.request.payload).toEqual(payload);
    expect(asleep.record.request.payload).toEqual(payload);
  });

  it('goes when the run is done, and stays when it may be begun again', async () => {
    const [done, failed] = [await create(payload), await create(payload)];
    await store.close(done, 'done');
    await store.close(failed, 'failed', { error: { error: 'E', message: 'm' } });

    expect(await keysOf(done.record.id)).toEqual(['record']);
    const reopened = (await store.reopen((await store.find(WS, failed.record.id)) as Held, {})) as Held;
    expect((await store.claim(reopened, 'node'))?.record.request.payload).toEqual(payload);
  });

  it('of a repetition takes the place of none', async () => {
    const held = await create(payload);
    const again = record({ body: { text: 'y'.repeat(50_000) } }, { id: held.record.id });

    expect(await store.create(again)).toBeNull();
    // Also of one that comes at the same time.
    const twin = record({});
    const both = ['1', '2'].map((text) => store.create({ ...record({ body: text.repeat(50_000) }), id: twin.id }));
    const winner = (await Promise.all(both)).find(Boolean) as Held;

    expect(await keysOf(held.record.id)).toEqual(['record', 'payload']);
    expect(await keysOf(twin.id)).toEqual(['record', 'payload']);
    const claimed = await store.claim((await store.find(WS, twin.id)) as Held, 'node');
    expect(claimed?.record.request.payload).toEqual(winner.record.request.payload);
  });

  it('that is gone ends its run, with the reason', async () => {
    const held = await create(payload);
    for await (const key of cache.keys(`run:{${WS}}:payload:${held.record.id}:`)) await cache.delete(key);

    expect(await store.claim((await store.find(WS, held.record.id)) as Held, 'node')).toBeNull();

    expect((await store.find(WS, held.record.id))?.record).toMatchObject({ state: 'dead', error: { error: 'RunLostError' } });
  });
});

it.each([
  ['small', 10],
  ['large', 50_000],
])('a %s body of bytes is bytes again for who claims its run, however often', async (_size, length) => {
  const rawBody = Buffer.alloc(length, 0xff);
  const held = await create({ body: '', rawBody });

  for (const owner of ['second', 'third']) {
    const claimed = (await store.claim((await store.find(WS, held.record.id)) as Held, owner)) as Held;
    expect(rawBody.equals(claimed.record.request.payload.rawBody as Uint8Array)).toBe(true);
    await store.change(claimed, { state: 'waiting' });
  }
});

describe('a large answer', () => {
  const answer = { status: 200, headers: {}, body: large, encoding: 'text' };

  it('is there for who asks again, and for nobody who looks', async () => {
    const held = await create({});
    await store.close(held, 'done', { answer });

    const [looked] = await store.findMany(WS, [held.record.id]);
    expect(looked?.answer).toBeUndefined();
    expect(read).toBeLessThan(2_000);
    expect((await store.find(WS, held.record.id))?.record.answer).toEqual(answer);
  });

  it('of a node that has lost the run is not that of the node that has it', async () => {
    const lost = await create({});
    const claimed = (await store.claim((await store.find(WS, lost.record.id)) as Held, 'other')) as Held;
    await store.close(claimed, 'done', { answer });

    expect(await store.close(lost, 'done', { answer: { ...answer, body: 'y'.repeat(50_000) } })).toBe(false);

    expect((await store.find(WS, lost.record.id))?.record.answer).toEqual(answer);
  });
});

it('a record of an earlier version, with payload and answer inside, is read, claimed and ended', async () => {
  const old = record({ body: large }, { state: 'accepted', answer: { body: large } });
  await cache.set(`run:{${WS}}:record:${old.id}`, old);

  const found = (await store.find(WS, old.id)) as Held;
  expect(found.record.answer).toEqual({ body: large });
  const claimed = (await store.claim(found, 'node')) as Held;
  expect(claimed.record.request.payload).toEqual({ body: large });
  expect(await store.close(claimed, 'done', { answer: { body: large } })).toBe(true);

  const { record: ended } = (await store.find(WS, old.id)) as Held;
  expect(ended).toMatchObject({ state: 'done', answer: { body: large } });
  expect(ended.request.payload).toEqual({});
});

describe('the list', () => {
  it('loads no more runs than it shows, and nothing large', async () => {
    for (let i = 0; i < 40; i++) await store.close(await create({ body: large }), 'done', { answer: { body: large } });
    const open = await create({ body: large });
    read = 0;

    expect((await store.list(WS, 1)).map(({ id }) => id)).toEqual([open.record.id]);
    expect(read).toBeLessThan(2_000);
    read = 0;
    expect(await store.list(WS, 5, 'done')).toHaveLength(5);
    expect(read).toBeLessThan(10_000);
  });

  it('goes on behind what is gone or in another state, newest first', async () => {
    const waiting = await create({}, { state: 'waiting' });
    const gone = await Promise.all(Array.from({ length: 9 }, () => create({})));
    const newer = await create({}, { state: 'waiting' });
    for (const {
      record: { id },
    } of gone)
      await cache.delete(`run:{${WS}}:record:${id}`);
    const running = await create({});

    expect((await store.list(WS, 2, 'waiting')).map(({ id }) => id)).toEqual([newer.record.id, waiting.record.id]);
    expect((await store.list(WS, 3)).map(({ id }) => id)).toEqual([running.record.id, newer.record.id, waiting.record.id]);
  });
});
