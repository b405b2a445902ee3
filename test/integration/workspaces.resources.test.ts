import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { strToU8, unzipSync, zipSync } from 'fflate';
import { zipFolder } from '../support/archive.ts';
import { eventually } from '../support/eventually.ts';
import { type Caller, faultOf, startWorkspaces, upload, type WorkspaceServices } from '../support/workspace-services.ts';

const fixtures = resolve(import.meta.dirname, '../fixtures/workspaces');
let platform: WorkspaceServices;
let ada: Caller;
let ben: Caller;
let cid: Caller;
let workspaceId: string;

beforeAll(async () => {
  platform = await startWorkspaces({ env: { UPLOADS_MAX_SIZE: '200000', MAXIMUM_WORKSPACE_VERSION: '2' } });
  ada = platform.as('ada');
  ben = platform.as('ben');
  cid = platform.as('cid');
});
afterAll(() => platform?.stop());
beforeEach(async () => {
  workspaceId = (await ada.call('workspaces.create', { body: { name: 'One', description: 'First' } })).id;
});

const eventsOf = (type: string, id = workspaceId) =>
  platform.events.filter((event) => event.type === type && event.source.workspaceId === id);
const archive = (content: Uint8Array) => ({ files: [upload('workspace.zip', content, 'application/zip', 'archive')] });
const zip = (files: Record<string, string>) =>
  zipSync(Object.fromEntries(Object.entries(files).map(([name, text]) => [`current/${name}`, strToU8(text)])));
const bytesOf = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};
const share = (id: string, permissions: object, as = ada) =>
  as.call('permissions.workspacesShare', { subjectId: workspaceId, body: { target: { id }, permissions } });

describe('pages', () => {
  it('are kept with any field, renamed with their id, and deleted', async () => {
    const page = await ada.call('pages.create', {
      workspaceId,
      body: { name: 'Docs', slug: 'docs/setup', blocks: [{ slug: 'A', text: '{{config.title}}' }], favicon: 'x', custom: { a: 1 } },
    });
    await ada.call('workspaces.patchConfig', { workspaceId, body: { value: { title: 'Hi' } } });

    expect(await ada.call('pages.get', { workspaceId, slug: 'docs/setup' })).toMatchObject({
      id: page.id,
      custom: { a: 1 },
      blocks: [{ slug: 'A', text: 'Hi' }],
      public: false,
    });
    const renamed = await ada.call('pages.update', { workspaceId, slug: 'docs/setup', body: { name: 'Docs', slug: 'docs', blocks: [] } });
    expect(renamed).toMatchObject({ id: page.id, slug: 'docs' });
    expect((await ada.call('pages.list', { workspaceId })).map(({ slug }: any) => slug)).toEqual(['docs']);
    expect(await ada.call('pages.remove', { workspaceId, slug: 'docs' })).toEqual({ id: page.id });
    await eventually(() => expect(eventsOf('workspaces.pages.deleted')).toHaveLength(1));
    expect(eventsOf('workspaces.pages.updated')[0]?.payload).toMatchObject({ slug: 'docs', oldSlug: 'docs/setup' });
  });

  it('are served to visitors when they are shared with everyone, and only then', async () => {
    const { slug: workspaceSlug } = await ada.call('workspaces.get', { workspaceId });
    const page = await ada.call('pages.create', { workspaceId, body: { slug: 'index', blocks: [] } });
    const visit = () => platform.anonymous.call('pages.getPublic', { workspaceSlug, slug: 'index' });

    expect(await faultOf(visit())).toBe('ForbiddenError');
    await ada.call('permissions.pagesShare', {
      subjectId: page.id,
      body: { target: { public: true }, permissions: { policies: { read: true } } },
    });
    expect(await visit()).toMatchObject({ slug: 'index', public: true });
    await ada.call('permissions.pagesRevoke', { subjectId: page.id, permissionId: '*' });
    expect(await faultOf(visit())).toBe('ForbiddenError');
    expect(await faultOf(platform.anonymous.call('pages.getPublic', { workspaceSlug, slug: 'none' }))).toBe('ObjectNotFoundError');
  });

  it('are more than twenty when there are more than twenty', async () => {
    for (let n = 0; n < 23; n++) await ada.call('pages.create', { workspaceId, body: { slug: `p${n}` } });

    expect(await ada.call('pages.list', { workspaceId })).toHaveLength(23);
    const copy = await ada.call('versions.duplicate', { workspaceId, versionId: 'current' });
    expect(await ada.call('pages.list', { workspaceId: copy.id })).toHaveLength(23);
  });

  it('name what is wrong', async () => {
    await ada.call('pages.create', { workspaceId, body: { slug: 'a' } });
    expect(await faultOf(ada.call('pages.create', { workspaceId, body: { slug: 'a' } }))).toBe('AlreadyUsedError');
    expect(await faultOf(ada.call('pages.create', { workspaceId, body: { slug: '../a' } }))).toBe('InvalidSlugError');
    expect(await faultOf(ada.call('pages.create', { workspaceId, body: { blocks: 'x' } }))).toBe('RequestValidationError');
    expect(await faultOf(ada.call('pages.update', { workspaceId, slug: 'none', body: {} }))).toBe('ObjectNotFoundError');
  });
});

