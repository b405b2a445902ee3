/** platform — what runs ask of the other services and of shared state: identities, rights, tokens, configuration, topics, rate limits, modules. */
import type { ServiceBroker } from 'moleculer';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { MintAnswer, MintParams } from '../gateway/contract.ts';
import type { PlatformCalls } from './acts.ts';
import { applyLocally } from './contexts.ts';
import type { Frame, RunIdentity } from './interpreter/index.ts';
import { keyPart } from './key-part.ts';
import type { Models } from './models.ts';
import type { Modules } from './modules/index.ts';
import { sourceOf } from './native-events.ts';
import type { Organisations } from './organisations.ts';
import { isSwitched, rightsOf } from './rights.ts';
import type { RunRequest } from './runs.ts';
import type { Sessions } from './sessions.ts';

export interface PlatformOptions {
  broker: ServiceBroker;
  auth: Pick<AuthMethods, 'abilityFor' | 'systemMeta' | 'delegatedMeta'>;
  bus: EventBus;
  cache: CacheDriver;
  sessions: Sessions;
  models: Models;
  modules: Modules;
  organisations: Organisations;
}

/** Life of a token for calls back to the platform. */
const TOKEN_TTL_S = { delegated: 30, workspace: 120 };
const TOPICS_KEY = (workspaceId: string) => `topics:{${workspaceId}}`;

