/**
 * matrix-requests — how each published route is asked in the access matrix: one entry per line of the routing table, by `METHOD path`. Whoever adds a
 * route adds its entry here and its row in test/e2e/access-matrix.md. A request that destroys or uses something up makes a new one first.
 */
import { expectOk, newUser, signIn } from './client.ts';
import { eventually } from './eventually.ts';
import { fresh } from './fresh.ts';
import { ORGANISATION_REQUESTS } from './matrix-organisations.ts';
import { addViewerRole, type Principal, shareWith, type Tenants } from './tenants.ts';

export interface Ask {
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** In place of the principal's own token. */
  token?: string;
  /** Made for this principal: not to be asked by another one. */
  isOwn?: boolean;
}

export interface World extends Tenants {
  url: string;
  page: { id: string; slug: string };
  file: { id: string; path: string };
  app: string;
  version: string;
  eventId: string;
  runId: string;
  correlationId: string;
  /** Somebody nothing is shared with. */
  victim: string;
  /** Organisation of the owner; `viewer` is a member of it, `editor` a builder. */
  org: string;
  archive: Uint8Array;
}

/** What the requests need, made by the owner. */
export async function makeWorld(tenants: Tenants, url: string): Promise<World> {
  const { owner, workspace } = tenants;
  const at = `/workspaces/${workspace.id}`;
  const page = await expectOk(owner.post(`${at}/pages`, { name: 'Home', slug: 'home', blocks: [] }));
  await expectOk(owner.post(`${at}/automations`, { name: 'Hello', slug: 'hello', when: { endpoint: true }, do: [], output: 'hello' }));
  await expectOk(owner.patch(`${at}/security/secrets`, { token: { value: 'kept-secret' } }));
  const version = await expectOk(owner.post(`${at}/versions`, { description: 'first' }));
  const appHome = await expectOk(owner.post('/workspaces', { name: 'App' }));
  const app = fresh('matrix-app');
  await expectOk(owner.post('/apps', { workspaceId: appHome.id, slug: app, description: 'An app' }));
  await expectOk(owner.post('/apps', { workspaceId: workspace.id, slug: fresh('matrix-own'), description: 'An app' }));
  await expectOk(owner.post(`${at}/apps`, { appSlug: app, slug: 'tool' }));
  const [event] = await expectOk(owner.post(`${at}/events`, { events: [{ type: 'matrix.event', payload: {} }] }));
  await eventually(async () => (await owner.get(`${at}/events/${event.id}`)).status === 200);
  const run = await expectOk(owner.post(`${at}/webhooks/hello`, {}, { prefer: 'respond-async' }));
  const file = await upload(tenants);
  const exported = await owner.get(`${at}/export`);
  const victim = await newUser(url, 'victim');
  const org = fresh('matrix-org');
  await expectOk(tenants.by.superadmin.post('/orgs', { slug: org, name: 'Matrix', ownerId: owner.user?.id }));
  for (const [who, role] of [
    ['viewer', 'member'],
    ['editor', 'builder'],
  ] as const)
    await expectOk(owner.post(`/orgs/${org}/members`, { userId: tenants.by[who].user?.id, role }));
  return {
    ...tenants,
    url,
    page,
    file,
    app,
    version: version.name,
    eventId: event.id,
    runId: run.runId,
    correlationId: event.source.correlationId,
    victim: victim.user?.id as string,
    org,
    archive: exported.body,
  };
}

async function upload({ owner, workspace }: Tenants): Promise<{ id: string; path: string }> {
  const [file] = await expectOk(owner.request('POST', `/workspaces/${workspace.id}/files`, fileForm()));
  return file;
}

function fileForm(name = 'note.txt', type = 'text/plain', content: Uint8Array | string = 'text', field = 'file'): FormData {
  const form = new FormData();
  form.append(field, new Blob([content as string], { type }), name);
  return form;
}

const archiveForm = ({ archive }: World): FormData => fileForm('workspace.zip', 'application/zip', archive as never, 'archive');

async function freshPage({ owner, workspace }: World): Promise<{ id: string; slug: string }> {
  return expectOk(owner.post(`/workspaces/${workspace.id}/pages`, { name: 'Gone', slug: fresh('page'), blocks: [] }));
}

/** A workspace shared as the first one. */
async function freshWorkspace({ owner, by }: World): Promise<string> {
  const { id } = await expectOk(owner.post('/workspaces', { name: 'To be deleted' }));
  await addViewerRole(owner, id);
  await shareWith(owner, id, by.viewer.user?.id as string, 'viewer');
  await shareWith(owner, id, by.editor.user?.id as string, 'editor');
  return id;
}

