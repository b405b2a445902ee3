/**
 * execution — one run from its request to its end: model, world, interpreter, journal, record.
 *
 * A run ends here in one of these ways: done, failed (its own error), cancelled, waiting (it left memory and will be woken), elsewhere
 * (another node has it). A store that fails is none of them: it throws, and whoever gave the run tries again.
 */
import { randomBytes } from 'node:crypto';
import { DAY, SECOND } from '../../mixins/shared/clock.ts';
import { fault, isFault, toPublicError } from '../../mixins/shared/errors.ts';
import { lru } from '../../mixins/shared/lru.ts';
import { slotMap } from '../../mixins/shared/slot-map.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { type ActServices, secretArguments } from './acts.ts';
import type { Cancellations } from './cancellations.ts';
import { HttpAnswer } from './http-answer.ts';
import type { Frame, RunAutomation } from './interpreter/index.ts';
import { createJournal, type Journal, type JournalHead, journalKey, readJournal } from './journal.ts';
import { RunTurn, type Turns } from './limits.ts';
import { isModelOf, type LoadedWorkspace, type Models } from './models.ts';
import { createPace } from './pace.ts';
import { programOf } from './program.ts';
import { Redactor } from './redaction.ts';
import { FINAL_STATES, type Held, nodeRunsKey, type RunRecord, type RunRequest, type RunStore, runRef } from './runs.ts';
import { automationAt, type Match } from './triggers.ts';
import { createWorld, type RunWorld } from './world.ts';

export type RunEnd =
  | { state: 'done'; output: unknown }
  | { state: 'failed'; error: unknown }
  | { state: 'cancelled' }
  | { state: 'waiting' }
  | { state: 'elsewhere' };

/** A run in the memory of this node. */
export interface ActiveRun {
  request: RunRequest;
  /** Secret name of the call that waits for it: who knows it may end the run. */
  callId?: string;
  /** See RunOptions. */
  onOwned?: () => void;
  control: AbortController;
  startedAt: number;
  world?: RunWorld;
  journal?: Journal;
  loaded?: LoadedWorkspace;
  held?: Held;
  /** None: nested inside another run, which holds one. */
  turn?: RunTurn;
  http?: HttpAnswer;
  /** Ends the execution in this memory; the run goes on elsewhere. */
  leave?: (end: RunEnd) => void;
  isLeaving?: boolean;
}

export interface ExecutionOptions {
  cache: CacheDriver;
  models: Models;
  store: RunStore;
  cancellations: Cancellations;
  turns: Turns;
  services: ActServices;
  interpret: RunAutomation;
  /** This start-up of this node. */
  owner: string;
  /** Milliseconds of the last sign of life that the cluster has confirmed. */
  lastBeatAt: () => number;
  /** Executions begun before a run is given up. */
  maxAttempts?: number;
  /** A run that can only be woken leaves memory after this long. */
  graceMs?: number;
}

export interface RunOptions {
  http?: HttpAnswer;
  /** The record, when this execution continues or repeats a run. */
  held?: Held;
  /** The model in which its automation was found, where that is known: not always the present one (a deleted workspace, an uninstalled app). */
  loaded?: LoadedWorkspace;
  /** Told once the run has a record: from then on it comes back by itself, whatever happens to this node and to what started it. */
  onOwned?: () => void;
  /** Started by a person, a schedule or the platform, not by another automation. */
  isInteraction?: boolean;
  /** See ActiveRun. */
  callId?: string;
}

/** Milliseconds a run computes before others have their turn: what a quiet workspace waits for at each step of its own. */
const SLICE_MS = 2;
/** After this long without a confirmed sign of life a node asks before it writes. */
const TRUST_MS = 2 * SECOND;
/** Silence after which a run of several branches is taken to stand still. */
const REST_MS = 50;
/** Runs in memory beyond which waiting ones leave at once. */
const CROWD = 100;
const JOURNAL_TTL_MS = 32 * DAY;

