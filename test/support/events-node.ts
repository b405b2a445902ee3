/** events-node — brokers that run the services of the events folder with their real mixins; workspaces and their rights are a fake that a test can change. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import type { WorkspaceAccess } from '../../mixins/auth/contract.ts';
import type { CallMeta, Identity, IdentityClaims } from '../../mixins/auth/identity.ts';
import { type Config, loadConfig } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import busService from '../../services/events/bus.service.ts';
import deadLetters from '../../services/events/deadletters.service.ts';
import events from '../../services/events/events.service.ts';
import history from '../../services/events/history.service.ts';
import retention from '../../services/events/retention.service.ts';
import topics from '../../services/events/topics.service.ts';

export interface EventsNode {
  broker: ServiceBroker;
  dir: string;
  access: Map<string, WorkspaceAccess>;
  /** `events` of the index of a workspace. */
  sections: Map<string, unknown>;
  /** Calls an action as somebody: claims of a user, or none. */
  as(claims: Partial<IdentityClaims>): <T = any>(action: string, params: object) => Promise<T>;
  identity(claims: Partial<IdentityClaims>): Identity;
  meta(claims: Partial<IdentityClaims>): CallMeta;
  /** Forgets what is known of the rights of a workspace. */
  changed(workspaceId: string): Promise<void>;
  stop(): Promise<void>;
}

export const workspace = (id: string, over: Partial<WorkspaceAccess> = {}): WorkspaceAccess => ({
  id,
  slug: `${id}-slug`,
  name: id,
  permissions: { owner: { role: 'owner' } },
  roles: [
    {
      name: 'default',
      rules: [
        { action: 'create', subject: 'events', conditions: { 'source.workspaceId': id, 'source.serviceTopic': 'topic:runtime:emit' } },
        {
          action: 'read',
          subject: 'events',
          conditions: { 'source.workspaceId': id, 'source.serviceTopic': 'topic:runtime:emit', 'source.sessionId': '{{session.id}}' },
        },
      ],
    },
  ],
  apiKeys: [],
  ...over,
});

export async function startEvents(overrides: Partial<Config> = {}): Promise<EventsNode> {
  const dir = mkdtempSync(join(tmpdir(), 'prisme-events-'));
  const config = loadConfig(
    {},
    { dataDir: dir, nodeId: `events-${hexId().slice(0, 6)}`, rateLimitDisabled: true, sseKeepAliveMs: 100, ...overrides },
  );
  const broker = new ServiceBroker({ ...brokerOptions(config), logger: false });
  const access = new Map([workspace('w1'), workspace('w2'), workspace('w3')].map((item) => [item.id, item]));
  const sections: EventsNode['sections'] = new Map();
  const find = (workspaceId: string) => {
    const found = access.get(workspaceId) ?? [...access.values()].find(({ slug }) => workspaceId === `slug:${slug}`);
    if (!found) throw fault('ObjectNotFoundError', { data: { workspaceId } });
    return found;
  };
  broker.createService({
    name: 'workspaces',
    actions: {
      access: { visibility: 'public', identity: 'system', handler: (ctx: any) => find(ctx.params.workspaceId) },
      eventMapping: {
        visibility: 'public',
        identity: 'system',
        handler: (ctx: any) => ({ events: sections.get(ctx.params.workspaceId) ?? null }),
      },
      resolve: { visibility: 'public', identity: 'system', handler: (ctx: any) => ({ id: find(ctx.params.workspaceId).id }) },
    },
  });
  for (const service of [busService, deadLetters, events, history, retention, topics]) broker.createService({ ...service });
  await broker.start();
  const identity = (claims: Partial<IdentityClaims>): Identity =>
    identityKeysOf(broker).sign({
      kind: claims.userId ? 'user' : 'none',
      correlationId: hexId(),
      ...(claims.userId && { sessionId: `session-${claims.userId}` }),
      ...claims,
    } as never);
  const meta = (claims: Partial<IdentityClaims>): CallMeta => {
    const signed = identity(claims);
    return { identity: signed, correlationId: signed.correlationId };
  };
  return {
    broker,
    dir,
    access,
    sections,
    identity,
    meta,
    as: (claims) => (action, params) => broker.call(action, params, { meta: meta(claims) }) as never,
    async changed(workspaceId) {
      await broker.broadcast('access.changed', { workspaceId });
    },
    async stop() {
      await broker.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