describe('sharing', () => {
  it('gives editors what the default rules say and nothing more', async () => {
    await share('ben', { role: 'editor' });

    await ben.call('automations.create', { workspaceId, body: { name: 'By Ben', do: [] } });
    expect((await ben.call('workspaces.list', { query: { limit: '2000' } })).map(({ id }: any) => id)).toContain(workspaceId);
    const refused: [string, object][] = [
      ['workspaces.remove', {}],
      ['pages.create', { body: { slug: 'x' } }],
      ['security.update', { body: {} }],
      ['security.createApiKey', { body: { name: 'k', rules: [] } }],
      ['secrets.patch', { body: { a: { value: 1 } } }],
      ['permissions.workspacesList', { subjectId: workspaceId }],
      ['files.list', {}],
      ['workspaces.update', { body: { repositories: { r: { name: 'R', config: { url: 'https://git.example.org/r', branch: 'main' } } } } }],
    ];
    for (const [action, params] of refused)
      expect([action, await faultOf(ben.call(action, { workspaceId, ...params }))]).toEqual([action, 'ForbiddenError']);
    expect(await ben.call('secrets.list', { workspaceId })).toEqual({});
  });

  it('is seen, changed and ended; the last owner stays', async () => {
    expect(await share('ben', { role: 'editor' })).toEqual({
      target: { id: 'ben', displayName: 'ben Test' },
      permissions: { role: 'editor' },
    });
    expect((await ada.call('permissions.workspacesList', { subjectId: workspaceId })).result).toHaveLength(2);

    expect(await faultOf(ada.call('permissions.workspacesRevoke', { subjectId: workspaceId, permissionId: 'ada' }))).toBe(
      'InvalidPermissions',
    );
    expect(await faultOf(share('ada', { role: 'editor' }))).toBe('InvalidPermissions');
    expect(await ada.call('permissions.workspacesRevoke', { subjectId: workspaceId, permissionId: 'ben' })).toEqual({ id: 'ben' });
    expect(await faultOf(ben.call('workspaces.get', { workspaceId }))).toBe('ForbiddenError');
    await eventually(() => expect(eventsOf('workspaces.permissions.deleted')).toHaveLength(1));
  });

  it('never lets anyone give what he does not have', async () => {
    const rules = [
      { role: 'manager', action: ['read', 'manage_permissions'], subject: 'workspaces' },
      { role: 'guest', action: 'read', subject: 'workspaces' },
      { role: 'editor', action: ['read', 'update'], subject: 'workspaces' },
    ];
    await ada.call('security.update', { workspaceId, body: { authorizations: { roles: { editor: {}, manager: {}, guest: {} }, rules } } });
    await share('ben', { role: 'manager' });

    expect(await faultOf(share('ben', { role: 'owner' }, ben))).toBe('ForbiddenError');
    expect(await faultOf(share('cid', { role: 'editor' }, ben))).toBe('ForbiddenError');
    expect(await faultOf(share('cid', { policies: { update: true } }, ben))).toBe('ForbiddenError');
    expect(await faultOf(share('ada', { role: 'guest' }, ben))).toBe('ForbiddenError');
    expect(await faultOf(ben.call('permissions.workspacesRevoke', { subjectId: workspaceId, permissionId: 'ada' }))).toBe('ForbiddenError');
    expect(
      await faultOf(
        ben.call('security.createApiKey', { workspaceId, body: { name: 'k', rules: [{ action: 'delete', subject: 'workspaces' }] } }),
      ),
    ).toBe('ForbiddenError');
    await share('cid', { role: 'guest' }, ben);
    expect((await cid.call('workspaces.get', { workspaceId })).id).toBe(workspaceId);
    // A member through a custom role that may read finds the workspace in his list.
    expect((await cid.call('workspaces.list', { query: { limit: '2000' } })).map(({ id }: any) => id)).toContain(workspaceId);
  });

  it('names what is wrong', async () => {
    expect(await faultOf(share('nobody', { role: 'editor' }))).toBe('CollaboratorNotFound');
    expect(await faultOf(share('ben', { role: 'king' }))).toBe('UnknownRole');
    expect(await faultOf(share('ben', { roles: 'editor' }))).toBe('InvalidPermissions');
    expect(await faultOf(share('ben', { policies: { fly: true } }))).toBe('InvalidPermissions');
    expect(await faultOf(share('__proto__', { role: 'editor' }))).toBe('InvalidPermissions');
    const toRole = { target: { role: 'editor' }, permissions: { role: 'owner' } };
    expect(await faultOf(ada.call('permissions.workspacesShare', { subjectId: workspaceId, body: toRole }))).toBe('PrismeError');
    expect(await faultOf(ada.call('permissions.pagesList', { subjectId: 'none' }))).toBe('ObjectNotFoundError');
  });
});

