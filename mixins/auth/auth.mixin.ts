/**
 * auth — who is calling and what they may do, for services: verified identities, abilities, and the identities a service or a run calls under.
 *
 * State   rights per workspace, at most ten seconds old (abilities/access.ts). Calls `workspaces.access`. Broadcasts the hint `access.changed`.
 */
import type { Context, Service, ServiceBroker, ServiceSchema } from 'moleculer';
import { newCorrelationId } from '../shared/ids.ts';
import { type AccessCache, accessCacheOf } from './abilities/access.ts';
import { buildAbility, type Caller } from './abilities/build.ts';
import type { Ability, AuthMethods, SubjectType, WorkspaceAccess } from './contract.ts';
import type { CallMeta, Identity } from './identity.ts';
import { canonical, identityKeysOf } from './identity-keys.ts';

export type { AuthMethods } from './contract.ts';
export { identityKeysOf, openIdentityKeys } from './identity-keys.ts';

type Self = Service & AuthMethods;

function accessOf(broker: ServiceBroker): AccessCache {
  return accessCacheOf(broker, (workspaceId) =>
    broker.call<WorkspaceAccess, { workspaceId: string }>(
      'workspaces.access',
      { workspaceId },
      { meta: systemMeta(broker, 'auth') as object },
    ),
  );
}

function systemMeta(broker: ServiceBroker, service: string, correlationId: string = newCorrelationId()): CallMeta {
  return { identity: identityKeysOf(broker).sign({ kind: 'system', service, correlationId }), correlationId };
}

/** What makes two callers the same for rights. */
const callerKey = (
  {
    kind,
    userId,
    sessionId,
    email,
    emailVerified,
    role,
    authData,
    apiKeyHash,
    via,
    sourceWorkspaceId,
    isAway,
    authenticatedWorkspaceId,
  }: Caller,
  topics?: string[],
) =>
  canonical([
    kind,
    userId,
    sessionId,
    email,
    emailVerified,
    role,
    authData,
    apiKeyHash,
    via === 'apiKey',
    sourceWorkspaceId,
    isAway,
    authenticatedWorkspaceId,
    topics,
  ]);

async function abilityFor(broker: ServiceBroker, caller: Caller, workspaceId?: string, topics?: string[]): Promise<Ability> {
  const options = topics ? { topics } : {};
  if (workspaceId === undefined) return buildAbility(caller, options);
  const { access, abilities } = await accessOf(broker).get(workspaceId);
  const key = callerKey(caller, topics);
  let ability = abilities.get(key);
  if (!ability) {
    ability = buildAbility(caller, { access, ...options });
    abilities.set(key, ability);
  }
  return ability;
}

export function auth(): Partial<ServiceSchema<object, any>> {
  return {
    events: {
      'access.changed'(this: Self, ctx: Context<{ workspaceId?: unknown }>) {
        if (typeof ctx.params?.workspaceId === 'string') accessOf(this.broker).forget(ctx.params.workspaceId);
      },
    },

    methods: {
      identityOf(this: Self, ctx: Context<any, any>): Identity {
        return identityKeysOf(this.broker).verify(ctx.meta.identity);
      },

      async abilityOf(this: Self, ctx: Context<any, any>, workspaceId?: string): Promise<Ability> {
        return abilityFor(this.broker, this.identityOf(ctx), workspaceId);
      },

      async abilityFor(this: Self, identity: Caller, workspaceId?: string, options: { topics?: string[] } = {}): Promise<Ability> {
        return abilityFor(this.broker, identity, workspaceId, options.topics);
      },

      async authorize(
        this: Self,
        ctx: Context<any, any>,
        workspaceId: string,
        action: string,
        subject: SubjectType,
        object?: object,
      ): Promise<Ability> {
        const ability = await this.abilityOf(ctx, workspaceId);
        ability.assert(action, subject, object);
        return ability;
      },

      systemMeta(this: Self, correlationId?: string): CallMeta {
        return systemMeta(this.broker, this.name, correlationId);
      },

      delegatedMeta(this: Self, { workspaceId, ...claims }: Parameters<AuthMethods['delegatedMeta']>[0]): CallMeta {
        const identity = identityKeysOf(this.broker).sign({
          kind: 'delegated',
          service: this.name,
          sourceWorkspaceId: workspaceId,
          ...claims,
        });
        return { identity, correlationId: claims.correlationId };
      },

      accessChanged(this: Self, workspaceId: string): void {
        // This node first: the hint may take a while, and the answer to the change may be read here.
        accessOf(this.broker).forget(workspaceId);
        void this.broker.broadcast('access.changed', { workspaceId });
      },
    },
  };
}
