import { describe, expect, it } from '@jest/globals';
import { DAY } from '../../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { ulid } from '../../../mixins/shared/ids.ts';
import { sqliteDatalake } from '../../../mixins/storage/datalake/drivers/sqlite.ts';
import { csvCell, exportStream } from '../../../services/events/export.ts';
import { keep } from '../../../services/events/history.service.ts';
import { createMappings, type Mappings } from '../../../services/events/mappings.ts';
import { preprocess } from '../../../services/events/preprocess.ts';
import { cleanUp, type RetentionRules, scheduleDeletion } from '../../../services/events/retention.ts';
import { temporaryCache } from '../../support/cache.ts';

const event = (over: object = {}, createdAt = new Date().toISOString()): PrismeEvent =>
  ({
    id: ulid(),
    type: 'a.b',
    createdAt,
    size: 100,
    payload: {},
    source: { correlationId: 'c', workspaceId: 'w' },
    ...over,
  }) as PrismeEvent;
const alive = { signal: new AbortController().signal, bury: () => {} };
const counters = () => ({ stored: 0, skipped: 0, retries: 0, refused: 0 });

describe('the history', () => {
  it('tries a store that refuses until it takes the batch', async () => {
    const count = counters();
    let calls = 0;
    const store = async () => {
      if (++calls < 3) throw new Error('429');
      return { refused: [] };
    };
    await keep([event()], alive, { datalake: { store } as never, counters: count, warn: () => {} });

    expect(count).toEqual({ stored: 1, skipped: 0, retries: 2, refused: 0 });
  });

  it('buries what the store will never take and leaves out what asks not to be kept', async () => {
    const count = counters();
    const buried: string[] = [];
    const [bad, good, unkept] = [event({ id: 'bad' }), event(), event({ options: { persist: false } })];
    await keep(
      [bad, good, unkept],
      { ...alive, bury: ({ id }, reason) => void buried.push(`${id}: ${(reason as Error).message}`) },
      { datalake: { store: async () => ({ refused: [{ event: bad, reason: 'mapping' }] }) } as never, counters: count, warn: () => {} },
    );

    expect(buried).toEqual(['bad: mapping']);
    expect(count).toEqual({ stored: 1, skipped: 1, retries: 0, refused: 1 });
  });

  it('lets go of the batch when the node stops, so that another node gets it', async () => {
    const stop = new AbortController();
    const store = async () => {
      stop.abort(new Error('the node stops'));
      throw new Error('down');
    };

    await expect(
      keep([event()], { ...alive, signal: stop.signal }, { datalake: { store } as never, counters: counters(), warn: () => {} }),
    ).rejects.toThrow('the node stops');
  });

  it('redacts tokens and keys without touching the event itself', () => {
    const login = event({ type: 'gateway.login.succeeded', payload: { id: 'u', session: { id: 's', token: 'secret' } } });

    expect(preprocess(login).payload).toEqual({ id: 'u', session: { id: 's', token: 'REDACTED' } });
    expect((login.payload as any).session.token).toBe('secret');
    expect(preprocess(event({ type: 'apikeys.created', payload: { apiKey: 'k', subjectId: 'w' } })).payload).toEqual({
      apiKey: 'REDACTED',
      subjectId: 'w',
    });
  });

  it('keeps a mapped copy of the payload when asked', () => {
    expect(preprocess(event({ payload: { tokens: 3 }, options: { aggPayload: true } }))).toMatchObject({ aggPayload: { tokens: 3 } });
  });
});

describe('mappings', () => {
  const section = {
    types: {
      'llm.completion': { schema: { tokens: { type: 'number' }, model: { type: 'string' } } },
      'shop.sale': { schema: { type: 'object', properties: { amount: { type: 'number', format: 'double' } } } },
      broken: { schema: 'x' },
    },
  };
  const emitted = (type: string, payload: object, over: object = {}) =>
    event({ type, payload, source: { correlationId: 'c', workspaceId: 'w', serviceTopic: 'topic:runtime:emit' }, ...over });
  const kept = async (mappings: Mappings, events: PrismeEvent[]) => {
    const stored: (PrismeEvent & { aggPayload?: unknown })[] = [];
    const store = async (batch: PrismeEvent[]) => {
      stored.push(...batch);
      return { refused: [] };
    };
    await keep(events, alive, { datalake: { store } as never, counters: counters(), warn: () => {}, mappings });
    return stored.map(({ aggPayload }) => aggPayload);
  };

  it('copy the declared fields in their types', async () => {
    const mappings = createMappings(async () => section);

    expect(
      await kept(mappings, [
        emitted('llm.completion', { tokens: '12', model: 'm', prompt: 'long' }),
        emitted('llm.completion', { tokens: 'many' }),
        emitted('shop.sale', { amount: 2.5 }),
        emitted('shop.sale', { amount: 2.5 }, { options: { aggPayload: false } }),
        emitted('broken', { a: 1 }),
        emitted('other', { a: 1 }, { options: { aggPayload: true } }),
      ]),
    ).toEqual([{ tokens: 12, model: 'm' }, {}, { amount: 2.5 }, undefined, undefined, { a: 1 }]);
  });

  it('hold from the event that changes them on, and their absence holds up nothing', async () => {
    let answer: () => Promise<unknown> = async () => undefined;
    const mappings = createMappings(() => answer());
    const sale = () => emitted('shop.sale', { amount: 1 });
    const before = await kept(mappings, [sale()]);
    answer = async () => section;
    const unchanged = await kept(mappings, [sale()]);
    const change = event({
      type: 'workspaces.updated',
      source: { correlationId: 'c', workspaceId: 'w', serviceTopic: 'workspaces.updated' },
    });
    const after = await kept(mappings, [change, sale()]);
    answer = () => Promise.reject(new Error('no such service'));
    const failed = await kept(mappings, [change, sale()]);

    expect([before, unchanged, after, failed]).toEqual([[undefined], [undefined], [undefined, { amount: 1 }], [undefined, undefined]]);
  });
});