describe('security', () => {
  it('is replaced as a whole, keeps roles in use, and is told', async () => {
    const security = {
      authorizations: {
        roles: { editor: {}, helper: { description: 'Helps' } },
        rules: [{ role: 'helper', action: 'read', subject: 'workspaces' }],
      },
    };
    expect(await ada.call('security.update', { workspaceId, body: security })).toEqual(security);
    await share('ben', { role: 'helper' });

    expect(await faultOf(ada.call('security.update', { workspaceId, body: { authorizations: { roles: {}, rules: [] } } }))).toBe(
      'InvalidSecurity',
    );
    expect(await faultOf(ada.call('security.update', { workspaceId, body: { nope: 1 } }))).toBe('InvalidSecurity');
    expect(await ada.call('security.roles', { workspaceId })).toEqual([
      { name: 'owner' },
      { name: 'editor' },
      { name: 'helper', description: 'Helps' },
    ]);
    expect(await ada.call('security.get', { workspaceId })).toEqual(security);
    await eventually(() => expect(eventsOf('workspaces.security.updated')).toHaveLength(2));
  });

  it('shows an API key once, keeps its hash, and ends it at once', async () => {
    const made = await ada.call('security.createApiKey', {
      workspaceId,
      body: { name: 'ci', rules: [{ action: ['read', 'update'], subject: 'workspaces' }] },
    });
    const hash = createHash('sha256').update(made.apiKey).digest('hex');
    const program = platform.as('', { kind: 'none', userId: undefined, sessionId: undefined, via: 'apiKey', apiKeyHash: hash } as never);

    await program.call('automations.create', { workspaceId, body: { name: 'By key', do: [] } });
    expect(await faultOf(program.call('workspaces.remove', { workspaceId }))).toBe('ForbiddenError');
    const listed = await ada.call('security.listApiKeys', { workspaceId });
    expect(listed).toEqual([expect.objectContaining({ id: made.id, name: 'ci', hint: expect.stringContaining(made.apiKey.slice(0, 8)) })]);
    expect(JSON.stringify(listed)).not.toContain(made.apiKey);
    expect(await faultOf(ada.call('security.updateApiKey', { workspaceId, apiKey: 'unknown', body: { name: 'x', rules: [] } }))).toBe(
      'ObjectNotFoundError',
    );
    await ada.call('security.updateApiKey', {
      workspaceId,
      apiKey: made.id,
      body: { name: 'ci', rules: [{ action: 'read', subject: 'workspaces' }] },
    });
    expect(await faultOf(program.call('automations.create', { workspaceId, body: { name: 'By key', do: [] } }))).toBe('ForbiddenError');

    await ada.call('security.removeApiKey', { workspaceId, apiKey: made.apiKey });
    expect(await faultOf(program.call('workspaces.get', { workspaceId }))).not.toBe('none');
    await eventually(() => expect(eventsOf('apikeys.deleted')).toHaveLength(1));
    expect(JSON.stringify(platform.events)).not.toContain(made.apiKey);
  });
});

describe('secrets', () => {
  it('are sealed at rest, written by who may, read by who manages them', async () => {
    const rules = [
      { role: 'editor', action: ['read', 'update'], subject: 'workspaces' },
      { role: 'editor', action: ['read', 'create', 'update'], subject: 'secrets' },
    ];
    await ada.call('security.update', { workspaceId, body: { authorizations: { roles: { editor: {} }, rules } } });
    await share('ben', { role: 'editor' });

    await ben.call('secrets.patch', {
      workspaceId,
      body: { token: { value: 'very-secret-1', description: 'For the API' }, limits: { value: { a: 1 } } },
    });

    expect((await ben.call('secrets.list', { workspaceId })).token).toEqual(expect.not.objectContaining({ value: expect.anything() }));
    expect(await ada.call('secrets.list', { workspaceId })).toMatchObject({
      token: { value: 'very-secret-1', type: 'string', description: 'For the API' },
      limits: { value: { a: 1 }, type: 'object' },
    });
    expect(await faultOf(ben.call('secrets.remove', { workspaceId, name: 'token' }))).toBe('ForbiddenError');
    const { store } = platform.broker.getLocalService('secrets') as any;
    expect(JSON.stringify(await store.documents.find('secrets', {}))).not.toContain('very-secret-1');
    const exported = await bytesOf(await ada.call('archives.export', { workspaceId }));
    expect(exported.includes('very-secret-1')).toBe(false);
    await eventually(() => expect(eventsOf('workspaces.secrets.updated')[0]?.payload).toMatchObject({ created: ['token', 'limits'] }));
    expect(JSON.stringify(platform.events)).not.toContain('very-secret-1');
  });

  it('are replaced as a whole by PUT, all or nothing', async () => {
    await ada.call('secrets.patch', { workspaceId, body: { a: { value: '1' }, b: { value: '2' } } });

    expect(
      await faultOf(ada.call('secrets.patch', { workspaceId, body: { c: { value: '3' }, prismeai_ratelimit_disabled: { value: true } } })),
    ).toBe('ForbiddenError');
    expect(await faultOf(ada.call('secrets.patch', { workspaceId, body: { c: { value: '3' }, d: {} } }))).toBe('RequestValidationError');
    expect(Object.keys(await ada.call('secrets.list', { workspaceId })).sort()).toEqual(['a', 'b']);
    expect(Object.keys(await ada.call('secrets.put', { workspaceId, body: { b: { value: '22' }, c: { value: '3' } } })).sort()).toEqual([
      'b',
      'c',
    ]);
    expect(await ada.call('secrets.remove', { workspaceId, name: 'b' })).toEqual({ secretName: 'b' });
    expect(await faultOf(ada.call('secrets.remove', { workspaceId, name: 'b' }))).toBe('ObjectNotFoundError');
    expect(await faultOf(ada.call('secrets.patch', { workspaceId, body: { '__proto__x y/z': { value: 1 } } }))).toBe(
      'RequestValidationError',
    );
  });

  it('reserved for the platform are for super admins', async () => {
    const admin = platform.as('root', { role: 'superadmin' });

    await admin.call('secrets.patch', { workspaceId, body: { prismeai_ratelimit_disabled: { value: true } } });

    expect(Object.keys(await admin.call('secrets.list', { workspaceId }))).toEqual(['prismeai_ratelimit_disabled']);
    expect(await ada.call('secrets.list', { workspaceId })).toEqual({});
  });
});

