/** Signing in with OpenID Connect: the platform as provider for its own clients, through two gateways, and outside providers for its people. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { Secret, TOTP } from 'otpauth';
import { fault } from '../../mixins/shared/errors.ts';
import { type Browser, browser } from '../support/browser.ts';
import { client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';
import { freePort } from '../support/redis.ts';

const PASSWORD = 'a-long-password-1';
const STUDIO = 'http://studio.example.test:3000';

/** The one action of the workspaces service that the provider asks. */
const workspaces = {
  name: 'workspaces',
  actions: {
    resolve: {
      visibility: 'public',
      identity: 'system',
      handler(ctx: any) {
        if (ctx.params.workspaceId !== 'w1') throw fault('ObjectNotFoundError');
        return { id: 'w1', slug: 'shop', name: 'Shop', customDomains: ['shop.example.org'] };
      },
    },
  },
};

interface Flow {
  clientId: string;
  redirectUri: string;
  scope: string;
  verifier: string;
}

const flowOf = (clientId: string, redirectUri: string, scope = 'openid profile email settings offline_access'): Flow => ({
  clientId,
  redirectUri,
  scope,
  verifier: randomBytes(32).toString('base64url'),
});

function authUrl(base: string, { clientId, redirectUri, scope, verifier }: Flow, more: Record<string, string> = {}): string {
  const url = new URL(`${base}/oidc/auth`);
  url.search = new URLSearchParams({
    response_type: 'code',
    response_mode: 'query',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope,
    state: 'xyz',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...more,
  }).toString();
  return url.href;
}

let gateways: Gateways;
let base: string;
let studio: Flow;
/** Sends each request to the next gateway. */
let balanced: (url: string) => string;

beforeAll(async () => {
  gateways = await startGateways(
    { count: 2, services: [workspaces as never] },
    { consoleUrl: [STUDIO], oidcRegistrationToken: 'may-register' },
  );
  base = gateways.url.replace(/\/v2$/, '');
  const bases = gateways.nodes.map(({ url }) => url.replace(/\/v2$/, ''));
  let turn = 0;
  balanced = (url) => (url.startsWith(base) ? url.replace(base, bases[turn++ % bases.length] as string) : url);
});
afterAll(() => gateways?.stop());

const newFlow = () => flowOf('local-client-id', `${STUDIO}/signin`);

/** From the authorisation request to the code, as the SDK does it. */
async function codeFor(tab: Browser, flow: Flow, login: { login: string; password: string; totp?: string }): Promise<string> {
  const asked = await tab.go(authUrl(base, flow));
  const interaction = new URL(asked.location as string).searchParams.get('interaction') as string;
  const done = await tab.go(`${base}/oidc/interaction/${interaction}/login`, { method: 'POST', form: { interaction, ...login } });
  expect(done.status).toBe(303);
  const back = await tab.follow(done.location as string, flow.redirectUri);
  const url = new URL(back.url);
  expect(url.searchParams.get('state')).toBe('xyz');
  return url.searchParams.get('code') as string;
}

async function exchange(tab: Browser, { clientId, redirectUri, verifier }: Flow, code: string) {
  const step = await tab.go(`${base}/oidc/token`, {
    method: 'POST',
    form: { grant_type: 'authorization_code', code, code_verifier: verifier, client_id: clientId, redirect_uri: redirectUri },
  });
  return { status: step.status, body: JSON.parse(step.text) };
}

