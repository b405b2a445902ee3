/** Keys and service accounts of organisations at two gateways: what they open, and that they end at once. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

let gateways: Gateways;
let admin: Client;
let serial = 0;
const fresh = (name: string) => `${name}-${++serial}`;

async function makeOrg() {
  const slug = fresh('org');
  const owner = await newUser(gateways.url, 'owner');
  await expectOk(admin.post('/orgs', { slug, name: slug, ownerId: owner.user?.id }));
  return { slug, at: `/orgs/${slug}`, owner };
}

const withKey = (apiKey: string, node = 0) => ({
  get: (path: string) => client(gateways.nodes[node]?.url as string).get(path, { 'x-prismeai-api-key': apiKey }),
  post: (path: string, body: unknown) => client(gateways.nodes[node]?.url as string).post(path, body, { 'x-prismeai-api-key': apiKey }),
});

async function account(role = 'admin') {
  const org = await makeOrg();
  const made = await expectOk(org.owner.post(`${org.at}/service-accounts`, { slug: 'bot', name: 'Bot', role }));
  const ask = (clientSecret: string, more = {}) =>
    gateways.client().post(`${org.at}/service-accounts/bot/token`, { clientSecret, ...more });
  const { accessToken } = await expectOk(ask(made.clientSecret));
  const as = (node = 0) => client(gateways.nodes[node]?.url as string, accessToken);
  return { ...org, made, ask, accessToken, as };
}

beforeAll(async () => {
  gateways = await startGateways({ count: 2 }, { saTokenMaxTtlS: 600 });
  admin = await gateways.admin();
  // A node that has just come is told of revocations once the others have learnt what it listens to.
  const { registry } = gateways.nodes[0]?.broker as unknown as {
    registry: { events: { list(options: object): { name: string; count: number }[] } };
  };
  await eventually(() => registry.events.list({}).some(({ name, count }) => name === 'identity.revoked' && count === 2), {
    timeoutMs: 30_000,
  });
});
afterAll(() => gateways?.stop());

describe('keys of an organisation', () => {
  it('open what they say, in their organisation only, and say so without authentication', async () => {
    const { slug, at, owner } = await makeOrg();
    const other = await makeOrg();
    const made = await expectOk(
      owner.post(`${at}/api-keys`, { slug: 'ci', name: 'CI', permissions: ['orgs:members:read'], scopes: ['agents:agents:a1'] }),
    );
    expect(made.apiKey).toMatch(new RegExp(`^iak_${slug}_[0-9a-f-]{36}$`));
    const key = withKey(made.apiKey);

    expect((await key.get(`${at}/members`)).status).toBe(200);
    expect((await key.get(at)).status).toBe(403);
    expect((await key.get(`${other.at}/members`)).status).toBe(404);
    expect((await expectOk(key.get('/orgs'))).results.map((org: { slug: string }) => org.slug)).toEqual([slug]);
    const validate = (path: string, apiKey: string) => expectOk(gateways.client().post(`${path}/api-keys/validate`, { apiKey }));
    expect(await validate(at, made.apiKey)).toMatchObject({
      valid: true,
      orgSlug: slug,
      permissions: ['orgs:members:read'],
      scopes: ['agents:agents:a1'],
    });
    expect(await validate(other.at, made.apiKey)).toEqual({ valid: false });
    expect(await validate(at, `${made.apiKey}x`)).toEqual({ valid: false });
  });

  it('are shown once and kept as hashes', async () => {
    const { at, owner } = await makeOrg();
    const { apiKey } = await expectOk(owner.post(`${at}/api-keys`, { slug: 'ci', name: 'CI', permissions: [] }));
    const account = await expectOk(owner.post(`${at}/service-accounts`, { slug: 'bot', name: 'Bot', role: 'member' }));

    const lists = JSON.stringify([(await owner.get(`${at}/api-keys`)).body, (await owner.get(`${at}/service-accounts`)).body]);
    const files = readdirSync(gateways.dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const secret of [apiKey, account.clientSecret]) {
      expect(lists).not.toContain(secret);
      expect(JSON.stringify(gateways.events)).not.toContain(secret);
      for (const { parentPath, name } of files) expect(readFileSync(join(parentPath, name)).includes(secret)).toBe(false);
    }
    expect(lists).not.toContain('"hash"');
  });

  it('are worth nothing on every gateway once rotated, deleted, expired or of a suspended organisation', async () => {
    const { at, owner } = await makeOrg();
    const make = async (slug: string, more = {}) =>
      (await expectOk(owner.post(`${at}/api-keys`, { slug, name: slug, permissions: ['orgs:*'], ...more }))).apiKey as string;
    const refusedEverywhere = (apiKey: string) =>
      eventually(async () => {
        for (const node of [0, 1]) expect((await withKey(apiKey, node).get(at)).status).toBe(401);
      });
    const [one, two] = [await make('one'), await make('two')];
    for (const apiKey of [one, two]) for (const node of [0, 1]) expect((await withKey(apiKey, node).get(at)).status).toBe(200);

    const { apiKey: renewed } = await expectOk(owner.post(`${at}/api-keys/one/rotate`, {}));
    await refusedEverywhere(one);
    expect((await withKey(renewed, 1).get(at)).status).toBe(200);
    await expectOk(owner.delete(`${at}/api-keys/two`));
    await refusedEverywhere(two);
    expect((await owner.post(`${at}/api-keys`, { slug: 'old', name: 'Old', permissions: [], expiresAt: '2001-01-01' })).status).toBe(400);
    await expectOk(admin.patch(at, { status: 'suspended' }));
    await refusedEverywhere(renewed);
  });

  it('give nobody more than he has: neither their maker, nor a person who adds one to his request', async () => {
    const { at, owner } = await makeOrg();
    const clerk = await newUser(gateways.url, 'clerk');
    await expectOk(owner.post(`${at}/roles`, { slug: 'keys', name: 'K', permissions: ['orgs:api-keys:*'] }));
    await expectOk(owner.post(`${at}/members`, { userId: clerk.user?.id, role: 'keys' }));
    const { apiKey } = await expectOk(owner.post(`${at}/api-keys`, { slug: 'strong', name: 'S', permissions: ['*'] }));

    for (const permissions of [['*'], ['orgs:*'], ['orgs:members:read']])
      expect((await clerk.post(`${at}/api-keys`, { slug: fresh('k'), name: 'K', permissions })).status).toBe(403);
    expect((await clerk.post(`${at}/api-keys`, { slug: fresh('k'), name: 'K', permissions: [], scopes: ['*'] })).status).toBe(403);
    expect((await clerk.post(`${at}/api-keys/strong/rotate`, {})).status).toBe(403);
    const stranger = await newUser(gateways.url, 'stranger');
    expect((await stranger.get(at, { 'x-prismeai-api-key': apiKey })).status).toBe(404);
    // Keys do not make keys, nor organisations, nor are they people.
    expect((await withKey(apiKey).post(`${at}/api-keys`, { slug: 'k', name: 'K', permissions: [] })).status).toBe(401);
    expect((await withKey(apiKey).post('/orgs', { slug: fresh('org'), name: 'X' })).status).toBe(403);
    expect((await withKey(apiKey).get('/me')).status).toBe(401);
    expect((await withKey(apiKey).post('/contacts', { email: 'a@example.org' })).status).toBe(403);
  });
});

describe('service accounts', () => {
  it('exchange their secret for a token that lives as long as asked, at most as long as the installation says', async () => {
    const { slug, made, ask } = await account();
    expect(made.clientSecret).toMatch(new RegExp(`^sas_${slug}_[0-9a-f-]{36}$`));
    const answer = await expectOk(ask(made.clientSecret, { expiresIn: 60 }));
    expect(answer).toMatchObject({ tokenType: 'Bearer', expiresIn: 60, permissions: ['*'] });
    const claims = JSON.parse(Buffer.from(answer.accessToken.split('.')[1], 'base64url').toString());
    expect(claims).toMatchObject({ sub: `sa:${slug}:bot`, exp: claims.iat + 60 });
    expect((await expectOk(ask(made.clientSecret, { expiresIn: 100_000 }))).expiresIn).toBe(600);
    for (const wrong of [`${made.clientSecret}x`, 'sas_', made.clientSecret.toUpperCase()])
      expect(await ask(wrong)).toMatchObject({ status: 401, body: { error: 'AuthenticationError' } });
  });

  it('do what their role allows, in their organisation, and follow when the role changes', async () => {
    const { at, owner, as } = await account('member');
    const other = await makeOrg();
    expect((await as().get(`${at}/members`)).status).toBe(200);
    expect((await as().get(`${at}/invites`)).status).toBe(403);
    expect((await as().get(other.at)).status).toBe(404);
    expect((await as().delete(at)).status).toBe(401);

    await expectOk(owner.patch(`${at}/roles/member`, { permissions: ['orgs:invites:read'] }));
    await eventually(async () => {
      for (const node of [0, 1]) expect((await as(node).get(`${at}/invites`)).status).toBe(200);
    });
    expect((await as().get(`${at}/members`)).status).toBe(403);
  });

  it('end at once: disabled, with another secret, deleted, made anew under the same name', async () => {
    const { at, owner, as, ask, made } = await account();
    const isOut = () =>
      eventually(async () => {
        for (const node of [0, 1]) expect((await as(node).get(at)).status).toBe(401);
      });
    const path = `${at}/service-accounts/bot`;
    await expectOk(owner.patch(path, { status: 'disabled' }));
    await isOut();
    expect((await ask(made.clientSecret)).status).toBe(401);
    await expectOk(owner.patch(path, { status: 'active' }));
    await eventually(async () => expect((await as(1).get(at)).status).toBe(200));

    const { clientSecret } = await expectOk(owner.post(`${path}/rotate`, {}));
    await isOut();
    expect((await ask(made.clientSecret)).status).toBe(401);
    expect((await ask(clientSecret)).status).toBe(200);
    await expectOk(owner.delete(path));
    await expectOk(owner.post(`${at}/service-accounts`, { slug: 'bot', name: 'Bot', role: 'admin' }));
    await isOut();
  });

  it('are never owners, and nobody makes one stronger than himself', async () => {
    const { at, owner } = await account();
    const clerk = await newUser(gateways.url, 'clerk');
    await expectOk(owner.post(`${at}/roles`, { slug: 'bots', name: 'B', permissions: ['orgs:service-accounts:*'] }));
    await expectOk(owner.post(`${at}/members`, { userId: clerk.user?.id, role: 'bots' }));

    expect((await owner.post(`${at}/service-accounts`, { slug: 'o', name: 'O', role: 'owner' })).status).toBe(400);
    expect((await clerk.post(`${at}/service-accounts`, { slug: 'c', name: 'C', role: 'admin' })).status).toBe(403);
    expect((await clerk.post(`${at}/service-accounts/bot/rotate`, {})).status).toBe(403);
    expect((await clerk.patch(`${at}/service-accounts/bot`, { role: 'bots' })).status).toBe(403);
    expect((await clerk.delete(`${at}/service-accounts/bot`)).status).toBe(403);
  });

  it('of one organisation cannot be reached with the secret, or the path, of another', async () => {
    const one = await account();
    const two = await account();
    const cross = await gateways.client().post(`${two.at}/service-accounts/bot/token`, { clientSecret: one.made.clientSecret });
    expect(cross.status).toBe(401);
    expect((await one.owner.post(`${one.at}/service-accounts/${two.slug}%2Fbot/rotate`, {})).status).toBe(404);
    expect((await one.as().get(`${two.at}/service-accounts`)).status).toBe(404);
  });
});
