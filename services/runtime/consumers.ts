/**
 * consumers — what the runtime listens to on the bus, one consumer group per purpose:
 *
 *   `runtime`            custom events and listenable native ones → automations (balanced, at least once, retried, dead-lettered)
 *   `runtime-waits`      every event → waits (apart from automations, so that a waiting run can never hold up what it waits for)
 *   `runtime-sessions`   sign-in and sign-out → session records
 *   `runtime-schedules`  changes of workspaces → planned schedules
 *   broadcast            changes of workspaces and sessions → what this node remembers
 */
import { createHash } from 'node:crypto';
import type { Delivery, EventBus, Subscription } from '../../mixins/bus/contract.ts';
import type { Config } from '../../mixins/shared/config.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { EMIT_TOPIC, isNative, type PrismeEvent } from '../../mixins/shared/event.ts';
import type { Cancellations } from './cancellations.ts';
import type { Execution, RunEnd } from './execution.ts';
import { type Consideration, type createExplanations, failureOf } from './explanations.ts';
import type { RunIdentity } from './interpreter/index.ts';
import type { Models } from './models.ts';
import type { RunStore } from './runs.ts';
import type { Schedules } from './schedules.ts';
import { SESSION_EVENTS, type Sessions } from './sessions.ts';
import { eventRequest, LISTENABLE, startsOf } from './starts.ts';
import type { Waits } from './waits.ts';

export interface ConsumersOptions {
  bus: EventBus;
  cancellations: Cancellations;
  config: Config;
  models: Models;
  sessions: Sessions;
  waits: Waits;
  store: RunStore;
  schedules: Schedules;
  execution: Execution;
  explanations: ReturnType<typeof createExplanations>;
  roleOf: (identity: RunIdentity, workspaceId: string, correlationId: string) => Promise<string | undefined>;
}

/** Events of one workspace that are worked on at once, by lanes: enough to be fast, too few to crowd out others. */
const LANES_PER_WORKSPACE = 256;
const MAX_IN_FLIGHT = 1000;
const WAIT_BATCH = 500;

/** Changes that may change what is scheduled. */
const PLANNED_BY = [
  'workspaces.created',
  'workspaces.deleted',
  'workspaces.duplicated',
  'workspaces.imported',
  'workspaces.suspended',
  'workspaces.configured',
  'workspaces.automations.*',
  'workspaces.apps.*',
  'workspaces.versions.*',
  'apps.*',
];

const laneOf = (event: PrismeEvent): string =>
  `${event.source.workspaceId}#${(createHash('md5').update(event.id).digest()[0] as number) % LANES_PER_WORKSPACE}`;

