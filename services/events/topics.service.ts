/**
 * events.topics — user topics: who has joined what. An event whose `target.userTopic` is a topic is readable by those who joined it.
 *
 * State   sets in the cache: topics of a user, members of a topic, per workspace. Durable before a join is answered; no time limit.
 * Reads   `events.userTopics.created|joined|left` of the bus, so that joins made by older automations count too.
 * Emits   `events.userTopics.joined|left` after the write, by which every gateway refreshes the rights of its sockets.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { Subscription } from '../../mixins/bus/contract.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import { type CacheMethods, cache } from '../../mixins/storage/cache/cache.mixin.ts';
import type { TopicsAnswer } from './contract.ts';
import { joinTopic, leaveTopic, type Membership, membershipOf, membersOf, topicsOf } from './topics.ts';

type Self = Service &
  AuthMethods &
  BusMethods &
  CacheMethods & { consumer: Subscription | null; tell(type: string, membership: Membership): Promise<void> };

const PARAMS = { workspaceId: 'string|min:1', topic: 'string|min:1|max:500', userIds: { type: 'array', items: 'string|min:1', max: 1000 } };

const topics: ServiceSchema<object, any> = {
  name: 'events.topics',
  mixins: [auth(), bus(), cache()],

  actions: {
    /** Names of the topics a user has joined in a workspace. */
    of: {
      visibility: 'public',
      identity: 'system',
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
    /** Adds users to a topic; durable when answered. */
    join: {
      visibility: 'public',
      identity: 'system',
      params: PARAMS,
      async handler(this: Self, ctx: Context<Membership>): Promise<void> {
        await joinTopic(this.cache, ctx.params);
        await this.tell('events.userTopics.joined', ctx.params);
      },
    },
    leave: {
      visibility: 'public',
      identity: 'system',
      params: PARAMS,
      async handler(this: Self, ctx: Context<Membership>): Promise<void> {
        await leaveTopic(this.cache, ctx.params);
        this.accessChanged(ctx.params.workspaceId);
      },
    },
  },

  methods: {
    async tell(this: Self, type: string, { workspaceId, topic, userIds }: Membership): Promise<void> {
      await this.bus.sendAll(userIds.map((id) => ({ type, payload: { topic, user: { id } }, options: { source: { workspaceId } } })));
    },
  },

  created(this: Self) {
    this.consumer = null;
  },

  async started(this: Self) {
    this.consumer = await this.bus.on(
      ['events.userTopics.created', 'events.userTopics.joined'],
      async (event) => {
        const membership = membershipOf(event);
        if (membership) await joinTopic(this.cache, membership);
      },
      { group: 'topics' },
    );
  },

  async stopped(this: Self) {
    await this.consumer?.stop({ drainMs: 5 * SECOND });
  },
};

export default topics;