/** A session of its own for who can sign in; others come with what they have. */
async function freshToken({ by, url }: World, principal: Principal): Promise<string | undefined> {
  const email = by[principal].user?.email;
  const password = principal === 'superadmin' ? 'correct-horse-battery' : 'a-long-password-1';
  return email ? (await signIn(url, { email, password })).token : undefined;
}

export type Make = (world: World, principal: Principal) => Ask | Promise<Ask>;
const at = (path: string, body?: unknown): Make => {
  return (world) => ({
    path: filled(path, world),
    ...(body === undefined ? {} : { body: typeof body === 'function' ? body(world) : body }),
  });
};
const filled = (path: string, { workspace, page, file, app, version, eventId, runId, correlationId, victim }: World): string =>
  path
    .replace('WS', `/workspaces/${workspace.id}`)
    .replace('PAGE', page.id)
    .replace('FILEPATH', file.path)
    .replace('FILE', file.id)
    .replace('APP', app)
    .replace('VERSION', version)
    .replace('EVENT', eventId)
    .replace('RUN', runId)
    .replace('CORRELATION', correlationId)
    .replace('VICTIM', victim);

export const REQUESTS: Record<string, Make> = {
  ...ORGANISATION_REQUESTS,

  // ---- identity: bodies are such that whoever gets through changes nothing another request needs
  'POST /signup': at('/signup', {}),
  'POST /login': at('/login', {}),
  'POST /login/mfa': at('/login/mfa', {}),
  'POST /login/anonymous': at('/login/anonymous', {}),
  'GET /readiness': at('/readiness'),
  'GET /login/once': at('/login/once?token=unknown'),
  'POST /logout': async (world, principal) => ({
    path: '/logout',
    body: {},
    isOwn: true,
    token: await freshToken(world, principal),
  }),
  'GET /me': at('/me'),
  'PATCH /user': at('/user', { language: 'en' }),
  'PATCH /users/:userId': at('/users/VICTIM', { firstName: 'Eve' }),
  'PATCH /users': at('/users', {}),
  'DELETE /users/:userId': async ({ url }) => ({ path: `/users/${(await newUser(url, 'leaver')).user?.id}` }),
  'DELETE /user': async ({ url, by }, principal) => {
    const self = principal === 'superadmin' || !by[principal].user ? undefined : await newUser(url, 'leaver');
    return { path: '/user', isOwn: true, ...(self?.token ? { token: self.token } : {}) };
  },
  'POST /user/validate': at('/user/validate', {}),
  'POST /user/mfa': at('/user/mfa', {}),
  'POST /user/mfa/recoveryCodes': at('/user/mfa/recoveryCodes', {}),
  'POST /user/photo': at('/user/photo', {}),
  'GET /users/:userId/photo/:name': at('/users/nobody/photo/nothing'),
  'POST /user/meta': at('/user/meta', { matrix: 1 }),
  'DELETE /user/meta/:key': at('/user/meta/matrix'),
  'POST /user/password': at('/user/password', { currentPassword: 'not mine', password: 'another-long-password-1' }),
  'GET /user/accessTokens': at('/user/accessTokens'),
  'POST /user/accessTokens': at('/user/accessTokens', { name: 'matrix', expiresAt: '2020-01-01T00:00:00Z' }),
  'DELETE /user/accessTokens/:token': at('/user/accessTokens/unknown'),
  'POST /contacts': at('/contacts', { ids: ['VICTIM'] }),
  'GET /jwks': at('/jwks'),
  'POST /jwks/rotate': at('/jwks/rotate', {}),
  'DELETE /jwks/:kid': at('/jwks/unknown'),

  // ---- workspaces
  'POST /workspaces/import': at('/workspaces/import', archiveForm),
  'POST /workspaces/export': at('/workspaces/export', { workspaces: { query: { name: 'First' } } }),
  'POST /workspaces/:workspaceId/import': at('WS/import', archiveForm),
  'GET /workspaces/:workspaceId/export': at('WS/export'),
  'POST /workspaces/:workspaceId/versions/:versionId/export': at('WS/versions/VERSION/export', {}),
  'GET /workspaces': at('/workspaces'),
  'GET /workspaces/labels': at('/workspaces/labels'),
  'POST /workspaces': at('/workspaces', { name: 'Matrix' }),
  'GET /workspaces/:workspaceId': at('WS'),
  'PATCH /workspaces/:workspaceId': at('WS', { description: 'changed' }),
  'DELETE /workspaces/:workspaceId': async (world) => ({ path: `/workspaces/${await freshWorkspace(world)}` }),
  'GET /workspaces/:workspaceId/config': at('WS/config'),
  'PATCH /workspaces/:workspaceId/config': at('WS/config', { value: { a: 1 } }),
  'GET /workspaces/:workspaceId/status': at('WS/status'),
  'POST /workspaces/:workspaceId/writeLock': async (world) => ({ path: `/workspaces/${await freshWorkspace(world)}/writeLock`, body: {} }),
  'DELETE /workspaces/:workspaceId/writeLock': at('WS/writeLock'),
  'PUT /workspaces/:workspaceId/suspension': async (world) => ({
    path: `/workspaces/${await freshWorkspace(world)}/suspension`,
    body: { suspended: true },
  }),
  'GET /workspaces/:workspaceId/history': at('WS/history'),
  'GET /workspaces/:workspaceId/history/:revision': async ({ owner, workspace }) => {
    const { body } = await owner.get(`/workspaces/${workspace.id}/history?limit=1`);
    const [entry] = Array.isArray(body) ? body : (body.result ?? body.history ?? body.changes ?? []);
    return { path: `/workspaces/${workspace.id}/history/${entry?.revision}` };
  },
  'GET /workspaces/:workspaceId/automations': at('WS/automations'),
  'POST /workspaces/:workspaceId/automations': (world) => ({
    ...(at('WS/automations')(world, 'owner') as Ask),
    body: { name: 'New', slug: fresh('new'), do: [] },
  }),
  'GET /workspaces/:workspaceId/automations/*slug': at('WS/automations/hello'),
  'PATCH /workspaces/:workspaceId/automations/*slug': at('WS/automations/hello', {
    name: 'Hello',
    when: { endpoint: true },
    do: [],
    output: 'hello',
  }),
  'DELETE /workspaces/:workspaceId/automations/*slug': async ({ owner, workspace }) => {
    const { slug } = await expectOk(owner.post(`/workspaces/${workspace.id}/automations`, { name: 'Gone', slug: fresh('gone'), do: [] }));
    return { path: `/workspaces/${workspace.id}/automations/${slug}` };
  },

  // ---- apps
  'GET /apps': at('/apps'),
  'POST /apps': at('/apps', ({ workspace }: World) => ({ workspaceId: workspace.id, description: 'again' })),
  'GET /apps/:appSlug': at('/apps/APP'),
  'DELETE /apps/:appSlug': async (world) => {
    const slug = fresh('matrix-gone');
    await expectOk(world.owner.post('/apps', { workspaceId: await freshWorkspace(world), slug, description: 'An app' }));
    return { path: `/apps/${slug}` };
  },
  'GET /workspaces/:workspaceId/apps': at('WS/apps'),
  'POST /workspaces/:workspaceId/apps': (world) => ({
    ...(at('WS/apps')(world, 'owner') as Ask),
    body: { appSlug: world.app, slug: fresh('instance') },
  }),
  'GET /workspaces/:workspaceId/apps/:slug/config': at('WS/apps/tool/config'),
  'PATCH /workspaces/:workspaceId/apps/:slug/config': at('WS/apps/tool/config', { a: 1 }),
  'GET /workspaces/:workspaceId/apps/:slug': at('WS/apps/tool'),
  'PATCH /workspaces/:workspaceId/apps/:slug': at('WS/apps/tool', { config: { a: 2 } }),
  'DELETE /workspaces/:workspaceId/apps/:slug': async ({ owner, workspace, app }) => {
    const slug = fresh('instance');
    await expectOk(owner.post(`/workspaces/${workspace.id}/apps`, { appSlug: app, slug }));
    return { path: `/workspaces/${workspace.id}/apps/${slug}` };
  },

  // ---- security
  'GET /workspaces/:workspaceId/security': at('WS/security'),
  'PUT /workspaces/:workspaceId/security': async ({ owner, workspace }) => {
    const path = `/workspaces/${workspace.id}/security`;
    return { path, body: await expectOk(owner.get(path)) };
  },
  'GET /workspaces/:workspaceId/security/roles': at('WS/security/roles'),
  'POST /workspaces/:workspaceId/security/explain': at('WS/security/explain', { action: 'read', subject: 'workspaces' }),
  'GET /workspaces/:workspaceId/security/secrets': at('WS/security/secrets'),
  'PATCH /workspaces/:workspaceId/security/secrets': at('WS/security/secrets', { token: { value: 'kept-secret' } }),
  'PUT /workspaces/:workspaceId/security/secrets': at('WS/security/secrets', { token: { value: 'kept-secret' } }),
  'DELETE /workspaces/:workspaceId/security/secrets/:name': async ({ owner, workspace }) => {
    const name = fresh('secret');
    await expectOk(owner.patch(`/workspaces/${workspace.id}/security/secrets`, { [name]: { value: 'x' } }));
    return { path: `/workspaces/${workspace.id}/security/secrets/${name}` };
  },
  ...Object.fromEntries(
    ['apikeys', 'apiKeys'].flatMap((word): [string, Make][] => [
      [`GET /workspaces/:workspaceId/security/${word}`, at(`WS/security/${word}`)],
      [`POST /workspaces/:workspaceId/security/${word}`, at(`WS/security/${word}`, { name: 'made', rules: [] })],
      [
        `PUT /workspaces/:workspaceId/security/${word}/:apiKey`,
        async (world) => ({
          path: `/workspaces/${world.workspace.id}/security/${word}/${await freshKey(world)}`,
          body: { name: 'changed', rules: [] },
        }),
      ],
      [
        `DELETE /workspaces/:workspaceId/security/${word}/:apiKey`,
        async (world) => ({ path: `/workspaces/${world.workspace.id}/security/${word}/${await freshKey(world)}` }),
      ],
    ]),
  ),

  // ---- versions
  'GET /workspaces/:workspaceId/versions': at('WS/versions'),
  'POST /workspaces/:workspaceId/versions': at('WS/versions', { description: 'matrix' }),
  'DELETE /workspaces/:workspaceId/versions/:versionId': async ({ owner, workspace }) => {
    const { name } = await expectOk(owner.post(`/workspaces/${workspace.id}/versions`, { description: 'gone' }));
    return { path: `/workspaces/${workspace.id}/versions/${name}` };
  },
  // The newest: a pull of an old one would take away what other requests need.
  'POST /workspaces/:workspaceId/versions/:versionId/pull': async ({ owner, workspace }) => {
    const { name } = await expectOk(owner.post(`/workspaces/${workspace.id}/versions`, { description: 'pulled' }));
    return { path: `/workspaces/${workspace.id}/versions/${name}/pull`, body: {} };
  },
  'GET /workspaces/:workspaceId/versions/:versionId/diff': at('WS/versions/current/diff'),
  'POST /workspaces/:workspaceId/versions/:versionId/duplicate': at('WS/versions/current/duplicate', {}),

  // ---- files
  'POST /workspaces/:workspaceId/files': at('WS/files', () => fileForm()),
  'GET /workspaces/:workspaceId/files': at('WS/files'),
  'POST /workspaces/:workspaceId/files/:fileId/share': async (world) => ({
    path: `/workspaces/${world.workspace.id}/files/${(await upload(world)).id}/share`,
    body: {},
  }),
  'GET /workspaces/:workspaceId/files/*fileId': at('WS/files/FILE'),
  'PATCH /workspaces/:workspaceId/files/*fileId': at('WS/files/FILE', { metadata: { a: 1 } }),
  'PUT /workspaces/:workspaceId/files/*fileId': at('WS/files/FILE', () => fileForm()),
  'DELETE /workspaces/:workspaceId/files/*fileId': async (world) => ({
    path: `/workspaces/${world.workspace.id}/files/${(await upload(world)).id}`,
  }),
  'GET /files/*path': at('/files/FILEPATH'),

  // ---- sharing and pages
  'GET /workspaces/:subjectId/permissions': at('WS/permissions'),
  'POST /workspaces/:subjectId/permissions': at('WS/permissions', ({ victim }: World) => ({
    target: { id: victim },
    permissions: { role: 'viewer' },
  })),
  'DELETE /workspaces/:subjectId/permissions/:permissionId': at('WS/permissions/VICTIM'),
  'GET /pages/:subjectId/permissions': at('/pages/PAGE/permissions'),
  'POST /pages/:subjectId/permissions': at('/pages/PAGE/permissions', ({ victim }: World) => ({
    target: { id: victim },
    permissions: { policies: { read: true } },
  })),
  'DELETE /pages/:subjectId/permissions/:permissionId': at('/pages/PAGE/permissions/VICTIM'),
  'GET /workspaces/:workspaceId/pages': at('WS/pages'),
  'POST /workspaces/:workspaceId/pages': (world) => ({
    ...(at('WS/pages')(world, 'owner') as Ask),
    body: { name: 'New', slug: fresh('page'), blocks: [] },
  }),
  'GET /workspaces/:workspaceId/pages/*slug': at('WS/pages/home'),
  'PATCH /workspaces/:workspaceId/pages/*slug': at('WS/pages/home', { name: 'Home', blocks: [] }),
  'DELETE /workspaces/:workspaceId/pages/*slug': async (world) => ({
    path: `/workspaces/${world.workspace.id}/pages/${(await freshPage(world)).slug}`,
  }),
  'GET /pages/:workspaceSlug/*slug': ({ workspace }) => ({ path: `/pages/${workspace.slug}/home` }),

  // ---- runtime
  'ANY /workspaces/:workspaceId/webhooks/*endpoint': at('WS/webhooks/hello'),
  'POST /workspaces/:workspaceId/test/*slug': at('WS/test/hello', {}),
  'GET /workspaces/:workspaceId/triggers': at('WS/triggers'),
  'GET /workspaces/:workspaceId/schedules': at('WS/schedules'),
  'GET /workspaces/:workspaceId/runs': at('WS/runs'),
  'GET /workspaces/:workspaceId/runs/:runId': at('WS/runs/RUN'),
  'POST /workspaces/:workspaceId/runs/:runId/cancel': at('WS/runs/RUN/cancel', {}),
  'POST /workspaces/:workspaceId/runs/:runId/retry': at('WS/runs/unknown/retry', {}),
  'GET /workspaces/:workspaceId/events/:eventId/explain': at('WS/events/unknown/explain'),

  // ---- events
  'POST /workspaces/:workspaceId/events': at('WS/events', { events: [{ type: 'matrix.other', payload: {} }] }),
  'GET /workspaces/:workspaceId/events': at('WS/events?limit=1'),
  'DELETE /workspaces/:workspaceId/events': at('WS/events?userId=VICTIM'),
  'GET /workspaces/:workspaceId/events/stream': at('WS/events/stream'),
  'GET /workspaces/:workspaceId/events/export': at('WS/events/export?limit=1'),
  'GET /workspaces/:workspaceId/events/:eventId': at('WS/events/EVENT'),
  'POST /workspaces/:workspaceId/search': at('WS/search', { query: { match_all: {} }, aggs: { types: { terms: { field: 'type' } } } }),
  'GET /events/status': at('/events/status'),
  'POST /search': at('/search', { query: { match_all: {} }, limit: 1 }),
  'GET /workspaces/:workspaceId/activity': at('WS/activity'),
  'GET /workspaces/:workspaceId/usage': at('WS/usage?afterDate=2020-01-01&beforeDate=2040-01-01'),
  'GET /workspaces/:workspaceId/topics/:topic': at('WS/topics/room'),
  'POST /workspaces/:workspaceId/topics/:topic/members': at('WS/topics/room/members', ({ victim }: World) => ({ userIds: [victim] })),
  'DELETE /workspaces/:workspaceId/topics/:topic/members': at('WS/topics/room/members?userIds=VICTIM'),
  'GET /workspaces/:workspaceId/traces/:correlationId': at('WS/traces/CORRELATION'),
  'GET /bus/status': at('/bus/status'),
  'DELETE /bus/groups/:group': at('/bus/groups/unknown'),
  'GET /workspaces/:workspaceId/deadletters': at('WS/deadletters'),
  'GET /workspaces/:workspaceId/deadletters/:id': at('WS/deadletters/unknown'),
  'POST /workspaces/:workspaceId/deadletters/redrive': at('WS/deadletters/redrive', {}),
  'POST /workspaces/:workspaceId/deadletters/drop': at('WS/deadletters/drop', {}),
  'GET /bus/deadletters': at('/bus/deadletters'),
  'GET /bus/deadletters/:id': at('/bus/deadletters/unknown'),
  'POST /bus/deadletters/redrive': at('/bus/deadletters/redrive', {}),
  'POST /bus/deadletters/drop': at('/bus/deadletters/drop', {}),
};

async function freshKey({ owner, workspace }: World): Promise<string> {
  return (await expectOk(owner.post(`/workspaces/${workspace.id}/security/apikeys`, { name: 'made', rules: [] }))).id;
}