describe('25.1 sign-in of a client, with cookie and with bearer', () => {
  it('works through two gateways in turn, as the SDK does it', async () => {
    const person = await newUser(gateways.url, 'sdk');
    const tab = browser(balanced);
    studio = newFlow();
    const asked = await tab.go(authUrl(base, studio, { locale: 'fr' }));
    const page = new URL(asked.location as string);
    expect(page.origin + page.pathname).toBe(`${STUDIO}/fr/signin`);

    const code = await codeFor(tab, studio, { login: person.user?.email as string, password: PASSWORD });
    const { status, body } = await exchange(tab, studio, code);

    expect(status).toBe(200);
    expect(body).toMatchObject({
      token_type: 'Bearer',
      expires_in: expect.any(Number),
      id_token: expect.any(String),
      refresh_token: expect.any(String),
    });
    for (const { url } of gateways.nodes) {
      const me = await client(url, body.access_token).get('/me');
      expect(me).toMatchObject({ status: 200, body: { id: person.user?.id, sessionId: decodeJwt(body.access_token).prismeaiSessionId } });
    }
    const byCookie = await client(gateways.nodes[1]?.url as string).get('/me', {
      cookie: `access-token=${tab.cookies.get('access-token')}`,
    });
    expect(byCookie.status).toBe(200);
    expect(byCookie.headers.get('x-prismeai-csrf-token')).toMatch(/.{20}/);
    await eventually(() =>
      gateways.ofType('gateway.login.succeeded').some((event) => (event.payload as any).session.id === byCookie.body.sessionId),
    );
  });

  it('gives an id token that names issuer, client and person, signed by a published key', async () => {
    const person = await newUser(gateways.url, 'idtoken');
    const tab = browser(balanced);
    const flow = newFlow();
    const { body } = await exchange(tab, flow, await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD }));
    const jwks = JSON.parse((await tab.go(`${base}/oidc/jwks`)).text);
    const { payload } = await jwtVerify(body.id_token, createLocalJWKSet(jwks), {
      issuer: base,
      audience: 'local-client-id',
      algorithms: ['RS256'],
    });
    expect(payload).toMatchObject({ sub: person.user?.id, email: person.user?.email, firstName: 'Ada', given_name: 'Ada', mfa: 'none' });
    const { payload: access } = await jwtVerify(body.access_token, createLocalJWKSet(jwks), { issuer: base, audience: gateways.url });
    expect(access.sub).toBe(person.user?.id);
  });

  it('lets the client stay with its refresh token, once per token', async () => {
    const person = await newUser(gateways.url, 'refresh');
    const tab = browser(balanced);
    const flow = newFlow();
    const { body } = await exchange(tab, flow, await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD }));
    const refresh = (token: string) =>
      tab.go(`${base}/oidc/token`, {
        method: 'POST',
        form: { grant_type: 'refresh_token', refresh_token: token, client_id: flow.clientId },
      });
    const first = await refresh(body.refresh_token);
    const renewed = JSON.parse(first.text);
    expect(first.status).toBe(200);
    expect((await client(gateways.url, renewed.access_token).get('/me')).body.id).toBe(person.user?.id);
    expect((await refresh(body.refresh_token)).status).toBe(400);
  });

  it('23: uses a code once, also when two exchanges arrive at once at two gateways', async () => {
    const person = await newUser(gateways.url, 'twice');
    const tab = browser(balanced);
    const flow = newFlow();
    const code = await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD });
    const outcomes = await Promise.all([exchange(tab, flow, code), exchange(tab, flow, code)]);
    expect(outcomes.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
    expect((await exchange(tab, flow, code)).status).toBe(400);
  });

  it('22, 23: refuses a code without its verifier, a foreign address to return to, and a client nobody knows', async () => {
    const person = await newUser(gateways.url, 'wrong');
    const tab = browser(balanced);
    const flow = newFlow();
    const code = await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD });
    expect((await exchange(tab, { ...flow, verifier: 'x'.repeat(43) }, code)).status).toBe(400);
    for (const wrong of [
      { ...newFlow(), redirectUri: 'https://evil.example.com/signin' },
      { ...newFlow(), clientId: 'nobody' },
    ]) {
      const step = await tab.go(authUrl(base, wrong));
      expect(step.status).toBe(400);
      expect(step.location).toBeUndefined();
      expect(step.text).not.toContain('node_modules');
    }
  });

  it('answers wrong credentials in the shape of the platform, and locks nobody else in', async () => {
    const tab = browser(balanced);
    const asked = await tab.go(authUrl(base, newFlow()));
    const uid = new URL(asked.location as string).searchParams.get('interaction');
    const post = (form: Record<string, string>, who = tab) => who.go(`${base}/oidc/interaction/${uid}/login`, { method: 'POST', form });
    const wrong = await post({ login: 'nobody@example.org', password: 'wrong-password' });
    expect(wrong.status).toBe(401);
    expect(JSON.parse(wrong.text)).toMatchObject({ error: 'AuthenticationError', message: 'Incorrect email or password.' });
    expect((await post({ 'login[$ne]': '', password: 'x' })).status).toBe(400);
    // Another browser cannot finish it.
    const person = await newUser(gateways.url, 'other');
    expect((await post({ login: person.user?.email as string, password: PASSWORD }, browser(balanced))).status).toBe(400);
  });

  it('proves a second factor on the way', async () => {
    const person = await newUser(gateways.url, 'factor');
    const { secret } = await expectOk(person.post('/user/mfa', { method: 'totp', currentPassword: PASSWORD }));
    const code = (step: number) => new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + step * 30_000 });
    await expectOk(person.post('/login/mfa', { totp: code(0) }));
    const login = { login: person.user?.email as string, password: PASSWORD };

    const [without, withCode] = [browser(balanced), browser(balanced)];
    const [one, two] = [newFlow(), newFlow()];
    const weak = await exchange(without, one, await codeFor(without, one, login));
    expect((await client(gateways.url, weak.body.access_token).get('/me')).body.error).toBe('MissingMFA');
    const strong = await exchange(withCode, two, await codeFor(withCode, two, { ...login, totp: code(1) }));
    expect((await client(gateways.url, strong.body.access_token).get('/me')).status).toBe(200);
  });
});

