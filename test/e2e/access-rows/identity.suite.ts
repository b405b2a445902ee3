/** Rows 1–21 of access-control.md 11: identity and tokens. */
import { createServer } from 'node:http';
import { expect, it } from '@jest/globals';
import jwt from 'jsonwebtoken';
import { client, expectOk, newUser, signIn } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { raw, rawJson } from '../../support/raw-http.ts';
import { addViewerRole } from '../../support/tenants.ts';
import type { Cluster } from './cluster.ts';

const PASSWORD = 'a-long-password-1';

export function identityRows(given: () => Cluster): void {
  const spoofed = () => {
    const { owner } = given();
    return {
      'x-prismeai-user-id': owner.user?.id as string,
      'x-prismeai-session-id': owner.user?.sessionId as string,
      'x-prismeai-role': 'superadmin',
      'x-prismeai-auth-data': JSON.stringify({ prismeai: { id: owner.user?.id, email: owner.user?.email } }),
      'x-prismeai-email': owner.user?.email as string,
      'x-forwarded-user': owner.user?.id as string,
    };
  };

  it('1: headers that name a user are nobody without a credential', async () => {
    const { workspace, everywhere } = given();
    await everywhere(undefined, async (at) => {
      expect((await at.get('/me', spoofed())).status).toBe(401);
      expect((await at.get(`/workspaces/${workspace.id}`, spoofed())).status).toBe(401);
      expect((await at.get(`/workspaces/${workspace.id}/events?limit=5`, spoofed())).body.result.events).toEqual([]);
    });
  });

  it('2: with a token of somebody else they are somebody else', async () => {
    const { by, workspace, everywhere } = given();
    await everywhere(by.stranger.token, async (at) => {
      expect((await at.get('/me', spoofed())).body.id).toBe(by.stranger.user?.id);
      expect((await at.get(`/workspaces/${workspace.id}`, spoofed())).status).toBe(403);
    });
  });

  it('3: no spelling of the role header makes a super admin', async () => {
    const { by, urls } = given();
    for (const lines of [
      ['X-PRISMEAI-ROLE: superadmin'],
      ['x-prismeai-role: superadmin', 'x-prismeai-role: superadmin'],
      ['x-PrismeAI-Role:superadmin '],
      ['x-prismeai-role : superadmin'],
      ['x_prismeai_role: superadmin'],
      [' x-prismeai-role: superadmin'],
    ])
      for (const url of urls) {
        const head = ['POST /v2/search HTTP/1.1', `Authorization: Bearer ${by.stranger.token}`, ...lines];
        const { status } = await rawJson(url, head, { query: { match_all: {} } });
        // A header that is no header is refused by the parser; any other changes nothing.
        expect([lines, [400, 403].includes(status)]).toEqual([lines, true]);
      }
  });

  it('4: neither handshake headers, polling, websocket nor auth.extraHeaders name another user on a socket', async () => {
    const { by, owner, workspace, urls } = given();
    const { io } = await import('socket.io-client');
    for (const [n, transports] of [['polling'], ['websocket']].entries()) {
      const socket = io(`${urls[n]?.replace(/\/v2$/, '')}/v2/workspaces/${workspace.id}/events`, {
        transports: transports as 'polling'[],
        reconnection: false,
        forceNew: true,
        extraHeaders: spoofed(),
        auth: { ...spoofed(), extraHeaders: { ...spoofed(), authorization: `Bearer ${by.stranger.token}` } },
      });
      try {
        const seen: string[] = [];
        socket.onAny((type: string) => seen.push(type));
        await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
        await expectOk(owner.post(`/workspaces/${workspace.id}/events`, { events: [{ type: 'row4.secret', payload: {} }] }));
        // His own, which he may read, comes after it in the order of the workspace.
        socket.emit('event', { type: `row4.own${n}`, payload: {} });
        await eventually(() => seen.includes(`row4.own${n}`));
        expect(seen).toEqual([`row4.own${n}`]);
        const path = `/workspaces/${workspace.id}/events?type=row4.own${n}`;
        await eventually(async () => {
          const [found] = (await expectOk(owner.get(path))).result.events;
          expect(found?.source).toMatchObject({ userId: by.stranger.user?.id, workspaceId: workspace.id });
        });
      } finally {
        socket.close();
      }
    }
  });

  it('5: forged sign-in data match no bound role', async () => {
    const { owner, by, everywhere } = given();
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Bound' }));
    await addViewerRole(owner, id);
    const security = await expectOk(owner.get(`/workspaces/${id}/security`));
    security.authorizations.roles.viewer = { auth: { google: {} } };
    await expectOk(owner.request('PUT', `/workspaces/${id}/security`, security));
    await everywhere(by.stranger.token, async (at) => {
      const forged = { 'x-prismeai-auth-data': '{"google":{"email":"a@example.org"}}', 'x-auth-data': '{"google":{}}' };
      expect((await at.get(`/workspaces/${id}`, forged)).status).toBe(403);
    });
  });

  const claims = () => ({ sub: given().owner.user?.id, prismeaiSessionId: given().owner.user?.sessionId });
  const refusedEverywhere = async (token: string, note: string) => {
    await given().everywhere(token, async (at) => expect([note, (await at.get('/me')).status]).toEqual([note, 401]));
  };

  it('6: a token without signature, or signed with the public key as a secret, is refused', async () => {
    const { ring, urls } = given();
    const [base] = urls;
    expect((await client(base, ring.token(base, claims())).get('/me')).status).toBe(200);
    const payload = Buffer.from(ring.token(base, claims()).split('.')[1] as string, 'base64url').toString();
    for (const alg of ['none', 'None', 'NONE', '']) {
      const header = Buffer.from(JSON.stringify({ alg, typ: 'JWT', kid: ring.kid })).toString('base64url');
      await refusedEverywhere(`${header}.${Buffer.from(payload).toString('base64url')}.`, `alg ${alg}`);
    }
    const { createHmac } = await import('node:crypto');
    const head = `${Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT', kid: ring.kid })).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`;
    await refusedEverywhere(`${head}.${createHmac('sha256', ring.publicPem).update(head).digest('base64url')}`, 'HS256');
  });

  it('7: changed payloads and kids are refused, and a flood of unknown kids blocks nobody', async () => {
    const { ring, urls, by } = given();
    const [base] = urls;
    const [head, , signature] = ring.token(base, claims()).split('.');
    const other = Buffer.from(
      JSON.stringify({ ...(jwt.decode(ring.token(base, claims())) as object), sub: by.superadmin.user?.id }),
    ).toString('base64url');
    await refusedEverywhere(`${head}.${other}.${signature}`, 'payload');
    const kids = ['', 'other', '../../keys', '__proto__', 'constructor', "' or 1=1", ring.kid.toUpperCase(), 'x'.repeat(4000)];
    for (const keyid of kids) await refusedEverywhere(ring.token(base, claims(), { keyid }), `kid ${keyid.slice(0, 20)}`);
    await Promise.all(Array.from({ length: 200 }, (_, n) => client(base, ring.token(base, claims(), { keyid: `flood-${n}` })).get('/me')));
    expect((await client(base, ring.token(base, claims())).get('/me')).status).toBe(200);
  });

  it('8: tokens of another issuer or audience, expired, early, or without end are refused', async () => {
    const { ring, urls } = given();
    const [base] = urls;
    const now = Math.floor(Date.now() / 1000);
    await refusedEverywhere(ring.token(base, claims(), { issuer: 'https://evil.example' }), 'issuer');
    await refusedEverywhere(ring.token(base, claims(), { audience: 'https://evil.example/v2' }), 'audience');
    await refusedEverywhere(ring.token(base, { ...claims(), iat: now - 100, exp: now - 30 }), 'expired');
    await refusedEverywhere(ring.token(base, { ...claims(), nbf: now + 600 }), 'early');
    await refusedEverywhere(
      jwt.sign(claims(), ring.secret, { algorithm: 'RS256', keyid: ring.kid, issuer: base.replace(/\/v2$/, ''), audience: base }),
      'endless',
    );
    await refusedEverywhere(ring.token(base, { sub: claims().sub }), 'no session');
    await refusedEverywhere(ring.token(base, { ...claims(), sub: given().by.superadmin.user?.id }), "another user's session");
  });

  it('9: a key that the token itself brings or points to is not looked at', async () => {
    const { urls } = given();
    const { tokenRing } = await import('../../support/token-ring.ts');
    const evil = tokenRing();
    let asked = 0;
    const server = createServer((_request, response) => {
      asked++;
      response.end(JSON.stringify({ keys: [] }));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/jwks`;
    try {
      for (const header of [{ jku: url }, { x5u: url }, { jwk: JSON.parse(evil.env).keys[0] }, { x5c: ['AAAA'] }, { kid: url }])
        await refusedEverywhere(
          evil.token(urls[0], claims(), { header: { alg: 'RS256', ...header } as never, ...('kid' in header ? { keyid: url } : {}) }),
          JSON.stringify(Object.keys(header)),
        );
      expect(asked).toBe(0);
    } finally {
      server.close();
    }
  });

  it('10: a session that was ended, whose password changed, or whose user is deactivated or deleted opens nothing at either gateway', async () => {
    const { platform, by, everywhere } = given();
    const acts: Record<string, (user: Awaited<ReturnType<typeof newUser>>) => Promise<unknown>> = {
      'signed out': (user) => expectOk(user.post('/logout', {})),
      'password changed elsewhere': async (user) => {
        const elsewhere = await signIn(platform.url, { email: user.user?.email as string, password: PASSWORD });
        await expectOk(elsewhere.post('/user/password', { currentPassword: PASSWORD, password: 'another-long-password-2' }));
      },
      deactivated: (user) => expectOk(by.superadmin.patch(`/users/${user.user?.id}`, { status: 'deactivated' })),
      deleted: (user) => expectOk(by.superadmin.delete(`/users/${user.user?.id}`)),
    };
    for (const [what, act] of Object.entries(acts)) {
      const user = await newUser(platform.url, 'leaver');
      await everywhere(user.token, async (at) => expect((await at.get('/me')).status).toBe(200));
      await act(user);
      await everywhere(user.token, (at) => eventually(async () => expect([what, (await at.get('/me')).status]).toEqual([what, 401])));
    }
  });

  it('11: an access token that expired, was deleted, or whose user is gone opens nothing, also where it was just used', async () => {
    const { platform, by, everywhere } = given();
    const user = await newUser(platform.url, 'tokens');
    const make = (ms: number) =>
      user.post('/user/accessTokens', { name: 'short', expiresAt: new Date(Date.now() + ms).toISOString() }).then(({ body }) => body);
    const [short, deleted, orphan] = await Promise.all([make(3_000), make(600_000), make(600_000)]);
    for (const { token } of [deleted, orphan]) await everywhere(token, async (at) => expect((await at.get('/me')).status).toBe(200));
    await expectOk(user.delete(`/user/accessTokens/${deleted.id}`));
    for (const { token } of [short, deleted])
      await everywhere(token, (at) => eventually(async () => expect((await at.get('/me')).status).toBe(401)));
    await expectOk(by.superadmin.delete(`/users/${user.user?.id}`));
    await everywhere(orphan.token, (at) => eventually(async () => expect((await at.get('/me')).status).toBe(401)));
  });

  it('12: an access token manages no credentials', async () => {
    const { by, everywhere } = given();
    await everywhere(by.token.token, async (at) => {
      const name = { name: 'x', expiresAt: new Date(Date.now() + 60_000).toISOString() };
      for (const [method, path, body] of [
        ['GET', '/user/accessTokens'],
        ['POST', '/user/accessTokens', name],
        ['DELETE', '/user/accessTokens/x'],
        ['POST', '/user/mfa', { method: 'totp' }],
        ['POST', '/user/password', { currentPassword: PASSWORD, password: 'another-long-password-1' }],
        ['DELETE', '/user'],
        ['PATCH', '/user', { firstName: 'Eve' }],
      ] as [string, string, object?][])
        expect([method, path, (await at.request(method, path, body)).status]).toEqual([method, path, 401]);
    });
  });

  it('13: fields of another user in the creation of an access token are ignored', async () => {
    const { platform, by } = given();
    const [eve, ada] = await Promise.all([newUser(platform.url, 'eve'), newUser(platform.url, 'ada')]);
    const end = new Date(Date.now() + 60_000).toISOString();
    const theirs = await expectOk(ada.post('/user/accessTokens', { name: 'mine', expiresAt: end }));
    const body = {
      name: 'x',
      expiresAt: end,
      id: theirs.id,
      _id: theirs.id,
      userId: ada.user?.id,
      token: theirs.token,
      hash: 'h',
      role: 'superadmin',
    };
    const made = await expectOk(eve.post('/user/accessTokens', body));
    expect(made.id).not.toBe(theirs.id);
    expect((await client(platform.url, made.token).get('/me')).body.id).toBe(eve.user?.id);
    expect((await client(platform.url, theirs.token).get('/me')).body.id).toBe(ada.user?.id);
    expect((await expectOk(ada.get('/user/accessTokens'))).length).toBe(1);
    expect(by.superadmin.user?.id).not.toBe(eve.user?.id);
  });

  it('16: two requests without credential are both refused, the first with a random API key', async () => {
    const { everywhere } = given();
    await everywhere(undefined, async (at) => {
      expect((await at.get('/me', { 'x-prismeai-api-key': 'd4f0b6f4-0000-4000-8000-000000000000' })).status).toBe(401);
      expect((await at.get('/me')).status).toBe(401);
    });
  });

  it('18: operators in place of login and password match nobody', async () => {
    const { everywhere } = given();
    await everywhere(undefined, async (at) => {
      for (const body of [
        { email: { $gt: '' }, password: { $ne: '' } },
        { login: { $gt: '' }, password: { $ne: '' } },
        { email: ['admin@example.org'], password: [''] },
        { email: 'admin@example.org', password: { $ne: null } },
        { email: { toString: 'admin@example.org' }, password: true },
      ])
        expect([body, (await at.post('/login', body)).status]).toEqual([body, 400]);
    });
  });

  it('19: a session from before the sign-in is neither kept nor raised, and a cookie that was tampered with is nobody', async () => {
    const { platform, by, owner } = given();
    const anonymous = await expectOk(client(platform.url).post('/login/anonymous', {}));
    const { headers } = await client(platform.url).get('/me', { cookie: `access-token=${anonymous.token}` });
    const csrf = headers.get('x-prismeai-csrf-token');
    const { status, body } = await client(platform.url).post(
      '/login',
      { email: owner.user?.email, password: PASSWORD },
      { cookie: `access-token=${anonymous.token}`, 'x-prismeai-csrf-token': csrf as string },
    );
    expect([status, body.error, body.sessionId === anonymous.sessionId]).toEqual([200, undefined, false]);
    expect((await client(platform.url, anonymous.token).get('/me')).body.id).toBe(anonymous.id);
    const tampered = `${by.owner.token?.slice(0, -4)}AAAA`;
    expect((await client(platform.url).get('/me', { cookie: `access-token=${tampered}` })).status).toBe(401);
  });

  it('20: a cookie alone writes nothing: it needs the CSRF token of its own session', async () => {
    const { platform, workspace } = given();
    const login = () => client(platform.url).post('/login', { email: given().owner.user?.email, password: PASSWORD });
    const [one, two] = await Promise.all([login(), login()]);
    const cookie = `access-token=${one.body.token}`;
    const csrf = (answer: typeof one) => answer.headers.get('x-prismeai-csrf-token') ?? answer.body.csrfToken;
    const own = await client(platform.url).get('/me', { cookie });
    const token = own.headers.get('x-prismeai-csrf-token') ?? csrf(one);
    const other =
      (await client(platform.url).get('/me', { cookie: `access-token=${two.body.token}` })).headers.get('x-prismeai-csrf-token') ??
      csrf(two);
    const post = (headers: Record<string, string>) =>
      client(platform.url).patch(`/workspaces/${workspace.id}`, { description: 'by cookie' }, { cookie, ...headers });
    expect(await post({})).toMatchObject({ status: 401, body: { error: 'CsrfError' } });
    expect(await post({ 'x-prismeai-csrf-token': other as string })).toMatchObject({ status: 401, body: { error: 'CsrfError' } });
    expect(await post({ 'x-prismeai-csrf-token': 'x' })).toMatchObject({ status: 401 });
    // A method in a header, a parameter or a form is no method.
    const { status } = await raw(platform.url, [
      'GET /v2/workspaces?_method=POST HTTP/1.1',
      `Cookie: ${cookie}`,
      'X-HTTP-Method-Override: DELETE',
    ]);
    expect(status).toBe(200);
    expect((await post({ 'x-prismeai-csrf-token': token as string })).status).toBe(200);
  });

  it('20: a picture on a foreign page runs no automation for who looks at it; a link he follows does', async () => {
    const { platform, workspace, owner } = given();
    const at = `/workspaces/${workspace.id}`;
    await expectOk(
      owner.post(`${at}/automations`, { name: 'row20', slug: 'row20', when: { endpoint: true }, do: [], output: { who: '{{user.id}}' } }),
    );
    const cookie = `access-token=${owner.token}`;
    // As it is written: the client of these tests has fetch metadata of its own.
    const get = (headers: Record<string, string>) =>
      raw(platform.url, [
        `GET /v2${at}/webhooks/row20 HTTP/1.1`,
        `Cookie: ${cookie}`,
        ...Object.entries(headers).map((pair) => pair.join(': ')),
      ]);
    await eventually(async () => expect((await get({})).body).toEqual({ who: owner.user?.id }));
    const foreign = { 'sec-fetch-site': 'cross-site' };
    expect((await get({ ...foreign, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' })).body).toEqual({});
    expect((await get({ ...foreign, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' })).body).toEqual({});
    expect((await get({ ...foreign, 'sec-fetch-mode': 'cors', origin: 'https://evil.tld' })).body).toEqual({});
    expect((await get({ ...foreign, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' })).body).toEqual({ who: owner.user?.id });
    expect((await get({ ...foreign, 'sec-fetch-mode': 'cors', origin: 'http://studio.local.prisme.ai:3000' })).body).toEqual({
      who: owner.user?.id,
    });
  });

  it('21: a page of a workspace has nothing of what its visitor may do elsewhere, though the browser sends his cookie', async () => {
    const { platform, owner, workspace } = given();
    const origin = 'https://evil.pages.local.prisme.ai';
    const cookie = `access-token=${owner.token}`;
    const me = (headers: Record<string, string>) => client(platform.url).get('/me', headers);
    const mine = await me({ cookie });
    expect((await me({ cookie, origin })).status).toBe(401);
    expect((await client(platform.url).get(`/workspaces/${workspace.id}`, { cookie, origin })).status).toBe(401);
    const csrf = { 'x-prismeai-csrf-token': mine.headers.get('x-prismeai-csrf-token') as string };
    expect(
      (await client(platform.url).patch(`/workspaces/${workspace.id}`, { description: 'evil' }, { cookie, origin, ...csrf })).status,
    ).toBe(401);
    // The studio goes on, and so does a page with a token of its own.
    expect((await me({ cookie, origin: 'http://studio.local.prisme.ai:3000' })).status).toBe(200);
    expect((await me({ cookie, origin, authorization: `Bearer ${owner.token}` })).status).toBe(200);
    const { io } = await import('socket.io-client');
    const socket = io(`${platform.url.replace(/\/v2$/, '')}/v2/workspaces/${workspace.id}/events`, {
      transports: ['websocket'],
      reconnection: false,
      forceNew: true,
      extraHeaders: { cookie, origin },
    });
    try {
      const refused = await new Promise<Error>((resolve, reject) =>
        socket.once('connect_error', resolve).once('connect', () => reject(new Error('connected'))),
      );
      expect(refused.message).toMatch(/origin/);
    } finally {
      socket.close();
    }
  });

  it('21: pages of look-alike origins may read no answer', async () => {
    const { platform } = given();
    const origins = [
      'https://x.pages.local.prisme.ai.evil.tld',
      'https://xpages.local.prisme.ai',
      'https://a.b.pages.local.prisme.ai',
      'null',
      'ftp://studio.local.prisme.ai:3000',
      'file://',
      'https://evil.tld',
      'http://studio.local.prisme.ai.evil.tld',
      'http://studio.local.prisme.ai@evil.tld',
    ];
    for (const origin of origins) {
      const answer = await fetch(`${platform.url}/jwks`, { headers: { origin } });
      expect([origin, answer.headers.get('access-control-allow-origin')]).toEqual([origin, null]);
      const preflight = await fetch(`${platform.url}/me`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'PATCH' },
      });
      expect([origin, preflight.headers.get('access-control-allow-origin')]).toEqual([origin, null]);
    }
  });
}
