/** matrix-organisations — how the routes of organisations are asked in the access matrix: see matrix-requests.ts. */
import { expectOk, newUser } from './client.ts';
import { fresh } from './fresh.ts';
import type { Ask, Make, World } from './matrix-requests.ts';

const at =
  (path: string, body?: unknown): Make =>
  (world): Ask => ({
    path: path.replace('ORG', `/orgs/${world.org}`),
    ...(body === undefined ? {} : { body: typeof body === 'function' ? body(world) : body }),
  });

/** Something new in the organisation, made by its owner. */
const inOrg =
  (kind: string, make: (world: World) => object | Promise<object>, path: (made: any) => string, body?: unknown): Make =>
  async (world) => {
    const made = await expectOk(world.owner.post(`/orgs/${world.org}/${kind}`, await make(world)));
    return { path: `/orgs/${world.org}/${kind}/${path(made)}`, ...(body === undefined ? {} : { body }) };
  };
const slugOf = ({ slug }: { slug: string }) => slug;
const freshMember = async ({ url }: World) => ({ userId: (await newUser(url, 'member')).user?.id });
const group = () => ({ slug: fresh('group'), name: 'Group' });
const role = () => ({ slug: fresh('role'), name: 'Role', permissions: [] });
const orgKey = () => ({ slug: fresh('key'), name: 'Key', permissions: [] });
const serviceAccount = () => ({ slug: fresh('account'), name: 'Account', role: 'member' });

async function freshOrg({ owner, by }: World): Promise<string> {
  const slug = fresh('org');
  await expectOk(by.superadmin.post('/orgs', { slug, name: 'To be deleted', ownerId: owner.user?.id }));
  return slug;
}

export const ORGANISATION_REQUESTS: Record<string, Make> = {
  'PUT /user/active-org': at('/user/active-org', (world: World) => ({ orgSlug: world.org })),
  'GET /orgs': at('/orgs'),
  'POST /orgs': async () => ({ path: '/orgs', body: { slug: fresh('org'), name: 'New' } }),
  'GET /orgs/join': at('/orgs/join?code=unknown'),
  'POST /orgs/join': at('/orgs/join', { code: 'unknown' }),
  'GET /orgs/:orgSlug': at('ORG'),
  'PATCH /orgs/:orgSlug': at('ORG', { settings: {} }),
  'DELETE /orgs/:orgSlug': async (world) => ({ path: `/orgs/${await freshOrg(world)}` }),
  'GET /orgs/:orgSlug/members': at('ORG/members'),
  'POST /orgs/:orgSlug/members': async (world) => ({ path: `/orgs/${world.org}/members`, body: await freshMember(world) }),
  'GET /orgs/:orgSlug/members/export': at('ORG/members/export'),
  'GET /orgs/:orgSlug/members/:userId': inOrg('members', freshMember, ({ userId }) => userId),
  'PATCH /orgs/:orgSlug/members/:userId': inOrg('members', freshMember, ({ userId }) => userId, { role: 'builder' }),
  'DELETE /orgs/:orgSlug/members/:userId': inOrg('members', freshMember, ({ userId }) => userId),
  'GET /orgs/:orgSlug/roles': at('ORG/roles'),
  'POST /orgs/:orgSlug/roles': async ({ org }) => ({ path: `/orgs/${org}/roles`, body: role() }),
  'GET /orgs/:orgSlug/roles/:slug': at('ORG/roles/member'),
  'PATCH /orgs/:orgSlug/roles/:slug': inOrg('roles', role, slugOf, { name: 'Renamed' }),
  'DELETE /orgs/:orgSlug/roles/:slug': inOrg('roles', role, slugOf),
  'GET /orgs/:orgSlug/groups': at('ORG/groups'),
  'POST /orgs/:orgSlug/groups': async ({ org }) => ({ path: `/orgs/${org}/groups`, body: group() }),
  'GET /orgs/:orgSlug/groups/:slug': inOrg('groups', group, slugOf),
  'PATCH /orgs/:orgSlug/groups/:slug': inOrg('groups', group, slugOf, { name: 'Renamed' }),
  'DELETE /orgs/:orgSlug/groups/:slug': inOrg('groups', group, slugOf),
  'GET /orgs/:orgSlug/groups/:slug/members': inOrg('groups', group, ({ slug }) => `${slug}/members`),
  'POST /orgs/:orgSlug/groups/:slug/members': inOrg('groups', group, ({ slug }) => `${slug}/members`, { userIds: [] }),
  'DELETE /orgs/:orgSlug/groups/:slug/members/:userId': async (world) => {
    const { path } = await inOrg('groups', group, slugOf)(world, 'owner');
    return { path: `${path}/members/${world.owner.user?.id}` };
  },
  'GET /orgs/:orgSlug/invites': at('ORG/invites'),
  'POST /orgs/:orgSlug/invites': at('ORG/invites', {}),
  'DELETE /orgs/:orgSlug/invites/:inviteId': inOrg(
    'invites',
    () => ({}),
    ({ id }) => id,
  ),
  'PUT /orgs/:orgSlug/workspaces/:workspaceId/privileges': ({ org, workspace }) => ({
    path: `/orgs/${org}/workspaces/${workspace.id}/privileges`,
    body: {},
  }),
  'GET /orgs/:orgSlug/api-keys': at('ORG/api-keys'),
  'POST /orgs/:orgSlug/api-keys': async ({ org }) => ({ path: `/orgs/${org}/api-keys`, body: orgKey() }),
  'POST /orgs/:orgSlug/api-keys/validate': at('ORG/api-keys/validate', { apiKey: 'unknown' }),
  'POST /orgs/:orgSlug/api-keys/:slug/rotate': inOrg('api-keys', orgKey, ({ slug }) => `${slug}/rotate`, {}),
  'DELETE /orgs/:orgSlug/api-keys/:slug': inOrg('api-keys', orgKey, slugOf),
  'GET /orgs/:orgSlug/service-accounts': at('ORG/service-accounts'),
  'POST /orgs/:orgSlug/service-accounts': async ({ org }) => ({ path: `/orgs/${org}/service-accounts`, body: serviceAccount() }),
  'GET /orgs/:orgSlug/service-accounts/:slug': inOrg('service-accounts', serviceAccount, slugOf),
  'PATCH /orgs/:orgSlug/service-accounts/:slug': inOrg('service-accounts', serviceAccount, slugOf, { name: 'Renamed' }),
  'DELETE /orgs/:orgSlug/service-accounts/:slug': inOrg('service-accounts', serviceAccount, slugOf),
  'POST /orgs/:orgSlug/service-accounts/:slug/rotate': inOrg('service-accounts', serviceAccount, ({ slug }) => `${slug}/rotate`, {}),
  'POST /orgs/:orgSlug/service-accounts/:slug/token': at('ORG/service-accounts/unknown/token', { clientSecret: 'unknown' }),
};
