/**
 * runtime — runs automations: on HTTP calls, on events, at given times.
 *
 * State   compiled models, runs in memory (execution.ts). What must survive: contexts, waits, journals and run records in the cache;
 *         schedules, collections and secrets of the `run` modules as documents.
 * Emits   custom events of automations; `runtime.interactions.triggered`, `runtime.automations.executed`, `runtime.fetch.failed`,
 *         `runtime.schedules.triggered|created`, `events.userTopics.*`, `error`.
 * Calls   `workspaces.model|removed|revisions|resolve`, `appInstances.former`, `apps.model|revisions`, `appInstances.configure`, `tokens.mint`.
 *
 * Recovery and suspension: recovery.ts, docs/decisions/030-crash-proof-runs.md. Consumer groups: consumers.ts.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { CallMeta, Identity } from '../../mixins/auth/identity.ts';
import { bus } from '../../mixins/bus/bus.mixin.ts';
import type { BusMethods } from '../../mixins/bus/contract.ts';
import { readiness } from '../../mixins/readiness/readiness.mixin.ts';
import { DAY } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { cache } from '../../mixins/storage/cache/cache.mixin.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { DocumentsDriver } from '../../mixins/storage/documents/contract.ts';
import { documents } from '../../mixins/storage/documents/documents.mixin.ts';
import type { CancelParams, CheckParams, TestParams, TriggerRow, WebhookParams } from './contract.ts';
import { disabledListeners, type Explanation, explainPast, withOutcomes } from './explanations.ts';
import { compileWorkspace, type Problem, type RunIdentity, runAutomation } from './interpreter/index.ts';
import { childrenOf } from './models.ts';
import { openRuntime, type Runtime } from './open.ts';
import { runtimeChecks } from './readiness.ts';
import { isNamed } from './rights.ts';
import { type RunRecord, type RunRequest, type RunSummary, summaryOf } from './runs.ts';
import { runIdentity, testRequest, webhookRequest } from './starts.ts';
import { automationAt, endpointMatches, eventMatches, type Match, triggerRows } from './triggers.ts';
import { accept, answer, answerOnce, callOf, prefersAsync } from './webhook-calls.ts';

interface RuntimeMethods {
  runtime: Runtime;
  personOf(identity: Identity, workspaceId: string): Promise<RunIdentity>;
  tellWebhook(request: RunRequest): Promise<void>;
  beginOther(request: RunRequest, taken?: RunRecord): void;
  askNodes<T>(action: string, params: object): Promise<T[]>;
  activeRuns(workspaceId: string): Promise<RunSummary[]>;
}
type Self = Service & AuthMethods & BusMethods & { cache: CacheDriver; documents: DocumentsDriver } & RuntimeMethods;
type Call<P> = Context<P, CallMeta>;

const WORKSPACE = { workspaceId: 'string|min:1' } as const;
const WEBHOOK_EVENT = 'runtime.webhooks.triggered';
const STOP_DRAIN_MS = 5_000;
const MAX_LISTED = 500;

const runtime: ServiceSchema<object, any> = {
  name: 'runtime',
  mixins: [auth(), bus(), cache(), documents({ collections: [] }), readiness(runtimeChecks)],

  actions: {
    /** An HTTP call of an endpoint automation. See WebhookAnswer. @throws ObjectNotFoundError · SuspendedWorkspaceError · what ended the run */
    webhook: {
      visibility: 'published',
      identity: 'optional',
      params: { ...WORKSPACE, endpoint: 'string|min:1', method: 'string|min:3' },
      async handler(this: Self, ctx: Call<WebhookParams>): Promise<unknown> {
        const { models } = this.runtime;
        const identity = this.identityOf(ctx);
        const id = await models.idOf(ctx.params.workspaceId);
        const loaded = await models.get(id);
        const { root } = loaded;
        const matches = endpointMatches(root, ctx.params.endpoint.replace(/^\/+|\/+$/g, ''));
        const first = matches[0];
        if (!first)
          throw fault('ObjectNotFoundError', {
            message: `Did not find any matching trigger for endpoint ${ctx.params.endpoint}`,
            data: { workspaceId: id, endpoint: ctx.params.endpoint },
          });
        const as = identity.userId ? await this.personOf(identity, id) : runIdentity(identity, id);
        const idempotencyKey = ctx.params.idempotencyKey ?? ctx.params.headers?.['idempotency-key'];
        const params = idempotencyKey ? { ...ctx.params, idempotencyKey } : ctx.params;
        const request = webhookRequest(first, params, identity, as, id);
        // Only the first answers; the others are runs of their own, begun when the call is neither refused nor a repetition.
        const beginOthers = (taken?: RunRecord) => {
          for (let at = 1; at < matches.length; at++)
            this.beginOther(webhookRequest(matches[at] as Match, params, identity, as, id), taken);
        };
        if (eventMatches(root, WEBHOOK_EVENT).length) await this.tellWebhook(request);
        if (prefersAsync(params.headers)) return accept(this.runtime, request, beginOthers);
        if (request.isDurable) return answerOnce(this.runtime, ctx, request, beginOthers);
        beginOthers();
        return answer(this.runtime, ctx, request, loaded);
      },
    },

    /** Runs one automation for its owner and returns its output, `{}` when none. @throws ForbiddenError · ObjectNotFoundError */
    test: {
      visibility: 'published',
      identity: 'optional',
      params: { ...WORKSPACE, slug: 'string|min:1' },
      async handler(this: Self, ctx: Call<TestParams>): Promise<unknown> {
        const { models, execution } = this.runtime;
        const { slug, body } = ctx.params;
        const id = await models.idOf(ctx.params.workspaceId);
        const ability = await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        const match = automationAt((await models.get(id)).root, slug);
        if (!match) throw fault('ObjectNotFoundError', { message: 'Automation not found', data: { workspaceId: id, automation: slug } });
        const identity = this.identityOf(ctx);
        await this.runtime.sessions.learn(identity);
        const request = testRequest(match, (body?.payload ?? {}) as JsonObject, identity, runIdentity(identity, id, ability.role), id);
        const end = await execution.run(request, { isInteraction: true, ...callOf(ctx) });
        if (end.state === 'failed') throw end.error;
        if (end.state !== 'done') throw fault('RunCancelledError');
        return end.output ?? {};
      },
    },

    /**
     * Ends runs of a correlation id: those a call waits for, when the caller has gone (`callId`, which only the gateway knows), or all with their
     * children for who may test. The correlation id alone is no proof: clients choose it, and readers of events see it.
     */
    cancel: {
      visibility: 'public',
      identity: 'optional',
      params: { ...WORKSPACE, correlationId: 'string|min:1', callId: 'string|min:16|optional' },
      async handler(this: Self, ctx: Call<CancelParams>): Promise<{ cancelled: number }> {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        const { correlationId, callId } = ctx.params;
        if (callId === undefined) await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        return { cancelled: await this.runtime.cancel(id, correlationId, callId) };
      },
    },

    /** What starts which automation. */
    triggers: {
      visibility: 'published',
      identity: 'required',
      params: WORKSPACE,
      async handler(this: Self, ctx: Call<{ workspaceId: string }>): Promise<TriggerRow[]> {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        return triggerRows((await this.runtime.models.get(id)).root, childrenOf);
      },
    },

    /** Compiles automations without keeping them. */
    check: {
      visibility: 'public',
      identity: 'system',
      params: { ...WORKSPACE, automations: 'object', imports: 'array|optional', texts: 'object|optional' },
      async handler(this: Self, ctx: Call<CheckParams>): Promise<{ problems: Problem[] }> {
        const { workspaceId, automations, imports = [], texts = {} } = ctx.params;
        // Calls of what the workspace already has are no problem; of a workspace that cannot be loaded only the automations given are judged.
        const source = await this.runtime.models.find(workspaceId).then(
          (loaded) => loaded?.root.workspace.source,
          () => undefined,
        );
        const known = {
          automations: Object.keys(source?.automations ?? {}),
          imports: [...imports, ...Object.keys(source?.imports ?? {})],
        };
        return { problems: compileWorkspace({ id: workspaceId, revision: 0, automations, imports: {} }, { known, texts }).problems };
      },
    },

    /** Schedules of a workspace with their next time. */
    schedules: {
      visibility: 'published',
      identity: 'required',
      params: WORKSPACE,
      async handler(this: Self, ctx: Call<{ workspaceId: string }>) {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        return this.runtime.schedules.list(id);
      },
    },

    /** Why an event did or did not start automations: what the node that handled it decided, or what can still be told. @throws ObjectNotFoundError */
    explain: {
      visibility: 'published',
      identity: 'required',
      params: { ...WORKSPACE, eventId: 'string|min:1' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; eventId: string }>): Promise<Explanation> {
        const { eventId } = ctx.params;
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        const answers = await this.askNodes<Explanation | null>('runtime.explainLocal', { eventId });
        const { models, store } = this.runtime;
        const workspace = await models.find(id);
        const remembered = answers.find((answer) => answer?.workspaceId === id);
        const found = remembered
          ? await withOutcomes(remembered, store)
          : await explainPast(await ctx.call('events.get', { workspaceId: id, eventId }), workspace, store);
        const disabled = workspace ? disabledListeners(workspace.root, found.type) : [];
        return { ...found, considered: [...found.considered, ...disabled] };
      },
    },
    explainLocal: {
      visibility: 'public',
      identity: 'system',
      params: { eventId: 'string' },
      handler(this: Self, ctx: Call<{ eventId: string }>) {
        return this.runtime.explanations.find(ctx.params.eventId);
      },
    },

    /** Runs that are at work, wait, failed or were interrupted, newest first. Runs that ended well without effects leave no trace here. */
    'runs.list': {
      visibility: 'published',
      identity: 'required',
      params: WORKSPACE,
      async handler(
        this: Self,
        ctx: Call<{ workspaceId: string; query?: { limit?: string; state?: string } }>,
      ): Promise<{ runs: RunSummary[] }> {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        const limit = Math.min(Math.max(1, Number(ctx.params.query?.limit) || 50), MAX_LISTED);
        const wanted = ctx.params.query?.state;
        const kept = (await this.runtime.store.list(id, limit, wanted)).map(summaryOf);
        // Most runs at work have no record: their nodes know them.
        const active = wanted === undefined || wanted === 'running' ? await this.activeRuns(id) : [];
        const byId = new Map([...active, ...kept].map((run) => [run.id, run]));
        const runs = [...byId.values()]
          .filter((run) => !wanted || run.state === wanted)
          .sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1))
          .slice(0, limit);
        return { runs };
      },
    },
    'runs.local': {
      visibility: 'public',
      identity: 'system',
      params: WORKSPACE,
      handler(this: Self, ctx: Call<{ workspaceId: string }>): RunSummary[] {
        const { execution } = this.runtime;
        return [...execution.actives.values()]
          .filter(({ request }) => request.workspaceId === ctx.params.workspaceId)
          .map((active) => summaryOf(active.held?.record ?? execution.newRecord(active.request, active.loaded, 'running')));
      },
    },

    /** @throws ObjectNotFoundError */
    'runs.get': {
      visibility: 'published',
      identity: 'required',
      params: { ...WORKSPACE, runId: 'string|min:1' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; runId: string }>): Promise<RunSummary> {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        const [record] = await this.runtime.store.findMany(id, [ctx.params.runId]);
        if (record) return summaryOf(record);
        const active = await this.activeRuns(id);
        const found = active.find((run) => run.id === ctx.params.runId);
        if (!found) throw noRun(ctx.params.runId);
        return found;
      },
    },

    /** Ends the runs with the correlation id of this one, children included. */
    'runs.cancel': {
      visibility: 'published',
      identity: 'required',
      params: { ...WORKSPACE, runId: 'string|min:1' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; runId: string }>): Promise<{ cancelled: number }> {
        const { runId } = ctx.params;
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        const [record] = await this.runtime.store.findMany(id, [runId]);
        const active = record ? [] : await this.activeRuns(id);
        const correlationId = record?.correlationId ?? active.find((run) => run.id === runId)?.correlationId;
        if (!correlationId) throw noRun(runId);
        return { cancelled: await this.runtime.cancel(id, correlationId) };
      },
    },

    /** Begins a failed, dead or cancelled run again; effects it had completed are not repeated, unless what it executes was changed. @throws ObjectNotFoundError · BadParametersError */
    'runs.retry': {
      visibility: 'published',
      identity: 'required',
      params: { ...WORKSPACE, runId: 'string|min:1' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; runId: string }>): Promise<RunSummary> {
        const id = await this.runtime.models.idOf(ctx.params.workspaceId);
        await this.authorize(ctx, id, 'test', 'automations', { runningWorkspaceId: id });
        return summaryOf(await this.runtime.retry(id, ctx.params.runId));
      },
    },
  },

  events: {
    /** Somebody signed out, or lost his account. */
    async 'identity.revoked'(this: Self, ctx: Context<{ userId?: string; sessionId?: string }>) {
      await this.runtime?.sessions.revoke(ctx.params ?? {});
    },
    /** Hint: somebody's organisations, or what he is there, have changed. */
    'organisations.changed'(this: Self) {
      this.runtime?.organisations.forget();
    },
    /** Hint: a run somewhere was cancelled. */
    'runtime.cancelled'(this: Self, ctx: Context<{ workspaceId: string; correlationId: string; callId?: string }>) {
      this.runtime?.execution.cancelLocal(ctx.params.workspaceId, ctx.params.correlationId, ctx.params.callId);
    },
    /** Hint: a wait was decided; who holds it looks now instead of a little later. */
    async 'runtime.wait.decided'(this: Self, ctx: Context<{ workspaceId: string; id: string }>) {
      await this.runtime?.waits.hint(ctx.params.workspaceId, ctx.params.id);
    },
  },

  methods: {
    /** Who calls as somebody of the workspace; his session is known from now on. */
    async personOf(this: Self, identity: Identity, workspaceId: string): Promise<RunIdentity> {
      const { roleOf, sessions } = this.runtime;
      const [role] = await Promise.all([roleOf(identity, workspaceId, identity.correlationId), sessions.learn(identity)]);
      return runIdentity(identity, workspaceId, role);
    },

    /** Only where an automation listens to it: every webhook already tells `runtime.interactions.triggered`. */
    async tellWebhook(this: Self, { workspaceId, automation, payload, run, identity }: RunRequest): Promise<void> {
      const source = {
        workspaceId,
        correlationId: run.correlationId,
        automationDepth: run.depth + 1,
        ...(identity.sessionId ? { sessionId: identity.sessionId } : {}),
        ...(isNamed(identity) ? { isPosed: true as const } : {}),
      };
      await this.bus.send(
        WEBHOOK_EVENT,
        { workspaceId, automationSlug: automation, method: String(payload.method) },
        { source, topic: WEBHOOK_EVENT },
      );
    },

    /**
     * Runs an automation that shares the endpoint of a call and does not answer it: once, when the call has a key.
     * @param taken the record of the run that answers. A repetition finds it and begins here what a node that died after writing it had not begun; the
     *   run that is there already is left alone. Only for a day: records of runs that went well are not kept longer, while a failed one still is.
     */
    beginOther(this: Self, request: RunRequest, taken?: RunRecord): void {
      if (taken && Date.now() - Date.parse(taken.startedAt) > DAY) return;
      const { store, execution } = this.runtime;
      const begin = async () => {
        if (!request.isDurable) return execution.run(request);
        const held = await store.create(execution.newRecord(request, undefined, 'running'));
        return held && execution.run(request, { held });
      };
      void begin().catch((error) => this.logger.error(error));
    },

    /** Asks every node that runs automations. */
    async askNodes<T>(this: Self, action: string, params: object): Promise<T[]> {
      const services = this.broker.registry.getServiceList({ onlyAvailable: true }) as unknown as { name: string; nodeID: string }[];
      const nodes = services.filter(({ name }) => name === 'runtime').map(({ nodeID }) => nodeID);
      const meta = this.systemMeta();
      const answers = await Promise.allSettled(
        [...new Set(nodes)].map((nodeID) => this.broker.call<T, object>(action, params, { nodeID, meta, timeout: 2_000 } as never)),
      );
      return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    },

    async activeRuns(this: Self, workspaceId: string): Promise<RunSummary[]> {
      return (await this.askNodes<RunSummary[]>('runtime.runs.local', { workspaceId })).flatMap((list) => list ?? []);
    },
  },

  async started(this: Self) {
    this.runtime = await openRuntime(this, { compile: compileWorkspace, interpret: runAutomation });
  },

  async stopped(this: Self) {
    await this.runtime?.stop(STOP_DRAIN_MS);
  },
};

export default runtime;

const noRun = (runId: string) =>
  fault('ObjectNotFoundError', { message: 'There is no such run.', data: { subjectType: 'runs', id: runId } });
