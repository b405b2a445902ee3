/** runtime-services — the runtime and the services of workspaces on one broker, with real stores, rights and bus in a temporary folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBroker } from 'moleculer';
import type { IdentityClaims } from '../../mixins/auth/identity.ts';
import { identityKeysOf } from '../../mixins/auth/identity-keys.ts';
import { bus } from '../../mixins/bus/bus.mixin.ts';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { type Config, loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC, type PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import runtimeService from '../../services/runtime/runtime.service.ts';

const WORKSPACE_SERVICES = ['workspaces', 'automations', 'app-instances', 'apps', 'security', 'secrets', 'permissions', 'versions'];

export interface RuntimeServices {
  broker: ServiceBroker;
  events: PrismeEvent[];
  minted: JsonObject[];
  call<T = any>(action: string, params: object, claims?: Partial<IdentityClaims>): Promise<T>;
  /** A workspace of 'owner' with these automations. */
  workspace(automations: Record<string, JsonObject>, more?: { config?: JsonObject; slug?: string }): Promise<string>;
  webhook(workspaceId: string, endpoint: string, body?: unknown, more?: JsonObject, claims?: Partial<IdentityClaims>): Promise<any>;
  emit(workspaceId: string, type: string, payload?: JsonObject, source?: JsonObject): Promise<PrismeEvent>;
  of(workspaceId: string, type: string): PrismeEvent[];
  stop(): Promise<void>;
}

export async function startRuntime(overrides: Partial<Config> = {}): Promise<RuntimeServices> {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-runtime-'));
  const config = loadConfig({}, { dataDir, nodeId: `n${hexId().slice(0, 6)}`, fetchAllowedPrivateHosts: ['127.0.0.1'], ...overrides });
  const broker = new ServiceBroker({ ...brokerOptions(config), logger: process.env.TEST_LOG ? { type: 'Console' } : false } as never);
  const events: PrismeEvent[] = [];
  const minted: JsonObject[] = [];
  for (const name of WORKSPACE_SERVICES) broker.createService((await import(`../../services/workspaces/${name}.service.ts`)).default);
  broker.createService({
    name: 'tokens',
    actions: {
      mint: {
        visibility: 'public',
        identity: 'system',
        handler(ctx: any) {
          minted.push(ctx.params);
          return { jwt: `jwt-${ctx.params.kind}` };
        },
      },
    },
  } as never);
  const listener = broker.createService({
    name: 'listener',
    mixins: [bus()],
    async started(this: any) {
      await this.bus.on('*', (event: PrismeEvent) => void events.push(event), { mode: 'broadcast' });
    },
  } as never) as unknown as { bus: EventBus };
  broker.createService({ ...runtimeService });
  await broker.start();
  const meta = (claims: Partial<IdentityClaims>) => {
    const identity = identityKeysOf(broker).sign({
      kind: claims.userId ? 'user' : 'none',
      correlationId: hexId(),
      ...(claims.userId ? { sessionId: `session-${claims.userId}` } : {}),
      ...claims,
    } as never);
    return { identity, correlationId: identity.correlationId };
  };
  const call: RuntimeServices['call'] = (action, params, claims = { userId: 'owner' }) =>
    broker.call(action, params, { meta: meta(claims) } as never) as never;
  return {
    broker,
    events,
    minted,
    call,
    async workspace(automations, { config: value, slug } = {}) {
      const { id } = await call('workspaces.create', {
        body: { name: 'Test', ...(slug ? { slug } : {}), ...(value ? { config: { value } } : {}) },
      });
      for (const [name, automation] of Object.entries(automations))
        await call('automations.create', { workspaceId: id, body: { slug: name, name, do: [], ...automation } });
      return id;
    },
    webhook: (workspaceId, endpoint, body = {}, more = {}, claims = {}) =>
      call('runtime.webhook', { workspaceId, endpoint, method: 'POST', headers: {}, query: {}, body, ...more }, claims),
    emit: (workspaceId, type, payload = {}, source = {}) =>
      listener.bus.send(type, payload, { topic: EMIT_TOPIC, source: { workspaceId, correlationId: hexId(), ...source } as never }),
    of: (workspaceId, type) => events.filter((event) => event.type === type && event.source.workspaceId === workspaceId),
    async stop() {
      await broker.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
