/** Organisations at the public port: who may make one, who belongs to it, with which rights, and every way to cross from one into another. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

let gateways: Gateways;
let admin: Client;
let serial = 0;
const fresh = (name: string) => `${name}-${++serial}`;
const idOf = ({ user }: Client) => user?.id as string;
const person = (name: string) => newUser(gateways.url, name);
const put = (who: Client, path: string, body: unknown) => who.request('PUT', path, body);

/** An organisation, its owner, and members by role. */
async function makeOrg(...roles: string[]) {
  const slug = fresh('org');
  const owner = await person('owner');
  await expectOk(admin.post('/orgs', { slug, name: `Organisation ${slug}`, ownerId: idOf(owner) }));
  const members: Client[] = [];
  for (const role of roles) {
    const member = await person(role);
    await expectOk(owner.post(`/orgs/${slug}/members`, { userId: idOf(member), role }));
    members.push(member);
  }
  return { slug, at: `/orgs/${slug}`, owner, members };
}

beforeAll(async () => {
  gateways = await startGateways({}, { consoleUrl: ['https://studio.example.org'] });
  admin = await gateways.admin();
});
afterAll(() => gateways?.stop());

describe('an organisation', () => {
  it('is made by super admins only, unless the installation says otherwise', async () => {
    const somebody = await person('somebody');
    expect(await somebody.post('/orgs', { slug: 'mine', name: 'Mine' })).toMatchObject({ status: 403 });

    const open = await startGateways({}, { orgCreation: 'users' });
    try {
      const founder = await newUser(open.url, 'founder');
      const made = await expectOk(founder.post('/orgs', { slug: 'mine', name: 'Mine' }));
      expect(made).toMatchObject({ slug: 'mine', status: 'active', defaultRole: 'member' });
      expect((await expectOk(founder.get(`/orgs/mine/members/${idOf(founder)}`))).role).toBe('owner');
      const other = await newUser(open.url, 'other');
      expect(await other.post('/orgs', { slug: 'mine', name: 'Theirs' })).toMatchObject({
        status: 400,
        body: { error: 'AlreadyUsedError' },
      });
      expect((await other.get('/orgs/mine')).status).toBe(404);
      expect((await other.post('/orgs', { slug: 'yours', name: 'Yours', status: 'active' })).status).toBe(400);
      expect((await other.post('/orgs', { slug: 'yours', name: 'Yours', domains: ['bank.example'] })).status).toBe(403);
    } finally {
      await open.stop();
    }
  });

  it('refuses bad names and unknown fields, naming them', async () => {
    for (const slug of ['', 'A', 'a:b', 'a/b', '../x', '-a', 'constructor '])
      expect(await admin.post('/orgs', { slug, name: 'X' })).toMatchObject({ status: 400, body: { error: 'RequestValidationError' } });
    const paths = async (more: object) =>
      (await admin.post('/orgs', { slug: fresh('org'), name: 'X', ...more })).body.details.problems.map(
        ({ path }: { path: string }) => path,
      );
    expect(await paths({ joinRules: [{ role: 'member', conditions: [] }] })).toEqual(['body.joinRules.0.conditions']);
    expect(await paths({ orgId: 'other', defaultRole: 'member', domains: [' '] })).toEqual(['domains', 'orgId']);
    expect((await admin.post('/orgs', { slug: 'join', name: 'X' })).body.error).toBe('AlreadyUsedError');
  });

  it('lets nobody in when it is suspended, and is back when it is not', async () => {
    const { at, slug, owner } = await makeOrg();
    expect((await owner.patch(at, { status: 'suspended' })).status).toBe(403);
    await expectOk(admin.patch(at, { status: 'suspended' }));

    expect(await owner.get(at)).toMatchObject({ status: 403, body: { error: 'ForbiddenError', details: { status: 'suspended' } } });
    expect((await expectOk(owner.get('/me'))).orgSlugs).not.toContain(slug);
    await expectOk(admin.patch(at, { status: 'active' }));
    expect((await owner.get(at)).status).toBe(200);
  });

  it('is deleted with all that belongs to it, and its name is never given again', async () => {
    const { at, slug, owner, members } = await makeOrg('admin');
    await expectOk(owner.post(`${at}/groups`, { slug: 'team', name: 'Team' }));
    expect((await (members[0] as Client).delete(at)).status).toBe(403);

    await expectOk(owner.delete(at));
    expect((await owner.get(at)).status).toBe(404);
    expect((await admin.get(`${at}/members`)).status).toBe(404);
    expect((await admin.post('/orgs', { slug, name: 'Again' })).body.error).toBe('AlreadyUsedError');
    expect((await expectOk(owner.get('/me'))).orgSlugs).toEqual([]);
  });

  it('tells of every change, with an audit of what was before and after', async () => {
    const { at, slug, owner } = await makeOrg();
    await expectOk(owner.patch(at, { name: 'Renamed', settings: { theme: 'dark' } }));

    const audit = await eventually(() => {
      const found = gateways.ofType('organizations.audit').find(({ payload }) => payload.orgSlug === slug && payload.action === 'updated');
      if (!found) throw new Error('no audit');
      return found;
    });
    expect(audit).toMatchObject({
      payload: {
        category: 'organizations',
        target: slug,
        changes: { before: { name: `Organisation ${slug}` }, after: { name: 'Renamed' } },
      },
      source: { userId: idOf(owner) },
    });
    await eventually(() => gateways.ofType('organizations.updated').some(({ payload }) => payload.orgSlug === slug));
  });
});