describe('apps', () => {
  const publish = async (slug: string, extra: object = {}) => {
    const source = await ada.call('workspaces.create', {
      body: {
        name: slug,
        description: 'An app',
        photo: 'https://x.example/p.png',
        config: { schema: { level: { type: 'number' } }, block: 'form', value: { level: 1 } },
        ...extra,
      },
    });
    await ada.call('automations.create', {
      workspaceId: source.id,
      body: { name: 'Run', slug: 'run', arguments: { a: { type: 'string' } }, do: [{ emit: { event: 'ran' } }] },
    });
    await ada.call('automations.create', { workspaceId: source.id, body: { name: 'Inner', slug: 'inner', private: true, do: [] } });
    const app = await ada.call('apps.publish', { body: { workspaceId: source.id, slug } });
    return { source, app };
  };

  it('are published, installed, configured, upgraded without losing their configuration, and uninstalled', async () => {
    const slug = `Mailer ${workspaceId}`;
    const { source, app } = await publish(slug, { blocks: { Card: { name: 'Card' } } });
    expect(app).toMatchObject({ id: slug, slug, workspaceId: source.id, versions: [{ name: expect.any(String) }] });

    const installed = await ada.call('appInstances.install', {
      workspaceId,
      body: { appSlug: slug, slug: 'mail', config: { level: 'high' } },
    });
    expect(installed).toMatchObject({ slug: 'mail', appSlug: slug, warnings: [{ code: 'config-type' }] });
    const { imports } = await ada.call('workspaces.get', { workspaceId });
    expect(imports.mail).toMatchObject({
      automations: [{ slug: 'run', arguments: { a: { type: 'string' } } }],
      blocks: [{ slug: 'mail.Card' }],
      events: { emit: ['ran'] },
    });
    expect(await ada.call('appInstances.get', { workspaceId, slug: 'mail' })).toMatchObject({
      config: { schema: { level: { type: 'number' } }, block: 'form', value: { level: 'high' } },
    });

    await ada.call('appInstances.patchConfig', { workspaceId, slug: 'mail', body: { level: 3 } });
    await ada.call('appInstances.patchConfig', { workspaceId, slug: 'mail', body: { level: 3 } });
    await ada.call('appInstances.update', { workspaceId, slug: 'mail', body: { slug: 'post', appSlug: slug } });
    await ada.call('automations.create', { workspaceId: source.id, body: { name: 'New', slug: 'new', do: [] } });
    await ada.call('apps.publish', { body: { workspaceId: source.id } });

    const [instance] = await ada.call('appInstances.list', { workspaceId });
    expect(instance.automations.map(({ slug: name }: any) => name).sort()).toEqual(['new', 'run']);
    expect(await ada.call('appInstances.getConfig', { workspaceId, slug: 'post' })).toEqual({ level: 3 });
    const model = await platform.system.call('apps.model', { appSlug: slug });
    expect(await platform.system.call('apps.revisions', { appSlugs: [slug, 'no-such-app'] })).toEqual({ [slug]: model.revision });
    expect(model).toMatchObject({ slug, revision: 2, automations: { new: {}, run: {}, inner: {} }, config: { value: { level: 1 } } });
    expect(await platform.system.call('apps.model', { appSlug: slug, version: app.versions[0].name })).toMatchObject({
      automations: expect.not.objectContaining({ new: expect.anything() }),
    });

    expect(await ada.call('appInstances.remove', { workspaceId, slug: 'post' })).toEqual({ id: 'post', slug: 'post' });
    await eventually(() => expect(eventsOf('workspaces.apps.uninstalled')).toHaveLength(1));
    expect(eventsOf('workspaces.apps.configured')).toHaveLength(2);
    expect(eventsOf('workspaces.apps.installed')[0]).toMatchObject({
      payload: { slug: 'mail', appInstance: { appSlug: slug } },
      source: { appSlug: slug, appInstanceFullSlug: 'mail' },
    });
    expect(eventsOf('apps.published', source.id)).toHaveLength(2);
  });

  it('open their page of documentation to everybody', async () => {
    const { source } = await publish(`Documented ${workspaceId}`);
    const page = await ada.call('pages.create', { workspaceId: source.id, body: { slug: '_doc', name: 'How to' } });
    const read = () => platform.anonymous.call('pages.getPublic', { workspaceSlug: source.slug, slug: '_doc' });
    expect(await faultOf(read())).toBe('ForbiddenError');

    const app = await ada.call('apps.publish', { body: { workspaceId: source.id } });

    expect(app.documentation).toEqual({ workspaceSlug: source.slug, slug: '_doc' });
    expect((await read()).name).toBe('How to');
    await eventually(() =>
      expect(eventsOf('workspaces.pages.permissions.shared', source.id)).toMatchObject([
        { payload: { subjectId: page.id, target: { public: true } } },
      ]),
    );
  });

  it('belong to one workspace, and show as broken when they are gone', async () => {
    const slug = `Gone ${workspaceId}`;
    const { source } = await publish(slug);
    await ada.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: 'g' } });

    expect(await faultOf(ben.call('apps.remove', { appSlug: slug }))).toBe('ForbiddenError');
    const other = await ben.call('workspaces.create', { body: { name: 'Other' } });
    expect(await faultOf(ben.call('apps.publish', { body: { workspaceId: other.id, slug } }))).toBe('AlreadyUsedError');
    expect(await faultOf(ben.call('apps.publish', { body: { workspaceId: source.id, slug } }))).toBe('ForbiddenError');
    expect(await faultOf(ada.call('apps.publish', { body: { workspaceId: source.id, slug: 'Another' } }))).toBe('PrismeError');
    expect(await faultOf(ada.call('apps.publish', { body: { workspaceId } }))).toBe('MissingFieldError');
    expect(await faultOf(ada.call('apps.publish', { body: {} }))).toBe('MissingFieldError');
    expect((await ben.call('apps.list', { query: { text: slug } })).map(({ id }: any) => id)).toEqual([slug]);
    expect(await ben.call('apps.get', { appSlug: slug })).toMatchObject({
      config: { schema: { level: { type: 'number' } }, block: 'form' },
    });

    await ada.call('apps.remove', { appSlug: slug });
    expect(await faultOf(ada.call('apps.get', { appSlug: slug }))).toBe('ObjectNotFoundError');
    expect((await ada.call('workspaces.get', { workspaceId })).imports.g).toMatchObject({ broken: true, appSlug: slug });
  });

  it('cannot contain themselves, and installs name what is wrong', async () => {
    const slug = `Loop ${workspaceId}`;
    const { source } = await publish(slug);
    await ada.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: 'a' } });

    expect(await faultOf(ada.call('appInstances.install', { workspaceId: source.id, body: { appSlug: slug, slug: 'self' } }))).toBe(
      'PrismeError',
    );
    expect(await faultOf(ada.call('appInstances.install', { workspaceId, body: { appSlug: 'None', slug: 'n' } }))).toBe(
      'ObjectNotFoundError',
    );
    expect(await faultOf(ada.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: 'a' } }))).toBe('AlreadyUsedError');
    expect(await faultOf(ada.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: 'v', appVersion: 'none' } }))).toBe(
      'InvalidVersionError',
    );
    expect(await faultOf(ada.call('appInstances.install', { workspaceId, body: { slug: 'x' } }))).toBe('RequestValidationError');
    expect(await faultOf(ada.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: 'x/y' } }))).toBe('InvalidSlugError');
    expect(await faultOf(ada.call('appInstances.get', { workspaceId, slug: 'none' }))).toBe('ObjectNotFoundError');
  });
});

