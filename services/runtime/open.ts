/** open — puts the parts of the runtime together on one node, starts them in order and stops them in the opposite one. */
import type { Service } from 'moleculer';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { BusMethods } from '../../mixins/bus/contract.ts';
import { DAY, MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { type Config, configOf } from '../../mixins/shared/config.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { isNative } from '../../mixins/shared/event.ts';
import { createGuard } from '../../mixins/shared/guard.ts';
import { ulid } from '../../mixins/shared/ids.ts';
import { type KeyRing, openKeyRing } from '../../mixins/shared/keyring.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { DocumentsDriver } from '../../mixins/storage/documents/contract.ts';
import { begunAt, createCancellations } from './cancellations.ts';
import { startConsumers } from './consumers.ts';
import { createContexts, endContexts } from './contexts.ts';
import { createExecution, type Execution } from './execution.ts';
import { createExplanations } from './explanations.ts';
import type { CompiledWorkspace, RunAutomation, RunIdentity, WorkspaceSource } from './interpreter/index.ts';
import { type JournalEntry, type JournalHead, journalKey } from './journal.ts';
import { createThrottle, createTurns } from './limits.ts';
import { createModels, isModelOf, type LoadedWorkspace, type Models } from './models.ts';
import { removeBindingsOf } from './modules/access-bindings.ts';
import { createModules } from './modules/index.ts';
import { createNativeEvents } from './native-events.ts';
import { createOrganisations, type Organisations } from './organisations.ts';
import { createPlatform } from './platform.ts';
import { programOf } from './program.ts';
import { createRecovery, deadOf } from './recovery.ts';
import { createRunStore, FINAL_STATES, OPEN_MS, type RunRecord, type RunRequest, type RunStore, runRef } from './runs.ts';
import { createSchedules, type Schedules } from './schedules.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { createWaits, type Waits } from './waits.ts';

/** What the runtime needs of the service it lives in. */
export interface Host
  extends Pick<AuthMethods, 'abilityFor' | 'systemMeta' | 'delegatedMeta'>,
    Pick<BusMethods, 'bus'>,
    Pick<Service, 'logger'> {
  broker: Service['broker'];
  cache: CacheDriver;
  /** The same object also opens collections, which `run: collections` needs at run time. */
  documents: DocumentsDriver;
}

/** The language: how automations are compiled and run. */
export interface Engine {
  compile: (source: WorkspaceSource) => CompiledWorkspace;
  interpret: RunAutomation;
}

export interface Runtime {
  config: Config;
  models: Models;
  sessions: Sessions;
  organisations: Organisations;
  store: RunStore;
  execution: Execution;
  waits: Waits;
  schedules: Schedules;
  explanations: ReturnType<typeof createExplanations>;
  roleOf(identity: { userId?: string }, workspaceId: string, correlationId: string): Promise<string | undefined>;
  /** Makes a run durable and begins it; its caller does not wait. */
  accept(request: RunRequest): Promise<RunRecord>;
  /** How many open runs of the correlation id there were; those that another node has, or had when it died, end a moment later. */
  cancel(workspaceId: string, correlationId: string, callId?: string): Promise<number>;
  /** @throws ObjectNotFoundError · BadParametersError */
  retry(workspaceId: string, runId: string): Promise<RunRecord>;
  stop(drainMs: number): Promise<void>;
}

const SYNC_EVERY_MS = 15 * SECOND;

export async function openRuntime(host: Host, { compile, interpret }: Engine): Promise<Runtime> {
  const { broker, bus, cache, documents, logger } = host;
  const config = configOf(broker);
  const owner = `${config.nodeId}-${ulid()}`;
  const log = (message: string, error: unknown) => logger.error(message, error);
  let ring: KeyRing | undefined;
  const keys = () => (ring ??= openKeyRing(config));
  const call = <T>(action: string, params: object): Promise<T> =>
    broker.call<T, object>(action, params, { meta: host.systemMeta() } as never);

  let beatAt = 0;
  const explanations = createExplanations();
  const sessions = createSessions(cache);
  const models = createModels({
    sources: {
      workspace: (workspaceId) => call('workspaces.model', { workspaceId }),
      app: (appSlug, version) => call('apps.model', { appSlug, ...(version ? { version } : {}) }),
      revisions: (workspaceIds) => call('workspaces.revisions', { workspaceIds }),
      removed: (workspaceId) => call('workspaces.removed', { workspaceId }),
      formerInstance: (workspaceId, slug, revision) => call('appInstances.former', { workspaceId, slug, revision }),
      appRevisions: (appSlugs) => call('apps.revisions', { appSlugs }),
      resolve: (workspaceId) => call('workspaces.resolve', { workspaceId }),
    },
    compile,
    keys,
    config,
    onProblems: (workspace) => {
      for (const { error, message } of workspace.problems)
        void bus
          .send(
            'error',
            { error, message, details: { revision: workspace.revision } },
            { source: { workspaceId: workspace.id }, topic: 'error' },
          )
          .catch((problem) => log('an error event was not accepted by the bus', problem));
    },
  });
  const contexts = createContexts(cache, config);
  const guard = createGuard(config);
  const throttle = createThrottle(cache, config);
  const store = createRunStore(cache);
  const cancellations = createCancellations(cache);
  const organisations = createOrganisations({
    sessions,
    ask: (params, correlationId) => broker.call('orgs.context', params, { meta: host.systemMeta(correlationId) } as never),
    log,
  });
  const modules = createModules({
    cache,
    documents,
    bus,
    keys,
    auth: host,
    organisations,
    slugOf: async (workspaceId) => String((await models.get(workspaceId)).root.workspace.source.slug),
    call: (action, params, correlationId) => broker.call(action, params, { meta: host.systemMeta(correlationId) } as never),
  });
  const platform = createPlatform({ broker, auth: host, bus, cache, sessions, models, modules, organisations });
  const waits: Waits = createWaits({
    cache,
    owner,
    deadOf: (owners) => deadOf(cache, owners),
    async onDecided(wait) {
      if (wait.isDurable) {
        // Whoever dies now leaves this behind; the run is woken a little later then.
        await store.due(runRef(wait.workspaceId, wait.runId), Date.now() + SECOND);
        void recovery.wake(runRef(wait.workspaceId, wait.runId));
      }
      void broker.broadcast('runtime.wait.decided', { workspaceId: wait.workspaceId, id: wait.id }, ['runtime']);
    },
  });
  const events = createNativeEvents(bus, config);
  const execution = createExecution({
    cache,
    models,
    store,
    cancellations,
    turns: createTurns({ total: config.runsPerNode, perWorkspace: config.runsPerWorkspace }),
    services: { bus, config, contexts, waits, guard, throttle, events, platform, log },
    interpret,
    owner,
    lastBeatAt: () => beatAt,
  });
  const recovery = createRecovery({ cache, store, execution, bus, owner, log, onBeat: (at) => (beatAt = at) });
  const schedules = createSchedules({
    cache,
    documents,
    bus,
    defaultTimezone: config.defaultTimezone,
    minIntervalMs: config.schedulesMinIntervalS * SECOND,
    log,
  });

  const roleOf: Runtime['roleOf'] = async (identity, workspaceId, correlationId) => {
    // Super admins and nobody in particular have no role of the workspace.
    if (!identity.userId) return undefined;
    const { role: _, ...who } = identity as RunIdentity;
    try {
      return (await host.abilityFor({ ...who, correlationId }, workspaceId)).role;
    } catch (error) {
      // A workspace deleted a moment ago: its last automations run without roles.
      if (isFault(error, 'ObjectNotFoundError')) return undefined;
      throw error;
    }
  };

  /** Whether a run was open: closed here when nobody has it, else ended by whoever has it, or takes it over. */
  async function endOpen(workspaceId: string, id: string): Promise<boolean> {
    for (;;) {
      const held = await store.find(workspaceId, id);
      if (!held || FINAL_STATES.includes(held.record.state)) return false;
      if (held.record.state === 'running') return true;
      if (!(await store.close(held, 'cancelled'))) continue;
      // Else the next event would go to a run that is no more, and start nothing.
      await waits.drop(
        workspaceId,
        (held.record.waits ?? []).map((wait) => wait.id),
      );
      return true;
    }
  }

  // Runs of the past first: they must be findable before new events arrive.
  await recovery.start();
  await schedules.start();
  const subscriptions = await startConsumers({
    bus,
    cancellations,
    config,
    models,
    sessions,
    waits,
    store,
    schedules,
    execution,
    explanations,
    roleOf,
  });
  subscriptions.push(
    await bus.on(
      'workspaces.deleted',
      (event) => {
        const id = event.payload.workspaceId ?? event.source.workspaceId;
        return isNative(event) && typeof id === 'string' ? removeBindingsOf(documents, id) : undefined;
      },
      { group: 'runtime-bindings' },
    ),
    await bus.on(
      'workspaces.deleted',
      (event) => {
        const id = event.payload.workspaceId ?? event.source.workspaceId;
        if (isNative(event) && typeof id === 'string') return endContexts(cache, id, config.eventsScheduledDeletionDays * DAY);
      },
      { group: 'runtime-contexts' },
    ),
  );
  const sync = setInterval(
    () => void models.sync().catch((error) => logger.debug('models could not be compared', error)),
    SYNC_EVERY_MS,
  ).unref();

  return {
    config,
    models,
    sessions,
    organisations,
    store,
    execution,
    waits,
    schedules,
    explanations,
    roleOf,

    async accept(request) {
      const durable = { ...request, isDurable: true };
      const ref = runRef(request.workspaceId, request.id);
      // Should this node die after the record and before the last line, somebody looks a little later.
      await store.due(ref, Date.now() + SECOND);
      const held = await store.create({ ...execution.newRecord(durable, undefined, 'accepted'), owner: undefined } as unknown as RunRecord);
      if (!held) return (await store.find(request.workspaceId, request.id))?.record as RunRecord;
      await store.due(ref, Date.now());
      return held.record;
    },

    async cancel(workspaceId, correlationId, callId) {
      const tell = () => {
        void broker.broadcast('runtime.cancelled', { workspaceId, correlationId, ...(callId === undefined ? {} : { callId }) }, [
          'runtime',
        ]);
        return execution.cancelLocal(workspaceId, correlationId, callId);
      };
      if (callId !== undefined) return tell().length;
      const ids = await store.ofCorrelation(workspaceId, correlationId);
      const begun = (await store.findMany(workspaceId, ids)).flatMap((record) => (record ? [begunAt(record)] : []));
      // First the mark: whom the word does not reach finds it there, a node that takes a run over or is about to begin one.
      await cancellations.mark(workspaceId, correlationId, begun);
      const ended = new Set(tell());
      for (const id of ids) if (await endOpen(workspaceId, id)) ended.add(id);
      return ended.size;
    },

    async retry(workspaceId, runId) {
      const held = await store.find(workspaceId, runId);
      if (!held) throw fault('ObjectNotFoundError', { message: 'There is no such run.', data: { subjectType: 'runs', id: runId } });
      if (!FINAL_STATES.includes(held.record.state) || held.record.state === 'done')
        throw fault('BadParametersError', {
          message: `A run that is ${held.record.state} cannot be begun again.`,
          data: { state: held.record.state },
        });
      const loaded = await models.get(workspaceId);
      const { request, correlationId } = held.record;
      const at = await cancellations.nextBegin(workspaceId, correlationId);
      const { isChanged, kept } = await keptForRetry(cache, held.record, loaded, at);
      const ref = runRef(workspaceId, runId);
      await store.due(ref, Date.now() + SECOND);
      const changed = await store.reopen(held, {
        kept,
        ...(isChanged ? { request: { ...request, again: (request.again ?? 0) + 1 } } : {}),
        error: undefined,
        durationMs: undefined,
      } as unknown as Partial<RunRecord>);
      if (!changed) throw fault('VersionConflict');
      await cancellations.lift(workspaceId, correlationId, at);
      await store.due(ref, Date.now());
      return changed.record;
    },

    async stop(drainMs) {
      clearInterval(sync);
      schedules.stop();
      await Promise.all(subscriptions.map((subscription) => subscription.stop({ drainMs })));
      const deadline = Date.now() + drainMs;
      while (execution.actives.size > 0 && Date.now() < deadline) {
        execution.suspendIdle(Date.now() + MINUTE);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      // What is left belongs to the other nodes: they find it by this node's silence.
      for (const { control } of execution.actives.values()) control.abort();
      await recovery.stop();
      waits.stop();
      await guard.close();
    },
  };
}

/** For so long a context write that is done again is known by its key: an hour, less what a run may take. */
const KEYS_KNOWN_MS = 50 * MINUTE;

/**
 * What a run is begun again with: what it had completed stays done, what failed is tried again, by the present model. Only when that executes
 * another program than the run did is nothing of it believed: the effects are new ones then, for whoever repaired an automation wants the
 * repaired ones.
 */
async function keptForRetry(
  cache: CacheDriver,
  { workspaceId, id, automation, state, updatedAt, kept }: RunRecord,
  loaded: LoadedWorkspace,
  at: number,
): Promise<{ isChanged: boolean; kept: RunRecord['kept'] }> {
  const from = kept?.from ?? 0;
  const key = journalKey(workspaceId, id);
  const records = await cache.list<JournalHead | JournalEntry>(key, from);
  const upTo = from + records.length;
  const head = records[0] as JournalHead | undefined;
  const isChanged =
    head !== undefined && (head.program === undefined ? !isModelOf(loaded, head) : head.program !== programOf(loaded.root, automation));
  // It ends with the record of an ended run: an open one may wait for a month.
  if (head) await cache.expire(key, OPEN_MS);
  const readsAgain = state === 'failed' && Date.now() - Date.parse(updatedAt) < KEYS_KNOWN_MS;
  return { isChanged, kept: { from: isChanged ? upTo : from, upTo, readsAgain, revision: loaded.revision, model: loaded.version, at } };
}