export function createExecution(options: ExecutionOptions) {
  const { cache, models, store, cancellations, turns, services, interpret, owner, lastBeatAt, maxAttempts = 5, graceMs = SECOND } = options;
  const actives = slotMap<string, ActiveRun>();
  /** Models whose life was prolonged: with a day, what is left is longer than any wait. */
  const keptModels = lru<string, true>({ max: 10_000, ttl: DAY });
  const pace = createPace(SLICE_MS);

  const newRecord = (request: RunRequest, loaded: LoadedWorkspace | undefined, state: RunRecord['state']): RunRecord => ({
    id: request.id,
    workspaceId: request.workspaceId,
    automation: request.automation,
    trigger: request.trigger,
    correlationId: request.run.correlationId,
    state,
    startedAt: new Date(request.acceptedAt).toISOString(),
    updatedAt: new Date().toISOString(),
    attempts: 1,
    revision: loaded?.revision ?? 0,
    owner,
    request,
  });

  function journalOf(active: ActiveRun, loaded: LoadedWorkspace, records: unknown[]): Journal {
    const { request } = active;
    const head: JournalHead = {
      startedAt: Date.now(),
      seed: randomBytes(16).toString('hex'),
      revision: loaded.revision,
      model: loaded.version,
    };
    return createJournal({
      head,
      records,
      async onFirstWrite() {
        if (records.length === 0) head.program = programOf(loaded.root, request.automation);
        if (active.held) return;
        const held = await store.create(newRecord(request, loaded, 'running'));
        if (!held) return leave(active, { state: 'elsewhere' });
        active.held = held;
        active.onOwned?.();
      },
      async assertOwned() {
        if (Date.now() - lastBeatAt() < TRUST_MS) return;
        const present = await store.find(request.workspaceId, request.id);
        if (present?.record.owner !== owner || present.version !== active.held?.version) return leave(active, { state: 'elsewhere' });
      },
      append: async (list) => void (await cache.append(journalKey(request.workspaceId, request.id), list, { ttlMs: JOURNAL_TTL_MS })),
    });
  }

  /** Ends the execution here at once: whatever is asked afterwards is never answered. */
  function leave(active: ActiveRun, end: RunEnd): Promise<never> {
    active.isLeaving = true;
    active.world?.silence();
    active.leave?.(end);
    return new Promise(() => {});
  }

  /** The model the run began with: the loaded one, or the one kept when it was suspended. */
  async function modelFor(request: RunRequest, records: unknown[], given?: LoadedWorkspace): Promise<LoadedWorkspace> {
    const head = records[0] as JournalHead | undefined;
    if (!head) return given ?? models.get(request.workspaceId);
    const present = given ?? (await models.find(request.workspaceId));
    if (present && isModelOf(present, head)) return present;
    const kept = await store.keptModel(request.workspaceId, head.model ?? String(head.revision));
    return kept ? models.restore(kept) : (present ?? models.get(request.workspaceId));
  }

  async function execute(active: ActiveRun, { http, isInteraction, loaded: given }: RunOptions): Promise<RunEnd> {
    const { request, control } = active;
    const records =
      active.held && request.isDurable ? await readJournal(cache, request.workspaceId, request.id, active.held.record.kept) : [];
    const loaded = given && records.length === 0 ? given : await modelFor(request, records, given);
    active.loaded = loaded;
    const match = automationAt(loaded.root, request.automation);
    if (!match)
      throw fault('ObjectNotFoundError', {
        message: 'Automation not found',
        data: { workspaceId: request.workspaceId, automation: request.automation },
      });
    const { model, automation } = match;
    const redactor = new Redactor();
    redactor.addAll(loaded.root.secretTexts);
    redactor.addAll(model.secretTexts);
    redactor.add(secretArguments(model, automation.slug, request.payload));
    const journal = request.isDurable ? journalOf(active, loaded, records) : undefined;
    active.journal = journal;
    // Settled by what comes first: the automation, the store, or whoever takes the run away.
    let end: (end: RunEnd) => void = () => {};
    let breakOff: (error: unknown) => void = () => {};
    const ending = new Promise<RunEnd>((resolve, reject) => {
      end = resolve;
      breakOff = reject;
    });
    const world = createWorld({
      services,
      request,
      loaded,
      redactor,
      control,
      seed: () => journal?.head.seed ?? randomBytes(16).toString('hex'),
      startedAt: journal?.head.startedAt ?? Date.now(),
      onBroken: breakOff,
      onWaiting() {
        if (world.pending === world.openWaits.length) active.turn?.rest();
      },
      onWoken: () => active.turn?.take(),
      journal,
      http,
    });
    active.world = world;
    let left: RunEnd | undefined;
    active.leave = (how) => {
      left = how;
      end(how);
    };
    const turn = pace.enter(request.workspaceId);
    if (turn) await turn;
    const told = isInteraction
      ? services.events.triggered(request).catch((error) => services.log('a native event was not accepted by the bus', error))
      : null;
    try {
      void interpret({
        model,
        automation,
        payload: request.payload,
        trigger: request.trigger,
        identity: request.identity,
        run: request.run,
        world,
        limits: { maxDepth: services.config.maxDepth, sliceMs: SLICE_MS },
        pause: () => pace.pause(request.workspaceId),
        timezone: services.config.defaultTimezone,
        locale: services.config.defaultLocale,
      }).then(
        ({ output }) => active.isLeaving || end({ state: 'done', output }),
        (error) => active.isLeaving || end(isFault(error, 'RunCancelledError') ? { state: 'cancelled' } : { state: 'failed', error }),
      );
      const ended = await ending;
      if (left) return left;
      if (ended.state === 'failed') {
        await reportFailure(request, match, ended.error, redactor, active.held?.record.kept);
        ended.error = cleaned(ended.error, redactor);
      }
      const sending = world.settled();
      if (sending) await sending;
      if (told) await told;
      // Who begins it again must find what it had completed: a repeated effect is known by its key for a while only.
      if (ended.state !== 'done' && active.held && journal) {
        const taken = new Promise<void>((resolve) => {
          active.leave = (how) => {
            left = how;
            resolve();
          };
        });
        await Promise.race([journal.flush(), taken]);
      }
      return left ?? ended;
    } finally {
      world.close();
    }
  }

  /** The `error` event of a failed run, from where it happened. @param kept of a run that was begun again */
  async function reportFailure(request: RunRequest, at: Match | null, error: unknown, redactor: Redactor, kept?: RunRecord['kept']) {
    if (!isFault(error)) services.log(`run ${request.id} of ${request.automation} failed unexpectedly`, error);
    const innermost = (error as { frame?: Frame } | null)?.frame;
    await tellFailure(request, innermost ?? outermost(request, at), publicError(error), redactor, kept);
  }

  async function tellFailure(request: RunRequest, frame: Frame, error: PublicError, redactor: Redactor, kept: RunRecord['kept']) {
    // Begun again, it may fail again: that is another event, and the same one whoever tells it.
    const key = kept ? `end~${kept.at}` : 'end';
    await services.events
      .error(request, frame, error, key, redactor)
      .catch((problem) => services.log('an error event was not accepted by the bus', problem));
  }

  /** Gives a run up for good: its workspace is told as of any failure. First the event: should this node die in between, it is told again under its id. */
  async function bury({ record, version }: Held, error: PublicError): Promise<void> {
    const { request, kept } = record;
    // Whatever cannot be read now, the run ends.
    const loaded = await models.find(request.workspaceId).catch(() => null);
    const redactor = new Redactor();
    if (loaded) redactor.addAll(loaded.root.secretTexts);
    await tellFailure(request, outermost(request, loaded && automationAt(loaded.root, request.automation)), error, redactor, kept);
    await store.close({ record, version }, 'dead', { error });
  }

  /** Writes how a durable run ended; a run that neither wrote nor failed leaves nothing. */
  async function conclude(active: ActiveRun, end: RunEnd, http?: HttpAnswer): Promise<void> {
    const { request } = active;
    if (end.state === 'waiting' || end.state === 'elsewhere') return;
    if (end.state === 'failed' && !active.held && request.isDurable)
      active.held = (await store.create(newRecord(request, active.loaded, 'running'))) ?? undefined;
    if (!active.held) return;
    const change: Partial<RunRecord> = end.state === 'failed' ? { error: publicError(end.error) } : {};
    // Whoever asks again with the same Idempotency-Key gets this answer, from any node.
    if (end.state === 'done' && http && !http.isStream) change.answer = http.finish(end.output);
    await store.close(active.held, end.state, change);
  }

  async function run(request: RunRequest, runOptions: RunOptions = {}): Promise<RunEnd> {
    const { held, callId, onOwned, http } = runOptions;
    const active: ActiveRun = { request, control: new AbortController(), startedAt: Date.now() };
    if (held) active.held = held;
    if (http) active.http = http;
    if (!request.isNested) active.turn = new RunTurn(turns, request.workspaceId);
    if (callId) active.callId = callId;
    if (onOwned) active.onOwned = onOwned;
    if (actives.has(request.id)) return { state: 'elsewhere' };
    actives.set(request.id, active);
    // Durable runs outlive their caller.
    if (!request.isDurable) http?.onClosed(() => active.control.abort());
    const turn = active.turn?.take();
    if (turn) await turn;
    try {
      let end: RunEnd;
      try {
        end = await execute(active, runOptions);
      } catch (error) {
        // The automation or workspace is gone, or the journal does not fit: final. Anything else is the platform's fault.
        if (!isFault(error) || (error.retryable && error.type !== 'RunLostError')) throw error;
        end = { state: 'failed', error };
        // Nobody looks at the records of runs unasked: it is told as any other failure. Of a workspace that is gone there is nobody to tell.
        if (active.loaded)
          await reportFailure(
            request,
            automationAt(active.loaded.root, request.automation),
            error,
            new Redactor(),
            active.held?.record.kept,
          );
      }
      await conclude(active, end, http);
      return end;
    } catch (error) {
      await giveBack(active, error);
      throw error;
    } finally {
      actives.delete(request.id);
      active.turn?.end();
    }
  }

  /** The platform failed under a run that has a record: it is tried again later, or given up. */
  async function giveBack(active: ActiveRun, error: unknown): Promise<void> {
    active.world?.silence();
    const { held, request } = active;
    if (!held) return;
    try {
      if (held.record.attempts >= maxAttempts) return await bury(held, publicError(error));
      const ref = runRef(request.workspaceId, request.id);
      await store.due(ref, Date.now() + 500 * 2 ** held.record.attempts);
      await store.change(held, { state: 'accepted', owner: undefined, error: publicError(error) } as Partial<RunRecord>);
      await cache.removeMembers(nodeRunsKey(owner), [ref]);
    } catch (problem) {
      // The store is away: the record still names this node, which finds it when it looks at its own (recovery.ts), or another when this one is gone.
      services.log(`run ${request.id} could not be handed back`, problem);
    }
  }

  /** Takes a run that has a record and executes it. @param isRecovery its owner died: counts as a further attempt */
  async function resume(workspaceId: string, id: string, { isRecovery = false } = {}): Promise<RunEnd> {
    const held = await store.find(workspaceId, id);
    if (!held || FINAL_STATES.includes(held.record.state) || actives.has(id)) return { state: 'elsewhere' };
    // It has an owner, who is told of everything, or found dead.
    if (held.record.state === 'running' && !isRecovery) return { state: 'elsewhere' };
    if (isRecovery && held.record.attempts >= maxAttempts && !(await cancellations.covers(held.record))) {
      await bury(
        held,
        held.record.error ?? { error: 'RunLostError', message: `The run was lost with its node ${held.record.attempts} times.` },
      );
      return { state: 'elsewhere' };
    }
    const claimed = await store.claim(held, owner, isRecovery || held.record.state === 'accepted' ? 1 : 0);
    if (!claimed) return { state: 'elsewhere' };
    // Looked at with the run in hand: who cancels it marks it first and then closes what nobody has, so one of the two sees the other.
    if (await cancellations.covers(claimed.record)) {
      await store.close(claimed, 'cancelled');
      return { state: 'cancelled' };
    }
    // A webhook whose caller may ask again: its answer is made here as it would have been there.
    const http =
      claimed.record.trigger.type === 'endpoint' ? new HttpAnswer({ keepAliveMinMs: services.config.sseKeepAliveMs }) : undefined;
    // A stream has lost its reader: what is sent into it neither holds the run back nor keeps it in memory.
    http?.onStarted(({ stream }) => stream.destroy());
    return run(claimed.record.request, { held: claimed, ...(http ? { http } : {}) });
  }

  /** Lets a run that can only be woken leave memory: journal and registration are durable, any node continues it. */
  async function suspend(active: ActiveRun): Promise<void> {
    const { request, world, journal, loaded } = active;
    if (!world || !journal || !loaded) return;
    const waits = [...world.openWaits];
    active.isLeaving = true;
    world.silence();
    try {
      await journal.flush();
      if (!active.held) return;
      const key = `${request.workspaceId}/${loaded.version}`;
      if (!keptModels.has(key)) {
        await store.keepModel(request.workspaceId, loaded.version, loaded.parts);
        keptModels.set(key, true);
      }
      const deadline = Math.min(...waits.map((wait) => wait.deadline));
      const ref = runRef(request.workspaceId, request.id);
      await store.due(ref, deadline);
      const held = await store.change(active.held, {
        state: 'waiting',
        owner: undefined,
        waitingFor: { events: waits.flatMap((wait) => wait.oneOf.map(({ event }) => event)), until: new Date(deadline).toISOString() },
        waits: waits.map((wait) => ({ id: wait.id, deadline: wait.deadline })),
      } as Partial<RunRecord>);
      if (held) {
        // Decided while the run was on its way out: whoever decided may have found it still running, and off the list of what is due with it.
        const isDecided = (await Promise.all(waits.map((wait) => services.waits.outcome(wait)))).some((outcome) => outcome !== null);
        // Cancelled on its way out: who takes it up next finds the mark.
        await store.due(ref, isDecided || active.control.signal.aborted ? Date.now() : deadline);
      }
      // Only now: what a node had in hand when it died is looked at.
      await cache.removeMembers(nodeRunsKey(owner), [ref]);
      active.leave?.({ state: held ? 'waiting' : 'elsewhere' });
    } catch (error) {
      services.log(`run ${request.id} could not be suspended`, error);
      await giveBack(active, error);
      active.leave?.({ state: 'elsewhere' });
    }
  }

  return {
    run,
    resume,
    actives,
    newRecord,
    /**
     * Suspends what has been waiting for longer than the grace time. Not a run whose answer somebody reads as it comes, or that has read a stream: neither
     * would find its stream again.
     */
    suspendIdle(now = Date.now()): void {
      // Many runs in memory make room sooner: the grace time only spares short waits the way through the journal.
      const grace = actives.size > CROWD ? graceMs / 20 : graceMs;
      for (const active of actives.values()) {
        const { world, journal, http } = active;
        if (!world || active.isLeaving || world.openWaits.length === 0 || world.pending !== world.openWaits.length) continue;
        if (now - world.activeAt > REST_MS) active.turn?.rest(); // one of its branches was woken and has ended since
        if (journal && !http?.isRead && !world.hasStreamed && now - world.activeAt > grace) void suspend(active);
      }
    },
    /** Ids of the runs it ends. With `callId` only what that call waits for; durable runs outlive their caller. */
    cancelLocal(workspaceId: string, correlationId: string, callId?: string): string[] {
      const ids: string[] = [];
      for (const { request, control, callId: own } of actives.values()) {
        if (request.workspaceId !== workspaceId || request.run.correlationId !== correlationId) continue;
        if (callId !== undefined && (own !== callId || request.isDurable)) continue;
        control.abort();
        ids.push(request.id);
      }
      return ids;
    },
  };
}

export type Execution = ReturnType<typeof createExecution>;

/** The fault as its caller may see it: no secret in message or details. */
function cleaned(error: unknown, redactor: Redactor): unknown {
  if (!isFault(error)) return error;
  const message = redactor.clean(error.message);
  const data = redactor.clean(error.data);
  return message === error.message && data === error.data
    ? error
    : fault(error.type as Parameters<typeof fault>[0], { message, data: data as Record<string, unknown> });
}

type PublicError = NonNullable<RunRecord['error']>;

/** Where a run began. An automation that is gone is named as the run names it. */
function outermost({ automation, run, identity }: RunRequest, at: Match | null): Frame {
  const dot = automation.lastIndexOf('.');
  return {
    automationSlug: at ? at.automation.slug : automation.slice(dot + 1),
    instance: at ? at.model.instance : automation.slice(0, Math.max(dot, 0)),
    ...(at?.model.appSlug ? { appSlug: at.model.appSlug } : {}),
    depth: run.depth + 1,
    identity,
  };
}

function publicError(error: unknown): PublicError {
  const { error: name, message, details } = toPublicError(error);
  return { error: name, message, details };
}
