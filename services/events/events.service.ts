/**
 * events — accepts events from outside, finds and counts those that are kept, streams those that happen.
 *
 * State   none of its own: the bus holds what happens, the datalake what happened, the cache what was answered under an Idempotency-Key (once.ts).
 * Emits   what callers send.
 * Calls   `workspaces.resolve` (addresses by slug).
 */
import type { Readable } from 'node:stream';
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { Ability, AuthMethods } from '../../mixins/auth/contract.ts';
import type { CallMeta, Identity } from '../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import { ALWAYS, matches } from '../../mixins/filters/condition.ts';
import { parseEventsQuery } from '../../mixins/filters/query.ts';
import { readiness } from '../../mixins/readiness/readiness.mixin.ts';
import { brokerCheck, cacheCheck, datalakeCheck } from '../../mixins/readiness/stores.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import { configOf } from '../../mixins/shared/config.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import { type CacheMethods, cache } from '../../mixins/storage/cache/cache.mixin.ts';
import type { Condition, SearchResult } from '../../mixins/storage/datalake/contract.ts';
import { type DatalakeMethods, datalake } from '../../mixins/storage/datalake/datalake.mixin.ts';
import { activityOf } from './activity.ts';
import type { EmitParams, ReplayAnswer } from './contract.ts';
import { assertMayEmit, type Candidate, candidatesOf, type Fixed, sendCandidates } from './emit.ts';
import { CONTENT_TYPES, type ExportFormat, exportStream } from './export.ts';
import { type Interest, type Live, openLive, poll } from './live.ts';
import { emitOnce } from './once.ts';
import { eventsAfter } from './replay.ts';
import { parseSearchBody, readableBy, runSearch, type SearchAnswer } from './search.ts';
import { eventStream } from './stream.ts';
import { topicsOf } from './topics.ts';
import { buildTrace, type Trace } from './trace.ts';
import { type UsageAnswer, usageOf } from './usage.ts';

type Self = Service & AuthMethods & BusMethods & CacheMethods & DatalakeMethods & EventsMethods & { live: Live };
type Query = Record<string, unknown>;
type Named = { workspaceId: string; query?: Query; body?: unknown };
type Call<P> = Context<P, CallMeta>;

interface FindAnswer {
  result: { events: PrismeEvent[]; nextCursor?: string; total?: number };
}

interface EventsMethods {
  workspaceOf(workspaceId: string): Promise<string>;
  reader(ctx: Call<Named>): Promise<{ workspaceId: string; ability: Ability }>;
  interestOf(ctx: Call<Named>, workspaceId: string, where: Condition | undefined, readable: Condition | null): Interest;
  abilityOfReader(identity: Identity, workspaceId: string): Promise<Ability>;
  throttle(workspaceId: string, count: number): Promise<void>;
}

const TRACE_LIMIT = 10_000;
const REPLAY_LIMIT = 5_000;

