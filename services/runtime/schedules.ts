/**
 * schedules — automations that run at given times. What should be scheduled is derived from each model revision and kept as documents, so a
 * lost cache or a restart loses nothing; what is due next is a sorted set that every node looks at, and of all nodes one fires each slot.
 *
 * A firing is the durable event `runtime.schedules.triggered`, whose id is derived from schedule and slot: fired twice it is one event.
 */
import { createHash } from 'node:crypto';
import { Cron } from 'croner';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { DAY, SECOND } from '../../mixins/shared/clock.ts';
import { isFault } from '../../mixins/shared/errors.ts';
import { hexId, newCorrelationId } from '../../mixins/shared/ids.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { DocumentsDriver, Stored } from '../../mixins/storage/documents/contract.ts';
import type { LoadedWorkspace } from './models.ts';
import { childrenOf } from './models.ts';
import { derivedUlid } from './native-events.ts';
import { scheduleMatches } from './triggers.ts';

export interface Schedule {
  /** Hash of workspace, automation, cron and time zone. */
  id: string;
  /** Full slug. */
  automation: string;
  cron: string;
  timezone: string;
  /** Why it never fires. */
  problem?: string;
}

interface ScheduleRow extends Stored {
  revision: number;
  schedules: Schedule[];
  /** Slugs of installed apps: their publication may change what is scheduled here. */
  apps: string[];
}

export interface ListedSchedule extends Schedule {
  next: string | null;
}

/** Milliseconds since the epoch. */
interface Slots {
  count: number;
  last: number;
  lastButOne: number;
}

interface Missed {
  count: number;
  from: number;
  to: number;
}

export const SCHEDULES_COLLECTION = 'runtime_schedules';
const DUE_KEY = 'schedules:due';
const LOOK_MS = 500;
/** A slot missed for longer than this is told, not made up for. */
const CATCH_UP_MS = DAY;
const SLOT_LEASE_MS = 30 * SECOND;
/** Computed at a time, before others have their turn. */
const SLICE_MS = 5;

const scheduleId = (workspaceId: string, automation: string, cron: string, timezone: string) =>
  createHash('sha256')
    .update(JSON.stringify([workspaceId, automation, cron, timezone]))
    .digest('hex')
    .slice(0, 20);

/** First slot after `after`, or `null` when there is none. Slots closer than `minIntervalMs` are left out. @throws for a pattern that is none */
export function nextSlot(
  { cron, timezone }: Pick<Schedule, 'cron' | 'timezone'>,
  after: number,
  minIntervalMs = 0,
  lastAt?: number,
): number | null {
  return slotAfter(patternOf({ cron, timezone }), after, minIntervalMs, lastAt);
}

/** Without a zone to look up, which UTC has none of, a slot is found ten times as fast. */
const patternOf = ({ cron, timezone }: Pick<Schedule, 'cron' | 'timezone'>): Cron =>
  new Cron(cron, { paused: true, ...(timezone === 'UTC' ? { utcOffset: 0 } : { timezone }) });

function slotAfter(pattern: Cron, after: number, minIntervalMs: number, lastAt?: number): number | null {
  // Slots are whole seconds: the first one after the last millisecond that is too early. Looked for there, as there may be thousands before it.
  const from = lastAt === undefined ? after : Math.max(after, lastAt + minIntervalMs - 1);
  return pattern.nextRun(new Date(from))?.getTime() ?? null;
}

export interface SchedulesOptions {
  cache: CacheDriver;
  documents: DocumentsDriver;
  bus: EventBus;
  defaultTimezone: string;
  minIntervalMs: number;
  log: (message: string, error: unknown) => void;
  now?: () => number;
}

