/** The module access-manager: bindings, checkAccess, and what privileged workspaces may make. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectOk } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { fresh } from '../support/fresh.ts';
import {
  CALL,
  idOf,
  type Manager,
  type Organisation,
  type OrganisationsWorld,
  put,
  startOrganisations,
} from '../support/organisations-world.ts';

let gateways: OrganisationsWorld['gateways'];
let author: OrganisationsWorld['author'];
let person: OrganisationsWorld['person'];
let makeOrg: OrganisationsWorld['makeOrg'];
let member: OrganisationsWorld['member'];
let makeWorkspace: OrganisationsWorld['makeWorkspace'];
let makeManager: OrganisationsWorld['makeManager'];
beforeAll(async () => {
  ({ gateways, author, person, makeOrg, member, makeWorkspace, makeManager } = await startOrganisations());
});
afterAll(() => gateways?.stop());

describe('checkAccess', () => {
  let org: Organisation;
  let manager: Manager;
  const check = (who: Client, more: object = {}) => manager.call(who, 'checkAccess', { resourceType: 'doc', ...more });
  beforeAll(async () => {
    org = await makeOrg();
    manager = await makeManager();
  });

  it('asks for somebody, then for the permission, in one of the forms it may have', async () => {
    const session = await expectOk(gateways.client().post('/login/anonymous', {}));
    for (const nobody of [gateways.client(), gateways.client(session.token)])
      expect(await check(nobody)).toMatchObject({ granted: false, error: 'Unauthorized' });
    expect(await check(await person('alone'))).toMatchObject({ granted: false, error: 'Forbidden', reason: 'missing permission' });
    const { slug } = manager;
    for (const [permission, action, granted] of [
      ['*', 'read', true],
      [`${slug}:*`, 'delete', true],
      [`${slug}:manage`, 'update', true],
      [`${slug}:read`, 'read', true],
      [`${slug}:doc:*`, 'update', true],
      [`${slug}:doc:manage`, 'update', true],
      [`${slug}:doc:read`, 'read', true],
      [`${slug}:doc:read`, 'update', false],
      [`${slug}:other:manage`, 'read', false],
      [`${slug}x:*`, 'read', false],
    ] as const) {
      const who = await member(org, [permission]);
      expect([permission, action, (await check(who, { action })).granted]).toEqual([permission, action, granted]);
    }
    expect(await check(await member(org, [`${slug}:doc:read`]))).toEqual({
      granted: true,
      reason: 'permission',
      hasWildcardScope: false,
      isWorkspaceAdmin: false,
    });
  });

  it('then for a scope, then for a binding, and says which it was', async () => {
    const { slug } = manager;
    const may = [`${slug}:doc:manage`];
    const [none, one, all] = [
      await member(org, may),
      await member(org, may, [`${slug}:doc:d1`]),
      await member(org, may, [`${slug}:doc:*`]),
    ];
    const [d1, d2] = [{ resourceId: 'd1' }, { resourceId: 'd2' }];
    expect(await check(none, d1)).toMatchObject({ granted: false, reason: 'no access', error: 'Forbidden' });
    expect(await check(one, d1)).toMatchObject({ granted: true, reason: 'scope' });
    expect(await check(one, d2)).toMatchObject({ granted: false });
    expect(await manager.refused(one, 'checkAccess', { resourceType: 'doc:d1', resourceId: 'x' })).toBe('InvalidInstructionError');
    expect((await check(await member(org, may, [`${slug}:doc:manage`]), d1)).granted).toBe(false);
    expect(await check(all, d2)).toMatchObject({ granted: true, reason: 'wildcard-scope', hasWildcardScope: true });
    expect(await check(org.owner, d2)).toMatchObject({ reason: 'wildcard-scope', isWorkspaceAdmin: true });

    const bind = (data: object) => manager.call(org.owner, 'insertBinding', { data: { resourceType: 'doc', ...data } });
    await bind({ resourceId: 'd1', principalType: 'user', principalId: idOf(none) });
    await bind({ resourceId: 'd2', principalType: 'user', principalId: idOf(none), roleSlug: 'editor' });
    await bind({ resourceId: 'd3', principalType: 'org', principalId: org.slug });
    expect(await check(none, d1)).toMatchObject({ granted: true, reason: 'binding:user' });
    expect(await check(none, { ...d1, action: 'delete' })).toMatchObject({ granted: false });
    expect(await check(none, { ...d2, action: 'update', roles: { editor: ['read', 'update'] } })).toMatchObject({
      granted: true,
      reason: 'binding:user:editor',
    });
    expect((await check(none, { ...d2, action: 'delete', roles: [{ slug: 'editor', actions: ['read'] }] })).granted).toBe(false);
    expect(await manager.refused(none, 'checkAccess', { resourceType: 'doc', ...d2 })).toBe('InvalidInstructionError');
    expect(await check(none, { resourceId: 'd3' })).toMatchObject({ granted: true, reason: 'binding:org' });
    expect(await check(one, { list: true })).toMatchObject({ granted: true, reason: 'scope', grantedIds: ['d1', 'd3'] });
    expect(await check(all, { list: true })).toMatchObject({ granted: true, reason: 'wildcard-scope' });
    expect(await check(none, { list: true, roles: { editor: ['read'] } })).toMatchObject({
      granted: true,
      reason: 'binding:user',
      grantedIds: ['d1', 'd2', 'd3'],
    });
  });

  it('finds a group by its organisation: one of the same name elsewhere opens nothing', async () => {
    const other = await makeOrg();
    const may = [`${manager.slug}:doc:manage`];
    const [mine, theirs] = [await member(org, may), await member(other, may)];
    for (const [{ at, owner }, who] of [
      [org, mine],
      [other, theirs],
    ] as const) {
      await expectOk(owner.post(`${at}/groups`, { slug: 'team', name: 'Team' }));
      await expectOk(owner.post(`${at}/groups/team/members`, { userIds: [idOf(who)] }));
    }
    await manager.call(org.owner, 'insertBinding', {
      data: { resourceType: 'doc', resourceId: 'g1', principalType: 'group', principalId: 'team' },
    });

    expect(await check(mine, { resourceId: 'g1' })).toMatchObject({ granted: true, reason: 'binding:group' });
    expect(await check(theirs, { resourceId: 'g1' })).toMatchObject({ granted: false });
    // Nor does a scope of another organisation reach what this one has bound.
    expect(await check(other.owner, { resourceId: 'g1' })).toMatchObject({ granted: false });
    expect(await check(org.owner, { resourceId: 'g1' })).toMatchObject({ granted: true });
  });

  it('asks for who started the run, whoever it poses as', async () => {
    const pose = await makeWorkspace(fresh('poser'), {
      call: { ...CALL, do: [{ set: { name: 'user.id', value: '{{body.victim}}' } }, ...CALL.do] },
    });
    const stranger = await person('stranger');
    const answer = await pose.run(stranger, 'call', {
      victim: idOf(org.owner),
      function: 'checkAccess',
      parameters: { resourceType: 'doc' },
    });
    expect(answer.result).toMatchObject({ granted: false });
  });
});

describe('bindings', () => {
  const data = (more: object = {}) => ({
    data: { resourceType: 'doc', resourceId: fresh('d'), principalType: 'user', principalId: 'u1', ...more },
  });

  it('are found, counted, changed and deleted, each once; the platform tells of it', async () => {
    const org = await makeOrg();
    const manager = await makeManager();
    const { owner } = org;
    const first = await manager.call(owner, 'insertBinding', data());
    const second = await manager.call(owner, 'insertBinding', data({ roleSlug: 'reader' }));
    expect(first).toMatchObject({ orgSlug: org.slug, grantedBy: idOf(owner), principalId: 'u1' });
    expect(await manager.refused(owner, 'insertBinding', data({ resourceId: first.resourceId }))).toBe('AlreadyUsedError');

    expect(await manager.call(owner, 'findAndCountBindings', { options: { limit: 1 } })).toMatchObject({
      items: [{ id: first.id }],
      total: 2,
    });
    expect(await manager.call(owner, 'countBindings', { query: { roleSlug: 'reader' } })).toBe(1);
    expect(await manager.call(owner, 'updateBinding', { query: { id: first.id }, data: { roleSlug: 'writer' } })).toMatchObject({
      id: first.id,
      roleSlug: 'writer',
    });
    expect(await manager.refused(owner, 'updateBinding', { query: {}, data: { principalId: 'u2' } })).toBe('InvalidInstructionError');
    expect(await manager.refused(owner, 'deleteManyBindings', { query: {} })).toBe('InvalidInstructionError');
    expect(await manager.call(owner, 'deleteOneBinding', { query: { id: second.id } })).toEqual({ deletedCount: 1 });
    expect(await manager.call(owner, 'deleteManyBindings', { query: { resourceType: 'doc' } })).toEqual({ deletedCount: 1 });
    await eventually(() => {
      const told = gateways.events.filter(
        ({ type, source }) => type.startsWith('access-manager.bindings.') && source.workspaceId === manager.id,
      );
      expect(told.map(({ type }) => type.split('.').at(-1))).toEqual(['created', 'created', 'deleted', 'deleted']);
    });
    expect(
      (await author.post(`/workspaces/${manager.id}/events`, { events: [{ type: 'access-manager.bindings.created', payload: {} }] }))
        .status,
    ).toBeGreaterThanOrEqual(400);
  });

  it('of one workspace and one organisation are out of reach of every other', async () => {
    const [one, two] = [await makeOrg(), await makeOrg()];
    const [here, there] = [await makeManager(), await makeManager()];
    const made = await here.call(one.owner, 'insertBinding', data());
    const all = { $or: [{ id: made.id }, { orgSlug: one.slug }] };

    expect(await here.call(two.owner, 'findBindings', { query: all })).toEqual([]);
    expect(await here.call(two.owner, 'deleteManyBindings', { query: all })).toEqual({ deletedCount: 0 });
    expect(await here.call(two.owner, 'updateBinding', { query: all, data: { roleSlug: 'x' } })).toBeFalsy();
    expect(await here.refused(two.owner, 'insertBinding', data({ orgSlug: one.slug }))).toBe('ForbiddenError');
    expect(await here.refused(await person('alone'), 'insertBinding', data())).toBe('ForbiddenError');
    expect(await here.call(gateways.client(), 'findBindings', { query: all })).toEqual([]);
    expect(await there.call(one.owner, 'findBindings', { query: all })).toEqual([]);
    expect(await here.refused(one.owner, 'findBindings', { query: { workspaceId: there.id } })).toBe('InvalidInstructionError');
    expect(await here.call(one.owner, 'countBindings')).toBe(1);
  });

  it('disappear with their workspace', async () => {
    const org = await makeOrg();
    const manager = await makeManager();
    await manager.call(org.owner, 'insertBinding', data());
    const rows = () =>
      (gateways.nodes[0]?.broker.getLocalService('runtime') as any).documents.count('runtime_bindings', { workspaceId: manager.id });
    expect(await rows()).toBe(1);

    await expectOk(author.delete(`/workspaces/${manager.id}`));
    await eventually(async () => expect(await rows()).toBe(0));
  });
});

describe('privileged workspaces', () => {
  let vault: Manager;
  let plain: Manager;
  beforeAll(async () => {
    vault = await makeManager('vault');
    plain = await makeManager();
  });

  it('make service accounts within their roles, and tokens that work', async () => {
    const org = await makeOrg();
    const ask = { orgSlug: org.slug, serviceAccountSlug: 'agent' };
    expect(await vault.refused(org.owner, 'getServiceAccountToken', ask)).toBe('ObjectNotFoundError');
    const token = await vault.call(org.owner, 'getServiceAccountToken', { ...ask, create: true });
    expect(token).toMatchObject({ tokenType: 'Bearer', permissions: expect.arrayContaining(['agents:agents:use']), scopes: [] });
    expect((await gateways.client(token.accessToken).get(org.at)).status).toBe(200);
    expect(await vault.call(org.owner, 'createServiceAccount', ask)).toEqual({ slug: 'agent' });
    const rotated = await vault.call(org.owner, 'rotateServiceAccountSecret', ask);
    expect(rotated.clientSecret).toMatch(/^sas_/);
    expect((await gateways.client(token.accessToken).get(org.at)).status).toBe(401);
    for (const roleSlug of ['admin', 'owner', 'member'])
      expect(await vault.refused(org.owner, 'createServiceAccount', { orgSlug: org.slug, serviceAccountSlug: fresh('sa'), roleSlug })).toBe(
        'ForbiddenError',
      );
    expect(await vault.call(org.owner, 'deleteServiceAccount', ask)).toEqual({ success: true });
  });

  it('deal with no account and no key that is not theirs', async () => {
    const org = await makeOrg();
    await expectOk(org.owner.post(`${org.at}/service-accounts`, { slug: 'people', name: 'P', role: 'agent-standard' }));
    await expectOk(org.owner.post(`${org.at}/api-keys`, { slug: 'people', name: 'P', permissions: ['agents:agents:use'] }));
    for (const name of ['getServiceAccountToken', 'createServiceAccount', 'rotateServiceAccountSecret', 'deleteServiceAccount'])
      expect([name, await vault.refused(org.owner, name, { orgSlug: org.slug, serviceAccountSlug: 'people' })]).toEqual([
        name,
        'ObjectNotFoundError',
      ]);
    for (const name of ['rotateOrgApiKey', 'deleteOrgApiKey'])
      expect([name, await vault.refused(org.owner, name, { orgSlug: org.slug, slug: 'people' })]).toEqual([name, 'ObjectNotFoundError']);

    const key = { orgSlug: org.slug, slug: 'k', name: 'K', ownerType: 'agent', permissions: ['agents:agents:use'] };
    const made = await vault.call(org.owner, 'createOrgApiKey', key);
    expect(made).toMatchObject({
      id: 'k',
      slug: 'k',
      name: 'K',
      permissions: ['agents:agents:use'],
      apiKey: expect.stringMatching(/^iak_/),
    });
    for (const permissions of [['*'], ['orgs:*']])
      expect(await vault.refused(org.owner, 'createOrgApiKey', { ...key, slug: fresh('k'), permissions })).toBe('ForbiddenError');
    expect(await vault.refused(org.owner, 'createOrgApiKey', { ...key, slug: fresh('k'), ownerType: 'other:agent' })).toBe(
      'BadParametersError',
    );
    expect(await vault.call(org.owner, 'listOrgApiKeys', { orgSlug: org.slug })).toMatchObject({
      total: 1,
      results: [{ slug: 'k', ownerType: 'vault:agent' }],
    });
    const renewed = await vault.call(org.owner, 'rotateOrgApiKey', { orgSlug: org.slug, slug: 'k' });
    expect(renewed.apiKey).not.toBe(made.apiKey);
    expect(await vault.call(org.owner, 'deleteOrgApiKey', { orgSlug: org.slug, slug: 'k' })).toEqual({ success: true });
  });

  it('are no others, until an organisation says so for itself and only there', async () => {
    const [org, other] = [await makeOrg(), await makeOrg()];
    const ask = (slug: string) => ({ orgSlug: slug, serviceAccountSlug: 'agent', create: true });
    expect(await plain.refused(org.owner, 'getServiceAccountToken', ask(org.slug))).toBe('ForbiddenError');
    const path = `${org.at}/workspaces/${plain.id}/privileges`;
    const grant = { serviceAccounts: { defaultRoleSlug: 'agent-standard', allowedRoleSlugs: ['agent-standard'] } };
    expect((await put(other.owner, path, grant)).status).toBe(404);
    const clerk = await member(org, ['orgs:privileges:update']);
    expect((await put(clerk, path, grant)).status).toBe(403);
    expect((await put(org.owner, path, { serviceAccounts: { allowedRoleSlugs: 'all' } })).body.error).toBe('RequestValidationError');

    await expectOk(put(org.owner, path, grant));
    expect(await plain.call(org.owner, 'getServiceAccountToken', ask(org.slug))).toMatchObject({ tokenType: 'Bearer' });
    expect(await plain.refused(org.owner, 'getServiceAccountToken', ask(other.slug))).toBe('ForbiddenError');
    expect(await plain.refused(org.owner, 'listOrgApiKeys', { orgSlug: org.slug })).toBe('ForbiddenError');
    await expectOk(put(org.owner, path, {}));
    expect(await plain.refused(org.owner, 'getServiceAccountToken', ask(org.slug))).toBe('ForbiddenError');
  });
});
