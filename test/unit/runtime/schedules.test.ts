import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventBus } from '../../../mixins/bus/contract.ts';
import { loadConfig } from '../../../mixins/shared/config.ts';
import type { DocumentsDriver } from '../../../mixins/storage/documents/contract.ts';
import { openDocumentsDriver } from '../../../mixins/storage/documents/open.ts';
import { createSchedules, nextSlot, type Schedules } from '../../../services/runtime/schedules.ts';
import { eventually } from '../../support/eventually.ts';
import { testCache } from '../../support/runtime-node.ts';

const MINUTE = 60_000;
const at = (text: string) => Date.parse(text);

describe('the next slot', () => {
  it('is the next time of the pattern in its time zone', () => {
    expect(nextSlot({ cron: '0 9 * * *', timezone: 'UTC' }, at('2026-01-01T08:00:00Z'))).toBe(at('2026-01-01T09:00:00Z'));
    expect(nextSlot({ cron: '0 9 * * *', timezone: 'Europe/Paris' }, at('2026-01-01T00:00:00Z'))).toBe(at('2026-01-01T08:00:00Z'));
  });

  it('keeps the shortest time between two runs', () => {
    const last = at('2026-01-01T10:00:00Z');

    expect(nextSlot({ cron: '* * * * *', timezone: 'UTC' }, last, 15 * MINUTE, last)).toBe(at('2026-01-01T10:15:00Z'));
  });

  it('is found however many slots are too close to the last run', () => {
    const last = at('2026-01-01T10:00:00Z');

    expect(nextSlot({ cron: '* * * * * *', timezone: 'UTC' }, last, 120 * MINUTE, last)).toBe(at('2026-01-01T12:00:00Z'));
    expect(nextSlot({ cron: '* * * * * *', timezone: 'Europe/Paris' }, last, 120 * MINUTE, last)).toBe(at('2026-01-01T12:00:00Z'));
  });

  it('does not exist for a date that never comes', () => {
    expect(nextSlot({ cron: '0 0 30 2 *', timezone: 'UTC' }, at('2026-01-01T00:00:00Z'))).toBeNull();
  });
});

describe('schedules', () => {
  let cache: Awaited<ReturnType<typeof testCache>>;
  let documents: DocumentsDriver;
  let dataDir: string;
  let now: number;
  let sent: { type: string; payload: any; id: string }[];
  const open: Schedules[] = [];
  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'schedules-'));
    cache = await testCache();
    documents = await openDocumentsDriver(loadConfig({}, { dataDir }));
    now = at('2026-01-01T10:00:30Z');
    sent = [];
  });
  afterEach(async () => {
    for (const schedules of open.splice(0)) schedules.stop();
    await cache.drop();
    await documents.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const node = async () => {
    const bus = {
      send: async (type: string, payload: unknown, { id }: { id: string }) => void sent.push({ type, payload, id }),
    } as unknown as EventBus;
    const schedules = createSchedules({
      cache,
      documents,
      bus,
      defaultTimezone: 'UTC',
      minIntervalMs: MINUTE,
      log: () => {},
      now: () => now,
    });
    open.push(schedules);
    await schedules.start();
    return schedules;
  };
  const workspace = (revision: number, crons: Record<string, string[]>, apps = {}) =>
    ({
      id: 'w',
      revision,
      parts: { apps },
      root: {
        instance: '',
        children: new Map(),
        child: () => undefined,
        workspace: {
          automations: new Map(
            Object.entries(crons).map(([slug, list]) => [
              slug,
              {
                slug,
                isDisabled: false,
                isPrivate: false,
                triggers: { events: [], endpoint: null, schedules: list.map((cron) => ({ cron })) },
              },
            ]),
          ),
        },
      },
    }) as never;
  const fired = () => sent.filter(({ type }) => type === 'runtime.schedules.triggered');

  it('fire each slot once, for each automation, whatever the number of nodes', async () => {
    const [a] = await Promise.all([node(), node(), node()]);
    await a?.reconcile(workspace(1, { report: ['* * * * *'], 'report-daily': ['* * * * *'] }));

    now = at('2026-01-01T10:01:00Z');

    await eventually(() => fired().length >= 2);
    now = at('2026-01-01T10:02:00Z');
    await eventually(() => fired().length >= 4);
    expect(new Set(fired().map(({ id }) => id)).size).toBe(4);
    expect(
      fired()
        .map(({ payload }) => payload.automation)
        .sort(),
    ).toEqual(['report', 'report', 'report-daily', 'report-daily']);
  });

  it('follow the model: what is gone is not planned any more, what has the same beginning stays', async () => {
    const a = await node();
    await a.reconcile(workspace(1, { report: ['0 * * * *'], 'report-daily': ['0 0 * * *'] }));

    expect(await a.reconcile(workspace(2, { 'report-daily': ['0 0 * * *'] }))).toEqual({ added: 0, removed: 1, kept: 1 });
    expect((await a.list('w')).map(({ automation, next }) => [automation, next])).toEqual([['report-daily', '2026-01-02T00:00:00.000Z']]);
    expect(await a.reconcile(workspace(1, { report: ['0 * * * *'] }))).toMatchObject({ added: 0, removed: 0 });
  });

  it('know which workspaces an app concerns, scheduled already or not', async () => {
    const a = await node();
    await a.reconcile(workspace(1, {}, { 'Mail@current': {}, 'My@App@1': {} }));

    expect(await a.usersOf('Mail')).toEqual(['w']);
    expect(await a.usersOf('My@App')).toEqual(['w']);
    expect(await a.usersOf('Other')).toEqual([]);
  });

  it('survive a lost cache, and tell missed slots while they make up for the last', async () => {
    await (await node()).reconcile(workspace(1, { report: ['0 * * * *'] }));
    await cache.drop();
    cache = await testCache();

    const b = await node();
    expect((await b.list('w'))[0]?.next).toBe('2026-01-01T11:00:00.000Z');
    now = at('2026-01-01T14:00:05Z');

    await eventually(() => fired().length === 1 && sent.some(({ type }) => type === 'error'));
    expect(fired()[0]?.payload.startedAt).toBe('2026-01-01T14:00:00.000Z');
    expect(sent.find(({ type }) => type === 'error')?.payload).toMatchObject({
      type: 'scheduleMissed',
      details: { missed: 3, from: '2026-01-01T11:00:00.000Z' },
    });
  });

  it.each([
    ['20 hours', '2026-01-02T06:00:10Z', 1199, '2026-01-02T05:59:00.000Z', '2026-01-02T06:00:00.000Z'],
    ['a month', '2026-02-01T10:00:10Z', 44639, '2026-02-01T09:59:00.000Z', '2026-02-01T10:00:00.000Z'],
  ])('tell of every slot that was missed in %s, and make up for the last one only', async (_, until, missed, to, last) => {
    const a = await node();
    await a.reconcile(workspace(1, { minutely: ['* * * * *'] }));
    a.stop();
    now = at(until);

    await node();

    await eventually(() => fired().length === 1 && sent.some(({ type }) => type === 'error'));
    expect(fired()[0]?.payload.startedAt).toBe(last);
    expect(sent.find(({ type }) => type === 'error')?.payload.details).toMatchObject({ missed, from: '2026-01-01T10:01:00.000Z', to });
  });

  it('that are no patterns are listed with their problem', async () => {
    const a = await node();
    await a.reconcile(workspace(1, { bad: ['every day'], date: ['2026-01-01T00:00:00Z'] }));

    expect((await a.list('w')).map(({ next, problem }) => [next, typeof problem])).toEqual([
      [null, 'string'],
      [null, 'string'],
    ]);
  });
});
