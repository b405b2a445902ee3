/** Rows 64–70 of access-control.md 11: somebody on the private network, with the transporter's password and without our keys. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { identityKeys } from '../../../mixins/auth/identity-keys.ts';
import { intrude } from '../../support/bus-intruder.ts';
import { client, expectOk } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { raw } from '../../support/raw-http.ts';
import type { Cluster } from './cluster.ts';

export function busRows(given: () => Cluster): void {
  const inside = async (work: (bus: Awaited<ReturnType<typeof intrude>>, nodes: string[]) => Promise<void>) => {
    const { redis, namespace } = given();
    const bus = await intrude(redis.url, namespace);
    try {
      await eventually(() => bus.nodes.size >= 2);
      await work(bus, [...bus.nodes]);
    } finally {
      bus.close();
    }
  };

  it('64, 65: a request without a genuine identity is refused by every node, for actions and for services', async () => {
    const { workspace, owner } = given();
    await inside(async (bus, nodes) => {
      const now = Date.now();
      const claims = { v: 1, kind: 'user', userId: owner.user?.id, role: 'superadmin', correlationId: 'c', iat: now, exp: now + 30_000 };
      const foreign = identityKeys(
        (await import('node:crypto')).generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as never,
      );
      const metas = [
        {},
        { identity: null },
        { identity: claims },
        { identity: { ...claims, sig: 'AAAA' } },
        { identity: foreign.sign({ kind: 'user', userId: owner.user?.id as string, role: 'superadmin', correlationId: 'c' }) },
        { identity: foreign.sign({ kind: 'system', service: 'runtime', correlationId: 'c' }) },
        { user: { id: owner.user?.id }, userId: owner.user?.id },
      ];
      for (const node of nodes)
        for (const meta of metas)
          for (const [action, params] of [
            ['workspaces.get', { workspaceId: workspace.id }],
            ['workspaces.access', { workspaceId: workspace.id }],
            ['events.searchAll', { body: { query: { match_all: {} } } }],
            ['tokens.mint', { kind: 'delegated', sub: owner.user?.id }],
            ['files.download', { path: 'x' }],
          ] as [string, object][]) {
            const answer = await bus.request(node, action, params, meta);
            expect([action, answer.success, answer.data ?? null, answer.error?.code]).toEqual([action, false, null, 401]);
          }
    });
  });

  it('64: an identity that was overheard and altered is worth nothing', async () => {
    const { owner, urls, by } = given();
    await inside(async (bus, [node = '']) => {
      // A filter by e-mail asks the contacts in the caller's name, of any node: sooner or later of the other one.
      const isUsers = ({ meta }: { meta: any }) => meta?.identity?.kind === 'user' && meta.identity.sig;
      await eventually(async () => {
        for (const url of urls)
          await client(url, by.stranger.token).get(`/workspaces?email=${encodeURIComponent(by.viewer.user?.email as string)}`);
        return bus.overheard.some(isUsers);
      });
      const { meta } = bus.overheard.find(isUsers) as { meta: any };
      for (const change of [
        { role: 'superadmin' },
        { userId: owner.user?.id, x: 1 },
        // Another one than it is, whichever was overheard.
        { kind: 'system', service: meta.identity.service === 'runtime' ? 'workspaces' : 'runtime' },
        { exp: meta.identity.exp + 10_000 },
        { correlationId: 'another' },
      ]) {
        const { success, error } = await bus.request(
          node,
          'events.searchAll',
          { body: { query: { match_all: {} } } },
          { identity: { ...meta.identity, ...change } },
        );
        expect([change, success, error?.code]).toEqual([change, false, 401]);
      }
    });
  });

  it('67: actions that are not published are not found by any path, and local ones not from another node', async () => {
    const { by, platform, urls } = given();
    for (const url of urls)
      for (const path of [
        '/workspaces.access',
        '/workspaces/access/x/y/z',
        '/$node/list',
        '/~node/actions',
        '/api/$node/list',
        '/identity.resolve',
        '/identity/resolve',
        '/tokens/mint',
        '/identity/firstAccess',
        '/gateway/rest',
        '/users.get',
        '/runtime.check',
      ])
        for (const method of ['GET', 'POST'])
          expect([
            method,
            path,
            (await client(url, by.superadmin.token).request(method, path, method === 'POST' ? {} : undefined)).status,
          ]).toEqual([method, path, 404]);
    for (const path of [
      '//v2/workspaces',
      '/v2//workspaces',
      '/v2/./workspaces',
      '/v2/../v2/workspaces',
      '/v2/%2e/workspaces',
      '/V2/workspaces',
      '/v2/%77orkspaces',
      '/v2\\workspaces',
      'v2/workspaces',
      '*',
    ])
      expect([
        path,
        [400, 404].includes((await raw(platform.url, [`GET ${path} HTTP/1.1`, `Authorization: Bearer ${by.superadmin.token}`])).status),
      ]).toEqual([path, true]);
    // Even with the key of the installation: what is for this node only is not there for another.
    const keys = identityKeys(JSON.parse(readFileSync(join(platform.dataDir, 'keys/identity.json'), 'utf8')));
    await inside(async (bus, nodes) => {
      const identity = keys.sign({ kind: 'system', service: 'start', correlationId: 'c' });
      for (const node of nodes)
        for (const action of ['identity.firstAccess', 'identity.installerSession', 'gateway.rest']) {
          const answer = await bus.request(node, action, {}, { identity });
          expect([action, answer.success, answer.error?.name]).toEqual([action, false, 'ServiceNotFoundError']);
        }
    });
  });

  it('70: the identity of a service is good for what that service has to do, not for more', async () => {
    const { platform, workspace, owner } = given();
    const keys = identityKeys(JSON.parse(readFileSync(join(platform.dataDir, 'keys/identity.json'), 'utf8')));
    await inside(async (bus, [node = '']) => {
      const as = (service: string) => ({ identity: keys.sign({ kind: 'system', service, correlationId: 'c' }) });
      expect((await bus.request(node, 'workspaces.resolve', { workspaceId: workspace.id }, as('gateway'))).data).toMatchObject({
        id: workspace.id,
      });
      for (const [service, action, params] of [
        ['gateway', 'workspaces.remove', { workspaceId: workspace.id }],
        ['gateway', 'tokens.mint', { kind: 'delegated' }],
        ['gateway', 'secrets.list', { workspaceId: workspace.id }],
        ['gateway', 'workspaces.model', { workspaceId: workspace.id }],
        ['events', 'users.get', { ids: [owner.user?.id] }],
        ['runtime', 'events.searchAll', { body: { query: { match_all: {} } } }],
        ['unknown', 'workspaces.resolve', { workspaceId: workspace.id }],
      ] as [string, string, object][]) {
        const answer = await bus.request(node, action, params, as(service));
        expect([service, action, answer.success, answer.error?.code]).toEqual([service, action, false, 403]);
      }
    });
    expect((await owner.get(`/workspaces/${workspace.id}`)).status).toBe(200);
  });

  it('69: packets that are too large, broken or of another language leave every node alive', async () => {
    const { urls, owner } = given();
    await inside(async (bus, nodes) => {
      const noise = [
        '',
        '{',
        'null',
        '[]',
        '"x"',
        '{"ver":"1"}',
        '{"ver":"5"}',
        '{"ver":"5","sender":"x"}',
        '{"ver":"5","sender":"x","action":1}',
        '{"__proto__":{"polluted":1}}',
        Buffer.from([0xff, 0xfe, 0x00]),
        `{"ver":"5","sender":"x","id":"1","action":"workspaces.get","params":"${'x'.repeat(1_000_000)}"}`,
        `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
      ];
      for (const node of nodes)
        for (const channel of [`REQ.${node}`, `RES.${node}`, `EVENT.${node}`, 'INFO', 'HEARTBEAT', 'DISCONNECT'])
          for (const bytes of noise) await bus.publish(channel, bytes);
      for (const url of urls)
        await eventually(async () => {
          expect((await client(url, owner.token).get('/me')).status).toBe(200);
          expect((await expectOk(client(url, owner.token).get('/workspaces?limit=1'))).length).toBe(1);
        });
    });
  });
}
