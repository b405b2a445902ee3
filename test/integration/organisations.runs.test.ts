/** What runs know of organisations, and what they may do with the module access-manager: gateway, workspaces and runtime on one node. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

const SERVICES = ['workspaces', 'automations', 'app-instances', 'apps', 'security', 'secrets', 'permissions', 'versions'];

let gateways: Gateways;
let admin: Client;
let author: Client;
let serial = 0;
const fresh = (name: string) => `${name}-${++serial}`;
const person = (name: string) => newUser(gateways.url, name);
const idOf = ({ user }: Client) => user?.id as string;
const put = (who: Client, path: string, body: unknown) => who.request('PUT', path, body);

async function makeOrg() {
  const slug = fresh('org');
  const owner = await person('owner');
  await expectOk(admin.post('/orgs', { slug, name: `Org ${slug}`, ownerId: idOf(owner), settings: { theme: 'dark' } }));
  return { slug, at: `/orgs/${slug}`, owner };
}

/** A member with a role of these permissions and scopes. */
async function member({ at, owner }: { at: string; owner: Client }, permissions: string[], scopes: string[] = []) {
  const role = fresh('role');
  await expectOk(owner.post(`${at}/roles`, { slug: role, name: role, permissions, scopes }));
  const who = await person('member');
  await expectOk(owner.post(`${at}/members`, { userId: idOf(who), role }));
  return who;
}

async function makeWorkspace(slug: string, automations: Record<string, object>) {
  const workspace = await expectOk(author.post('/workspaces', { name: slug, slug }));
  for (const [name, automation] of Object.entries(automations))
    await expectOk(author.post(`/workspaces/${workspace.id}/automations`, { name, slug: name, when: { endpoint: true }, ...automation }));
  const run = (who: Client, automation: string, body: unknown = {}) =>
    expectOk(who.post(`/workspaces/${workspace.id}/webhooks/${automation}`, body));
  return { id: workspace.id as string, slug: workspace.slug as string, run };
}

/** An automation that calls a function of the module with what it is sent. */
const CALL = {
  do: [
    {
      try: {
        do: [{ run: { module: 'access-manager', function: '{{body.function}}', parameters: '{{body.parameters}}', output: 'result' } }],
        catch: [{ set: { name: 'failure', value: '{{$error}}' } }],
      },
    },
  ],
  output: { result: '{{result}}', failure: '{{failure}}' },
};

beforeAll(async () => {
  const services = await Promise.all(
    [...SERVICES.map((name) => `workspaces/${name}`), 'runtime/runtime'].map(
      async (name) => (await import(`../../services/${name}.service.ts`)).default,
    ),
  );
  gateways = await startGateways(
    { services },
    {
      fetchAllowedPrivateHosts: ['127.0.0.1'],
      privilegedWorkspaces: JSON.stringify({
        vault: {
          serviceAccounts: { defaultRoleSlug: 'agent-standard', allowedRoleSlugs: ['agent-*'] },
          apiKeys: { allowedPermissions: ['agents:*'], allowedScopes: ['agents:*'] },
        },
      }),
    },
  );
  admin = await gateways.admin();
  author = await person('author');
});
afterAll(() => gateways?.stop());

