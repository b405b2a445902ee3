/**
 * Row 47: a canary in every secret place of a platform that is driven end to end with the most talkative logs, then looked for wherever people or
 * programs read: logs, every event of the platform, traces, exports, answers, errors, and what lies on disk.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import { type Answer, type Client, client, expectOk, newUser, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN, type Platform, startPlatform } from '../support/platform.ts';
import { tokenRing } from '../support/token-ring.ts';

const canary = () => `canary-${randomBytes(10).toString('hex')}`;

describe('secrets', () => {
  /** What must not be seen, by the place it was put. */
  const canaries: Record<string, string> = {};
  const put = (place: string, value = canary()) => {
    canaries[place] = value;
    return value;
  };
  const answers: { what: string; text: string }[] = [];
  let platform: Platform;
  let outside: Server;
  let outsideUrl: string;
  let owner: Client;
  let at: string;

  /** Asks, and keeps what was answered. */
  const ask = async (who: Client, method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> => {
    const answer = await who.request(method, path, body, headers);
    const text = answer.body instanceof Uint8Array ? Buffer.from(answer.body).toString('latin1') : JSON.stringify(answer.body);
    answers.push({ what: `${method} ${path}`, text: `${text} ${JSON.stringify([...answer.headers])}` });
    return answer;
  };
  /** Every form under which a text may be written down. */
  const formsOf = (text: string) => [
    text,
    Buffer.from(text).toString('base64').replace(/=+$/, ''),
    encodeURIComponent(text),
    Buffer.from(text).toString('hex'),
  ];
  const found = (text: string, except: string[] = []) =>
    Object.entries(canaries)
      .filter(([place, value]) => !except.includes(place) && formsOf(value).some((form) => text.includes(form)))
      .map(([place]) => place);

  beforeAll(async () => {
    outside = createServer((request, response) => {
      request.resume();
      if (request.url?.startsWith('/fail')) response.writeHead(500, { 'content-type': 'application/json', 'set-cookie': 'x=1' });
      request.on('end', () => response.end(JSON.stringify({ seen: request.headers.authorization ?? null, url: request.url })));
    });
    await new Promise<void>((done) => outside.listen(0, '127.0.0.1', done));
    outsideUrl = `http://127.0.0.1:${(outside.address() as { port: number }).port}`;
    const identity = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
    const ring = tokenRing();
    put('identityKey', identity.d as string);
    put('tokenKey', JSON.parse(ring.env).keys[0].d);
    const master = put('masterKey', randomBytes(32).toString('hex'));
    platform = await startPlatform({
      mode: 'embedded',
      env: {
        LOG_LEVEL: 'trace',
        IDENTITY_KEYS: JSON.stringify(identity),
        TOKEN_KEYS: ring.env,
        SECRETS_MASTER_KEYS: JSON.stringify([{ kid: 'main', key: master, active: true }]),
        PRISME_ADMIN_PASSWORD: put('adminPassword'),
        OIDC_CLIENT_REGISTRATION_TOKEN: put('registrationToken'),
        SMTP_URL: `smtp://user:${put('mailPassword')}@127.0.0.1:1`,
        FETCH_ALLOWED_PRIVATE_HOSTS: outsideUrl.replace('http://', ''),
      },
    });
    owner = await newUser(platform.url, 'owner');
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Canary' }));
    at = `/workspaces/${id}`;
  });
  afterAll(async () => {
    await platform?.stop();
    outside?.close();
  });

  it('47: are put everywhere, and used', async () => {
    // ---- accounts
    const email = 'canary@example.org';
    const password = put('password');
    await ask(client(platform.url), 'POST', '/signup', { email, password, firstName: 'Ada' });
    const person = await signIn(platform.url, { email, password });
    put('sessionToken', person.token);
    await ask(client(platform.url), 'POST', '/login', { email, password: put('wrongPassword') });
    await ask(client(platform.url), 'POST', '/login', { email, password: [put('passwordOfAnotherShape')] });
    await ask(person, 'GET', '/me');
    const changed = put('changedPassword');
    await ask(person, 'POST', '/user/password', { currentPassword: password, password: changed });
    await ask(client(platform.url), 'POST', '/user/password', { email, language: 'en' });
    const { body: access } = await person.post('/user/accessTokens', {
      name: 'ci',
      expiresAt: new Date(Date.now() + 600_000).toISOString(),
    });
    put('accessToken', access.token);
    await ask(client(platform.url, access.token), 'GET', '/me');
    await ask(person, 'GET', '/user/accessTokens');
    await ask(client(platform.url, 'not-a-token-'.concat(put('badToken'))), 'GET', '/me');
    const { body: factor } = await person.post('/user/mfa', { method: 'totp', currentPassword: changed });
    const secret = put('totpSecret', new URL(factor.url).searchParams.get('secret') as string);
    const { body: proven } = await person.post('/login/mfa', {
      totp: new TOTP({ secret: Secret.fromBase32(secret), digits: 6, period: 30 }).generate(),
    });
    (proven.recoveryCodes ?? []).forEach((code: string, n: number) => void put(`recoveryCode${n}`, code));
    await ask(person, 'GET', '/me');

    // ---- a workspace
    await owner.patch(`${at}/security/secrets`, {
      token: { value: put('secret') },
      nested: { value: { deep: put('secretInside') } },
      quoted: { value: put('secretWithQuotes', `${canary()}"'\\`) },
    });
    await ask(owner, 'PATCH', `${at}/config`, { value: { token: '{{secret.token}}', url: outsideUrl } });
    const key = await expectOk(owner.post(`${at}/security/apikeys`, { name: 'k', rules: [{ action: 'read', subject: 'workspaces' }] }));
    put('apiKey', key.apiKey);
    await ask(client(platform.url), 'GET', at, undefined, { 'x-prismeai-api-key': key.apiKey });
    await ask(client(platform.url), 'GET', at, undefined, { 'x-prismeai-api-key': put('badApiKey') });
    await ask(owner, 'GET', `${at}/security/apikeys`);

    // ---- credentials of an organisation
    const admin = await signIn(platform.url, { email: ADMIN.email, password: canaries.adminPassword as string });
    await ask(admin, 'POST', '/orgs', { slug: 'canary', name: 'Canary' });
    const orgKey = await expectOk(admin.post('/orgs/canary/api-keys', { slug: 'k', name: 'K', permissions: ['orgs:members:read'] }));
    await ask(client(platform.url), 'GET', '/orgs/canary/members', undefined, { 'x-prismeai-api-key': put('orgKey', orgKey.apiKey) });
    await ask(client(platform.url), 'GET', '/orgs/canary', undefined, { 'x-prismeai-api-key': `iak_canary_${put('badOrgKey')}` });
    const account = await expectOk(admin.post('/orgs/canary/service-accounts', { slug: 's', name: 'S', role: 'member' }));
    const clientSecret = put('accountSecret', account.clientSecret);
    const { accessToken } = await expectOk(client(platform.url).post('/orgs/canary/service-accounts/s/token', { clientSecret }));
    await ask(client(platform.url, put('accountToken', accessToken)), 'GET', '/orgs/canary/members');
    await ask(client(platform.url), 'POST', '/orgs/canary/service-accounts/s/token', { clientSecret: put('badAccountSecret') });
    const invite = await expectOk(admin.post('/orgs/canary/invites', {}));
    await ask(owner, 'POST', '/orgs/join', { code: put('inviteCode', invite.code) });
    await ask(owner, 'POST', '/orgs/join', { code: put('badInviteCode') });
    for (const kind of ['api-keys', 'service-accounts', 'invites']) await ask(admin, 'GET', `/orgs/canary/${kind}`);

    // ---- automations that have the secrets in their hands, and fail with them
    const automations: Record<string, object> = {
      uses: { do: [{ set: { name: 'copy', value: '{{secret.token}}' } }, { set: { name: 'all', value: '{{secret}}' } }], output: 'done' },
      fetches: {
        do: [
          {
            fetch: {
              url: '{{config.url}}/ok?key={{secret.token}}',
              headers: { authorization: 'Bearer {{secret.token}}' },
              method: 'post',
              body: { token: '{{config.token}}' },
              output: 'a',
            },
          },
          {
            fetch: {
              url: '{{config.url}}/fail?key={{secret.token}}',
              headers: { 'x-api-key': '{{secret.nested.deep}}' },
              method: 'post',
              body: { token: '{{secret.quoted}}' },
              output: 'b',
            },
          },
          { fetch: { url: 'http://127.0.0.1:1/{{secret.token}}', output: 'c' } },
        ],
        output: 'done',
      },
      fails: {
        do: [
          { '{{secret.token}}': {} },
          { fetch: { url: '{{secret.token}}', output: 'x' } },
          { emit: { event: '{{secret.token}} not a name / at all' } },
        ],
        output: 'done',
      },
      throws: {
        do: [
          { set: { name: 'x', value: '{{secret.token}}' } },
          { repeat: { on: 3, do: [{ emit: { event: '{{secret.token}}/not a name' } }] } },
          { 'nothing.{{x}}': {} },
        ],
      },
      breaks: {
        do: [
          { repeat: { on: '{{secret.token}}', do: [{ unknownThing: { a: '{{secret.token}}' } }] } },
          { unknownThing: { a: '{{secret.nested}}' } },
        ],
      },
      calls: { do: [{ uses: { given: '{{secret.token}}', inner: { a: '{{secret.nested.deep}}' } } }], output: 'done' },
    };
    const saved: string[] = [];
    for (const [slug, more] of Object.entries(automations)) {
      const { status } = await ask(owner, 'POST', `${at}/automations`, { name: slug, slug, when: { endpoint: true }, ...more });
      if (status === 200) saved.push(slug);
    }
    expect(saved).toEqual(expect.arrayContaining(['uses', 'fetches', 'throws', 'calls']));
    for (const slug of saved) {
      // Known to the runtime: what it answers then may well be that something it calls is not there.
      await eventually(async () => !/matching trigger/.test(JSON.stringify((await owner.post(`${at}/webhooks/${slug}`, {})).body)));
      const credentials = { authorization: `Bearer ${owner.token}`, 'x-prismeai-api-key': key.apiKey };
      await ask(owner, 'POST', `${at}/webhooks/${slug}?key=1`, { a: 1 }, credentials);
      await ask(owner, 'POST', `${at}/test/${slug}`, { payload: {} });
    }
    put('ownerToken', owner.token);
    await ask(client(platform.url), 'POST', `${at}/webhooks/uses`, {}, { cookie: `access-token=${owner.token}; other=1` });

    // ---- what is read back
    for (const path of [
      '',
      '/config',
      '/automations',
      '/automations/fetches',
      '/security',
      '/versions',
      '/status',
      '/export',
      '/triggers',
      '/runs',
      '/schedules',
      '/permissions',
      '/deadletters',
      '/files',
    ])
      await ask(owner, 'GET', `${at}${path}`);
    await ask(owner, 'POST', `${at}/versions`, { description: 'v' });
    await ask(owner, 'POST', '/workspaces/export', { workspaces: { query: { name: 'Canary' } } });
    const publishing = await ask(owner, 'POST', '/apps', {
      workspaceId: at.split('/').at(-1),
      slug: `canary-${Date.now().toString(36)}`,
      description: 'App',
    });
    await ask(owner, 'GET', `/apps/${publishing.body.slug}`);
    await ask(owner, 'POST', `${at}/versions/current/duplicate`, {});
    await ask(owner, 'PATCH', `${at}/security/secrets`, { 'not a name/': { value: put('refusedSecret') } });
    await ask(owner, 'PUT', `${at}/security/secrets`, { token: put('secretOfAnotherShape') });
    await ask(client(platform.url), 'GET', `${at}/security/secrets`);
    expect(Object.keys(canaries).length).toBeGreaterThan(20);
  });

  it('47: are in no answer but those that are made to show them', () => {
    expect(answers.map(({ what, text }) => [what, found(text, ['ownerToken'])]).filter(([, places]) => places?.length)).toEqual([]);
  });

  it('47: are in no event, trace or run of the platform', async () => {
    const admin = await signIn(platform.url, { email: ADMIN.email, password: canaries.adminPassword as string });
    // The history follows: everything that was sent is in it once nothing waits to be stored.
    await eventually(async () => expect((await expectOk(admin.get('/events/status'))).lag.entries).toBe(0), { timeoutMs: 30_000 });
    const { documents } = await expectOk(admin.post('/search', { query: { match_all: {} }, limit: 1000 }));
    expect(documents.length).toBeGreaterThan(50);
    const types = new Set(documents.map(({ type }: any) => type));
    for (const type of [
      'runtime.automations.executed',
      'runtime.fetch.failed',
      'error',
      'gateway.login.failed',
      'gateway.login.succeeded',
      'workspaces.secrets.updated',
      'apikeys.created',
    ])
      expect(types).toContain(type);
    for (const event of documents) expect([event.type, found(JSON.stringify(event))]).toEqual([event.type, []]);
    const ids = new Set<string>(documents.map(({ source }: any) => source.correlationId));
    for (const id of [...ids].slice(0, 40)) expect(found(JSON.stringify((await owner.get(`${at}/traces/${id}`)).body))).toEqual([]);
    expect(found((await owner.get(`${at}/events/export?format=csv`)).body)).toEqual([]);
    expect(found((await owner.get(`${at}/events/export`)).body)).toEqual([]);
    expect(found(JSON.stringify((await owner.get(`${at}/runs`)).body))).toEqual([]);
  });

  it('47: are in no line of the most talkative log', () => {
    const log = platform.nodes.flatMap(({ output }) => output).join('');
    expect(log.length).toBeGreaterThan(1_000);
    expect(found(log)).toEqual([]);
  });

  it('47: lie nowhere on disk but sealed, hashed, or in the folder of keys', () => {
    const hits: [string, string[]][] = [];
    for (const name of readdirSync(platform.dataDir, { recursive: true }) as string[]) {
      const path = join(platform.dataDir, name);
      if (name.startsWith('keys') || !statSync(path).isFile()) continue;
      const places = found(readFileSync(path).toString('latin1'));
      if (places.length > 0) hits.push([name, places]);
    }
    expect(hits).toEqual([]);
  });
});