describe('versions', () => {
  it('are immutable copies that are compared, restored and dropped', async () => {
    await ada.call('automations.create', {
      workspaceId,
      body: { name: 'A', slug: 'docs/a', do: [{ emit: { event: 'one' } }, { break: {} }] },
    });
    await ada.call('pages.create', { workspaceId, body: { slug: 'docs/setup' } });
    expect(await ada.call('versions.publish', { workspaceId, body: { description: 'first', name: 'v1' } })).toMatchObject({
      name: 'v1',
      createdBy: 'ada',
    });
    await ada.call('automations.update', {
      workspaceId,
      slug: 'docs/a',
      body: { name: 'A', do: [{ emit: { event: 'two' } }, { break: {} }] },
    });
    await ada.call('automations.create', { workspaceId, body: { name: 'B', slug: 'b', do: [] } });
    await ada.call('workspaces.update', { workspaceId, body: { blocks: { New: {} } } });

    const { changes } = await ada.call('versions.diff', { workspaceId, versionId: 'v1' });
    expect(changes).toEqual([
      { type: 'index', change: 'updated', places: [{ path: 'blocks', change: 'added', after: { New: {} } }] },
      { type: 'automations', slug: 'b', change: 'created' },
      {
        type: 'automations',
        slug: 'docs/a',
        change: 'updated',
        places: [{ path: 'do[0].emit.event', change: 'changed', before: 'one', after: 'two' }],
      },
    ]);

    const restored = await ada.call('versions.pull', { workspaceId, versionId: 'latest' });
    expect(restored).toMatchObject({ errors: [], deleted: ['automations/b.yml'], id: workspaceId });
    expect((await ada.call('versions.diff', { workspaceId, versionId: 'v1' })).changes).toEqual([]);
    expect(await ada.call('pages.get', { workspaceId, slug: 'docs/setup' })).toMatchObject({ slug: 'docs/setup' });
    await eventually(() =>
      expect(eventsOf('workspaces.imported')[0]?.payload).toMatchObject({ version: { name: 'v1' }, deleted: ['automations/b.yml'] }),
    );
    expect(await ada.call('versions.remove', { workspaceId, versionId: 'v1' })).toEqual({ id: 'v1' });
    expect(await ada.call('versions.list', { workspaceId })).toEqual([]);
  });

  it('are kept up to the maximum, newest first, and name what is wrong', async () => {
    for (const name of ['1', '1.1', '10']) await ada.call('versions.publish', { workspaceId, body: { description: name, name } });

    expect((await ada.call('versions.list', { workspaceId })).map(({ name }: any) => name)).toEqual(['10', '1.1']);
    expect((await ada.call('workspaces.get', { workspaceId, query: { version: '1.1' } })).name).toBe('One');
    expect(await faultOf(ada.call('workspaces.get', { workspaceId, query: { version: '1' } }))).toBe('InvalidVersionError');
    for (const name of ['current', 'latest', 'a b', 'x'.repeat(16), '..'])
      expect(await faultOf(ada.call('versions.publish', { workspaceId, body: { description: 'x', name } }))).toBe('InvalidVersionError');
    expect(await faultOf(ada.call('versions.publish', { workspaceId, body: { description: 'x', name: '10' } }))).toBe('AlreadyUsedError');
    expect(await faultOf(ada.call('versions.publish', { workspaceId, body: {} }))).toBe('RequestValidationError');
    expect(await faultOf(ada.call('versions.publish', { workspaceId, body: { description: 'x', repository: { id: 'none' } } }))).toBe(
      'ObjectNotFoundError',
    );
    for (const versionId of ['none', 'current'])
      expect(await faultOf(ada.call('versions.pull', { workspaceId, versionId }))).toBe('InvalidVersionError');
    expect(await faultOf(ada.call('versions.remove', { workspaceId, versionId: 'none' }))).toBe('InvalidVersionError');
    expect((await ada.call('versions.publish', { workspaceId, body: { description: 'x' } })).name).toMatch(/^\d+-\d+-\d{4}\.1-\d{13}$/);
  });

  it('become new workspaces without secrets, shares or labels of the original', async () => {
    await ada.call('workspaces.update', { workspaceId, body: { labels: ['production:x', 'kept'] } });
    await ada.call('secrets.patch', { workspaceId, body: { a: { value: 'x' } } });
    await ada.call('automations.create', { workspaceId, body: { name: 'A', slug: 'a', do: [] } });
    await share('ben', { policies: { read: true } });

    const copy = await ben.call('versions.duplicate', { workspaceId, versionId: 'current' });

    expect(copy).toMatchObject({ name: 'One - Copy', labels: ['kept'] });
    expect(await ben.call('workspaces.get', { workspaceId: copy.id })).toMatchObject({
      automations: { a: { name: 'A' } },
      createdBy: 'ben',
    });
    expect(await ben.call('secrets.list', { workspaceId: copy.id })).toEqual({});
    expect(await faultOf(ada.call('workspaces.get', { workspaceId: copy.id }))).toBe('ForbiddenError');
    await eventually(() =>
      expect(eventsOf('workspaces.duplicated', copy.id)[0]?.payload).toMatchObject({ fromWorkspace: { id: workspaceId } }),
    );
  });
});