export function createPlatform({ broker, auth, bus, cache, sessions, models, modules, organisations }: PlatformOptions): PlatformCalls {
  const abilityOf = (identity: RunIdentity, request: RunRequest) =>
    auth.abilityFor({ correlationId: request.run.correlationId, ...rightsOf(identity) }, request.workspaceId);
  const mint = (kind: MintParams['kind'], frame: Frame, request: RunRequest): Promise<MintAnswer> => {
    // Calls to the platform are made as the person who started the run, also after it switched identity. Whom another workspace brought stays known by name
    // to what is called; whom an automation chose does not: naming somebody must not open the data he has in other workspaces.
    const { userId, sessionId, isAway }: RunIdentity = request.identity.isPosed ? {} : request.identity;
    const params: MintParams = {
      kind,
      workspaceId: request.workspaceId,
      ...(userId ? { userId } : {}),
      ...(sessionId ? { sessionId } : {}),
      ...(isAway ? { isAway } : {}),
      correlationId: request.run.correlationId,
      ttlS: TOKEN_TTL_S[kind],
      depth: frame.depth,
    };
    return broker.call('tokens.mint', params, { meta: auth.systemMeta(request.run.correlationId) });
  };

  return {
    async identityOf(field, value, request) {
      const id = String(value);
      if (field === 'user.id') return { userId: id, sessionId: id, authData: {} };
      const known = await sessions.find(id);
      const identity: RunIdentity = {
        userId: known?.userId ?? id,
        sessionId: id,
        authData: known?.authData ?? {},
        ...(known?.email ? { email: known.email } : {}),
        ...(known?.emailVerified ? { emailVerified: true as const } : {}),
      };
      // Taking somebody's session gives his data, never his roles; coming back to one's own restores them.
      if (id !== request.identity.sessionId) return identity;
      const { role, platformRole, isPosed, isAway } = request.identity;
      return {
        ...identity,
        ...(role ? { role } : {}),
        ...(platformRole ? { platformRole } : {}),
        ...(isPosed ? { isPosed } : {}),
        ...(isAway ? { isAway } : {}),
      };
    },

    async sessionLifeMs(sessionId) {
      const known = await sessions.find(sessionId);
      return known ? known.expiresAt - Date.now() : undefined;
    },

    organisationOf: (request) => organisations.of(request),

    async authorize(action, frame, request) {
      const subject = { runningWorkspaceId: request.workspaceId, slug: frame.automationSlug, authorizations: { action } };
      (await abilityOf(request.identity, request)).assert('execute', 'automations', subject);
      if (isSwitched(request, frame)) (await abilityOf(frame.identity, request)).assert('execute', 'automations', subject);
    },

    mintToken: (kind, frame, request) => mint(kind, frame, request),

    async apiKey(name) {
      // Keys are kept as hashes only: none can be sent back out.
      throw fault('InvalidInstructionError', { message: 'No api key found', data: { name } });
    },

    async configure(operations, frame, request) {
      if (!frame.instance)
        throw fault('InvalidInstructionError', {
          message: 'Only an app instance can change its configuration; a workspace has PATCH /config.',
        });
      const { root } = await models.get(request.workspaceId);
      // Inside an app's own instances there is nothing of this workspace to change: the run alone sees it.
      if (!root.child(frame.instance)) return null;
      const written = ((root.workspace.source.imports[frame.instance] as { config?: unknown } | undefined)?.config ?? {}) as object;
      const before = JSON.stringify(written);
      const config = applyLocally(
        structuredClone(written),
        operations.map(({ lifespanS: _, ...operation }) => operation),
      );
      // Installations that configure themselves when configured must come to rest.
      if (JSON.stringify(config) === before) return config;
      const { userId, sessionId } = rightsOf(request.identity);
      await broker.call(
        'appInstances.configure',
        { workspaceId: request.workspaceId, slug: frame.instance, body: config },
        {
          meta: auth.delegatedMeta({
            workspaceId: request.workspaceId,
            ...(userId ? { userId } : {}),
            ...(sessionId ? { sessionId } : {}),
            correlationId: request.run.correlationId,
            authenticatedWorkspaceId: request.workspaceId,
            depth: frame.depth,
          }),
        },
      );
      return config;
    },

    async topic(effect, frame, request) {
      const source = sourceOf(request, frame, { withUser: true });
      const key = TOPICS_KEY(request.workspaceId);
      if (!effect.topic) throw topicFault('missing topic name or userId');
      // Memberships are written before the instruction is over: what is sent to the topic next is read by who has just joined.
      const join = (userIds: string[], isQuiet: boolean) =>
        broker.call(
          'events.topics.join',
          { workspaceId: request.workspaceId, topic: effect.topic, userIds, source, isQuiet },
          { meta: auth.systemMeta(request.run.correlationId) },
        );
      if (effect.type === 'topic.create') {
        if ((await cache.addMembers(key, [effect.topic])) === 0) return true;
        if (effect.userIds?.length) await join(effect.userIds, true);
        await bus.send(
          'events.userTopics.created',
          { topic: effect.topic, ...(effect.userIds ? { userIds: effect.userIds } : {}) },
          { source, topic: 'events.userTopics.created' },
        );
        return null;
      }
      if (effect.userIds.length === 0) throw topicFault('missing topic name or userId');
      if (effect.create) await cache.addMembers(key, [effect.topic]);
      else if (!(await cache.hasMember(key, effect.topic)))
        throw fault('PrismeError', { message: `Cannot join topic ${effect.topic} as it does not exist`, data: { topic: effect.topic } });
      await join(effect.userIds, false);
      return null;
    },

    module: (effect, frame, request, operation) => modules.call(effect, frame, request, operation),

    async rateLimit(effect, request) {
      const windowMs = Math.max(1, effect.windowS) * SECOND;
      // Names and consumers hold any character: joined as text, two pairs could be one.
      const key = `limit:{${request.workspaceId}}:${keyPart(JSON.stringify([effect.name, effect.consumer ?? '']))}`;
      const { count, expiresInMs } = await cache.increment(key, effect.consume, windowMs);
      const ok = count <= effect.limit;
      return {
        ok,
        retryAfter: ok ? 0 : Math.ceil(expiresInMs / SECOND),
        remaining: Math.max(0, effect.limit - count),
        limit: effect.limit,
        window: effect.windowS,
        ...(effect.consumer === undefined ? {} : { consumer: effect.consumer }),
      };
    },

    openReferences: (value, request, options) => modules.openReferences(value, request, options),
  };
}

const topicFault = (what: string) => fault('PrismeError', { message: `Invalid joinUserTopic instruction : ${what}` });
