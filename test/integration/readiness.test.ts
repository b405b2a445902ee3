/** GET /v2/readiness over several nodes: two that own workspaces, of which one loses its store of models. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../../mixins/auth/identity-keys.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import events from '../../services/events/events.service.ts';
import workspaces from '../../services/workspaces/workspaces.service.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

const KEY = { 'x-prismeai-api-key': 'inner-key' };

describe('the readiness of a platform of three nodes', () => {
  let gateways: Gateways;
  let broken: ServiceBroker;
  const others: ServiceBroker[] = [];
  let models: string;

  beforeAll(async () => {
    gateways = await startGateways({ services: [events] }, { transporterUrl: 'Fake', internalApiKey: 'inner-key', readinessCacheTtlMs: 0 });
    const config = gateways.nodes[0]?.config as (typeof gateways.nodes)[number]['config'];
    const folder = join(gateways.dataDir, 'elsewhere');
    mkdirSync(folder);
    models = join(folder, 'models');
    for (const [nodeId, filesUrl] of [
      ['well', config.filesUrl],
      ['ill', `file:${folder}`],
    ] as const) {
      const broker = new ServiceBroker({ ...brokerOptions({ ...config, nodeId, filesUrl }), logger: false } as never);
      broker.createService({ ...workspaces });
      await broker.start();
      others.push(broker);
      if (nodeId === 'ill') broken = broker;
    }
    await gateways.nodes[0]?.broker.waitForServices(['workspaces'], 30_000);
  });
  afterAll(async () => {
    for (const broker of others) await broker.stop();
    await gateways?.stop();
  });

  const ask = (services: string, headers: Record<string, string> = KEY) =>
    gateways.client().get(`/readiness?services=${services}`, headers);
  const isOnBothNodes = () =>
    eventually(async () => {
      const nodes = gateways.nodes[0]?.broker.registry.getServiceList({ onlyAvailable: true }) as unknown as { name: string }[];
      expect(nodes.filter(({ name }) => name === 'workspaces')).toHaveLength(2);
    });

  it('is ready when each module of each node takes a write', async () => {
    await isOnBothNodes();
    const { status, body } = await ask('gateway,workspaces,events');
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'ready',
      services: {
        gateway: {
          status: 'ready',
          response: {
            status: 'ready',
            errors: [],
            modulesReady: [
              { module: 'database', driver: 'sqlite' },
              { module: 'sessionsRedis', driver: 'sqlite' },
              { module: 'rateLimitsRedis', driver: 'sqlite' },
              { module: 'broker', driver: 'sqlite' },
              { module: 'jwks', driver: 'RS256' },
            ],
          },
        },
        workspaces: {
          status: 'ready',
          response: {
            status: 'ready',
            errors: [],
            modulesReady: [
              { module: 'database', driver: 'sqlite' },
              { module: 'broker', driver: 'sqlite' },
              { module: 'modelStorage', driver: 'file' },
            ],
          },
        },
        events: {
          status: 'ready',
          response: {
            status: 'ready',
            errors: [],
            modulesReady: [
              { module: 'cache', driver: 'sqlite' },
              { module: 'broker', driver: 'sqlite' },
              { module: 'store', driver: 'sqlite' },
            ],
          },
        },
      },
    });
  });

  it('shows a service that nobody offers', async () => {
    const { status, body } = await ask('runtime');
    expect(status).toBe(400);
    expect(body.services.runtime.response.errors).toMatchObject([{ module: 'node', message: 'No node offers this service.' }]);
  });

  it('shows the one node whose store is broken, to those who run the platform, and is ready again once it is mended', async () => {
    await isOnBothNodes();
    expect((await ask('workspaces')).status).toBe(200);
    renameSync(models, `${models}.away`);
    writeFileSync(models, 'a file where the folder was');
    try {
      const { status, body } = await ask('workspaces');
      expect(status).toBe(400);
      expect(body.status).toBe('error');
      const { response } = body.services.workspaces;
      expect(response.modulesReady.map(({ module }: { module: string }) => module)).toEqual(['database', 'broker']);
      expect(response.errors).toEqual([
        { module: 'modelStorage', driver: 'file', node: broken.nodeID, error: expect.any(String), message: expect.any(String) },
      ]);
      expect(JSON.stringify(body)).not.toContain(gateways.dataDir);

      const plain = await ask('workspaces', {});
      expect([plain.status, plain.body]).toEqual([400, { status: 'error', services: { workspaces: { status: 'error' } } }]);
    } finally {
      rmSync(models);
      renameSync(`${models}.away`, models);
    }
    await eventually(async () => expect((await ask('workspaces')).status).toBe(200));
  });

  it('leaves a gateway in its balancer while another node is ill, and only then', async () => {
    const own = async () => (await fetch(`${gateways.url.replace(/\/v2$/, '')}/sys/ready`)).status;
    // A gateway that cannot reach one of the four services is of no use.
    expect(await own()).toBe(503);
    const node = gateways.nodes[0] as (typeof gateways.nodes)[number];
    node.broker.createService({ name: 'runtime' });
    await eventually(async () => expect(await own()).toBe(200));
    renameSync(models, `${models}.away`);
    writeFileSync(models, '');
    try {
      expect((await ask('workspaces')).status).toBe(400);
      expect(await own()).toBe(200);
    } finally {
      rmSync(models);
      renameSync(`${models}.away`, models);
    }
  });

  it('is asked by the gateway only: not by somebody unknown, a person, or another service', async () => {
    const { broker } = gateways.nodes[0] as (typeof gateways.nodes)[number];
    const keys = identityKeysOf(broker);
    const ask = (meta: object) => broker.call('workspaces.readiness', {}, { meta });
    await expect(ask({})).rejects.toMatchObject({ code: 401 });
    const person = keys.sign({ kind: 'user', userId: 'u', role: 'superadmin', correlationId: 'c' });
    await expect(ask({ identity: person })).rejects.toMatchObject({ code: 403 });
    const other = keys.sign({ kind: 'system', service: 'history', correlationId: 'c' });
    await expect(ask({ identity: other })).rejects.toMatchObject({ code: 403 });
  });
});
