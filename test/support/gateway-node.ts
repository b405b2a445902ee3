/**
 * gateway-node — the gateway and the services of identity on one or more brokers of this process, each with a public port, over shared embedded
 * stores in a temporary folder; mails are files there. `services` are added to every broker.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import { bus } from '../../mixins/bus/bus.mixin.ts';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { type Config, loadConfig } from '../../mixins/shared/config.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import { ADMIN } from './admin.ts';
import { type Client, client, signIn } from './client.ts';
import { eventually } from './eventually.ts';
import { freePort } from './redis.ts';

export interface Mail {
  to: string;
  subject: string;
  text: string;
  html: string;
}

export interface GatewayNode {
  /** Ends with /v2. */
  url: string;
  broker: ServiceBroker;
  config: Config;
}

export interface Gateways {
  nodes: GatewayNode[];
  /** Of the first node. */
  url: string;
  dataDir: string;
  events: PrismeEvent[];
  client(token?: string): Client;
  admin(): Promise<Client>;
  /** Mails written so far to `to`. */
  mails(to: string): Mail[];
  /** The mail number `count` to `to`, once it was written. */
  mailTo(to: string, count?: number): Promise<Mail>;
  /** The value of `parameter` in the link of the newest mail to `to`, once there are `count` of them. */
  linkIn(to: string, parameter: string, count?: number): Promise<{ url: URL; token: string }>;
  ofType(type: string): PrismeEvent[];
  stop(): Promise<void>;
}

const ROOMS = ['identity', 'organisations'].flatMap((room) =>
  readdirSync(new URL(`../../services/gateway/${room}/`, import.meta.url))
    .filter((name) => name.endsWith('.service.ts'))
    .map((name) => `${room}/${name}`),
);

export async function startGateways(
  { count = 1, services = [] as ServiceSchema<object, any>[], dataDir = mkdtempSync(join(tmpdir(), 'prisme-gateway-')) } = {},
  overrides: Partial<Config> = {},
): Promise<Gateways> {
  const nodes: GatewayNode[] = [];
  const events: PrismeEvent[] = [];
  let apiUrl = overrides.apiUrl;
  for (let n = 0; n < count; n++) {
    const port = await freePort();
    apiUrl ??= `http://127.0.0.1:${port}/v2`;
    const config = loadConfig(
      {},
      {
        dataDir,
        port,
        apiUrl,
        nodeId: `g${n}-${hexId().slice(0, 6)}`,
        namespace: `gw-${process.pid}`,
        adminEmail: ADMIN.email,
        adminPassword: ADMIN.password,
        smtpUrl: `file:${join(dataDir, 'mails')}`,
        rateLimitDisabled: true,
        ...(count > 1 ? { transporterUrl: 'Fake' } : {}),
        ...overrides,
      },
    );
    const broker = new ServiceBroker({ ...brokerOptions(config), logger: process.env.TEST_LOG ? { type: 'Console' } : false } as never);
    for (const name of ROOMS) broker.createService((await import(`../../services/gateway/${name}`)).default);
    for (const service of services) broker.createService({ ...service });
    if (n === 0)
      broker.createService({
        name: 'listener',
        mixins: [bus()],
        async started(this: { bus: EventBus }) {
          await this.bus.on('*', (event: PrismeEvent) => void events.push(event), { mode: 'broadcast' });
        },
      } as never);
    broker.createService((await import('../../services/gateway/gateway.service.ts')).default);
    await broker.start();
    nodes.push({ url: `http://127.0.0.1:${port}/v2`, broker, config });
  }

  const url = nodes[0]?.url as string;
  const mails = (to: string): Mail[] => {
    const folder = join(dataDir, 'mails');
    let names: string[] = [];
    try {
      names = readdirSync(folder).sort();
    } catch {}
    return names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Mail).filter((mail) => mail.to === to);
  };
  const mailTo = (to: string, count = 1): Promise<Mail> =>
    eventually(() => {
      const mail = mails(to).at(count - 1);
      if (!mail) throw new Error(`There are not ${count} mails to ${to}`);
      return mail;
    });
  return {
    nodes,
    url,
    dataDir,
    events,
    client: (token) => client(url, token),
    admin: () => signIn(url, ADMIN),
    mails,
    mailTo,
    async linkIn(to, parameter, count = 1) {
      const mail = await mailTo(to, count);
      const found = new URL(/https?:\/\/\S+/.exec(mail.text)?.[0] as string);
      return { url: found, token: found.searchParams.get(parameter) as string };
    },
    ofType: (type) => events.filter((event) => event.type === type),
    async stop() {
      for (const { broker } of nodes) await broker.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