describe('exports', () => {
  it('write CSV that a spreadsheet reads and does not run', async () => {
    const lake = await sqliteDatalake(':memory:');
    await lake.store([event({ payload: { text: 'a,"b"\n', sum: 3 } }, '2026-01-01T00:00:00.000Z')]);
    let text = '';
    for await (const chunk of exportStream(
      lake,
      { workspaceId: 'w' },
      { format: 'csv', columns: ['type', 'payload.text', 'payload.sum', 'payload.none'] },
    ))
      text += chunk;
    await lake.close();

    expect(text).toBe('type,payload.text,payload.sum,payload.none\r\na.b,"a,""b""\n",3,\r\n');
    expect(csvCell('=cmd()')).toBe("'=cmd()");
    expect(csvCell({ a: 1 })).toBe('"{""a"":1}"');
  });

  it('go on over pages', async () => {
    const lake = await sqliteDatalake(':memory:');
    await lake.store(Array.from({ length: 2_500 }, (_, n) => event({ payload: { n } }, new Date(n).toISOString())));
    let text = '';
    for await (const chunk of exportStream(lake, { workspaceId: 'w' }, { format: 'jsonl' })) text += chunk;
    await lake.close();

    expect(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).payload.n),
    ).toEqual(Array.from({ length: 2_500 }, (_, n) => n));
  });
});

describe('retention', () => {
  const rules: RetentionRules = {
    eventsRetentionDays: 180,
    eventsWorkspaceMaxBytes: -1,
    eventsScheduledDeletionDays: 90,
    eventsCleanupMaxEvents: -1,
    eventsCleanupInactivityDays: 15,
  };
  const ago = (days: number) => new Date(Date.now() - days * DAY).toISOString();
  const open = async () => ({
    lake: await sqliteDatalake(':memory:'),
    cache: temporaryCache(),
  });

  it('removes what is too old, and only tells when asked to', async () => {
    const { lake, cache } = await open();
    await lake.store([event({}, ago(200)), event({}, ago(10))]);

    expect((await cleanUp(lake, cache, rules, { dryRun: true })).expiredEvents?.removed).toBe(0);
    expect((await cleanUp(lake, cache, rules)).expiredEvents?.removed).toBe(1);
    expect((await lake.search({ workspaceId: 'w' })).total).toBe(1);
    await Promise.all([lake.close(), cache.close()]);
  });

  it('removes the events of a deleted workspace when their time has come', async () => {
    const { lake, cache } = await open();
    await lake.store([event(), event({ source: { correlationId: 'c', workspaceId: 'other' } })]);
    await scheduleDeletion(cache, 'w', Date.now() + DAY);

    expect((await cleanUp(lake, cache, rules)).deletedWorkspaces).toEqual([]);
    expect((await cleanUp(lake, cache, rules, { now: Date.now() + 2 * DAY })).deletedWorkspaces).toEqual([
      { workspaceId: 'w', removed: 1 },
    ]);
    expect((await lake.usage()).map(({ workspaceId }) => workspaceId)).toEqual(['other']);
    await Promise.all([lake.close(), cache.close()]);
  });

  it('cuts the oldest events of a workspace that is too large, and forgets small silent ones', async () => {
    const { lake, cache } = await open();
    await lake.store(Array.from({ length: 100 }, (_, n) => event({}, ago(100 - n))));
    await lake.store([event({ source: { correlationId: 'c', workspaceId: 'silent' } }, ago(30))]);
    const report = await cleanUp(lake, cache, { ...rules, eventsWorkspaceMaxBytes: 5_000, eventsCleanupMaxEvents: 10 });
    const [left] = await lake.usage();

    expect(report.oversizedWorkspaces).toHaveLength(1);
    expect(report.inactiveWorkspaces).toEqual([{ workspaceId: 'silent', events: 1, removed: 1 }]);
    expect(left?.bytes).toBeLessThanOrEqual(5_000);
    expect(left?.bytes).toBeGreaterThan(4_000);
    await Promise.all([lake.close(), cache.close()]);
  });
});