describe('members', () => {
  it('are listed in pages, sorted, searched and exported', async () => {
    const { at, owner } = await makeOrg('member', 'member', 'builder');
    const first = await expectOk(owner.get(`${at}/members?limit=2&sort=-role`));
    expect(first.total).toBe(4);
    expect(first.results.map(({ role }: { role: string }) => role)).toEqual(['owner', 'member']);
    expect((await expectOk(owner.get(`${at}/members?limit=2&page=1&sort=-role`))).results).toHaveLength(2);
    expect((await expectOk(owner.get(`${at}/members?role=builder`))).total).toBe(1);
    expect((await expectOk(owner.get(`${at}/members?search=(`))).total).toBe(0);
    expect((await owner.get(`${at}/members?sort=hash`)).body.error).toBe('BadParametersError');
    const csv = await owner.get(`${at}/members/export`);
    expect(csv.headers.get('content-type')).toContain('text/csv');
    expect(csv.body.trim().split('\r\n')).toHaveLength(5);
  });

  it('cannot rise above who changes them: only owners make owners, nobody gives what he does not have', async () => {
    const { at, owner, members } = await makeOrg('admin', 'member');
    const [chief, member] = members as [Client, Client];
    await expectOk(owner.post(`${at}/roles`, { slug: 'hr', name: 'HR', permissions: ['orgs:members:*', 'orgs:invites:*'] }));
    const hr = await person('hr');
    await expectOk(owner.post(`${at}/members`, { userId: idOf(hr), role: 'hr' }));

    expect((await chief.patch(`${at}/members/${idOf(chief)}`, { role: 'owner' })).status).toBe(403);
    expect((await chief.patch(`${at}/members/${idOf(owner)}`, { role: 'member' })).status).toBe(403);
    expect((await chief.delete(`${at}/members/${idOf(owner)}`)).status).toBe(403);
    expect((await hr.patch(`${at}/members/${idOf(hr)}`, { role: 'admin' })).status).toBe(403);
    expect((await hr.post(`${at}/members`, { userId: idOf(await person('x')), role: 'builder' })).status).toBe(403);
    expect((await hr.post(`${at}/invites`, { role: 'admin' })).status).toBe(403);
    expect((await hr.delete(`${at}/members/${idOf(chief)}`)).status).toBe(403);
    expect((await member.get(`${at}/invites`)).status).toBe(403);
    expect((await member.patch(`${at}/members/${idOf(member)}`, { role: 'admin' })).status).toBe(403);
    expect((await member.get(`${at}/members/export`)).status).toBe(403);
  });

  it('always have an owner among them, also when two owners leave at once', async () => {
    const { at, owner, members } = await makeOrg('owner');
    const second = members[0] as Client;
    const left = await Promise.all([owner.delete(`${at}/members/${idOf(owner)}`), second.delete(`${at}/members/${idOf(second)}`)]);
    expect(left.map(({ status }) => status)).toContain(403);
    expect((await expectOk(admin.get(`${at}/members?role=owner`))).total).toBeGreaterThan(0);
  });

  it('who are suspended have no rights, and no invitation lifts that', async () => {
    const { at, slug, owner, members } = await makeOrg('member');
    const member = members[0] as Client;
    const { code } = await expectOk(owner.post(`${at}/invites`, { maxUses: 5 }));
    await expectOk(owner.patch(`${at}/members/${idOf(member)}`, { status: 'suspended' }));

    expect((await member.get(at)).status).toBe(404);
    expect((await member.post('/orgs/join', { code })).body.error).toBe('AlreadyUsedError');
    expect((await put(member, '/user/active-org', { orgSlug: slug })).status).toBe(404);
  });
});