describe('a page of a workspace', () => {
  it('signs its visitors in at its own address, for less than the studio may do', async () => {
    const person = await newUser(gateways.url, 'visitor');
    const tab = browser(balanced);
    const flow = flowOf('w1', 'http://shop.pages.local.prisme.ai:3100/signin', 'openid email webhooks events:read workspaces:write');
    const asked = await tab.go(authUrl(base, flow));
    expect(asked.location).toMatch(/^http:\/\/shop\.pages\.local\.prisme\.ai:3100\/signin\?interaction=/);

    const { body } = await exchange(tab, flow, await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD }));

    expect(body.scope.split(' ')).toEqual(expect.arrayContaining(['webhooks', 'events:read']));
    expect(body.scope).not.toContain('workspaces:write');
    const page = client(gateways.url, body.access_token);
    expect((await page.get('/me')).status).toBe(200);
    expect((await page.post('/workspaces', { name: 'Mine now' })).body).toMatchObject({
      error: 'ForbiddenError',
      details: { scope: 'workspaces:write' },
    });
    expect((await page.patch('/user', { firstName: 'Eve' })).status).toBe(403);
    // A later sign-in at the studio is not narrowed by it.
    const studioTab = browser(balanced);
    const wide = newFlow();
    const again = await exchange(
      studioTab,
      wide,
      await codeFor(studioTab, wide, { login: person.user?.email as string, password: PASSWORD }),
    );
    expect((await client(gateways.url, again.body.access_token).patch('/user', { firstName: 'Ada' })).status).toBe(200);
  });

  it('may return to a domain of the workspace, and to no other', async () => {
    const tab = browser(balanced);
    expect((await tab.go(authUrl(base, flowOf('w1', 'http://shop.example.org/signin')))).status).toBe(303);
    expect((await tab.go(authUrl(base, flowOf('w1', 'http://other.example.org/signin')))).status).toBe(400);
  });
});

describe('25.9 signing out', () => {
  it('ends the session at every gateway at once, whatever token is left', async () => {
    const person = await newUser(gateways.url, 'leaver');
    const tab = browser(balanced);
    const flow = newFlow();
    const { body } = await exchange(tab, flow, await codeFor(tab, flow, { login: person.user?.email as string, password: PASSWORD }));
    for (const { url } of gateways.nodes) expect((await client(url, body.access_token).get('/me')).status).toBe(200);

    const form = await tab.go(
      `${base}/oidc/session/end?client_id=local-client-id&post_logout_redirect_uri=${encodeURIComponent(`${STUDIO}/signin`)}`,
    );
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(form.text)?.[1] as string;
    expect(form.headers.get('content-security-policy')).toContain("script-src 'sha256-");
    const done = await tab.go(`${base}/oidc/session/end/confirm`, { method: 'POST', form: { xsrf, logout: 'yes' } });

    expect(done.location).toBe(`${STUDIO}/signin`);
    expect(tab.cookies.has('access-token')).toBe(false);
    for (const { url } of gateways.nodes) await eventually(async () => (await client(url, body.access_token).get('/me')).status === 401);
    const refreshed = await tab.go(`${base}/oidc/token`, {
      method: 'POST',
      form: { grant_type: 'refresh_token', refresh_token: body.refresh_token, client_id: flow.clientId },
    });
    expect(refreshed.status).toBe(400);
  });
});

