/** What runs know of organisations: gateway, workspaces and runtime on one node. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { expectOk } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { fresh } from '../support/fresh.ts';
import { CALL, idOf, type OrganisationsWorld, put, startOrganisations } from '../support/organisations-world.ts';

let gateways: OrganisationsWorld['gateways'];
let author: OrganisationsWorld['author'];
let makeOrg: OrganisationsWorld['makeOrg'];
let member: OrganisationsWorld['member'];
let makeWorkspace: OrganisationsWorld['makeWorkspace'];
beforeAll(async () => {
  ({ gateways, author, makeOrg, member, makeWorkspace } = await startOrganisations());
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