export async function startConsumers(options: ConsumersOptions): Promise<Subscription[]> {
  const { bus, cancellations, config, models, sessions, waits, store, schedules, execution, explanations, roleOf } = options;

  async function identityOf(event: PrismeEvent): Promise<RunIdentity> {
    const { userId, sessionId, workspaceId, sourceWorkspaceId, correlationId } = event.source;
    const known = sessionId ? await sessions.find(sessionId) : null;
    const user = known?.userId ?? userId ?? sessionId;
    const identity: RunIdentity = {
      ...(user ? { userId: user } : {}),
      ...(sessionId ? { sessionId } : {}),
      ...(known?.email ? { email: known.email } : {}),
      ...(known?.emailVerified ? { emailVerified: true as const } : {}),
      ...(known?.authData ? { authData: known.authData } : {}),
    };
    // Told in somebody's name by another workspace, or under a name an automation took: he is named, and did not do it.
    if (event.source.isPosed || (sourceWorkspaceId !== undefined && sourceWorkspaceId !== workspaceId))
      return { ...identity, isPosed: true };
    const role = user ? await roleOf(identity, workspaceId as string, correlationId) : undefined;
    return role ? { ...identity, role } : identity;
  }

  async function trigger(event: PrismeEvent, delivery: Delivery): Promise<void> {
    const { workspaceId, correlationId } = event.source;
    if (!workspaceId || !correlationId) return;
    const isUninstall = event.type === 'workspaces.apps.uninstalled' && isNative(event);
    const { slug, revision } = event.payload;
    const uninstalled = isUninstall ? await models.withInstance(workspaceId, String(slug), Number(revision)) : null;
    // What the event tells has happened: the automations it starts see it, also when it comes here first.
    if (/^(workspaces|apps)\./.test(event.type)) models.follow(event);
    const isEnd = event.type === 'workspaces.deleted' && isNative(event);
    const workspace = uninstalled ?? (await models.find(workspaceId)) ?? (isEnd ? await models.removed(workspaceId) : null);
    if (!workspace) return void explanations.add(event, { reason: 'workspace missing or suspended' });
    const starts = startsOf(workspace, event);
    // What the platform tells of every run would push out what people ask about.
    if (starts.length === 0)
      return event.type.startsWith('runtime.') ? undefined : void explanations.add(event, { reason: 'no automation listens to it' });
    const [isTaken, cancelled] = await Promise.all([waits.cancelsTriggers(event), cancellations.coversEvents(workspaceId, correlationId)]);
    if (isTaken) return void explanations.add(event, { reason: 'a wait asked for it alone' });
    if (Number(event.source.automationDepth ?? 0) > config.maxDepth) return tooDeep(event);
    if (cancelled) return void explanations.add(event, { reason: 'its run was cancelled' });

    const identity = await identityOf(event);
    const requests = starts.map(({ match, trigger: info }) => eventRequest(match, event, info, identity));
    const known = await store.findMany(
      workspaceId,
      requests.map(({ id }) => id),
    );
    const considered: Consideration[] = [];
    explanations.add(event, { considered });
    const isInteraction =
      event.type !== 'runtime.interactions.triggered' && (event.source.userId !== undefined || event.source.serviceTopic !== EMIT_TOPIC);
    const outcomes = await Promise.allSettled(
      requests.map(async (request, i) => {
        const entry: Consideration = { automation: request.automation, decision: 'started', runId: request.id };
        considered.push(entry);
        // What has a record belongs to the runtime: finished, going on, or to be continued by it.
        if (known[i]) return void Object.assign(entry, { decision: 'duplicate', reason: `the run is ${known[i]?.state}` });
        const run = new Promise<void>((resolve, reject) => {
          const told = (end: RunEnd) => {
            if (end.state === 'failed') Object.assign(entry, failureOf(end.error as Error));
            if (end.state === 'cancelled') entry.decision = 'cancelled';
          };
          // The event is done with once the run has a record: holding it any longer would only let other nodes begin what is going on.
          execution
            .run(request, { loaded: workspace, isInteraction: isInteraction && i === 0, onOwned: resolve })
            .then(told)
            .then(resolve, reject);
        });
        await run;
      }),
    );
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (!failure) return;
    // Runs that have a record come back by themselves; only the others need the event again.
    const left = await store.findMany(
      workspaceId,
      requests.filter((_, i) => outcomes[i]?.status === 'rejected').map(({ id }) => id),
    );
    if (left.some((record) => record === null) || delivery.isLast) throw failure.reason;
  }

  async function tooDeep(event: PrismeEvent): Promise<void> {
    explanations.add(event, { reason: 'too many successive calls' });
    const problem = fault('TooManyCallError', { data: { limit: config.maxDepth, event: event.type } });
    await bus.send(
      'error',
      { error: problem.type, message: problem.message, details: problem.data as object },
      { source: { ...event.source, serviceTopic: 'error' }, topic: 'error' },
    );
  }

  async function plan(event: PrismeEvent): Promise<void> {
    const { app, appSlug } = event.payload as { app?: { slug?: string }; appSlug?: string };
    const isApp = event.type.startsWith('apps.');
    const id = String(event.payload.workspaceId ?? event.source.workspaceId ?? '');
    for (const workspaceId of isApp ? await schedules.usersOf(String(appSlug ?? app?.slug ?? '')) : id ? [id] : []) {
      if (event.type === 'workspaces.deleted') return schedules.remove(workspaceId);
      // This node may hear of the change here first.
      models.follow(event);
      await planOne(workspaceId, event.source.automationDepth);
    }
  }

  async function planOne(workspaceId: string, automationDepth: number | undefined): Promise<void> {
    try {
      await schedules.reconcile(await models.get(workspaceId), automationDepth);
    } catch (error) {
      if (isFault(error, 'ObjectNotFoundError') || isFault(error, 'SuspendedWorkspaceError')) return schedules.remove(workspaceId);
      throw error;
    }
  }

  return Promise.all([
    bus.on(['workspaces.*', 'apps.*'], (event) => models.follow(event), { mode: 'broadcast' }),
    bus.on(SESSION_EVENTS, (event) => sessions.forget(event), { mode: 'broadcast' }),
    bus.on(SESSION_EVENTS, (event) => sessions.apply(event), { group: 'runtime-sessions' }),
    bus.on(PLANNED_BY, plan, { group: 'runtime-schedules', maxInFlight: 10 }),
    bus.all((events) => waits.match(events), {
      group: 'runtime-waits',
      batchSize: WAIT_BATCH,
      maxInFlight: 8,
      // In order within a workspace is enough; nothing here waits for anything.
      lane: (event) => String(event.source.workspaceId),
    }),
    bus.on([EMIT_TOPIC, ...LISTENABLE], trigger, {
      group: 'runtime',
      lane: laneOf,
      // Told of every run, and hardly ever listened to.
      concerns: (topic, workspaceId) => topic !== 'runtime.interactions.triggered' || models.mayListen(workspaceId, topic),
      maxInFlight: MAX_IN_FLIGHT,
    }),
  ]);
}