export function createSchedules({ cache, documents, bus, defaultTimezone, minIntervalMs, log, now = Date.now }: SchedulesOptions) {
  const owner = hexId();
  let timer: NodeJS.Timeout | undefined;
  let isBusy = false;
  let isStopped = false;
  /** Slots this node works on: a long downtime takes a while to count, which must not hold up the others. */
  const working = new Set<string>();

  function desired(workspace: LoadedWorkspace): Schedule[] {
    return scheduleMatches(workspace.root, childrenOf).map(({ value: automation, cron, timezone = defaultTimezone }) => {
      const schedule: Schedule = { id: scheduleId(workspace.id, automation, cron, timezone), automation, cron, timezone };
      try {
        if (/^\d{4}-/.test(cron.trim())) throw new Error('a date is not a cron pattern');
        nextSlot(schedule, now());
      } catch (error) {
        schedule.problem = (error as Error).message;
      }
      return schedule;
    });
  }

  const member = (workspaceId: string, id: string) => `${workspaceId}/${id}`;

  async function plan(workspaceId: string, schedule: Schedule, after: number, lastAt?: number): Promise<void> {
    const at = schedule.problem ? null : nextSlot(schedule, after, minIntervalMs, lastAt);
    if (at === null) await cache.removeScored(DUE_KEY, member(workspaceId, schedule.id));
    else await cache.addScored(DUE_KEY, member(workspaceId, schedule.id), at);
  }

  async function save(workspaceId: string, revision: number, schedules: Schedule[], apps: string[]): Promise<void> {
    const fields = { revision, schedules, apps };
    try {
      await documents.insert<ScheduleRow>(SCHEDULES_COLLECTION, { id: workspaceId, ...fields });
    } catch (error) {
      if (!isFault(error, 'AlreadyUsedError')) throw error;
      await documents.update(SCHEDULES_COLLECTION, workspaceId, { set: fields });
    }
  }

  async function look(): Promise<void> {
    const due = await cache.scoredUpTo(DUE_KEY, now(), 100 + working.size);
    for (const { member: name, score } of due) {
      if (working.has(name)) continue;
      working.add(name);
      const slash = name.lastIndexOf('/');
      void fire(name.slice(0, slash), name.slice(slash + 1), score)
        .catch((error) => log(`schedule ${name} could not be fired`, error))
        .finally(() => working.delete(name));
    }
  }

  /** The slots from `first` until now: how many, and the last two. `null`: another node has taken them over, or this one is stopped. */
  async function slotsSince(first: number, schedule: Schedule, keep: () => Promise<boolean>): Promise<Slots | null> {
    const pattern = patternOf(schedule);
    const until = now();
    const slots: Slots = { count: 1, last: first, lastButOne: first };
    let workedSince = performance.now();
    let keptAt = workedSince;
    for (;;) {
      const next = slotAfter(pattern, slots.last, minIntervalMs, slots.last);
      if (next === null || next > until) return slots;
      slots.count++;
      slots.lastButOne = slots.last;
      slots.last = next;
      // A year of minutes takes seconds to count.
      const at = performance.now();
      if (at - workedSince < SLICE_MS) continue;
      if (at - keptAt > SLOT_LEASE_MS / 3) {
        if (!(await keep())) return null;
        keptAt = at;
      }
      await new Promise((done) => setImmediate(done));
      if (isStopped) return null;
      workedSince = performance.now();
    }
  }

  async function fire(workspaceId: string, id: string, slot: number): Promise<void> {
    const row = await documents.get<ScheduleRow>(SCHEDULES_COLLECTION, workspaceId);
    const schedule = row?.schedules.find((item) => item.id === id);
    if (!schedule) return void (await cache.removeScored(DUE_KEY, member(workspaceId, id)));
    // Several nodes see the slot; the lease lets one work on it, and frees it should that node die before the event is durable.
    const keep = () => cache.lease(`schedules:slot:${id}:${slot}`, owner, SLOT_LEASE_MS);
    if (!(await keep())) return;
    const slots = await slotsSince(slot, schedule, keep);
    if (!slots) return;
    const { count, last, lastButOne } = slots;
    const isTooLate = now() - last > CATCH_UP_MS;
    if (!isTooLate) await send(workspaceId, schedule, last);
    if (isTooLate) await tellMissed(workspaceId, schedule, { count, from: slot, to: last });
    else if (count > 1) await tellMissed(workspaceId, schedule, { count: count - 1, from: slot, to: lastButOne });
    await plan(workspaceId, schedule, Math.max(now(), last), last);
  }

  async function send(workspaceId: string, schedule: Schedule, slot: number): Promise<void> {
    const dot = schedule.automation.lastIndexOf('.');
    const id = derivedUlid(slot, `${schedule.id}/${slot}`);
    await bus.send(
      'runtime.schedules.triggered',
      {
        workspaceId,
        automation: schedule.automation,
        trigger: { type: 'schedule', value: schedule.cron, id, ...(dot > 0 ? { appInstanceSlug: schedule.automation.slice(0, dot) } : {}) },
        startedAt: new Date(slot).toISOString(),
      },
      { id, source: { workspaceId, correlationId: newCorrelationId() }, topic: 'runtime.schedules.triggered' },
    );
  }

  async function tellMissed(workspaceId: string, schedule: Schedule, { count, from, to }: Missed): Promise<void> {
    await bus.send(
      'error',
      {
        error: 'InvalidScheduleError',
        type: 'scheduleMissed',
        message: `${count} slot(s) of '${schedule.automation}' (${schedule.cron}) were missed while no node was running.`,
        details: {
          automation: schedule.automation,
          cron: schedule.cron,
          missed: count,
          from: new Date(from).toISOString(),
          to: new Date(to).toISOString(),
        },
      },
      { source: { workspaceId, correlationId: newCorrelationId() }, topic: 'error' },
    );
  }

  return {
    /** Makes what is planned equal to what the model says. Answers what changed. @param automationDepth of the automation that changed the model, if it was one */
    async reconcile(workspace: LoadedWorkspace, automationDepth?: number): Promise<{ added: number; removed: number; kept: number }> {
      const wanted = desired(workspace);
      const row = await documents.get<ScheduleRow>(SCHEDULES_COLLECTION, workspace.id);
      if (row && row.revision > workspace.revision) return { added: 0, removed: 0, kept: row.schedules.length };
      const before = new Map((row?.schedules ?? []).map((schedule) => [schedule.id, schedule]));
      const added = wanted.filter(({ id }) => !before.has(id));
      const removed = [...before.values()].filter(({ id }) => !wanted.some((schedule) => schedule.id === id));
      const apps = [...new Set(Object.keys(workspace.parts.apps).map((key) => key.slice(0, key.lastIndexOf('@'))))].sort();
      if (!row && wanted.length === 0 && apps.length === 0) return { added: 0, removed: 0, kept: 0 };
      if (added.length || removed.length || row?.apps.join() !== apps.join() || (wanted.length && row?.revision !== workspace.revision))
        await save(workspace.id, workspace.revision, wanted, apps);
      for (const { id } of removed) await cache.removeScored(DUE_KEY, member(workspace.id, id));
      for (const schedule of added) await plan(workspace.id, schedule, now());
      for (const automation of new Set(added.map((schedule) => schedule.automation))) {
        const own = wanted.filter((schedule) => schedule.automation === automation);
        await bus.send(
          'runtime.schedules.created',
          { slug: automation, schedules: own.map(({ cron }) => cron), details: { launched: own.filter(({ problem }) => !problem).length } },
          {
            source: { workspaceId: workspace.id, correlationId: newCorrelationId(), ...(automationDepth ? { automationDepth } : {}) },
            topic: 'runtime.schedules.created',
          },
        );
      }
      return { added: added.length, removed: removed.length, kept: wanted.length - added.length };
    },

    /** Workspaces that have an app installed. */
    async usersOf(appSlug: string): Promise<string[]> {
      const ids: string[] = [];
      for (;;) {
        const rows = await documents.find<ScheduleRow>(SCHEDULES_COLLECTION, { apps: appSlug }, { limit: 1000, skip: ids.length });
        ids.push(...rows.map(({ id }) => id));
        if (rows.length < 1000) return ids;
      }
    },

    async remove(workspaceId: string): Promise<void> {
      const row = await documents.get<ScheduleRow>(SCHEDULES_COLLECTION, workspaceId);
      for (const { id } of row?.schedules ?? []) await cache.removeScored(DUE_KEY, member(workspaceId, id));
      await documents.remove(SCHEDULES_COLLECTION, workspaceId);
    },

    async list(workspaceId: string): Promise<ListedSchedule[]> {
      const row = await documents.get<ScheduleRow>(SCHEDULES_COLLECTION, workspaceId);
      return (row?.schedules ?? []).map((schedule) => {
        const next = schedule.problem ? null : nextSlot(schedule, now(), minIntervalMs);
        return { ...schedule, next: next === null ? null : new Date(next).toISOString() };
      });
    },

    /** Opens the store, plans again what a lost cache forgot, and begins to fire. */
    async start(): Promise<void> {
      await documents.open({ name: SCHEDULES_COLLECTION, indexes: ['apps'] });
      const planned = new Set((await cache.scoredUpTo(DUE_KEY, Number.MAX_SAFE_INTEGER, 100_000)).map(({ member: name }) => name));
      for (let skip = 0; ; skip += 1000) {
        const rows = await documents.find<ScheduleRow>(SCHEDULES_COLLECTION, {}, { limit: 1000, skip });
        for (const row of rows)
          for (const schedule of row.schedules) if (!planned.has(member(row.id, schedule.id))) await plan(row.id, schedule, now());
        if (rows.length < 1000) break;
      }
      timer = setInterval(() => {
        if (isBusy) return;
        isBusy = true;
        void look()
          .catch((error) => log('the look at schedules failed', error))
          .finally(() => {
            isBusy = false;
          });
      }, LOOK_MS).unref();
    },
    stop(): void {
      isStopped = true;
      clearInterval(timer);
    },
  };
}

export type Schedules = ReturnType<typeof createSchedules>;
