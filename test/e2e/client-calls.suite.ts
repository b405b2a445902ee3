/**
 * Every call that today's public client makes, as it makes it (JSON content type on every request, slugs not encoded), and the fields it reads from
 * each answer. A second person meets a closed door everywhere.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { strFromU8, strToU8, unzipSync, zipSync } from 'fflate';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const text = expect.any(String);

/** @param stores settings of where things are kept, and what ends them */
export function clientCalls(title: string, stores: () => Promise<{ env?: Record<string, string>; stop?(): Promise<void> }>): void {
  describe(title, () => {
    let platform: Platform;
    let kept: Awaited<ReturnType<typeof stores>> | undefined;
    let owner: Client;
    let stranger: Client;
    let id: string;
    let base: string;

    const call = <T = any>(method: string, path: string, body?: unknown) => expectOk<T>(owner.request<T>(method, path, body, JSON_TYPE));
    const uploadTo = (path: string, fields: Record<string, string | [name: string, content: Uint8Array, type: string]>, as = owner) => {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields))
        if (typeof value === 'string') form.append(name, value);
        else form.append(name, new Blob([new Uint8Array(value[1])], { type: value[2] }), value[0]);
      return as.request('POST', path, form);
    };

    beforeAll(async () => {
      kept = await stores();
      platform = await startPlatform({ mode: 'embedded', env: { LOG_LEVEL: 'debug', ...kept.env } });
      owner = await newUser(platform.url, 'owner');
      stranger = await newUser(platform.url, 'stranger');
      const created = await call('POST', '/workspaces', {
        name: 'Client',
        description: 'Made by a client',
        slug: 'client-calls',
        labels: ['of:client'],
      });
      id = created.id;
      base = `/workspaces/${id}`;
    }, 120_000);
    afterAll(async () => {
      await platform?.stop();
      await kept?.stop?.();
    }, 60_000);

    it('GET /me, with a bearer and with the cookie alone', async () => {
      expect(await call('GET', '/me')).toMatchObject({ id: owner.user?.id, email: owner.user?.email });
      const withCookie = await client(platform.url).get('/me', { cookie: `access-token=${owner.token}`, ...JSON_TYPE });
      expect(withCookie).toMatchObject({ status: 200, body: { id: owner.user?.id } });
      expect(await client(platform.url, 'at:nonsense').get('/me', JSON_TYPE)).toMatchObject({
        status: 401,
        body: { error: text, message: text },
      });
    });

    it('GET /workspaces with search, name, slug, labels, page, limit', async () => {
      const row = { id, name: 'Client', slug: 'client-calls', description: 'Made by a client' };
      for (const query of [
        'search=MADE%20by',
        'search=client-calls',
        'name=clien',
        'slug=client-calls',
        'labels=of:client,x:y',
        'page=0&limit=5',
      ])
        expect([query, await call('GET', `/workspaces?${query}`)]).toEqual([query, [expect.objectContaining(row)]]);
      for (const query of ['search=nothing', 'slug=other', 'labels=x:y', 'page=1&limit=5', 'name=.*'])
        expect([query, await call('GET', `/workspaces?${query}`)]).toEqual([query, []]);
      expect((await stranger.get('/workspaces', JSON_TYPE)).body).toEqual([]);
    });

    it('GET /workspaces/{id}', async () => {
      expect(await call('GET', base)).toMatchObject({ id, name: 'Client', automations: {}, platformRepositories: {} });
      expect(await call('GET', '/workspaces/slug:client-calls')).toMatchObject({ id });
    });

    it('automations: POST, GET, PATCH, DELETE with slashes as they are', async () => {
      const hello = {
        name: 'Hello',
        slug: 'v1/hello',
        arguments: { who: { type: 'string' } },
        do: [],
        output: 'Hello {{who}}',
        when: { endpoint: true },
      };
      expect(await call('POST', `${base}/automations`, hello)).toMatchObject({ slug: 'v1/hello', name: 'Hello' });
      expect(await call('GET', `${base}/automations/v1/hello`)).toMatchObject({ ...hello });
      expect(await call('PATCH', `${base}/automations/v1/hello`, { description: 'Greets' })).toMatchObject({
        ...hello,
        description: 'Greets',
      });
      expect((await call('GET', base)).automations['v1/hello']).toMatchObject({ description: 'Greets', arguments: hello.arguments });
      await call('POST', `${base}/automations`, { name: 'Gone', slug: 'v1/gone', do: [] });
      expect(await call('DELETE', `${base}/automations/v1/gone`)).toEqual({ slug: 'v1/gone' });
      expect(await owner.get(`${base}/automations/v1/gone`, JSON_TYPE)).toMatchObject({
        status: 404,
        body: { error: 'ObjectNotFoundError' },
      });
      expect(await owner.post(`${base}/automations`, { name: 'No do' })).toMatchObject({
        status: 400,
        body: { error: 'RequestValidationError', message: text, details: { problems: expect.any(Array) } },
      });
      expect(await owner.post(`${base}/automations`, hello)).toMatchObject({ status: 400, body: { error: 'AlreadyUsedError' } });
    });

    it('POST /workspaces/{id}/test/{slug}', async () => {
      await eventually(async () => expect(await call('POST', `${base}/test/v1/hello`, { payload: { who: 'Ada' } })).toBe('Hello Ada'));
      expect((await owner.post(`${base}/test/v1/hello`, {}, JSON_TYPE)).status).toBe(200);
    });

    it('POST /workspaces/{id}/search', async () => {
      await eventually(
        async () => {
          const found = await call('POST', `${base}/search`, {
            query: { match_all: {} },
            limit: 3,
            page: 0,
            aggs: { types: { terms: { field: 'type' } } },
            sort: [{ createdAt: 'desc' }],
            source: ['type'],
            track_total_hits: true,
          });
          expect(found).toMatchObject({ size: expect.any(Number), documents: expect.any(Array), aggs: { types: expect.any(Object) } });
          expect(found.documents).toHaveLength(3);
          expect(found.size).toBeGreaterThan(3);
        },
        { timeoutMs: 30_000 },
      );
    });

    it('apps: POST, GET list and one with spaces in its name', async () => {
      await call('PATCH', base, { config: { schema: { key: { type: 'string' } } } });
      const publish = { workspaceId: id, slug: 'Client App', name: 'Client App', description: 'First' };
      expect(await call('POST', '/apps', publish)).toMatchObject({ slug: 'Client App', workspaceId: id });
      expect(await call('GET', `/apps?text=client&workspaceId=${id}&page=0&limit=5`)).toEqual([
        expect.objectContaining({ slug: 'Client App' }),
      ]);
      const app = await call('GET', '/apps/Client%20App');
      expect(app).toMatchObject({
        workspaceId: id,
        slug: 'Client App',
        name: text,
        description: text,
        config: { schema: { key: { type: 'string' } } },
      });
      const source = await call('GET', `/workspaces/${app.workspaceId}`);
      expect(Object.values<any>(source.automations)[0]).toMatchObject({ description: 'Greets', arguments: { who: { type: 'string' } } });
      expect(await owner.post('/apps', { ...publish, slug: 'Other' })).toMatchObject({ status: 400, body: { error: 'PrismeError' } });
    });

    it('app instances: POST, GET, PATCH, config, DELETE', async () => {
      const guest = (await call('POST', '/workspaces', { name: 'Guest' })).id;
      const apps = `/workspaces/${guest}/apps`;
      const installed = { appSlug: 'Client App', slug: 'mine', config: { key: 'a' }, labels: ['x:y'] };
      expect(await call('POST', apps, installed)).toMatchObject(installed);
      expect(await call('GET', apps)).toEqual([expect.objectContaining({ slug: 'mine', appSlug: 'Client App' })]);
      expect(await call('PATCH', `${apps}/mine`, { disabled: true })).toMatchObject({
        slug: 'mine',
        appSlug: 'Client App',
        disabled: true,
      });
      expect((await call('GET', apps))[0].disabled).toBe(true);
      expect(await call('GET', `${apps}/mine`)).toMatchObject({
        slug: 'mine',
        config: { value: { key: 'a' }, schema: { key: { type: 'string' } } },
      });
      await call('PATCH', `${apps}/mine/config`, { other: 2 });
      expect(await call('GET', `${apps}/mine/config`)).toEqual({ key: 'a', other: 2 });
      expect(await call('DELETE', `${apps}/mine`)).toMatchObject({ slug: 'mine' });
      expect(await call('GET', apps)).toEqual([]);
      expect(await owner.post(apps, { appSlug: 'No such app', slug: 'x' })).toMatchObject({
        status: 404,
        body: { error: 'ObjectNotFoundError' },
      });
    });

    it('push_workspace: POST version, export, then import with prune', async () => {
      const version = await call('POST', `${base}/versions`, { description: 'Before a push', name: 'cli_push-1' });
      expect(version).toMatchObject({ name: 'cli_push-1', createdAt: text });
      const archive = await expectOk<Uint8Array>(owner.request('POST', `${base}/versions/current/export`, {}, JSON_TYPE));
      const files = unzipSync(archive);
      expect(Object.keys(files).every((name) => name.startsWith('current/'))).toBe(true);
      expect(strFromU8(files['current/automations/v1/hello.yml'] as Uint8Array)).toContain('Hello {{who}}');

      files['current/automations/pushed.yml'] = strToU8('name: Pushed\narguments:\ndo: []\n');
      delete files['current/automations/v1/hello.yml'];
      files['current/pages/site/src/App.tsx'] = strToU8('export {}');
      const send = (prune: boolean) =>
        expectOk(uploadTo(`${base}/import?prune=${prune}`, { archive: ['workspace.zip', zipSync(files), 'application/zip'] }));
      const kept = await send(false);
      expect(kept).toMatchObject({
        id,
        name: 'Client',
        imported: expect.arrayContaining(['index', 'automations/pushed.yml']),
        errors: [],
        workspace: { id },
      });
      expect(Object.keys((await call('GET', base)).automations).sort()).toEqual(['pushed', 'v1/hello']);
      expect(await send(true)).toMatchObject({ deleted: ['automations/v1/hello.yml'], errors: [] });
      expect(Object.keys((await call('GET', base)).automations)).toEqual(['pushed']);

      files['current/automations/broken.yml'] = strToU8('name: [');
      const broken = await send(false);
      expect(broken.errors).toEqual([expect.objectContaining({ filepath: 'automations/broken.yml', msg: text })]);
      const evil = zipSync({ '../evil.yml': strToU8('x') });
      expect(await uploadTo(`${base}/import`, { archive: ['workspace.zip', evil, 'application/zip'] })).toMatchObject({
        status: 400,
        body: { error: 'InvalidUploadError', details: { entry: '../evil.yml' } },
      });
      expect((await call('GET', `${base}/versions`))[0]).toMatchObject({ name: 'cli_push-1' });
      expect(await call('POST', `${base}/versions/cli_push-1/pull`, {})).toMatchObject({
        id,
        errors: [],
        deleted: ['automations/pushed.yml'],
      });
      expect(Object.keys((await call('GET', base)).automations)).toEqual(['v1/hello']);
    });

    it('GET and PATCH config', async () => {
      await call('PATCH', `${base}/config`, { value: { a: 1, b: 2 } });
      await call('PATCH', `${base}/config`, { value: { a: 3 } });
      expect(await call('GET', `${base}/config`)).toEqual({ schema: { key: { type: 'string' } }, value: { a: 3 } });
    });

    it('write lock', async () => {
      await call('POST', `${base}/writeLock`, { reason: 'manual' });
      expect(await owner.patch(base, { name: 'Locked' })).toMatchObject({
        status: 423,
        body: { error: 'WorkspaceLocked', details: { reason: 'manual', lockedBy: owner.user?.id, lockedAt: text } },
      });
      expect(await call('DELETE', `${base}/writeLock`)).toEqual({ id });
      await call('PATCH', base, { name: 'Client' });
    });

    it('files: POST, GET with page, limit, sort, query, GET one, DELETE', async () => {
      const answer = await expectOk(
        uploadTo(`${base}/files`, {
          file: ['note.txt', strToU8('hello'), 'text/plain'],
          expiresAfter: '3600',
          public: 'true',
          shareToken: 'true',
          metadata: '{"kind":"note"}',
        }),
      );
      expect(answer).toEqual([
        expect.objectContaining({
          id: text,
          url: text,
          name: 'note.txt',
          mimetype: 'text/plain',
          size: 5,
          public: true,
          shareToken: text,
          metadata: { kind: 'note' },
          expiresAt: text,
        }),
      ]);
      const [file] = answer;
      const query = encodeURIComponent(JSON.stringify({ 'metadata.kind': 'note' }));
      expect(await call('GET', `${base}/files?page=0&limit=5&sort=-createdAt&query=${query}`)).toEqual([
        expect.objectContaining({ id: file.id }),
      ]);
      expect(await call('GET', `${base}/files/${encodeURIComponent(file.id)}`)).toMatchObject({ id: file.id, name: 'note.txt' });
      expect(await (await fetch(file.url)).text()).toBe('hello');
      expect(await call('DELETE', `${base}/files/${encodeURIComponent(file.id)}`)).toEqual({ id: file.id });
      expect((await fetch(file.url)).status).toBe(404);
      const evil = encodeURIComponent(JSON.stringify({ $where: 'sleep(1000)' }));
      expect(await owner.get(`${base}/files?query=${evil}`, JSON_TYPE)).toMatchObject({ status: 400, body: { error: text } });
    });

    it('an API key alone, and with a bearer', async () => {
      const rules = [{ action: ['read', 'update'], subject: 'workspaces' }];
      const { apiKey } = await call('POST', `${base}/security/apikeys`, { name: 'CI', rules });
      const keyed = { 'x-prismeai-api-key': apiKey, ...JSON_TYPE };
      expect(await client(platform.url).get(base, keyed)).toMatchObject({ status: 200, body: { id } });
      expect(await stranger.get(base, keyed)).toMatchObject({ status: 200, body: { id } });
      expect((await client(platform.url).delete(base, keyed)).status).toBe(403);
      expect(await call('DELETE', `${base}/security/apikeys/${apiKey}`)).toMatchObject({ apiKey: text });
      expect([401, 403]).toContain((await client(platform.url).get(base, keyed)).status);
    });

    it('answer JSON errors with a correlation id to a stranger, whatever the call', async () => {
      const calls: [string, string, unknown?][] = [
        ['GET', base],
        ['PATCH', base, { name: 'Mine' }],
        ['DELETE', base],
        ['POST', `${base}/automations`, { name: 'A', do: [] }],
        ['GET', `${base}/automations/v1/hello`],
        ['PATCH', `${base}/automations/v1/hello`, { description: 'Mine' }],
        ['DELETE', `${base}/automations/v1/hello`],
        ['GET', `${base}/apps`],
        ['POST', `${base}/apps`, { appSlug: 'Client App', slug: 'x' }],
        ['GET', `${base}/versions`],
        ['POST', `${base}/versions`, { description: 'x' }],
        ['POST', `${base}/versions/cli_push-1/pull`, {}],
        ['POST', `${base}/versions/current/export`, {}],
        ['GET', `${base}/config`],
        ['PATCH', `${base}/config`, { value: {} }],
        ['POST', `${base}/writeLock`, {}],
        ['DELETE', `${base}/writeLock`],
        ['GET', `${base}/files`],
        ['GET', `${base}/security`],
        ['PUT', `${base}/security`, {}],
        ['POST', '/apps', { workspaceId: id, slug: 'Client App' }],
        ['DELETE', '/apps/Client%20App'],
      ];
      for (const [method, path, body] of calls) {
        const { status, headers, body: answer } = await stranger.request(method, path, body, JSON_TYPE);
        expect([method, path, status, answer]).toEqual([
          method,
          path,
          403,
          expect.objectContaining({ error: 'ForbiddenError', message: text }),
        ]);
        expect(headers.get('x-correlation-id')).toMatch(/\S{8,}/);
        const nobody = await client(platform.url).request(method, path, body, JSON_TYPE);
        expect([method, path, nobody.status]).toEqual([method, path, 401]);
      }
      // Anyone may look for events of his own session, and there are none.
      expect(await stranger.post(`${base}/search`, { query: {} }, JSON_TYPE)).toMatchObject({ status: 200, body: { documents: [] } });
      const pushed = await uploadTo(
        `${base}/import`,
        { archive: ['workspace.zip', zipSync({ 'current/index.yml': strToU8('name: X\n') }), 'application/zip'] },
        stranger,
      );
      expect(pushed.status).toBe(403);
      expect((await call('GET', base)).name).toBe('Client');
    });

    it('a secret is in no log, event, error or archive', async () => {
      const value = 'cherry-blossom-9431';
      const secrets = `${base}/security/secrets`;
      expect(await call('PATCH', secrets, { token: { value, description: 'Of the shop' } })).toMatchObject({ token: { value } });
      const use = {
        name: 'Use',
        slug: 'use',
        when: { endpoint: true },
        do: [{ set: { name: 'known', value: '{{secret.token}}' } }],
        output: 'used',
      };
      await call('POST', `${base}/automations`, use);
      await eventually(async () => expect((await owner.post(`${base}/webhooks/use`, {})).body).toBe('used'));
      const failures = [
        await owner.request('PATCH', secrets, { 'bad/name': { value } }, JSON_TYPE),
        await owner.request('PATCH', secrets, { token: { value: { deep: 'x'.repeat(200_000) + value } } }, JSON_TYPE),
        await stranger.request('PATCH', secrets, { token: { value } }, JSON_TYPE),
        await stranger.get(secrets, JSON_TYPE),
      ];
      expect(failures.map(({ status }) => status)).toEqual([400, 413, 403, 200]);
      expect(failures.at(-1)?.body).toEqual({});
      await call('POST', `${base}/versions`, { description: 'With a secret', name: 'secretive' });
      const archive = await expectOk<Uint8Array>(owner.request('POST', `${base}/versions/secretive/export`, {}, JSON_TYPE));
      const files = Object.values(unzipSync(archive)).map((file) => strFromU8(file));
      const found = await eventually(
        async () => {
          const answer = await call('POST', `${base}/search`, { query: { match_all: {} }, limit: 1000 });
          return answer.documents.some(({ type }: any) => type === 'workspaces.versions.published') && answer;
        },
        { timeoutMs: 30_000 },
      );
      const workspace = await call('GET', base);
      const logs = platform.nodes.flatMap(({ output }) => output);
      for (const text of [JSON.stringify([failures, found, workspace]), ...files, ...logs]) expect(text).not.toContain(value);
      expect(logs.join('').length).toBeGreaterThan(1000);
    });

    it('DELETE /workspaces/{id}', async () => {
      expect(await call('DELETE', base)).toEqual({ id });
      expect((await owner.get(base, JSON_TYPE)).status).toBe(404);
    });
  });
}