describe('import and export', () => {
  it('bring a real connector in, with its app, in one revision', async () => {
    const source = await ada.call('workspaces.create', { body: { name: 'Custom Code' } });
    await ada.call('archives.import', { workspaceId: source.id, body: archive(zipFolder(join(fixtures, 'custom-code-standin'))) });

    const result = await ada.call('archives.import', {
      workspaceId,
      query: { prune: 'true' },
      body: archive(zipFolder(join(fixtures, 'salesforce-next'))),
    });

    expect(result).toMatchObject({ id: workspaceId, name: 'SalesforceNext', errors: [], deleted: [] });
    expect(result.imported).toHaveLength(34);
    expect(Object.keys(result.workspace.automations)).toHaveLength(31);
    const { revision } = await ada.call('workspaces.get', { workspaceId });
    expect(revision).toBe(2);
    await eventually(() => expect(eventsOf('workspaces.imported')).toHaveLength(1));
    expect(eventsOf('workspaces.imported')[0]?.payload).toMatchObject({ workspace: { id: workspaceId }, revision: 2, errors: [] });
    expect(eventsOf('workspaces.automations.created')).toEqual([]);
  });

  it('keep what the archive lacks, or delete it with prune and say so', async () => {
    await ada.call('automations.create', { workspaceId, body: { name: 'Mine', slug: 'mine', do: [] } });
    const content = zip({ 'index.yml': 'name: Imported\nlabels: [x:y]\n', 'automations/a.yml': '# kept\nname: A\ndo: []\n' });

    await ada.call('archives.import', { workspaceId, body: archive(content) });
    expect(Object.keys((await ada.call('workspaces.get', { workspaceId })).automations).sort()).toEqual(['a', 'mine']);
    expect((await ada.call('archives.import', { workspaceId, query: { prune: 'true' }, body: archive(content) })).deleted).toEqual([
      'automations/mine.yml',
    ]);
    const files = unzipSync(new Uint8Array(await bytesOf(await ada.call('archives.export', { workspaceId, versionId: 'current' }))));
    expect(Object.keys(files).sort()).toEqual([
      'current/.import.yml',
      'current/automations/a.yml',
      'current/index.yml',
      'current/security.yml',
    ]);
    expect(Buffer.from(files['current/automations/a.yml'] as Uint8Array).toString()).toBe('# kept\nname: A\ndo: []\n');
    expect((await ada.call('workspaces.status', { workspaceId })).changes).toEqual([]);
  });

  it('export the same bytes twice, and what is imported again is the same', async () => {
    await ada.call('archives.import', { workspaceId, body: archive(zipFolder(join(fixtures, 'salesforce-next'))) });
    const [first, second] = [
      await bytesOf(await ada.call('archives.export', { workspaceId })),
      await bytesOf(await ada.call('archives.export', { workspaceId })),
    ];
    expect(first.equals(second)).toBe(true);

    const copy = await ben.call('archives.importNew', { body: archive(first) });

    const automations = (result: any) => Object.entries(result.automations).map(([slug, { checksum }]: any) => [slug, checksum]);
    expect(copy.errors).toEqual([]);
    expect(automations(copy.workspace)).toEqual(automations(await ada.call('workspaces.get', { workspaceId })));
    expect(await faultOf(ada.call('workspaces.get', { workspaceId: copy.id }))).toBe('ForbiddenError');
  });

  it('leave out what has a fault, and say where; refuse what would be half of something', async () => {
    const result = await ada.call('archives.import', {
      workspaceId,
      body: archive(zip({ 'automations/bad.yml': 'name: [', 'automations/good.yml': 'name: G\ndo: []\n' })),
    });
    expect(result).toMatchObject({
      imported: ['automations/good.yml'],
      errors: [{ filepath: 'automations/bad.yml', err: 'RequestValidationError' }],
    });

    const before = (await ada.call('workspaces.get', { workspaceId })).revision;
    const cases: [object, string][] = [
      [archive(zip({ 'index.yml': 'name: [', 'automations/x.yml': 'name: X\ndo: []\n' })), 'RequestValidationError'],
      [archive(zip({ '../../x.yml': 'x' })), 'InvalidUploadError'],
      [archive(new Uint8Array([1, 2, 3])), 'InvalidUploadError'],
      [archive(new Uint8Array(200_001)), 'PayloadTooLarge'],
      [{ files: [upload('a.txt', 'x')] }, 'InvalidUploadError'],
      [{ files: [] }, 'MissingFieldError'],
      [{}, 'MissingFieldError'],
      [archive(zipSync({ 'bulkExport.json': strToU8('{}') })), 'PrismeError'],
    ];
    for (const [body, type] of cases) expect(await faultOf(ada.call('archives.import', { workspaceId, body }))).toBe(type);
    expect((await ada.call('workspaces.get', { workspaceId })).revision).toBe(before);
  });

  it('give an editor no more than he may: security and new pages are reported, the rest is imported', async () => {
    await share('ben', { role: 'editor' });
    const content = zip({
      'index.yml': 'name: By Ben\n',
      'security.yml': 'authorizations: { roles: { editor: {} }, rules: [{ role: editor, action: manage, subject: workspaces }] }\n',
      'pages/x.yml': 'name: X\n',
      'automations/a.yml': 'name: A\ndo: []\n',
    });

    const result = await ben.call('archives.import', { workspaceId, body: archive(content) });

    expect(result.imported).toEqual(['index', 'automations/a.yml']);
    expect(result.errors.map(({ filepath, err }: any) => [filepath, err])).toEqual([
      ['security.yml', 'ForbiddenError'],
      ['pages/x.yml', 'ForbiddenError'],
    ]);
    expect(await faultOf(ben.call('workspaces.remove', { workspaceId }))).toBe('ForbiddenError');
    expect(await faultOf(cid.call('archives.import', { workspaceId, body: archive(content) }))).toBe('ForbiddenError');
  });

  it('carry several workspaces at once, into the same ones again', async () => {
    const other = await ada.call('workspaces.create', { body: { name: 'Two' } });
    await ada.call('automations.create', { workspaceId: other.id, body: { name: 'A', slug: 'a', do: [] } });

    const bulk = await bytesOf(
      await ada.call('archives.exportMany', { body: { workspaces: { query: { ids: [workspaceId, other.id] } } } }),
    );
    expect(await ada.call('archives.importNew', { body: archive(bulk) })).toMatchObject({
      createdWorkspaceIds: [],
      updatedWorkspaceIds: expect.arrayContaining([workspaceId, other.id]),
      errors: [],
    });
    const made = await ben.call('archives.importNew', { body: archive(bulk) });
    expect(made).toMatchObject({ createdWorkspaceIds: [expect.any(String), expect.any(String)], errors: [] });
    expect((await ben.call('archives.importNew', { body: archive(bulk) })).updatedWorkspaceIds.sort()).toEqual(
      made.createdWorkspaceIds.sort(),
    );
    expect(await faultOf(ada.call('archives.exportMany', { body: { workspaces: { query: { $where: '1' } } } }))).toBe('BadParametersError');
    expect(await faultOf(ada.call('archives.exportMany', { body: { workspaces: { query: { ids: { $ne: '' } } } } }))).toBe(
      'BadParametersError',
    );
  });
});

