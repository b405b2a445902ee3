/**
 * events.topics — user topics: who has joined what. An event whose `target.userTopic` is a topic is readable by those who joined it.
 *
 * State   sets in the cache: topics of a user, members of a topic, per workspace. Durable before a join is answered; no time limit.
 * Reads   `events.userTopics.created|joined|left` of others on the bus, so that joins made by older producers count too.
 * Emits   `events.userTopics.joined|left` after the write, by which every gateway refreshes the rights of its sockets.
 * Calls   `workspaces.resolve` (addresses by slug).
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import { type CallMeta, isAway } from '../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { Subscription } from '../../mixins/bus/contract.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { EventSource } from '../../mixins/shared/event.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import { type CacheMethods, cache } from '../../mixins/storage/cache/cache.mixin.ts';
import type { TopicsAnswer } from './contract.ts';
import { joinTopic, leaveTopic, type Membership, membershipOf, membersOf, topicsOf } from './topics.ts';

type Self = Service & AuthMethods & BusMethods & CacheMethods & TopicsMethods & { consumer: Subscription | null };
type Call = Context<{ workspaceId: string; topic: string; query?: Record<string, unknown>; body?: unknown }, CallMeta>;
type Change = Membership & { source?: Partial<EventSource> };

interface TopicsMethods {
  tell(type: string, change: Change): Promise<void>;
  managed(ctx: Call, leaving?: string[]): Promise<string>;
}

const NAME = 'events.topics';
const MAX_USERS = 1000;
const PARAMS = {
  workspaceId: 'string|min:1',
  topic: 'string|min:1|max:500',
  userIds: { type: 'array', items: 'string|min:1', max: MAX_USERS },
  source: { type: 'object', optional: true },
};
const REST = {
  workspaceId: 'string|min:1',
  topic: 'string|min:1|max:500',
  query: { type: 'object', optional: true },
  body: { type: 'any', optional: true },
} as const;

/** Users named by a request: a list, or texts separated by commas. */
function usersOf(value: unknown): string[] {
  const list = typeof value === 'string' ? value.split(',') : value;
  if (
    !Array.isArray(list) ||
    list.length === 0 ||
    list.length > MAX_USERS ||
    !list.every((item) => typeof item === 'string' && item !== '')
  )
    throw fault('RequestValidationError', { message: `'userIds' names 1 to ${MAX_USERS} users.`, data: { field: 'userIds' } });
  return list;
}

const topics: ServiceSchema<object, any> = {
  name: NAME,
  mixins: [auth(), bus(), cache()],

  actions: {
    /** Names of the topics a user has joined in a workspace. */
    of: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string', userId: 'string' },
      handler(this: Self, ctx: Context<{ workspaceId: string; userId: string }>): Promise<TopicsAnswer> {
        return topicsOf(this.cache, ctx.params.workspaceId, ctx.params.userId);
      },
    },
    members: {
      visibility: 'public',
      identity: 'system',
      params: { workspaceId: 'string', topic: 'string' },
      handler(this: Self, ctx: Context<{ workspaceId: string; topic: string }>): Promise<string[]> {
        return membersOf(this.cache, ctx.params.workspaceId, ctx.params.topic);
      },
    },
    /** Adds users to a topic; durable when answered. `source`: on whose behalf, for the event that tells of it; `isQuiet`: the caller tells of it himself. */
    join: {
      visibility: 'public',
      identity: 'system',
      params: { ...PARAMS, isQuiet: { type: 'boolean', optional: true } },
      async handler(this: Self, ctx: Context<Change & { isQuiet?: boolean }>): Promise<void> {
        await joinTopic(this.cache, ctx.params);
        if (!ctx.params.isQuiet) await this.tell('events.userTopics.joined', ctx.params);
      },
    },
    /** Takes users out of a topic: from the answer on they read nothing more of it, neither live nor stored. */
    leave: {
      visibility: 'public',
      identity: 'system',
      params: PARAMS,
      async handler(this: Self, ctx: Context<Change>): Promise<void> {
        await leaveTopic(this.cache, ctx.params);
        await this.tell('events.userTopics.left', ctx.params);
      },
    },

    /** GET …/topics/:topic: who has joined. Owners and editors. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: REST,
      async handler(this: Self, ctx: Call): Promise<{ topic: string; userIds: string[] }> {
        const { topic } = ctx.params;
        return { topic, userIds: await membersOf(this.cache, await this.managed(ctx), topic) };
      },
    },
    /** POST …/topics/:topic/members { userIds }. Owners and editors. */
    add: {
      visibility: 'published',
      identity: 'required',
      params: REST,
      async handler(this: Self, ctx: Call): Promise<{ topic: string; joined: string[] }> {
        const { topic, body } = ctx.params;
        const userIds = usersOf(isPlainObject(body) ? body.userIds : undefined);
        const membership = { workspaceId: await this.managed(ctx), topic, userIds };
        await joinTopic(this.cache, membership);
        await this.tell('events.userTopics.joined', membership);
        return { topic, joined: userIds };
      },
    },
    /** DELETE …/topics/:topic/members?userIds=a,b: owners and editors, or somebody who leaves himself. */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: REST,
      async handler(this: Self, ctx: Call): Promise<{ topic: string; left: string[] }> {
        const { topic, query } = ctx.params;
        const userIds = usersOf(query?.userIds);
        const membership = { workspaceId: await this.managed(ctx, userIds), topic, userIds };
        await leaveTopic(this.cache, membership);
        await this.tell('events.userTopics.left', membership);
        return { topic, left: userIds };
      },
    },
  },

  methods: {
    async tell(this: Self, type: string, { workspaceId, topic, userIds, source }: Change): Promise<void> {
      await this.bus.sendAll(
        userIds.map((id) => ({ type, payload: { topic, user: { id } }, options: { source: { ...source, workspaceId } } })),
      );
    },
    /** Id of the workspace, once the caller is known to manage its topics, or to be the one who leaves. */
    async managed(this: Self, ctx: Call, leaving: string[] = []): Promise<string> {
      const { workspaceId: address } = ctx.params;
      const { id } = address.startsWith('slug:')
        ? await this.broker.call<{ id: string }, { workspaceId: string }>(
            'workspaces.resolve',
            { workspaceId: address },
            { meta: this.systemMeta() },
          )
        : { id: address };
      const identity = this.identityOf(ctx);
      const isOwnLeave = leaving.length === 1 && leaving[0] === identity.userId && !isAway(identity, id);
      if (!isOwnLeave) await this.authorize(ctx, id, 'update', 'workspaces', { id });
      return id;
    },
  },

  created(this: Self) {
    this.consumer = null;
  },

  async started(this: Self) {
    this.consumer = await this.bus.on(
      ['events.userTopics.created', 'events.userTopics.joined', 'events.userTopics.left'],
      async (event) => {
        // What this service tells of is written already; doing it again later could undo what came after it.
        const membership = event.source.host?.service === `prisme.ai-${NAME}` ? null : membershipOf(event);
        if (!membership) return;
        await (event.type === 'events.userTopics.left' ? leaveTopic : joinTopic)(this.cache, membership);
      },
      { group: 'topics' },
    );
  },

  async stopped(this: Self) {
    await this.consumer?.stop({ drainMs: 5 * SECOND });
  },
};

export default topics;
