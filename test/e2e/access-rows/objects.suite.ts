/** Rows 29–46 of access-control.md 11: workspaces, their objects, sharing, events, sockets. */
import { expect, it } from '@jest/globals';
import { type Client, client, expectOk, newUser } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { addViewerRole, shareWith } from '../../support/tenants.ts';
import type { Cluster } from './cluster.ts';

const textForm = (name = 'note.txt', fields: Record<string, string> = {}) => {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  form.append('file', new Blob(['text'], { type: 'text/plain' }), name);
  return form;
};
const idOf = (user: Client) => user.user?.id as string;

export function objectRows(given: () => Cluster): void {
  /** A new workspace of the owner, and its address. */
  const made = async (name = 'Rows') => {
    const { owner } = given();
    const { id, slug } = await expectOk(owner.post('/workspaces', { name }));
    return { id, slug, at: `/workspaces/${id}`, owner };
  };
  const put = (owner: Client, at: string, security: unknown) => owner.request('PUT', `${at}/security`, security);
  const editSecurity = async (owner: Client, at: string, edit: (authorizations: any) => void) => {
    const security = await expectOk(owner.get(`${at}/security`));
    edit(security.authorizations);
    return expectOk(put(owner, at, security));
  };

  it('29: objects of one workspace are not found through the path of another one of the same caller', async () => {
    const { everywhere, owner } = given();
    const [one, two] = [await made(), await made()];
    const [file] = await expectOk(owner.request('POST', `${one.at}/files`, textForm()));
    const page = await expectOk(owner.post(`${one.at}/pages`, { name: 'P', slug: 'p', blocks: [] }));
    const version = await expectOk(owner.post(`${one.at}/versions`, { description: 'v' }));
    const key = await expectOk(owner.post(`${one.at}/security/apikeys`, { name: 'k', rules: [] }));
    await expectOk(owner.patch(`${one.at}/security/secrets`, { s: { value: 'x' } }));
    const [event] = await expectOk(owner.post(`${one.at}/events`, { events: [{ type: 'row29', payload: {} }] }));
    await eventually(async () => (await owner.get(`${one.at}/events/${event.id}`)).status === 200);
    await everywhere(owner.token, async (at) => {
      for (const [method, path, body] of [
        ['GET', `files/${file.id}`],
        ['GET', `files/${encodeURIComponent(file.path)}`],
        ['PATCH', `files/${file.id}`, { metadata: { a: 1 } }],
        ['DELETE', `files/${file.id}`],
        ['POST', `files/${file.id}/share`, {}],
        ['GET', `pages/${page.slug}`],
        ['PATCH', `pages/${page.slug}`, { name: 'Stolen', blocks: [] }],
        ['DELETE', `pages/${page.slug}`],
        ['DELETE', `security/secrets/s`],
        ['PUT', `security/apikeys/${key.id}`, { name: 'k', rules: [] }],
        ['PUT', `security/apikeys/${key.apiKey}`, { name: 'k', rules: [] }],
        ['DELETE', `security/apikeys/${key.id}`],
        ['GET', `events/${event.id}`],
      ] as [string, string, object?][])
        expect([method, path, (await at.request(method, `${two.at}/${path}`, body)).status]).toEqual([method, path, 404]);
      for (const [method, path] of [
        ['DELETE', `versions/${version.name}`],
        ['POST', `versions/${version.name}/pull`],
        ['GET', `versions/${version.name}/diff`],
      ] as [string, string][])
        expect([path, (await at.request(method, `${two.at}/${path}`)).body.error]).toEqual([path, 'InvalidVersionError']);
      expect((await at.get(`${two.at}/traces/${event.source.correlationId}`)).body.counts.events).toBe(0);
    });
    expect((await expectOk(owner.get(`${one.at}/pages/p`))).name).toBe('P');
    expect((await owner.get(`${one.at}/files/${file.id}`)).body.metadata).toEqual({});
    expect((await expectOk(owner.get(`${one.at}/security/secrets`))).s.value).toBe('x');
  });

  it('29: a page that is imported under the id of a page of another workspace takes nothing of it over', async () => {
    const { by, owner } = given();
    const { zipOf } = await import('../../support/archive.ts');
    const { at } = await made();
    const page = await expectOk(owner.post(`${at}/pages`, { name: 'Private', slug: 'private', blocks: [] }));
    const evil = await expectOk(by.stranger.post('/workspaces', { name: 'Evil' }));
    const archive = zipOf({
      'index.yml': 'name: Evil\nslug: evil\n',
      'pages/mine.yml': `name: Mine\nid: ${page.id}\nslug: mine\nblocks: []\n`,
    });
    await expectOk(by.stranger.upload(`/workspaces/${evil.id}/import`, 'archive', 'a.zip', archive));
    const mine = await expectOk(by.stranger.get(`/workspaces/${evil.id}/pages/mine`));
    expect(mine.id).not.toBe(page.id);
    expect(
      (await by.stranger.post(`/pages/${page.id}/permissions`, { target: { public: true }, permissions: { policies: { read: true } } }))
        .status,
    ).toBe(403);
    await expectOk(by.stranger.delete(`/workspaces/${evil.id}/pages/mine`));
    await expectOk(
      owner.post(`/pages/${page.id}/permissions`, { target: { id: idOf(by.viewer) }, permissions: { policies: { read: true } } }),
    );
    expect((await by.viewer.get(`${at}/pages/private`)).status).toBe(200);
    expect((await client(owner.url).get(`/pages/${(await expectOk(owner.get(at))).slug}/private`)).status).toBe(403);
  });

  it('30, 31: fields that only the platform sets are ignored or refused, by POST and by PATCH', async () => {
    const { by, owner, everywhere } = given();
    const { id, at } = await made();
    const own = {
      id: 'chosen',
      workspaceId: 'other',
      createdBy: 'eve',
      createdAt: '2001-01-01',
      updatedBy: 'eve',
      permissions: { [idOf(by.stranger)]: { role: 'owner' }, '*': { policies: { read: true } } },
      revision: 99,
      suspension: { reason: 'mine' },
      versions: [],
    };
    for (const field of ['suspended', 'journal', 'deletedAt', '_rev', '_id'])
      expect([field, (await owner.patch(at, { [field]: true })).status]).toEqual([field, 400]);
    const { id: other } = await expectOk(owner.post('/workspaces', { name: 'Mass', ...own }));
    expect(other).not.toBe('chosen');
    const page = await expectOk(owner.post(`${at}/pages`, { name: 'P', slug: 'p', blocks: [], ...own }));
    expect(page).toMatchObject({ workspaceId: id });
    expect(page.id).not.toBe('chosen');
    await owner.patch(at, { name: 'Renamed', ...own });
    await owner.patch(`${at}/pages/p`, { name: 'P', blocks: [], ...own });
    const [file] = await expectOk(
      owner.request(
        'POST',
        `${at}/files`,
        textForm('a.txt', { workspaceId: 'other', path: 'other/x', createdBy: 'eve', permissions: '{}' }),
      ),
    );
    expect(file).toMatchObject({ workspaceId: id, createdBy: idOf(owner), path: expect.stringMatching(new RegExp(`^${id}/`)) });
    for (const field of ['workspaceId', 'id', 'path', 'createdBy', 'permissions', 'mimetype', 'size', 'name'])
      expect([field, (await owner.patch(`${at}/files/${file.id}`, { [field]: 'x' })).status]).toEqual([field, 400]);
    expect((await owner.patch(`${at}/files/${file.id}`, { shareToken: 'chosen-by-me' })).body.shareToken).toBeUndefined();
    for (const path of [at, `/workspaces/${other}`, `${at}/pages/p`]) {
      const read = await expectOk(owner.get(path));
      expect([path, read.createdBy, read.suspended]).toEqual([path, idOf(owner), undefined]);
      // A page keeps what it is given as its own data.
      if (!path.includes('/pages/')) expect(read.suspension).toBeUndefined();
      expect(Object.keys(read.permissions ?? {})).not.toContain(idOf(by.stranger));
    }
    await everywhere(by.stranger.token, async (elsewhere) => {
      for (const path of [at, `/workspaces/${other}`, `${at}/pages/p`])
        expect([path, (await elsewhere.get(path)).status]).toEqual([path, 403]);
    });
  });

  it('32: an editor neither deletes, nor reads secrets, nor manages keys, security, shares or repositories', async () => {
    const { by, workspace, everywhere, owner } = given();
    const at = `/workspaces/${workspace.id}`;
    await expectOk(owner.patch(`${at}/security/secrets`, { row32: { value: 'kept-secret' } }));
    await everywhere(by.editor.token, async (editor) => {
      const repositories = {
        origin: { config: { dirpath: '/', branch: 'main', url: 'https://example.org/a.git' }, type: 'git', mode: 'read-write', name: 'r' },
      };
      for (const [method, path, body] of [
        ['DELETE', at],
        ['GET', `${at}/security/apikeys`],
        ['POST', `${at}/security/apikeys`, { rules: [] }],
        ['PUT', `${at}/security`, { authorizations: { roles: {}, rules: [] } }],
        ['PATCH', at, { repositories }],
        ['PATCH', `${at}/security/secrets`, { a: { value: 1 } }],
        ['GET', `${at}/permissions`],
        ['POST', `${at}/permissions`, { target: { id: idOf(by.stranger) }, permissions: { role: 'editor' } }],
        ['DELETE', `${at}/permissions/${idOf(owner)}`],
        ['POST', `${at}/writeLock`, {}],
        ['GET', `${at}/deadletters`],
        ['DELETE', `${at}/events?userId=x`],
      ] as [string, string, object?][])
        expect([method, path, (await editor.request(method, path, body)).status]).toEqual([method, path, 403]);
      expect(JSON.stringify((await editor.get(`${at}/security/secrets`)).body)).not.toContain('kept-secret');
      const { id: keyEvent } = (await expectOk(owner.get(`${at}/events?type=apikeys.created&limit=1`))).result.events[0];
      expect((await editor.get(`${at}/events/${keyEvent}`)).status).toBe(404);
    });
    // Nor by the way of an archive, or of a version that is restored.
    const { zipOf } = await import('../../support/archive.ts');
    const archive = zipOf({
      'index.yml': 'name: First tenant\n',
      'security.yml':
        'authorizations:\n  roles: { editor: {}, viewer: {} }\n  rules:\n    - { role: editor, action: manage, subject: workspaces }\n',
    });
    const imported = await expectOk(by.editor.upload(`${at}/import`, 'archive', 'a.zip', archive));
    expect(imported.errors).toMatchObject([{ err: 'ForbiddenError', filepath: 'security.yml' }]);
    expect((await by.editor.delete(at)).status).toBe(403);
  });

  it('33: who manages permissions gives himself nothing more, and the last owner stays', async () => {
    const { platform, owner, by } = given();
    const { id, at } = await made();
    const manager = await newUser(platform.url, 'manager');
    await editSecurity(owner, at, (authorizations) => {
      Object.assign(authorizations.roles, { manager: {}, auditor: {}, everything: {} });
      authorizations.rules.push(
        { role: 'manager', action: ['read', 'manage_permissions', 'manage_security'], subject: 'workspaces' },
        { role: 'manager', action: 'read', subject: 'events' },
        { role: 'manager', action: 'read', subject: 'events', conditions: { type: 'salary' }, inverted: true },
        { role: 'auditor', action: 'read', subject: 'events' },
        { role: 'everything', action: 'manage', subject: 'workspaces' },
      );
    });
    await shareWith(owner, id, idOf(manager), 'manager');
    const share = (target: object, permissions: object) => manager.post(`${at}/permissions`, { target, permissions });
    const self = { id: idOf(manager) };
    expect((await share(self, { role: 'owner' })).status).toBe(403);
    expect((await share(self, { role: 'everything' })).status).toBe(403);
    expect((await share(self, { role: 'editor' })).status).toBe(403);
    // What a denial keeps from him he cannot give to himself through a role without it.
    expect((await share(self, { role: 'auditor' })).status).toBe(403);
    expect((await share(self, { policies: { delete: true } })).status).toBe(403);
    expect((await share({ public: true }, { policies: { update: true } })).status).toBe(403);
    expect((await share({ id: idOf(owner) }, { role: 'manager' })).status).toBe(403);
    expect((await manager.delete(`${at}/permissions/${idOf(owner)}`)).status).toBe(403);
    expect((await manager.post(`${at}/security/apikeys`, { rules: [{ action: 'manage', subject: 'workspaces' }] })).status).toBe(403);
    expect((await manager.post(`${at}/security/apikeys`, { rules: [{ action: 'read', subject: 'events' }] })).status).toBe(403);
    expect((await manager.post(`${at}/security/apikeys`, { rules: [{ action: 'read', subject: 'workspaces' }] })).status).toBe(200);
    const rewrite = async (edit: (authorizations: any) => void) => {
      const security = await expectOk(manager.get(`${at}/security`));
      edit(security.authorizations);
      return (await put(manager, at, security)).status;
    };
    expect(await rewrite(({ rules }) => rules.push({ role: 'manager', action: 'manage', subject: 'secrets' }))).toBe(403);
    expect(
      await rewrite(
        (authorizations) => (authorizations.rules = authorizations.rules.filter((rule: any) => rule.conditions?.type !== 'salary')),
      ),
    ).toBe(403);
    expect(await rewrite((authorizations) => authorizations.rules.reverse())).toBe(403);
    expect(await rewrite(({ roles }) => (roles.everything = { auth: { prismeai: {} } }))).toBe(403);
    expect(await rewrite(({ rules }) => rules.push({ role: 'auditor', action: 'read', subject: 'workspaces' }))).toBe(200);
    expect(
      (await expectOk(owner.get(`${at}/permissions`))).result.find(({ target }: any) => target.id === idOf(manager)).permissions,
    ).toEqual({ role: 'manager' });

    expect(await owner.delete(`${at}/permissions/${idOf(owner)}`)).toMatchObject({ status: 400, body: { error: 'InvalidPermissions' } });
    expect((await owner.post(`${at}/permissions`, { target: { id: idOf(owner) }, permissions: { role: 'editor' } })).status).toBe(400);
    expect((await owner.post(`${at}/permissions`, { target: { public: true }, permissions: { role: 'owner' } })).status).toBe(400);
    expect((await by.stranger.get(at)).status).toBe(403);
  });

  it('34: shares that say what cannot be said are refused and change nothing', async () => {
    const { owner, by } = given();
    const { at } = await made();
    const before = await expectOk(owner.get(`${at}/permissions`));
    const target = { id: idOf(by.viewer) };
    for (const body of [
      { target, permissions: { role: 'unknown' } },
      { target, permissions: { role: 'editor', extra: 1 } },
      { target, permissions: { policies: { manage: true } } },
      { target, permissions: { policies: { read: 'yes' } } },
      { target, permissions: { policies: ['read'] } },
      { target, permissions: { role: { $ne: 1 } } },
      { target: { id: '__proto__' }, permissions: { role: 'editor' } },
      { target: { id: 'constructor' }, permissions: { role: 'editor' } },
      { target: { id: 'a.b' }, permissions: { role: 'editor' } },
      { target: { id: '$where' }, permissions: { role: 'editor' } },
      { target: { id: 'nobody-of-that-id' }, permissions: { role: 'editor' } },
      { target: { role: 'a.policies' }, permissions: { policies: { read: true } } },
      { target: { role: 'unknown' }, permissions: { policies: { read: true } } },
      { target: { role: 'editor' }, permissions: { role: 'owner' } },
      { target: {}, permissions: { role: 'editor' } },
      { target: 'x', permissions: {} },
      {},
    ])
      expect([body, (await owner.post(`${at}/permissions`, body)).status]).toEqual([body, 400]);
    expect(await expectOk(owner.get(`${at}/permissions`))).toEqual(before);
    expect(({} as any).role).toBeUndefined();
  });

  it('35, 36: rules that reach too far or cannot be judged are refused when they are saved', async () => {
    const { owner } = given();
    const { at } = await made();
    const before = await expectOk(owner.get(`${at}/security`));
    const deep = (n: number): object => (n === 0 ? { a: 1 } : { $and: [deep(n - 1)] });
    for (const rule of [
      { action: 'read', subject: 'roles' },
      { action: 'read', subject: 'all' },
      { action: 'read', subject: 'users' },
      { role: 'owner', action: 'read', subject: 'pages' },
      { role: 'undeclared', action: 'read', subject: 'pages' },
      { action: '$where', subject: 'pages' },
      { subject: 'pages' },
      { action: 'read', subject: 'pages', conditions: { $where: 'true' } },
      { action: 'read', subject: 'pages', conditions: { a: { $function: {} } } },
      { action: 'read', subject: 'pages', conditions: { $expr: {} } },
      { action: 'read', subject: 'pages', conditions: { a: { $unknown: 1 } } },
      { action: 'read', subject: 'pages', conditions: deep(12) },
      { action: 'read', subject: 'pages', conditions: { a: { $regex: '(a+)+(?=b)' } } },
      { action: 'read', subject: 'pages', conditions: { a: { $regex: 'x'.repeat(201) } } },
      { action: 'read', subject: 'pages', conditions: { a: { $in: 'x' } } },
      { action: 'read', subject: 'pages', conditions: { $or: {} } },
      { action: 'read', subject: 'pages', conditions: 'x' },
    ]) {
      const answer = await put(owner, at, { authorizations: { roles: { editor: {} }, rules: [rule] } });
      expect([rule, answer.status, answer.body.error]).toEqual([rule, 400, 'InvalidSecurity']);
    }
    expect((await put(owner, at, { authorizations: {}, other: 1 })).status).toBe(400);
    expect(await expectOk(owner.get(`${at}/security`))).toEqual(before);
    expect(
      (
        await put(owner, at, {
          authorizations: {
            roles: { x: {} },
            rules: [{ role: 'x', action: 'read', subject: 'pages', conditions: deep(8), priority: 5000, fields: ['a'] }],
          },
        })
      ).status,
    ).toBe(200);
    expect((await owner.get(at)).status).toBe(200);
  });

  it('38: a key of another workspace, deleted, disabled or unknown gives nothing, at either node', async () => {
    const { urls, owner } = given();
    const [one, two] = [await made(), await made()];
    const rules = [{ action: ['read'], subject: 'workspaces' }];
    const make = () => expectOk(owner.post(`${one.at}/security/apikeys`, { name: 'k', rules }));
    const [good, deleted, disabled] = [await make(), await make(), await make()];
    const as = (url: string, key: string, at = one.at) => client(url).get(at, { 'x-prismeai-api-key': key });
    for (const url of urls) for (const { apiKey } of [good, deleted, disabled]) expect((await as(url, apiKey)).status).toBe(200);
    await expectOk(owner.delete(`${one.at}/security/apikeys/${deleted.id}`));
    await expectOk(owner.request('PUT', `${one.at}/security/apikeys/${disabled.id}`, { name: 'k', rules, disabled: true }));
    for (const url of urls) {
      for (const { apiKey } of [deleted, disabled]) await eventually(async () => expect((await as(url, apiKey)).status).toBe(401));
      expect((await as(url, good.apiKey)).status).toBe(200);
      expect(await as(url, good.apiKey, two.at)).toMatchObject({ status: 401, body: { error: 'InvalidAPIKey' } });
      expect((await as(url, '7d9bca1c-0000-4000-8000-000000000000')).status).toBe(401);
      expect((await client(url).get('/workspaces', { 'x-prismeai-api-key': good.apiKey })).body).toEqual([]);
    }
    expect(JSON.stringify(await expectOk(owner.get(`${one.at}/security/apikeys`)))).not.toContain(good.apiKey);
  });

  it('39: what a caller without user made with a key belongs to no other caller without user', async () => {
    const { platform, owner } = given();
    const { at } = await made();
    await editSecurity(
      owner,
      at,
      (authorizations) => (authorizations.rules = authorizations.rules.filter(({ subject }: any) => subject !== 'files')),
    );
    const key = await expectOk(owner.post(`${at}/security/apikeys`, { name: 'up', rules: [{ action: 'create', subject: 'files' }] }));
    const other = await expectOk(owner.post(`${at}/security/apikeys`, { name: 'no', rules: [] }));
    const asKey = (apiKey: string) => ({ 'x-prismeai-api-key': apiKey });
    const [file] = await expectOk(client(platform.url).request('POST', `${at}/files`, textForm(), asKey(key.apiKey)));
    for (const headers of [asKey(other.apiKey), asKey(key.apiKey), undefined]) {
      expect((await client(platform.url).get(`${at}/files/${file.id}`, headers)).status).toBe(headers ? 404 : 401);
      expect((await client(platform.url).get(`/files/${file.path}`, headers)).status).toBe(404);
    }
    expect((await owner.get(`${at}/files/${file.id}`)).body.createdBy).toBeUndefined();
  });

  it('40: who loses his role loses requests, sockets and streams at once, on every node', async () => {
    const { owner, by, urls } = given();
    const { id, at } = await made();
    await addViewerRole(owner, id);
    await shareWith(owner, id, idOf(by.viewer), 'viewer');
    const clients = urls.map((url) => client(url, by.viewer.token));
    for (const each of clients) await eventually(async () => (await each.get(at)).status === 200);
    const sockets = await Promise.all(clients.map((each) => each.events(id)));
    const emit = (type: string) => expectOk(owner.post(`${at}/events`, { events: [{ type, payload: {} }] }));
    const seen = sockets.map(() => [] as string[]);
    for (const [i, socket] of sockets.entries()) socket.onAny((type: string) => void seen[i]?.push(type));
    try {
      await emit('row40.before');
      for (const list of seen) await eventually(() => list.includes('row40.before'));
      await expectOk(owner.delete(`${at}/permissions/${idOf(by.viewer)}`));
      await emit('row40.after');
      for (const each of clients) await eventually(async () => expect((await each.get(at)).status).toBe(403), { timeoutMs: 10_000 });
      // His own events he may still read; they come after the one he may not.
      for (const socket of sockets) socket.emit('event', { type: 'row40.own', payload: {} });
      for (const list of seen) await eventually(() => list.includes('row40.own'));
      for (const list of seen) expect(list).not.toContain('row40.after');
    } finally {
      for (const socket of sockets) socket.close();
    }
  });

  it('41: an automation with authorizations.action is closed to who lacks the rule: webhook, event, call and app', async () => {
    const { owner, by, everywhere } = given();
    const { id, at } = await made();
    const automation = (slug: string, more: object) => expectOk(owner.post(`${at}/automations`, { name: slug, slug, do: [], ...more }));
    await automation('audit', {
      when: { endpoint: true, events: ['row41.audit'] },
      authorizations: { action: 'audit' },
      output: 'secret',
      do: [{ emit: { event: 'row41.audited' } }],
    });
    await automation('door', { when: { endpoint: true }, do: [{ audit: { output: 'x' } }], output: '{{x}}' });
    await automation('marker', { when: { events: ['row41.marker'] }, do: [{ emit: { event: 'row41.marked' } }] });
    for (const token of [undefined, by.stranger.token, by.anonymous.token])
      await everywhere(token, async (at2) => {
        await eventually(async () =>
          expect(await at2.post(`${at}/webhooks/audit`, {})).toMatchObject({ status: 403, body: { error: 'ForbiddenError' } }),
        );
        const { status, body } = await at2.post(`${at}/webhooks/door`, {});
        expect([status === 200, JSON.stringify(body).includes('secret')]).toEqual([false, false]);
      });
    await expectOk(
      by.stranger.post(`${at}/events`, {
        events: [
          { type: 'row41.audit', payload: {} },
          { type: 'row41.marker', payload: {} },
        ],
      }),
    );
    await eventually(async () => (await expectOk(owner.get(`${at}/events?type=row41.marked`))).result.events.length > 0);
    expect((await expectOk(owner.get(`${at}/events?type=row41.audited`))).result.events).toEqual([]);
    expect((await owner.post(`${at}/webhooks/audit`, {})).body).toBe('secret');
    // As an app: the private one is not there, the guarded one asks for the rule of the workspace that installs it.
    await automation('hidden', { private: true, output: 'hidden' });
    await expectOk(
      owner.post('/apps', { workspaceId: id, slug: `row41-${id.toLowerCase().replaceAll(/[^a-z0-9]/g, 'x')}`, description: 'App' }),
    );
    const app = (await expectOk(owner.get(`/apps?workspaceId=${id}`)))[0].slug;
    const host = await expectOk(by.stranger.post('/workspaces', { name: 'Host' }));
    await expectOk(by.stranger.post(`/workspaces/${host.id}/apps`, { appSlug: app, slug: 'audited' }));
    for (const name of ['hidden', 'audit'])
      await expectOk(
        by.stranger.post(`/workspaces/${host.id}/automations`, {
          name,
          slug: name,
          when: { endpoint: true },
          do: [{ [`audited.${name}`]: { output: 'x' } }],
          output: '{{x}}',
        }),
      );
    await everywhere(by.anonymous.token, async (at2) => {
      await eventually(async () =>
        expect((await at2.post(`/workspaces/${host.id}/webhooks/hidden`, {})).body.error).toBe('ObjectNotFoundError'),
      );
      expect((await at2.post(`/workspaces/${host.id}/webhooks/audit`, {})).body.error).toBe('ForbiddenError');
    });
  });

  it('42: an event from outside is from who sends it, of a type and topic that are his to choose', async () => {
    const { by, owner, everywhere, other } = given();
    const { id, at } = await made();
    await everywhere(by.stranger.token, async (stranger) => {
      const forged = {
        userId: idOf(owner),
        workspaceId: other.id,
        sessionId: 's',
        correlationId: 'c',
        socketId: 'x',
        appSlug: 'x',
        automationSlug: 'x',
        ip: '1.2.3.4',
        host: {},
      };
      const [event] = await expectOk(
        stranger.post(`${at}/events`, { events: [{ id: 'chosen', type: 'row42', payload: {}, createdAt: '2001-01-01', source: forged }] }),
      );
      expect(event).toMatchObject({ source: { userId: idOf(by.stranger), workspaceId: id, serviceTopic: 'topic:runtime:emit' } });
      expect([event.id, event.source.automationSlug, event.source.appSlug]).toEqual([
        expect.not.stringMatching('chosen'),
        undefined,
        undefined,
      ]);
      for (const body of [
        { type: 'row42', payload: {}, source: { serviceTopic: 'topic:runtime:events' } },
        { type: 'workspaces.deleted', payload: { workspaceId: other.id }, source: { serviceTopic: 'workspaces.deleted' } },
        { type: 'runtime.contexts.updated', payload: {} },
        { type: 'workspaces.apps.configured', payload: {} },
        { type: 'workspaces.updated', payload: {} },
        { type: 'gateway.login.succeeded', payload: { id: idOf(owner), session: { id: 's' } } },
        { type: 'events.userTopics.joined', payload: { topic: 'secret', user: { id: idOf(by.stranger) } } },
        { type: 'apikeys.created', payload: {} },
      ])
        expect([body.type, (await stranger.post(`${at}/events`, { events: [body] })).status]).toEqual([body.type, 403]);
    });
    // Not even an owner tells in the platform's name.
    expect(
      (await owner.post(`${at}/events`, { events: [{ type: 'x', payload: {}, source: { serviceTopic: 'workspaces.deleted' } }] })).status,
    ).toBe(403);
  });

  it('43: a socket in a foreign workspace, with filters, another socket id or another namespace, gets and sends nothing of it', async () => {
    const { by, owner, workspace, other } = given();
    const at = `/workspaces/${workspace.id}`;
    const victim = await owner.events(workspace.id);
    const socket = await by.stranger.events(
      workspace.id,
      { payloadQuery: { 'source.workspaceId': workspace.id, 'source.userId': idOf(owner) } },
      { auth: { reuseSocketId: victim.id } },
    );
    try {
      const seen: string[] = [];
      socket.onAny((type: string) => seen.push(type));
      const ask = (name: string, message: object) => new Promise<any>((done) => socket.emit(name, message, done));
      expect(await ask('reconnection', { socketId: victim.id })).toMatchObject({ ok: false, socketId: socket.id });
      expect((await ask('filters', { payloadQuery: [{ 'source.userId': idOf(owner) }, { 'source.userId': idOf(by.stranger) }] })).ok).toBe(
        true,
      );
      expect((await ask('filters', [{ $where: 'x' }] as never)).ok).toBe(false);
      await expectOk(owner.post(`${at}/events`, { events: [{ type: 'row43.secret', payload: {} }] }));
      const sent = await ask('event', { type: 'row43.own', payload: {}, source: { workspaceId: other.id }, workspaceId: other.id });
      expect(sent.ok).toBe(true);
      await eventually(() => seen.includes('row43.own'));
      expect(seen.filter((type) => type !== 'error')).toEqual(['row43.own']);
      expect((await by.stranger.get(`/workspaces/${other.id}/events/${sent.event.id}`)).status).toBe(404);
      expect((await ask('event', { type: 'workspaces.deleted', payload: {} })).error.error).toBe('ForbiddenError');
    } finally {
      socket.close();
      victim.close();
    }
  });

  it('44: searches show and count only what may be read, whatever they project, sort or ask for', async () => {
    const { by, owner, everywhere, workspace, other } = given();
    const at = `/workspaces/${workspace.id}`;
    await expectOk(owner.post(`${at}/events`, { events: [{ type: 'row44.secret', payload: { amount: 5 } }] }));
    await eventually(async () => (await expectOk(owner.get(`${at}/events?type=row44.secret`))).result.events.length > 0);
    await everywhere(by.stranger.token, async (stranger) => {
      const search = (body: object, path = at) => stranger.post(`${path}/search`, { query: { match_all: {} }, ...body });
      expect((await search({ query: { term: { type: 'row44.secret' } }, source: ['source'], track_total_hits: true })).body).toEqual({
        size: 0,
        documents: [],
      });
      const either = { bool: { should: [{ term: { type: 'row44.secret' } }, { match_all: {} }] } };
      expect(JSON.stringify((await search({ query: either, source: ['payload'] })).body)).not.toContain('amount');
      expect((await search({ aggs: { a: { terms: { field: 'type' } } } })).status).toBe(403);
      expect((await search({ aggregations: { a: { sum: { field: 'payload.amount' } } } })).status).toBe(403);
      expect((await search({ runtime_mappings: { a: { type: 'keyword', script: 'emit("x")' } } })).status).toBe(400);
      expect((await search({ query: { script: { script: 'true' } } })).status).toBe(400);
      expect((await search({ query: { script_score: { query: {}, script: {} } } })).status).toBe(400);
      for (const name of ['*', `${workspace.id},${other.id}`, `${workspace.id}*`, '_all', '..%2F', `${other.id}%2C${workspace.id}`])
        expect([name, [403, 404].includes((await search({}, `/workspaces/${name}`)).status)]).toEqual([name, true]);
      expect(
        (await stranger.get(`${at}/events?type=row44.secret&workspaceId=${workspace.id}&source.workspaceId=${other.id}`)).body.result
          ?.events ?? [],
      ).toEqual([]);
      expect((await stranger.get(`${at}/events/export?type=row44.secret`)).body).toBe('');
    });
  });

  it('45: a page that is shared with a role or with everybody is so only as long, and only with them', async () => {
    const { by, owner, everywhere } = given();
    const { id, slug, at } = await made();
    await editSecurity(owner, at, (authorizations) => Object.assign(authorizations.roles, { red: {}, blue: {} }));
    await shareWith(owner, id, idOf(by.viewer), 'red');
    await shareWith(owner, id, idOf(by.editor), 'blue');
    const page = await expectOk(owner.post(`${at}/pages`, { name: 'P', slug: 'p', blocks: [] }));
    const permissions = { policies: { read: true } };
    await expectOk(owner.post(`/pages/${page.id}/permissions`, { target: { role: 'red' }, permissions }));
    const status = async (token: string | undefined, wanted: number) =>
      everywhere(token, (each) => eventually(async () => expect((await each.get(`/pages/${slug}/p`)).status).toBe(wanted)));
    await status(by.viewer.token, 200);
    await status(by.editor.token, 403);
    await status(undefined, 403);
    await expectOk(owner.post(`/pages/${page.id}/permissions`, { target: { public: true }, permissions }));
    await status(undefined, 200);
    await expectOk(owner.delete(`/pages/${page.id}/permissions/*`));
    await expectOk(owner.delete(`/pages/${page.id}/permissions/role:red`));
    await status(undefined, 403);
    await status(by.viewer.token, 403);
  });

  it('46: an automation run by a visitor reads nothing of his elsewhere, nor with his super admin rights', async () => {
    const { by, platform, owner, other } = given();
    const { at } = await made();
    const fetching = (slug: string, url: string, more: object = {}) =>
      expectOk(
        owner.post(`${at}/automations`, {
          name: slug,
          slug,
          when: { endpoint: true },
          do: [{ fetch: { url, output: 'x', outputMode: 'detailed_response', ...more } }],
          output: { status: '{{x.status}}', body: '{{x.body}}' },
        }),
      );
    await fetching('theirs', `${platform.url}/workspaces/${other.id}`);
    await fetching('mine', `${platform.url}${at}`);
    await fetching('all', `${platform.url}/search`, { method: 'post', body: { query: { match_all: {} } } });
    const run = async (visitor: Client, slug: string) => {
      const answer = await visitor.post(`${at}/webhooks/${slug}`, {});
      return answer.body.status ?? answer.body;
    };
    await eventually(async () => expect((await owner.post(`${at}/webhooks/mine`, {})).status).toBe(200));
    expect(await run(by.stranger, 'theirs')).toBe(403);
    expect(await run(by.superadmin, 'theirs')).toBe(403);
    expect(JSON.stringify((await by.superadmin.post(`${at}/webhooks/all`, {})).body)).not.toContain('documents');
    expect(await run(by.stranger, 'mine')).toBe(403);
    expect(await run(owner, 'mine')).toBe(200);
  });

  it('46: the token of a run is nothing to the account of who started it', async () => {
    const { by, owner, everywhere } = given();
    const { at } = await made();
    await expectOk(
      owner.post(`${at}/automations`, {
        name: 'mint',
        slug: 'mint',
        when: { endpoint: true },
        do: [{ auth: { output: 'mine' } }, { auth: { workspace: true, output: 'proof' } }],
        output: { mine: '{{mine.jwt}}', proof: '{{proof.jwt}}' },
      }),
    );
    await eventually(async () => expect((await by.viewer.post(`${at}/webhooks/mint`, {})).status).toBe(200));
    const { mine, proof } = await expectOk(by.viewer.post(`${at}/webhooks/mint`, {}));
    for (const token of [mine, proof]) {
      expect(typeof token).toBe('string');
      await everywhere(token, async (run) => {
        for (const [method, path, body] of [
          ['GET', '/me'],
          ['POST', '/logout', { everywhere: true }],
          ['POST', '/logout', {}],
          ['PATCH', '/user', { firstName: 'Eve' }],
          ['POST', '/user/meta', { a: 1 }],
          ['POST', '/user/mfa', { method: 'totp' }],
          ['POST', '/user/password', { currentPassword: 'x', password: 'another-long-password-1' }],
          ['GET', '/user/accessTokens'],
          ['POST', '/user/accessTokens', { name: 'x', expiresAt: new Date(Date.now() + 60_000).toISOString() }],
          ['DELETE', '/user'],
          ['DELETE', `/users/${idOf(by.viewer)}`],
          ['POST', '/contacts', { ids: [idOf(by.viewer)] }],
          ['POST', '/search', { query: { match_all: {} } }],
        ] as [string, string, object?][])
          expect([method, path, (await run.request(method, path, body)).status]).toEqual([method, path, 401]);
        expect((await run.post('/workspaces', { name: 'Founded by a run' })).status).toBe(403);
      });
    }
    await everywhere(by.viewer.token, async (viewer) => expect((await viewer.get('/me')).status).toBe(200));
    // What proves a workspace proves that one only.
    await everywhere(proof, async (run) => {
      expect((await run.get(at)).status).toBe(200);
      expect((await run.get(`/workspaces/${given().other.id}`)).status).toBe(403);
      expect((await run.get(`/workspaces/${given().workspace.id}`)).status).toBe(403);
    });
    expect((await client(owner.url, mine).get(`/workspaces/${given().workspace.id}`)).status).toBe(403);
    // And not all that its owner may do with it: what an installed app could take the workspace over with takes a person.
    const itself = client(owner.url, proof);
    expect((await itself.patch(`${at}/config`, { value: { a: 1 } })).status).toBe(200);
    expect((await itself.patch(`${at}/security/secrets`, { a: { value: 'x' } })).status).toBe(200);
    for (const [method, path, body] of [
      ['POST', `${at}/permissions`, { target: { id: idOf(by.stranger) }, permissions: { role: 'owner' } }],
      ['DELETE', `${at}/permissions/${idOf(owner)}`],
      ['POST', `${at}/security/apikeys`, { name: 'k', rules: [] }],
      ['GET', `${at}/security/apikeys`],
      ['PUT', `${at}/security`, { authorizations: { roles: {}, rules: [] } }],
      ['DELETE', at],
    ] as [string, string, object?][])
      expect([method, path, (await itself.request(method, path, body)).status]).toEqual([method, path, 403]);
  });
}
