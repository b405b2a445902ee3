/** workspace-services — the services of workspaces on one broker in this process, with the real rights, stores and bus in a temporary folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Context, ServiceBroker } from 'moleculer';
import type { Identity } from '../../mixins/auth/identity.ts';
import { identityKeysOf } from '../../mixins/auth/identity-keys.ts';
import { type Config, loadConfig, useConfig } from '../../mixins/shared/config.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { brokerOptions } from '../../moleculer.config.ts';

const SERVICES = [
  'workspaces',
  'automations',
  'pages',
  'app-instances',
  'apps',
  'versions',
  'archives',
  'files',
  'security',
  'secrets',
  'permissions',
];

export interface Caller {
  id: string;
  call<T = any>(action: string, params?: object, meta?: object): Promise<T>;
  /** With the headers and status the action set. */
  ask<T = any>(action: string, params?: object, meta?: object): Promise<{ body: T; headers: Record<string, string>; status?: number }>;
}

export interface WorkspaceServices {
  broker: ServiceBroker;
  dataDir: string;
  config: Config;
  /** Every event that was sent, in order. */
  events: PrismeEvent[];
  as(userId: string, claims?: Partial<Identity>): Caller;
  anonymous: Caller;
  system: Caller;
  /** People that sharing may find. */
  people: Set<string>;
  stop(options?: { keep?: boolean }): Promise<void>;
}

export async function startWorkspaces({
  env = {},
  dataDir = mkdtempSync(join(tmpdir(), 'ws-services-')),
  check,
}: {
  env?: Record<string, string>;
  dataDir?: string;
  check?: (params: any) => unknown;
} = {}): Promise<WorkspaceServices> {
  const config = loadConfig({ DATA_DIR: dataDir, LOG_LEVEL: 'fatal', PRISME_NAMESPACE: 'test', ...env });
  const options = brokerOptions(config);
  const broker = new ServiceBroker({ ...options, logger: false, created: (created) => useConfig(created, config) });
  const people = new Set(['ada', 'ben', 'cid', 'dan']);
  for (const name of SERVICES) broker.createService((await import(`../../services/workspaces/${name}.service.ts`)).default);
  broker.createService({
    name: 'users',
    actions: {
      get: {
        visibility: 'public',
        identity: 'system',
        handler: (ctx: { params: { ids: string[] } }) =>
          ctx.params.ids.filter((id) => people.has(id)).map((id) => ({ id, firstName: id, lastName: 'Test' })),
      },
    },
  } as never);
  if (check)
    broker.createService({
      name: 'runtime',
      actions: { check: { visibility: 'public', identity: 'system', handler: (ctx: { params: any }) => check(ctx.params) } },
    } as never);
  await broker.start();

  const events: PrismeEvent[] = [];
  const { bus } = broker.getLocalService('workspaces') as unknown as { bus: import('../../mixins/bus/contract.ts').EventBus };
  await bus.on('*', (event) => void events.push(event), { mode: 'broadcast' });

  const callerOf = (id: string, claims: object): Caller => {
    const ask = async (action: string, params: object = {}, meta: object = {}) => {
      const ctx = new Context(broker) as Context<any, any>;
      ctx.meta = { identity: identityKeysOf(broker).sign({ correlationId: 'test-correlation', ...claims } as never), ...meta };
      const body = await ctx.call<any, any>(action, params);
      return { body, headers: ctx.meta.$responseHeaders ?? {}, status: ctx.meta.$statusCode };
    };
    return { id, ask, call: async (action, params, meta) => (await ask(action, params, meta)).body };
  };
  return {
    broker,
    dataDir,
    config,
    events,
    people,
    as: (userId, claims = {}) => callerOf(userId, { kind: 'user', userId, sessionId: `session-${userId}`, ...claims }),
    anonymous: callerOf('', { kind: 'anonymous', userId: 'anon', sessionId: 'session-anon' }),
    system: callerOf('', { kind: 'system', service: 'runtime' }),
    async stop({ keep = false } = {}) {
      await broker.stop();
      if (!keep) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** The `type` of the fault a call ends with. */
export const faultOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'none';
  } catch (error) {
    return (error as { type?: string; name: string }).type ?? (error as Error).name;
  }
};

export const upload = (name: string, content: Uint8Array | string, mimetype = 'text/plain', fieldname = 'file') => ({
  fieldname,
  originalname: name,
  encoding: '7bit',
  mimetype,
  size: content.length,
  base64: Buffer.from(content as Uint8Array).toString('base64'),
});