const events: ServiceSchema<object, any> = {
  name: 'events',
  mixins: [
    auth(),
    bus(),
    cache(),
    datalake(),
    readiness((self: Self) => {
      const config = configOf(self.broker);
      return [cacheCheck(config, self.cache), brokerCheck(config, self.bus), datalakeCheck(config, self.datalake)];
    }),
  ],

  actions: {
    /** POST …/events and the socket message `event`: answers once every event is durable. @throws ForbiddenError · BrokerError · TooManyRequests · IdempotencyKeyReused */
    emit: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<EmitParams>): Promise<PrismeEvent[]> {
        const identity = this.identityOf(ctx);
        const workspaceId = await this.workspaceOf(ctx.params.workspaceId);
        const candidates = candidatesOf(ctx.params.body, workspaceId, identity, ctx.params.socketId);
        assertMayEmit(await this.abilityOf(ctx, workspaceId), candidates, workspaceId);
        const admit = () => this.throttle(workspaceId, candidates.length);
        const { idempotencyKey: key, body } = ctx.params;
        if (key === undefined) {
          await admit();
          return sendCandidates(this.bus, candidates);
        }
        const send = (asked: Candidate[], fixed: Fixed) => sendCandidates(this.bus, asked, fixed);
        return emitOnce({ cache: this.cache, workspaceId, identity, key, body, candidates, admit, send });
      },
    },

    /** GET …/events: stored events, or with `longpolling` the next ones. An unknown workspace has none. */
    find: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named>): Promise<FindAnswer> {
        const { request, longpollingS, isCounted } = parseEventsQuery(ctx.params.query ?? {});
        let reader: { workspaceId: string; ability: Ability };
        try {
          reader = await this.reader(ctx);
        } catch (error) {
          if (isFault(error, 'ObjectNotFoundError')) return { result: { events: [] } };
          throw error;
        }
        const { workspaceId, ability } = reader;
        const readable = ability.condition('read', 'events');
        // After an id the next events are wanted, not the newest: a poll that fell behind reads on without a gap.
        const sort: typeof request.sort =
          request.afterId && ctx.params.query?.sort === undefined ? [{ field: 'createdAt', order: 'asc' }] : request.sort;
        const search = async () =>
          readable === null
            ? { total: 0, events: [] }
            : this.datalake.search({ ...request, sort, workspaceId, readable, trackTotal: isCounted });
        if (longpollingS === 0) {
          const { total, events: found, nextCursor }: SearchResult = await search();
          return { result: { events: found, ...(nextCursor && { nextCursor }), ...(isCounted && { total }) } };
        }
        const found = await poll({
          live: this.live,
          interest: this.interestOf(ctx, workspaceId, request.where, readable),
          timeoutMs: longpollingS * SECOND,
          limit: request.limit ?? 50,
          afterId: request.afterId,
          stored: async () => (await search()).events,
        });
        return { result: { events: found } };
      },
    },

    /** GET …/events/stream: server-sent events, resumed by `Last-Event-ID` (or `afterId`). */
    stream: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named & { headers?: Record<string, string> }>): Promise<Readable> {
        const { request } = parseEventsQuery(ctx.params.query ?? {});
        const { workspaceId, ability } = await this.reader(ctx);
        ctx.meta.$statusCode = 200;
        ctx.meta.$responseHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' };
        return eventStream({
          live: this.live,
          interest: this.interestOf(ctx, workspaceId, request.where, ability.condition('read', 'events')),
          afterId: ctx.params.headers?.['last-event-id'] ?? request.afterId,
          keepAliveMs: configOf(this.broker).sseKeepAliveMs,
        });
      },
    },

    /** GET …/events/:eventId. @throws ObjectNotFoundError also when the caller may not read it */
    get: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named & { eventId: string }>): Promise<PrismeEvent> {
        const { workspaceId, ability } = await this.reader(ctx);
        const event = await this.datalake.get(workspaceId, ctx.params.eventId);
        // By the very condition of the lists: what one shows the other shows.
        if (!event || !matches(readableBy(ability), event))
          throw fault('ObjectNotFoundError', {
            message: `There is no event '${ctx.params.eventId}'.`,
            data: { subjectType: 'events', id: ctx.params.eventId },
          });
        return event;
      },
    },

    /** POST …/search. @throws SearchError · RequestValidationError · ForbiddenError (aggregations) */
    search: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named>): Promise<SearchAnswer> {
        const search = parseSearchBody(ctx.params.body);
        if (ctx.params.workspaceId.includes('*')) throw fault('ForbiddenError', { message: 'Forbidden wildcard workspaceId' });
        const { workspaceId, ability } = await this.reader(ctx);
        if (search.needsAggregate) ability.assert('aggregate_search', 'workspaces', { id: workspaceId });
        return runSearch(this.datalake, search, { workspaceId, readable: readableBy(ability) });
      },
    },

    /** POST /search: every workspace, for super admins. */
    searchAll: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<Named>): Promise<SearchAnswer> {
        if (this.identityOf(ctx).role !== 'superadmin')
          throw fault('ForbiddenError', { message: 'Only super admins search every workspace.' });
        return runSearch(this.datalake, parseSearchBody(ctx.params.body), {});
      },
    },

    /** GET …/activity: the measures of a dashboard. Needs `aggregate_search`. */
    aggregate: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<Named>): Promise<Record<string, unknown>> {
        const { workspaceId, ability } = await this.reader(ctx);
        ability.assert('aggregate_search', 'workspaces', { id: workspaceId });
        return activityOf(this.datalake, { workspaceId, readable: readableBy(ability) }, ctx.params.query ?? {});
      },
    },

    /** GET …/usage. Needs `get_usage`. */
    usage: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<Named>): Promise<UsageAnswer & { stored?: { events: number; bytes: number } }> {
        const { workspaceId, ability } = await this.reader(ctx);
        ability.assert('get_usage', 'workspaces', { id: workspaceId });
        const answer = await usageOf(this.datalake, workspaceId, ctx.params.query ?? {});
        if (ctx.params.query?.details === undefined) return answer;
        const [stored] = await this.datalake.usage(workspaceId);
        return { ...answer, stored: { events: stored?.events ?? 0, bytes: stored?.bytes ?? 0 } };
      },
    },

    /** GET …/traces/:correlationId: what the caller may read of it, as a tree. */
    trace: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named & { correlationId: string }>): Promise<Trace> {
        const { workspaceId, ability } = await this.reader(ctx);
        const afterId = ctx.params.query?.afterId;
        const { events: found, nextCursor } = await this.datalake.search({
          workspaceId,
          where: { field: 'source.correlationId', op: 'eq', value: ctx.params.correlationId },
          readable: readableBy(ability),
          sort: [{ field: 'createdAt', order: 'asc' }],
          limit: TRACE_LIMIT,
          trackTotal: false,
          ...(typeof afterId === 'string' && { afterId }),
        });
        const trace = buildTrace(ctx.params.correlationId, found);
        return nextCursor ? { ...trace, nextCursor } : trace;
      },
    },

    /** GET …/events/export?format=jsonl|csv with the filters of GET …/events: every match, oldest first. */
    export: {
      visibility: 'published',
      paced: true,
      identity: 'optional',
      async handler(this: Self, ctx: Call<Named>): Promise<Readable> {
        const { format = 'jsonl', columns, ...query } = ctx.params.query ?? {};
        if (!Object.hasOwn(CONTENT_TYPES, String(format))) throw fault('BadParametersError', { message: "'format' is jsonl or csv." });
        const { request } = parseEventsQuery(query);
        const { workspaceId, ability } = await this.reader(ctx);
        const kind = format as ExportFormat;
        ctx.meta.$statusCode = 200;
        ctx.meta.$responseHeaders = {
          'content-type': CONTENT_TYPES[kind],
          'content-disposition': `attachment; filename="events-${workspaceId.replace(/[^\w-]/g, '')}.${kind}"`,
        };
        return exportStream(
          this.datalake,
          { where: request.where, afterId: request.afterId, workspaceId, readable: readableBy(ability) },
          {
            format: kind,
            ...(typeof columns === 'string' && columns !== '' && { columns: columns.split(',') }),
            ...(query.limit !== undefined && { maxEvents: request.limit }),
          },
        );
      },
    },

    /** DELETE …/events?userId=…: erases what a user sent or received in the workspace. Owners and super admins. */
    erase: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<Named>): Promise<{ removed: number }> {
        const userId = ctx.params.query?.userId;
        if (typeof userId !== 'string' || userId === '') throw fault('RequestValidationError', { message: "'userId' is required." });
        const { workspaceId, ability } = await this.reader(ctx);
        ability.assert('delete', 'workspaces', { id: workspaceId });
        return { removed: await this.datalake.remove({ workspaceId, userId }) };
      },
    },

    /** Events after one that a client has seen, oldest first; null when nobody can tell. */
    replay: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string', afterId: 'string', limit: { type: 'number', optional: true } },
      async handler(this: Self, ctx: Context<{ workspaceId: string; afterId: string; limit?: number }>): Promise<ReplayAnswer> {
        const { workspaceId, afterId, limit = REPLAY_LIMIT } = ctx.params;
        return eventsAfter(this.bus, this.datalake, workspaceId, afterId, limit);
      },
    },
  },

  events: {
    // The node has forgotten what it knew in the same turn.
    'access.changed'(this: Self, ctx: Context<{ workspaceId?: unknown }>) {
      const workspaceId = ctx.params?.workspaceId;
      if (typeof workspaceId === 'string') setImmediate(() => void this.live?.refresh(workspaceId));
    },
    'identity.revoked'(this: Self, ctx: Context<{ userId?: string; sessionId?: string }>) {
      this.live?.revoked(ctx.params ?? {});
    },
  },

  methods: {
    async workspaceOf(this: Self, workspaceId: string): Promise<string> {
      if (!workspaceId.startsWith('slug:')) return workspaceId;
      const { id } = await this.broker.call<{ id: string }, { workspaceId: string }>(
        'workspaces.resolve',
        { workspaceId },
        { meta: this.systemMeta() },
      );
      return id;
    },
    async reader(this: Self, ctx: Call<Named>) {
      const workspaceId = await this.workspaceOf(ctx.params.workspaceId);
      return { workspaceId, ability: await this.abilityOfReader(this.identityOf(ctx), workspaceId) };
    },
    /** What a request that stays open waits for. It outlives the signature of its identity, so rights are judged by the claims. */
    interestOf(this: Self, ctx: Call<Named>, workspaceId: string, where: Condition | undefined, readable: Condition | null): Interest {
      const identity = this.identityOf(ctx);
      const { userId, sessionId } = identity;
      return {
        workspaceId,
        where: where ?? ALWAYS,
        readable,
        who: { userId, sessionId },
        recheck: async () => (await this.abilityOfReader(identity, workspaceId)).condition('read', 'events'),
      };
    },
    async abilityOfReader(this: Self, identity: Identity, workspaceId: string): Promise<Ability> {
      const topics = identity.userId ? await topicsOf(this.cache, workspaceId, identity.userId) : [];
      return this.abilityFor(identity, workspaceId, { topics });
    },
    async throttle(this: Self, workspaceId: string, count: number): Promise<void> {
      const { rateLimitDisabled, rateEmits, rateEmitsBurst } = configOf(this.broker);
      if (rateLimitDisabled || count === 0) return;
      // A batch larger than the bucket could never pass; it takes the bucket whole.
      const taken = await this.cache.takeTokens(`{emits:${workspaceId}}:external`, Math.min(count, rateEmitsBurst), {
        perSecond: rateEmits,
        burst: rateEmitsBurst,
        wait: false,
      });
      if (taken.ok) return;
      throw fault('TooManyRequests', {
        message: `This workspace receives more than ${rateEmits} events per second from outside; retry in ${taken.retryAfterMs} ms.`,
        data: { retryAfterMs: taken.retryAfterMs, limit: rateEmits, burst: rateEmitsBurst },
      });
    },
  },

  async started(this: Self) {
    this.live = await openLive({
      bus: this.bus,
      eventsAfter: (workspaceId, afterId, limit) => eventsAfter(this.bus, this.datalake, workspaceId, afterId, limit),
      accessChanged: (workspaceId) => this.accessChanged(workspaceId),
    });
  },

  async stopped(this: Self) {
    await this.live?.close();
  },
};

export default events;