describe('a run', () => {
  const SHOW = {
    do: [] as object[],
    output: { org: '{{session.org}}', orgSlugs: '{{user.orgSlugs}}', permissions: '{{run.permissions}}', scopes: '{{run.scopes}}' },
  };

  it('knows the active organisation of who started it, with role, groups and settings', async () => {
    const org = await makeOrg();
    const other = await makeOrg();
    const who = await member(org, ['agents:agents:use', 'files:*'], ['agents:agents:a1']);
    await expectOk(other.owner.post(`${other.at}/members`, { userId: idOf(who), role: 'member' }));
    await expectOk(org.owner.post(`${org.at}/groups`, { slug: 'team', name: 'Team' }));
    await expectOk(org.owner.post(`${org.at}/groups/team/members`, { userIds: [idOf(who)] }));
    const { run } = await makeWorkspace(fresh('shows'), { show: SHOW });

    expect(await run(who, 'show')).toMatchObject({
      org: {
        slug: org.slug,
        name: `Org ${org.slug}`,
        role: { permissions: ['agents:agents:use', 'files:*'], scopes: ['agents:agents:a1'] },
        groups: ['team'],
        settings: { theme: 'dark' },
      },
      orgSlugs: [org.slug, other.slug],
      permissions: { agents: { agents: { use: true } }, files: { '*': { '*': true } } },
      scopes: ['agents:agents:a1'],
    });
    await expectOk(put(who, '/user/active-org', { orgSlug: other.slug }));
    await eventually(async () => expect((await run(who, 'show')).org.slug).toBe(other.slug));
  });

  it('cannot take the organisation of somebody it poses as, nor write one for itself', async () => {
    const org = await makeOrg();
    const { run } = await makeWorkspace(fresh('poses'), {
      pose: { ...SHOW, do: [{ set: { name: 'user.id', value: '{{body.victim}}' } }] },
      write: {
        ...SHOW,
        do: [{ set: { name: 'session.org', value: { slug: 'forged' } } }, { set: { name: 'run.permissions', value: { '*': true } } }],
      },
    });
    const own = await makeOrg();
    expect(await run(own.owner, 'pose', { victim: idOf(org.owner) })).not.toHaveProperty('org');
    const posed = await run(author, 'pose', { victim: idOf(org.owner) });
    expect(posed.org).toBeFalsy();
    expect(posed.orgSlugs).toBeFalsy();
    expect(posed.permissions).toEqual({});
    expect(await run(org.owner, 'write')).toMatchObject({ org: { slug: org.slug }, permissions: { '*': { '*': { '*': true } } } });
  });

  it('that an event starts is of the session it came under; one that is only named there has no organisation', async () => {
    const org = await makeOrg();
    await expectOk(org.owner.post(`${org.at}/service-accounts`, { slug: 'bot', name: 'Bot', role: 'admin' }));
    const tell = { emit: { event: 'seen', payload: { org: '{{session.org}}', permissions: '{{run.permissions}}', user: '{{user.id}}' } } };
    const { id, run } = await makeWorkspace(fresh('events'), {
      ask: { do: [{ emit: { event: 'asked', payload: {} } }] },
      pose: { do: [{ set: { name: 'user.id', value: '{{body.victim}}' } }, { emit: { event: 'asked', payload: {} } }] },
      answer: { when: { events: ['asked'] }, do: [tell] },
    });
    const seen = (count: number) =>
      eventually(() => {
        const found = gateways.ofType('seen').filter(({ source }) => source.workspaceId === id);
        if (found.length < count) throw new Error(`${found.length} answers`);
        return found.at(-1)?.payload as any;
      });
    await run(org.owner, 'ask');
    expect(await seen(1)).toMatchObject({ org: { slug: org.slug }, user: idOf(org.owner) });
    for (const [n, victim] of [idOf(org.owner), `sa:${org.slug}:bot`].entries()) {
      await run(author, 'pose', { victim });
      const posed = await seen(n + 2);
      expect(posed.user).toBe(victim);
      expect(posed.org).toBeFalsy();
      expect(posed.permissions).toBeFalsy();
    }
  });

  it('of another workspace that calls in the name of its visitor has no organisation', async () => {
    const org = await makeOrg();
    const product = await makeWorkspace(fresh('product'), {
      show: { ...SHOW, output: { ...SHOW.output, user: '{{user.id}}' } },
      call: CALL,
    });
    const visited = await makeWorkspace(fresh('visited'), {
      pass: {
        do: [
          {
            fetch: {
              url: `${gateways.url}/workspaces/${product.id}/webhooks/{{body.to}}`,
              method: 'post',
              body: '{{body.body}}',
              output: 'answer',
            },
          },
        ],
        output: '{{answer}}',
      },
    });
    expect((await product.run(org.owner, 'show')).org.slug).toBe(org.slug);
    const shown = await visited.run(org.owner, 'pass', { to: 'show', body: {} });
    expect(shown.user).toBe(idOf(org.owner));
    expect(shown.org).toBeFalsy();
    expect(shown.permissions).toBeFalsy();
    const asked = { to: 'call', body: { function: 'checkAccess', parameters: { resourceType: 'doc' } } };
    expect((await visited.run(org.owner, 'pass', asked)).result).toMatchObject({ granted: false, error: 'Forbidden' });
  });

  it('of somebody without account knows the organisation that lets such people in', async () => {
    const org = await makeOrg();
    const { id } = await makeWorkspace(fresh('open'), { show: SHOW });
    const enter = (body: object, headers = {}) => gateways.client().post('/login/anonymous', body, headers);
    expect((await enter({ orgSlug: 'org-unknown' })).status).toBe(404);
    expect((await enter({ orgSlug: org.slug })).status).toBe(403);
    await expectOk(
      org.owner.patch(org.at, {
        auth: { anonymous: { enabled: true, role: 'agent-standard', allowedDomains: ['pages.local.prisme.ai'] } },
      }),
    );
    expect((await enter({ orgSlug: org.slug })).status).toBe(403);
    expect((await enter({ orgSlug: org.slug }, { origin: 'https://evil.example' })).status).toBe(403);

    const { token } = await expectOk(enter({ orgSlug: org.slug }, { origin: 'https://shop.pages.local.prisme.ai' }));
    const guest = gateways.client(token);
    const shown = await expectOk(guest.post(`/workspaces/${id}/webhooks/show`, {}));
    expect(shown).toMatchObject({
      org: { slug: org.slug, role: { slug: 'agent-standard' } },
      permissions: { agents: { agents: { use: true } } },
    });
    expect((await guest.get(org.at)).status).toBe(404);
    expect((await expectOk(guest.get('/me'))).org.slug).toBe(org.slug);
    expect((await org.owner.patch(org.at, { auth: { anonymous: { enabled: true, role: 'owner' } } })).status).toBe(400);
  });

  it('of a service account or a key has their organisation', async () => {
    const org = await makeOrg();
    const { id } = await makeWorkspace(fresh('bots'), {
      show: { do: [], output: { ...SHOW.output, user: '{{user.id}}', headers: '{{headers}}' } },
    });
    const { clientSecret } = await expectOk(
      org.owner.post(`${org.at}/service-accounts`, { slug: 'bot', name: 'Bot', role: 'agent-standard' }),
    );
    const { accessToken } = await expectOk(gateways.client().post(`${org.at}/service-accounts/bot/token`, { clientSecret }));
    const path = `/workspaces/${id}/webhooks/show`;
    expect(await expectOk(gateways.client(accessToken).post(path, {}))).toMatchObject({
      user: `sa:${org.slug}:bot`,
      org: { slug: org.slug, role: { slug: 'agent-standard' } },
    });
    const { apiKey } = await expectOk(
      org.owner.post(`${org.at}/api-keys`, { slug: 'k', name: 'K', permissions: ['files:*'], scopes: ['files:f:1'] }),
    );
    expect(await expectOk(gateways.client().post(path, {}, { 'x-prismeai-api-key': apiKey }))).toMatchObject({
      user: `iak:${org.slug}:k`,
      headers: { 'content-type': 'application/json' },
      org: { slug: org.slug },
      scopes: ['files:f:1'],
    });
    // Whoever wrote the automation does not learn the key.
    expect(JSON.stringify(await expectOk(gateways.client().post(path, {}, { 'x-prismeai-api-key': apiKey })))).not.toContain(apiKey);
    // Neither is an account: they found no workspaces and read none that is not theirs.
    expect((await gateways.client(accessToken).post('/workspaces', { name: 'X' })).status).toBe(403);
    expect((await gateways.client(accessToken).get(`/workspaces/${id}`)).status).toBe(403);
  });
});

/** A workspace whose runs call the module as they are asked to. */
async function makeManager(slug = fresh('manager')) {
  const workspace = await makeWorkspace(slug, { call: CALL });
  const ask = async (who: Client, name: string, parameters: object = {}) => workspace.run(who, 'call', { function: name, parameters });
  return {
    ...workspace,
    ask,
    call: async (who: Client, name: string, parameters: object = {}) => {
      const { result, failure } = await ask(who, name, parameters);
      if (failure) throw new Error(JSON.stringify(failure));
      return result;
    },
    refused: async (who: Client, name: string, parameters: object = {}) =>
      (await ask(who, name, parameters)).failure?.error as string | undefined,
  };
}
type Manager = Awaited<ReturnType<typeof makeManager>>;

describe('checkAccess', () => {
  let org: Awaited<ReturnType<typeof makeOrg>>;
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
