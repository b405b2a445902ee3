/** Every event of the workspaces service, by name and by the fields of its payload, after one walk through all that can be changed. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { strToU8, zipSync } from 'fflate';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { eventually } from '../support/eventually.ts';
import { type Caller, startWorkspaces, upload, type WorkspaceServices } from '../support/workspace-services.ts';

let platform: WorkspaceServices;
let ada: Caller;
let workspaceId: string;
let appId: string;
let copyId: string;
let pageId: string;

const ENDS = 'workspaces.deleted';
const STAMP = ['workspaceId', 'revision'];
const EVENTS = ['emit', 'listen', 'autocomplete'];

async function walk(): Promise<void> {
  const call = (action: string, params: object = {}) => ada.call(action, { workspaceId, ...params });
  workspaceId = (await ada.call('workspaces.create', { body: { name: 'Walk', slug: 'walk', config: { value: { a: 1 } } } })).id;
  await call('workspaces.update', {
    body: { slug: 'walked', config: { value: { a: 2 } }, blocks: { B: { name: 'B' } }, events: { types: { 'x.y': {} } } },
  });
  await call('security.update', { body: { authorizations: { roles: { editor: {}, tester: {} }, rules: [] } } });
  await call('secrets.patch', { body: { a: { value: 'hidden-1' }, b: { value: 'hidden-2' } } });
  await call('secrets.put', { body: { a: { value: 'hidden-3' } } });
  const automation = { name: 'A', slug: 'a', when: { events: ['x.y'] }, do: [{ emit: { event: 'z' } }] };
  await call('automations.create', { body: automation });
  await call('automations.update', { slug: 'a', body: { ...automation, slug: 'b' } });
  await call('automations.remove', { slug: 'b' });
  pageId = (await call('pages.create', { body: { slug: 'p', name: 'P' } })).id;
  await call('pages.update', { slug: 'p', body: { slug: 'q', name: 'P' } });
  await ada.call('permissions.pagesShare', {
    subjectId: pageId,
    body: { target: { public: true }, permissions: { policies: { read: true } } },
  });
  await ada.call('permissions.pagesRevoke', { subjectId: pageId, permissionId: '*' });
  await call('pages.remove', { slug: 'q' });
  await ada.call('permissions.workspacesShare', {
    subjectId: workspaceId,
    body: { target: { id: 'ben' }, permissions: { role: 'editor' } },
  });
  await ada.call('permissions.workspacesRevoke', { subjectId: workspaceId, permissionId: 'ben' });
  const { apiKey } = await call('security.createApiKey', { body: { name: 'K', rules: [{ action: 'read', subject: 'workspaces' }] } });
  await call('security.updateApiKey', { apiKey, body: { name: 'L', rules: [] } });
  await call('security.removeApiKey', { apiKey });

  appId = (await ada.call('workspaces.create', { body: { name: 'App', description: 'An app', photo: 'https://x.example/p.png' } })).id;
  await ada.call('apps.publish', { body: { workspaceId: appId, slug: 'Walk app' } });
  await call('appInstances.install', { body: { appSlug: 'Walk app', slug: 'one', config: { c: 1 } } });
  await call('appInstances.update', { slug: 'one', body: { appSlug: 'Walk app', slug: 'two', config: { c: 2 } } });
  await call('appInstances.remove', { slug: 'two' });
  await ada.call('apps.remove', { appSlug: 'Walk app' });

  await call('versions.publish', { body: { description: 'First', name: 'v1' } });
  copyId = (await call('versions.duplicate', { versionId: 'v1' })).id;
  const archive = zipSync({ 'current/index.yml': strToU8('name: Walk\n'), 'current/automations/in.yml': strToU8('name: In\ndo: []\n') });
  await call('archives.import', { query: { prune: 'true' }, body: { files: [upload('w.zip', archive, 'application/zip', 'archive')] } });
  await call('versions.pull', { versionId: 'v1' });
  await call('versions.remove', { versionId: 'v1' });
  const [file] = await call('files.upload', { body: { files: [upload('a.txt', 'hello')] } });
  await call('files.update', { fileId: file.id, body: { metadata: { a: 1 } } });
  await call('files.remove', { fileId: file.id });
  await call('workspaces.remove');
}

const ofType = (type: string): PrismeEvent[] => platform.events.filter((event) => event.type === type);
const payloadOf = (type: string, at = 0): any => ofType(type)[at]?.payload;

beforeAll(async () => {
  platform = await startWorkspaces({ check: () => ({ problems: [] }) });
  ada = platform.as('ada');
  await walk();
  await eventually(() => expect(ofType(ENDS)).toHaveLength(1), { timeoutMs: 30_000 });
});
afterAll(() => platform?.stop());

describe('the events of a workspace', () => {
  it.each<[type: string, fields: string[], optional?: string[]]>([
    ['workspaces.created', ['workspace']],
    ['workspaces.updated', ['workspace'], ['oldSlug']],
    ['workspaces.configured', ['config'], ['oldConfig']],
    ['workspaces.blocks.updated', ['blocks', 'workspaceSlug']],
    ['workspaces.events.updated', ['events']],
    ['workspaces.deleted', ['workspaceSlug', 'name']],
    ['workspaces.duplicated', ['workspace', 'fromWorkspace']],
    ['workspaces.imported', ['workspace', 'files', 'deleted', 'errors'], ['version']],
    ['workspaces.security.updated', ['security']],
    ['workspaces.secrets.updated', [], ['created', 'updated', 'deleted']],
    ['workspaces.versions.published', ['version']],
    ['workspaces.versions.deleted', ['version']],
    ['workspaces.versions.rollback', ['version']],
    ['workspaces.permissions.shared', ['subjectId', 'target', 'permissions']],
    ['workspaces.permissions.deleted', ['subjectId', 'target']],
    ['workspaces.pages.permissions.shared', ['subjectId', 'target', 'permissions']],
    ['workspaces.pages.permissions.deleted', ['subjectId', 'target']],
    ['workspaces.automations.created', ['automation', 'slug', 'events']],
    ['workspaces.automations.updated', ['automation', 'slug', 'oldSlug', 'events']],
    ['workspaces.automations.deleted', ['automationSlug']],
    ['workspaces.pages.created', ['page', 'slug', 'events']],
    ['workspaces.pages.updated', ['page', 'slug', 'oldSlug', 'events']],
    ['workspaces.pages.deleted', ['pageSlug']],
    ['workspaces.apps.installed', ['appInstance', 'slug', 'events']],
    ['workspaces.apps.configured', ['appInstance', 'slug', 'oldSlug', 'events']],
    ['workspaces.apps.uninstalled', ['slug']],
    ['apps.published', ['app']],
    ['apps.deleted', ['appSlug']],
    ['apikeys.created', ['apiKey', 'name', 'rules', 'subjectType', 'subjectId']],
    ['apikeys.updated', ['apiKey', 'name', 'rules', 'subjectType', 'subjectId']],
    ['apikeys.deleted', ['apiKey', 'subjectType', 'subjectId']],
  ])('%s', (type, fields, optional = []) => {
    expect(ofType(type).length).toBeGreaterThan(0);
    for (const { payload, source } of ofType(type)) {
      const keys = Object.keys(payload as object);
      expect(keys).toEqual(expect.arrayContaining([...fields, ...STAMP]));
      expect(keys.filter((key) => ![...fields, ...optional, ...STAMP].includes(key))).toEqual([]);
      expect(source).toMatchObject({ workspaceId: (payload as any).workspaceId, userId: 'ada', correlationId: expect.any(String) });
    }
  });

  it('say what they should in these fields', () => {
    expect(payloadOf('workspaces.updated')).toMatchObject({ oldSlug: 'walk', workspace: { id: workspaceId, slug: 'walked' } });
    expect(payloadOf('workspaces.configured')).toMatchObject({ config: { value: { a: 2 } }, oldConfig: { value: { a: 1 } } });
    expect(payloadOf('workspaces.blocks.updated')).toMatchObject({ blocks: { B: { name: 'B' } }, workspaceSlug: 'walked' });
    expect(payloadOf('workspaces.duplicated')).toMatchObject({
      workspaceId: copyId,
      fromWorkspace: { id: workspaceId, slug: 'walked', name: 'Walk' },
    });
    expect(payloadOf('workspaces.secrets.updated')).toMatchObject({ created: ['a', 'b'] });
    expect(payloadOf('workspaces.secrets.updated', 1)).toMatchObject({ updated: ['a'], deleted: ['b'] });
    expect(payloadOf('workspaces.automations.created')).toMatchObject({
      slug: 'a',
      automation: { slug: 'a', name: 'A' },
      events: { emit: ['z'], listen: ['x.y'] },
    });
    expect(Object.keys(payloadOf('workspaces.automations.created').events).sort()).toEqual([...EVENTS].sort());
    expect(payloadOf('workspaces.automations.updated')).toMatchObject({ slug: 'b', oldSlug: 'a' });
    expect(payloadOf('workspaces.automations.deleted')).toMatchObject({ automationSlug: 'b' });
    expect(payloadOf('workspaces.pages.updated')).toMatchObject({ slug: 'q', oldSlug: 'p', page: { id: pageId } });
    expect(payloadOf('workspaces.pages.permissions.shared')).toMatchObject({ subjectId: pageId, target: { public: true } });
    expect(payloadOf('workspaces.permissions.shared')).toMatchObject({
      subjectId: workspaceId,
      target: { id: 'ben' },
      permissions: { role: 'editor' },
    });
    expect(payloadOf('workspaces.apps.installed')).toMatchObject({ slug: 'one', appInstance: { appSlug: 'Walk app', config: { c: 1 } } });
    expect(payloadOf('workspaces.apps.configured')).toMatchObject({
      slug: 'two',
      oldSlug: 'one',
      appInstance: { config: { c: 2 }, oldConfig: { c: 1 } },
    });
    expect(payloadOf('workspaces.imported')).toMatchObject({
      files: ['index', 'automations/in.yml'],
      workspace: { id: workspaceId, slug: 'walked' },
      errors: [],
    });
    expect(payloadOf('workspaces.imported', 1)).toMatchObject({ version: { name: 'v1' }, deleted: ['automations/in.yml'] });
    expect(payloadOf('workspaces.versions.published')).toMatchObject({ version: { name: 'v1', description: 'First' } });
    for (const type of ['installed', 'configured', 'uninstalled'])
      expect(ofType(`workspaces.apps.${type}`)[0]?.source).toMatchObject({ appSlug: 'Walk app', appInstanceFullSlug: expect.any(String) });
  });

  it('carry revisions that only grow, and no secret or key', () => {
    const revisions = platform.events.flatMap(({ source, payload }) =>
      source.workspaceId === workspaceId && typeof (payload as any).revision === 'number' ? [(payload as any).revision as number] : [],
    );
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
    expect(new Set(platform.events.map(({ id }) => id)).size).toBe(platform.events.length);
    const text = JSON.stringify(platform.events);
    expect(text).not.toMatch(/hidden-\d/);
    expect(payloadOf('apikeys.created').apiKey).toMatch(/\*|…/);
  });

  it('are all known: nothing else was sent', () => {
    const known = /^(workspaces\.|apps\.|apikeys\.)/;
    expect([...new Set(platform.events.map(({ type }) => type))].filter((type) => !known.test(type))).toEqual([]);
    expect(ofType('workspaces.files.created')).toHaveLength(1);
    expect(ofType('workspaces.files.updated')).toHaveLength(1);
    expect(ofType('workspaces.files.deleted')).toHaveLength(1);
  });
});