describe('25.7 rotation of keys', () => {
  it('signs with the new key on both gateways, accepts the old one until it is revoked, and then nothing it signed', async () => {
    const admin = await gateways.admin();
    const before = await newUser(gateways.url, 'old-key');
    const [a, b] = gateways.nodes.map(({ url }) => url) as [string, string];
    const kidOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid as string;
    const oldKid = kidOf(before.token as string);

    const { created } = await expectOk(admin.post('/jwks/rotate'));
    for (const url of [a, b]) {
      await eventually(async () => {
        const fresh = await expectOk(client(url).post('/login/anonymous', {}));
        expect(kidOf(fresh.token)).toBe(created[0]);
      });
      expect((await client(url, before.token).get('/me')).status).toBe(200);
    }
    const tab = browser(balanced);
    const flow = newFlow();
    const { body } = await exchange(tab, flow, await codeFor(tab, flow, { login: before.user?.email as string, password: PASSWORD }));
    expect(kidOf(body.access_token)).toBe(created[0]);

    expect((await before.post('/jwks/rotate')).status).toBe(403);
    const again = await gateways.admin();
    await expectOk(again.delete(`/jwks/${oldKid}`));
    for (const url of [a, b]) await eventually(async () => (await client(url, before.token).get('/me')).status === 401);
    expect((await client(b, body.access_token).get('/me')).status).toBe(200);
    expect((await again.delete('/jwks/unknown')).status).toBe(404);
  });
});

describe('clients that register themselves', () => {
  it('24: need the token of the installation, and sign people in as the others', async () => {
    const tab = browser(balanced);
    const metadata = {
      redirect_uris: ['https://app.example.com/back'],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      response_types: ['code'],
    };
    const register = (token: string) =>
      fetch(`${base}/oidc/reg`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(metadata),
      });
    expect((await register('guess')).status).toBe(401);
    const { client_id } = (await (await register('may-register')).json()) as { client_id: string };
    expect((await tab.go(authUrl(base, flowOf(client_id, 'https://app.example.com/back', 'openid')))).status).toBe(303);
  });

  it('find what the provider speaks in its discovery document', async () => {
    for (const path of ['/.well-known/openid-configuration', '/oidc/.well-known/openid-configuration']) {
      const found = JSON.parse((await browser(balanced).go(`${base}${path}`)).text);
      expect(found).toMatchObject({ issuer: base, token_endpoint: `${base}/oidc/token`, jwks_uri: `${base}/oidc/jwks` });
      expect(found.id_token_signing_alg_values_supported).toEqual(['RS256']);
    }
  });
});