describe('roles and groups', () => {
  it('built-in roles are rewritten for one organisation only, the owner never', async () => {
    const one = await makeOrg('member');
    const two = await makeOrg('member');
    await expectOk(one.owner.patch(`${one.at}/roles/member`, { permissions: ['orgs:*'] }));

    expect((await (one.members[0] as Client).get(`${one.at}/invites`)).status).toBe(200);
    expect((await (two.members[0] as Client).get(`${two.at}/invites`)).status).toBe(403);
    expect(await expectOk(one.owner.get(`${one.at}/roles/member`))).toMatchObject({
      builtIn: true,
      overridden: true,
      permissions: ['orgs:*'],
    });
    expect((await one.owner.patch(`${one.at}/roles/owner`, { permissions: [] })).status).toBe(403);
    await expectOk(one.owner.delete(`${one.at}/roles/member`));
    expect((await (one.members[0] as Client).get(`${one.at}/invites`)).status).toBe(403);
    const { results, total } = await expectOk(one.owner.get(`${one.at}/roles`));
    expect(total).toBe(6);
    expect(results.map(({ slug }: { slug: string }) => slug)).toEqual([
      'owner',
      'admin',
      'member',
      'agent-maker',
      'builder',
      'agent-standard',
    ]);
  });

  it('own roles give what they say at once, and stay while somebody has them', async () => {
    const { at, owner, members } = await makeOrg('member');
    const member = members[0] as Client;
    await expectOk(
      owner.post(`${at}/roles`, { slug: 'clerk', name: 'Clerk', permissions: ['orgs:invites:read'], scopes: ['agents:agents:a1'] }),
    );
    await expectOk(owner.patch(`${at}/members/${idOf(member)}`, { role: 'clerk' }));

    expect((await member.get(`${at}/invites`)).status).toBe(200);
    expect((await member.post(`${at}/invites`, {})).status).toBe(403);
    expect((await owner.delete(`${at}/roles/clerk`)).body.error).toBe('BadParametersError');
    await expectOk(owner.patch(`${at}/roles/clerk`, { permissions: ['orgs:groups:read'] }));
    expect((await member.get(`${at}/invites`)).status).toBe(403);
    for (const permissions of [['**'], ['a:*:b'], ['a:b:c:d'], ['__proto__:a:b'], ['constructor:a:b'], 'orgs:*', [{}]])
      expect((await owner.post(`${at}/roles`, { slug: fresh('r'), name: 'R', permissions })).status).toBe(400);
  });

  it('groups hold members only, and nobody once they are gone', async () => {
    const { at, owner, members } = await makeOrg('member');
    const [member, stranger] = [members[0] as Client, await person('stranger')];
    await expectOk(owner.post(`${at}/groups`, { slug: 'team', name: 'Team' }));
    await expectOk(owner.post(`${at}/groups/team/members`, { userIds: [idOf(member)] }));

    expect((await owner.post(`${at}/groups/team/members`, { userIds: [idOf(stranger)] })).status).toBe(404);
    expect((await expectOk(owner.get(`${at}/groups/team/members`))).results).toMatchObject([{ id: idOf(member) }]);
    expect((await expectOk(member.get('/me'))).membership.groups).toEqual(['team']);
    await expectOk(owner.delete(`${at}/groups/team`));
    await expectOk(owner.post(`${at}/groups`, { slug: 'team', name: 'Team again' }));
    expect((await expectOk(owner.get(`${at}/groups/team/members`))).total).toBe(0);
  });
});