describe('files', () => {
  const put = async (body: object, as = ada) => (await as.call('files.upload', { workspaceId, body }))[0];
  const download = (path: string, extra: object = {}, as: Caller = platform.anonymous) => as.ask('files.download', { path, ...extra });

  it('are uploaded with their fields, listed, changed and deleted', async () => {
    const file = await put({
      files: [upload('../évil name.txt', 'hello')],
      metadata: '{"a":1}',
      'metadata.b': 'two',
      id: 'my-file-1',
      expiresAfter: '3600',
    });

    expect(file).toMatchObject({
      id: 'my-file-1',
      name: 'évil name.txt',
      path: `${workspaceId}/my-file-1.evil name.txt`,
      size: 5,
      public: false,
      metadata: { a: 1, b: 'two' },
      expiresAfter: 3600,
      url: expect.stringContaining('/v2/files/'),
    });
    expect(await ada.call('files.list', { workspaceId, query: { query: '{"metadata.a":1}'.replace('1', '"1"') } })).toEqual([]);
    expect((await ada.call('files.list', { workspaceId, query: { name: 'évil name.txt' } })).map(({ id }: any) => id)).toEqual([
      'my-file-1',
    ]);
    const changed = await ada.call('files.update', {
      workspaceId,
      fileId: 'my-file-1',
      body: { public: 'true', shareToken: true, metadata: { c: 3 }, expiresAfter: 0 },
    });
    expect(changed).toMatchObject({ public: true, shareToken: expect.stringMatching(/^[0-9a-f]{128}$/), metadata: { c: 3 } });
    expect(changed.expiresAt).toBeUndefined();
    expect(
      await ada.call('files.replace', { workspaceId, fileId: 'my-file-1', body: { files: [upload('other.txt', 'changed!')] } }),
    ).toMatchObject({ id: 'my-file-1', size: 8, url: file.url });
    expect(await ada.call('files.remove', { workspaceId, fileId: file.path })).toEqual({ id: 'my-file-1' });
    expect(await faultOf(download(file.path))).toBe('ObjectNotFoundError');
    await eventually(() => expect(eventsOf('workspaces.files.deleted')).toHaveLength(1));
  });

  it('open for who may read them, by a share token, or for a while', async () => {
    const file = await put({ files: [upload('a b.txt', 'secret text')] });

    expect(await faultOf(download(file.path))).toBe('ObjectNotFoundError');
    expect(await faultOf(ben.call('files.get', { workspaceId, fileId: file.id }))).toBe('ObjectNotFoundError');
    expect((await bytesOf((await download(file.path, {}, ada)).body)).toString()).toBe('secret text');
    const encoded = new URL(file.url).pathname.split('/v2/files/')[1] as string;
    expect(encoded).toContain('%20');
    expect((await bytesOf((await download(encoded, {}, ada)).body)).toString()).toBe('secret text');
    const { url, expiresIn } = await ada.call('files.share', { workspaceId, fileId: file.id, body: { expiresIn: 300 } });
    const token = new URL(url).searchParams.get('token') as string;
    expect(expiresIn).toBe(300);
    expect((await bytesOf((await download(file.path, { query: { token } })).body)).toString()).toBe('secret text');
    for (const wrong of [
      `${token}0`,
      token.slice(0, -1),
      `${'0'.repeat(64)}${token.slice(64)}`,
      token.slice(0, 64) + (Date.now() - 1000).toString(16),
      '',
    ])
      expect(await faultOf(download(file.path, { query: { token: wrong } }))).toBe('ObjectNotFoundError');
    await ada.call('files.update', { workspaceId, fileId: file.id, body: { shareToken: false } });
    expect(await faultOf(download(file.path, { query: { token } }))).toBe('ObjectNotFoundError');
  });

  it('answer ranges, ETags, and never run on our origin', async () => {
    const file = await put({ files: [upload('a.html', '0123456789', 'text/html')], public: 'true' });
    const get = async (headers: Record<string, string>) => {
      const answer = await download(file.path, { headers });
      return { ...answer, text: (await bytesOf(answer.body)).toString() };
    };

    const whole = await get({});
    expect(whole).toMatchObject({
      text: '0123456789',
      headers: {
        'content-type': 'text/html',
        'x-content-type-options': 'nosniff',
        'content-disposition': expect.stringMatching(/^attachment/),
        'content-length': '10',
      },
    });
    expect(await get({ range: 'bytes=2-4' })).toMatchObject({
      status: 206,
      text: '234',
      headers: { 'content-range': 'bytes 2-4/10', 'content-length': '3' },
    });
    expect(await get({ range: 'bytes=-3' })).toMatchObject({ status: 206, text: '789' });
    expect(await get({ range: 'bytes=8-' })).toMatchObject({ status: 206, text: '89' });
    expect(await get({ range: 'bytes=20-' })).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */10' } });
    expect(await get({ 'if-none-match': whole.headers.etag as string })).toMatchObject({ status: 304, text: '' });
  });

  it('end with their time', async () => {
    const file = await put({ files: [upload('a.txt', 'x')], public: 'true', expiresAfter: '0.2' });

    // Read to its end each time: an open file is not left to the garbage collector.
    const read = () => download(file.path).then(({ body }) => bytesOf(body));
    await eventually(async () => expect(await faultOf(read())).toBe('ObjectNotFoundError'), { timeoutMs: 3000 });
    const { store } = platform.broker.getLocalService('files') as any;
    const { sweepExpired } = await import('../../services/workspaces/file-uploads.ts');
    expect(await sweepExpired(store, Date.now())).toBe(1);
    expect(await store.uploads.info(file.path)).toBeNull();
  });

  it('accept data URIs, refuse types, sizes, ids and fields that are not for clients', async () => {
    expect(await put({ photo: `data:text/plain;filename:../../x.txt;base64,${Buffer.from('hi').toString('base64')}` })).toMatchObject({
      name: 'x.txt',
      size: 2,
      mimetype: 'text/plain',
    });
    expect(await put({ photo: `data:text/plain;base64,${Buffer.from('hi').toString('base64')}` })).toMatchObject({ name: 'file' });
    const file = await put({ files: [upload('a.txt', 'x')], id: 'taken-file' });
    expect(file.id).toBe('taken-file');
    const cases: [object, string][] = [
      [{ files: [upload('a', 'x', 'model/evil')] }, 'InvalidUploadError'],
      [{ files: [upload('a', new Uint8Array(200_001))] }, 'PayloadTooLarge'],
      [{ files: [upload('a', 'x')], id: '../x' }, 'InvalidUploadError'],
      [{ files: [upload('a', 'x')], id: 'taken-file' }, 'AlreadyUsedError'],
      [{ files: [upload('a', 'x')], metadata: '{' }, 'RequestValidationError'],
      [{ files: [upload('a', 'x')], expiresAfter: 'soon' }, 'BadParametersError'],
      [{}, 'MissingFieldError'],
    ];
    for (const [body, type] of cases) expect([body, await faultOf(put(body))]).toEqual([body, type]);
    for (const body of [{ path: 'other/x' }, { workspaceId: 'other' }, { mimetype: 'text/html' }])
      expect(await faultOf(ada.call('files.update', { workspaceId, fileId: file.id, body }))).toBe('RequestValidationError');
    expect(await faultOf(ada.call('files.list', { workspaceId, query: { query: '{"$where":"1"}' } }))).toBe('BadParametersError');
    expect(await faultOf(ada.call('files.get', { workspaceId: 'platform', fileId: file.id }))).toBe('ObjectNotFoundError');
  });

  it('of the platform are uploaded by anybody', async () => {
    const [file] = await ben.call('files.upload', {
      workspaceId: 'platform',
      body: { files: [upload('me.png', 'x', 'image/png')], public: 'true' },
    });

    expect(file.path).toMatch(/^platform\//);
    expect((await bytesOf((await download(file.path)).body)).toString()).toBe('x');
  });
});