describe('an outside provider', () => {
  let outside: { url: string; server: Server; people: Map<string, Record<string, unknown>> };
  let house: Gateways;
  let folder: string;
  let houseBase: string;

  /** A provider of its own on loopback, with its own keys, store and sign-in page: nothing of the platform is in it. */
  async function startOutside() {
    const { default: Provider } = await import('oidc-provider');
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const people = new Map<string, Record<string, unknown>>();
    const provider = new Provider(url, {
      clients: [
        {
          client_id: 'platform',
          client_secret: 'between-us',
          redirect_uris: [`${houseBase}/v2/login/callback`],
          token_endpoint_auth_method: 'client_secret_post',
        },
      ],
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['given_name', 'family_name'] },
      conformIdTokenClaims: false,
      cookies: { keys: ['outside'] },
      findAccount: (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, ...people.get(sub) }) }),
      features: { devInteractions: { enabled: true } },
    });
    const server = createServer(provider.callback());
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', () => done()));
    return { url, server, people };
  }

  beforeAll(async () => {
    const port = await freePort();
    houseBase = `http://127.0.0.1:${port}`;
    outside = await startOutside();
    folder = mkdtempSync(join(tmpdir(), 'prisme-providers-'));
    const file = join(folder, 'providers.yml');
    writeFileSync(
      file,
      `providers:\n  corp:\n    type: oidc\n    name: Corp\n    domains: [corp.example]\n    config: { issuer: "${outside.url}", client_id: platform, client_secret: between-us }\n`,
    );
    house = await startGateways({}, { port, apiUrl: `${houseBase}/v2`, authProvidersFile: file, consoleUrl: [STUDIO] });
  });
  afterAll(async () => {
    await house?.stop();
    outside?.server.closeAllConnections();
    outside?.server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Through the outside provider's own pages, to where they lead back. */
  async function signInOutside(tab: Browser, sub: string, start = `${houseBase}/v2/login?provider=corp`) {
    let step = await tab.follow(start);
    for (let page = 0; page < 2; page++) {
      const action = new URL(/action="([^"]+)"/.exec(step.text)?.[1] as string, step.url).href;
      const prompt = /name="prompt" value="([^"]+)"/.exec(step.text)?.[1] as string;
      const posted = await tab.go(action, {
        method: 'POST',
        form: { prompt, ...(prompt === 'login' ? { login: sub, password: 'any' } : {}) },
      });
      step = await stop(tab, posted.location as string);
      if (step.url.startsWith(STUDIO) || step.status >= 400) return step;
    }
    return step;
  }

  async function stop(tab: Browser, url: string) {
    return tab.follow(url, STUDIO);
  }

  it('opens an account at the first sign-in and the same one at the next, proving state, nonce and PKCE', async () => {
    outside.people.set('alice', { email: 'alice@corp.example', email_verified: true, given_name: 'Alice', family_name: 'Liddell' });
    const tab = browser();
    const first = await signInOutside(tab, 'alice');
    expect(first.url).toBe(`${STUDIO}/`);
    const me = () => client(`${houseBase}/v2`).get('/me', { cookie: `access-token=${tab.cookies.get('access-token')}` });
    const one = await expectOk(me());
    expect(one).toMatchObject({
      email: 'alice@corp.example',
      firstName: 'Alice',
      lastName: 'Liddell',
      status: 'validated',
      authData: { corp: { id: 'alice' } },
    });

    const other = browser();
    await signInOutside(other, 'alice');
    const two = await expectOk(client(`${houseBase}/v2`).get('/me', { cookie: `access-token=${other.cookies.get('access-token')}` }));
    expect(two.id).toBe(one.id);
    expect(two.sessionId).not.toBe(one.sessionId);
  });

  it('is the way into a sign-in that a client of the platform has begun', async () => {
    outside.people.set('bob', { email: 'bob@corp.example', email_verified: true });
    const tab = browser();
    const flow = newFlow();
    const asked = await tab.go(authUrl(houseBase, flow));
    expect(new URL(asked.location as string).searchParams.get('interaction')).toBeTruthy();

    const back = await signInOutside(tab, 'bob');

    const code = new URL(back.url).searchParams.get('code') as string;
    const step = await tab.go(`${houseBase}/oidc/token`, {
      method: 'POST',
      form: {
        grant_type: 'authorization_code',
        code,
        code_verifier: flow.verifier,
        client_id: flow.clientId,
        redirect_uri: flow.redirectUri,
      },
    });
    expect((await expectOk(client(`${houseBase}/v2`, JSON.parse(step.text).access_token).get('/me'))).email).toBe('bob@corp.example');
  });

  it('25: takes no account over that has the same address, unless it vouches for it; and then no foreign password stays', async () => {
    const victim = await newUser(`${houseBase}/v2`, 'victim');
    const email = victim.user?.email as string;
    outside.people.set('mallory', { email, email_verified: false });
    expect((await signInOutside(browser(), 'mallory')).status).toBe(401);
    expect((await victim.get('/me')).status).toBe(200);

    outside.people.set('owner', { email, email_verified: true });
    expect((await signInOutside(browser(), 'owner')).url).toBe(`${STUDIO}/`);
    // The account had been made with an address nobody had proven: who made it is out.
    expect((await victim.get('/me')).status).toBe(401);
    expect((await client(`${houseBase}/v2`).post('/login', { email, password: PASSWORD })).status).toBe(401);
  });

  it('25: cannot be replayed, nor finished in another browser, nor asked for by a name nobody configured', async () => {
    outside.people.set('carol', { email: 'carol@corp.example', email_verified: true });
    const [tab, other] = [browser(), browser()];
    const begun = await tab.go(`${houseBase}/v2/login?provider=corp`);
    const state = new URL(begun.location as string).searchParams.get('state') as string;
    const callback = `${houseBase}/v2/login/callback?code=x&state=${state}`;
    expect((await other.go(callback)).status).toBe(400);
    // The right browser with a code the provider did not give: refused, and the state is used up.
    expect((await tab.go(callback)).status).toBe(401);
    expect((await tab.go(callback)).status).toBe(400);
    expect((await tab.go(`${houseBase}/v2/login?provider=nobody`)).status).toBe(400);
    await eventually(() => house.ofType('gateway.login.failed').some((event) => (event.payload as any).provider === 'corp'));
  });

  it('is listed for sign-in pages, and found by the domain of an address', async () => {
    const api = client(`${houseBase}/v2`);
    expect(await expectOk(api.get('/login/providers'))).toMatchObject({
      localSignin: true,
      providers: [{ slug: 'corp', type: 'oidc', name: 'Corp' }],
    });
    expect(await expectOk(api.get('/login?domain=corp.example'))).toEqual({ provider: 'corp' });
    expect(await expectOk(api.get('/login?domain=elsewhere.example'))).toEqual({ provider: 'local' });
  });
});