describe('joining', () => {
  it('by mail: for that address and once', async () => {
    const { at, slug, owner } = await makeOrg();
    const guest = await person('guest');
    const other = await person('other');
    const invite = await expectOk(owner.post(`${at}/invites`, { email: guest.user?.email, role: 'builder' }));
    expect(invite).toMatchObject({ kind: 'email', email: guest.user?.email });
    expect(invite).not.toHaveProperty('code');
    const { url, token: code } = await gateways.linkIn(guest.user?.email as string, 'code');
    expect(url.origin + url.pathname).toBe('https://studio.example.org/orgs/join');

    expect((await other.post('/orgs/join', { code })).status).toBe(403);
    expect(await expectOk(guest.get(`/orgs/join?code=${code}`))).toMatchObject({ org: { slug }, role: 'builder', isForYou: true });
    expect((await guest.get(at)).status).toBe(404);
    expect(await expectOk(guest.post('/orgs/join', { code }))).toMatchObject({ org: { slug }, role: 'builder', joinedVia: 'invite-email' });
    expect((await guest.get(at)).status).toBe(200);
    expect((await other.post('/orgs/join', { code })).body.error).toBe('InvalidOrExpiredToken');
  });

  it('by code: as often as it says, two who take the last use at once included', async () => {
    const { at, owner } = await makeOrg();
    const { code } = await expectOk(owner.post(`${at}/invites`, { maxUses: 2 }));
    const people = await Promise.all([1, 2, 3].map(() => person('joiner')));

    const answers = await Promise.all(people.map((who) => who.post('/orgs/join', { code })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    expect((await expectOk(owner.get(`${at}/members`))).total).toBe(3);
    expect(JSON.stringify((await owner.get(`${at}/invites`)).body)).not.toContain(code);
  });

  it('by the first rule whose conditions all hold, once for each version of the rules', async () => {
    const { at, slug, owner } = await makeOrg();
    const email = fresh('ruled');
    const proven = await admin.get('/me');
    expect(proven.body.email).toBe('admin@example.org');
    const byDomain = (role: string, value: string) => ({ role, conditions: [{ field: 'email', operator: 'matches', value }] });
    await expectOk(
      owner.patch(at, {
        joinRules: [byDomain('builder', `nobody-${email}.*`), byDomain('agent-standard', 'admin@example\\.org'), byDomain('admin', '.*')],
      }),
    );

    const me = await expectOk(admin.get('/me'));
    expect(me.organizations).toContainEqual(expect.objectContaining({ slug, role: 'agent-standard' }));
    const unproven = await person('unproven');
    expect((await expectOk(unproven.get('/me'))).orgSlugs).toEqual([]);
    await expectOk(owner.delete(`${at}/members/${me.id}`));
    expect((await expectOk(admin.get('/me'))).orgSlugs).not.toContain(slug);
    expect((await owner.patch(at, { joinRules: [byDomain('owner', '.*')] })).status).toBe(400);
    expect(
      (await owner.patch(at, { joinRules: [{ role: 'member', conditions: [{ field: 'password', operator: 'equals', value: 'x' }] }] }))
        .status,
    ).toBe(400);
  });
});

describe('the active organisation', () => {
  it('is the first membership, or what the session chose among its own; every session for itself', async () => {
    const one = await makeOrg();
    const two = await makeOrg();
    await expectOk(two.owner.post(`${two.at}/members`, { userId: idOf(one.owner), role: 'builder' }));

    expect(await expectOk(one.owner.get('/me'))).toMatchObject({
      org: { slug: one.slug, role: { slug: 'owner', permissions: ['*'] } },
      orgSlugs: [one.slug, two.slug],
    });
    await expectOk(put(one.owner, '/user/active-org', { orgSlug: two.slug }));
    expect(await expectOk(one.owner.get('/me'))).toMatchObject({
      org: { slug: two.slug },
      role: { slug: 'builder' },
      membership: { joinedVia: 'direct' },
    });
    expect((await expectOk(two.owner.get('/me'))).org.slug).toBe(two.slug);
    expect((await put(two.owner, '/user/active-org', { orgSlug: one.slug })).status).toBe(404);
    const { token } = await expectOk(
      one.owner.post('/user/accessTokens', { name: 't', expiresAt: new Date(Date.now() + 3_600_000).toISOString() }),
    );
    expect((await put(gateways.client(token), '/user/active-org', { orgSlug: one.slug })).status).toBe(401);
    await expectOk(two.owner.delete(`${two.at}/members/${idOf(one.owner)}`));
    expect((await expectOk(one.owner.get('/me'))).org.slug).toBe(one.slug);
  });
});

describe('nobody crosses from one organisation into another', () => {
  it('an owner is a stranger everywhere else: each route answers as if the other one were not there', async () => {
    const mine = await makeOrg();
    const theirs = await makeOrg('member');
    const victim = idOf(theirs.members[0] as Client);
    await expectOk(theirs.owner.post(`${theirs.at}/groups`, { slug: 'team', name: 'Team' }));
    const invite = await expectOk(theirs.owner.post(`${theirs.at}/invites`, {}));
    const { at } = theirs;
    const asks: [string, string, unknown?][] = [
      ['GET', at],
      ['PATCH', at, { name: 'Mine now' }],
      ['DELETE', at],
      ['GET', `${at}/members`],
      ['GET', `${at}/members/export`],
      ['POST', `${at}/members`, { userId: idOf(mine.owner), role: 'owner' }],
      ['GET', `${at}/members/${victim}`],
      ['PATCH', `${at}/members/${victim}`, { role: 'admin' }],
      ['DELETE', `${at}/members/${victim}`],
      ['DELETE', `${at}/members/${idOf(mine.owner)}`],
      ['GET', `${at}/roles`],
      ['POST', `${at}/roles`, { slug: 'r', name: 'R', permissions: [] }],
      ['PATCH', `${at}/roles/member`, { permissions: ['*'] }],
      ['DELETE', `${at}/roles/member`],
      ['GET', `${at}/groups`],
      ['POST', `${at}/groups/team/members`, { userIds: [idOf(mine.owner)] }],
      ['DELETE', `${at}/groups/team`],
      ['GET', `${at}/invites`],
      ['POST', `${at}/invites`, {}],
      ['DELETE', `${at}/invites/${invite.id}`],
      ['GET', `${at}/api-keys`],
      ['POST', `${at}/api-keys`, { slug: 'k', name: 'K', permissions: ['*'] }],
      ['GET', `${at}/service-accounts`],
      ['POST', `${at}/service-accounts`, { slug: 's', name: 'S', role: 'admin' }],
    ];
    for (const [method, path, body] of asks)
      expect({ method, path, status: (await mine.owner.request(method, path, body)).status }).toEqual({ method, path, status: 404 });
    expect((await expectOk(mine.owner.get('/orgs'))).results.map(({ slug }: { slug: string }) => slug)).toEqual([mine.slug]);
  });

  it('naming things of another one under the own path reaches nothing', async () => {
    const mine = await makeOrg();
    const theirs = await makeOrg('member');
    const victim = idOf(theirs.members[0] as Client);
    await expectOk(theirs.owner.post(`${theirs.at}/groups`, { slug: 'team', name: 'Team' }));
    await expectOk(theirs.owner.post(`${theirs.at}/roles`, { slug: 'special', name: 'S', permissions: ['orgs:*'] }));
    const invite = await expectOk(theirs.owner.post(`${theirs.at}/invites`, {}));
    const { at, owner } = mine;

    for (const id of [victim, `..%2F${theirs.slug}%2F${victim}`, `${theirs.slug}%2F${victim}`])
      expect((await owner.delete(`${at}/members/${id}`)).status).toBe(404);
    expect((await owner.post(`${at}/groups/team/members`, { userIds: [idOf(owner)] })).status).toBe(404);
    expect((await owner.post(`${at}/members`, { userId: victim, role: 'special' })).body.error).toBe('BadParametersError');
    expect((await owner.delete(`${at}/invites/${theirs.slug}%2F${invite.id}`)).status).toBe(404);
    // The organisation of a body counts for nothing.
    expect((await owner.post(`${at}/groups`, { slug: 'g', name: 'G', orgSlug: theirs.slug })).status).toBe(400);
    expect((await expectOk(theirs.owner.get(`${theirs.at}/groups`))).total).toBe(1);
  });

  it('nobody, anonymous sessions and limited tokens stay outside', async () => {
    const { at, owner } = await makeOrg();
    expect((await gateways.client().get(at)).status).toBe(401);
    const session = await expectOk(gateways.client().post('/login/anonymous', {}));
    expect((await gateways.client(session.token).get(at)).status).toBe(404);
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const limited = await expectOk(owner.post('/user/accessTokens', { name: 'w', expiresAt, scopes: ['workspaces:read'] }));
    expect((await gateways.client(limited.token).get(at)).status).toBe(403);
    const reader = await expectOk(owner.post('/user/accessTokens', { name: 'r', expiresAt, scopes: ['orgs:read'] }));
    expect((await gateways.client(reader.token).get(at)).status).toBe(200);
    expect((await gateways.client(reader.token).patch(at, { name: 'X' })).status).toBe(403);
  });
});
