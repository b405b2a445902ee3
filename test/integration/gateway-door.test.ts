/** The door itself, at a public port: policies of the configuration file, limits, hygiene, spoofing, validation, errors, draining. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { type Deadlines, openDeadlines } from '../../services/gateway/deadlines.ts';
import { routes } from '../../services/gateway/routes/index.ts';
import { client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';
import { freePort } from '../support/redis.ts';

const STUDIO = 'https://studio.example.org';

/** What each action got; every published action of the table is answered by it. */
const calls: { action: string; params: any; identity: any }[] = [];
const failures = new Map<string, () => unknown>();
const LISTS = new Set(['workspaces.list', 'events.emit']);

function recorders() {
  const byService = new Map<string, string[]>();
  for (const { action } of routes) {
    const at = action.lastIndexOf('.');
    const [service, name] = [action.slice(0, at), action.slice(at + 1)];
    if (['identity', 'accounts', 'users', 'mfa', 'accessTokens', 'tokens', 'contacts'].includes(service)) continue;
    byService.set(service, [...(byService.get(service) ?? []), name]);
  }
  return [...byService].map(([name, actions]) => ({
    name,
    actions: Object.fromEntries(
      [...new Set(actions), ...(name === 'runtime' ? ['cancel'] : [])].map((action) => [
        action,
        {
          visibility: 'published',
          identity: 'optional',
          handler(ctx: any) {
            calls.push({ action: `${name}.${action}`, params: ctx.params, identity: ctx.meta.identity });
            const fail = failures.get(`${name}.${action}`);
            if (fail) return fail();
            const answer = { id: 'x', name: 'x', type: 'x', createdAt: 'x' };
            return LISTS.has(`${name}.${action}`) ? [answer] : answer;
          },
        },
      ]),
    ),
  }));
}

/** A service outside the cluster that tells what it was asked. */
async function startTarget() {
  const asked: { url: string; headers: Record<string, any>; body: string }[] = [];
  const server: Server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      asked.push({ url: request.url as string, headers: request.headers, body: Buffer.concat(chunks).toString() });
      if (request.url?.includes('redirect')) response.writeHead(302, { location: 'http://127.0.0.1:1/inner' }).end();
      else if (request.url?.includes('silent')) return;
      else if (request.url?.includes('stream')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: one\n\n');
        // Ends when the client has seen the first part.
        server.once('go-on', () => response.end('data: two\n\n'));
      } else response.writeHead(200, { 'content-type': 'text/plain', 'x-target': 'yes' }).end('from the target');
    });
  });
  server.on('upgrade', (request, socket) => {
    asked.push({ url: request.url as string, headers: request.headers, body: '' });
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    socket.on('data', (chunk: Buffer) => socket.write(`echo ${chunk}`));
    socket.on('error', () => {});
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()));
  return { server, asked, url: `http://127.0.0.1:${(server.address() as { port: number }).port}` };
}

/** Bytes as they are, and what comes back until the connection ends or the answer holds `until`. */
function raw(url: string, text: string, until?: string): Promise<string> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => {
      answer += chunk;
      if (until && answer.includes(until)) socket.destroy();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

let gateways: Gateways;
let target: Awaited<ReturnType<typeof startTarget>>;
let folder: string;
let file: string;
let deadPort: number;

const configuration = (limit: number) => `
services:
  target: { url: "${target.url}/base" }
  dead: { url: "http://127.0.0.1:${deadPort}" }
  history: { moleculer: events }
endpoints:
  open: { path: "/outside/open*" }
  closed: { path: "/outside/closed*" }
  dead: { path: "/outside/dead" }
  socket: { path: "/outside/socket" }
  narrowed: { path: "/v2/workspaces/narrowed*" }
pipelines:
  - name: open
    endpoints: [open]
    policies:
      - blacklist: { paths: ["forbidden"] }
      - rateLimit: { name: outside, key: ip, window: 3600, limit: ${limit} }
      - authentication: { optional: true }
      - proxy: { service: target, timeout: 400, pathRewrite: { "^/outside": "" } }
  - name: closed
    endpoints: [closed, dead]
    policies:
      - match: { paths: ["/outside/dead"] }
        proxy: { service: dead }
      - authentication: { csrf: { validateToken: true, includeToken: true } }
      - proxy: { service: target }
  - name: socket
    endpoints: [socket]
    policies:
      - authentication: {}
      - proxy: { service: target, websockets: true }
  - name: narrowed
    endpoints: [narrowed]
    policies:
      - authentication: {}
      - proxy: { service: history }
limits:
  createWorkspace: { limit: 2 }
`;

beforeAll(async () => {
  target = await startTarget();
  deadPort = await freePort();
  folder = mkdtempSync(join(tmpdir(), 'prisme-door-'));
  file = join(folder, 'gateway.yml');
  writeFileSync(file, configuration(1000));
  gateways = await startGateways(
    { count: 2, services: recorders() as never },
    {
      gatewayConfig: file,
      consoleUrl: [STUDIO],
      rateLimitDisabled: false,
      rateAnonymous: 1000,
      rateSignup: 1000,
      requestMaxBytes: 2000,
      uploadMaxBytes: 5000,
      internalApiKey: 'inner-key',
    },
  );
});
afterAll(async () => {
  await gateways?.stop();
  target?.server.closeAllConnections();
  target?.server.close();
  rmSync(folder, { recursive: true, force: true });
});

const lastCall = () => calls.at(-1) as (typeof calls)[number];
const base = () => gateways.url.replace(/\/v2$/, '');

describe('policies of the configuration file', () => {
  it('hand a request on to an address, with what the gateway knows and without what it accepted', async () => {
    const person = await newUser(gateways.url, 'proxied');
    const answer = await client(base(), person.token).request('POST', '/outside/open/a?x=1&x=2', '{"n":1}', {
      'x-prismeai-user-id': 'somebody-else',
      'x-prismeai-role': 'superadmin',
      cookie: 'access-token=stolen; theme=dark',
    });

    expect(answer).toMatchObject({ status: 200, body: 'from the target' });
    expect(answer.headers.get('x-target')).toBe('yes');
    const { url, headers, body } = target.asked.at(-1) as (typeof target.asked)[number];
    expect({ url, body }).toEqual({ url: '/base/open/a?x=1&x=2', body: '{"n":1}' });
    expect(headers['x-correlation-id']).toBe(answer.headers.get('x-correlation-id'));
    expect(headers.cookie).toBe('theme=dark');
    expect(headers['x-prismeai-role']).toBeUndefined();
    expect(headers.authorization).toBeUndefined();
    // The cookie wins over the bearer, and is no session: nobody is known.
    expect(headers['x-prismeai-user-id']).toBeUndefined();
    await client(base(), person.token).get('/outside/open/b');
    expect(target.asked.at(-1)?.headers['x-prismeai-user-id']).toBe(person.user?.id);
  });

  it('ask for a session where the file says so, and for its CSRF token with a cookie', async () => {
    expect((await client(base()).get('/outside/closed')).body).toMatchObject({ error: 'AuthenticationError' });
    const visitor = await expectOk(gateways.client().post('/login/anonymous', {}));
    const cookie = { cookie: `access-token=${visitor.token}` };
    const read = await client(base()).get('/outside/closed', cookie);
    expect(read.status).toBe(200);
    const csrf = read.headers.get('x-prismeai-csrf-token') as string;
    expect((await client(base()).post('/outside/closed', {}, cookie)).body.error).toBe('CsrfError');
    expect((await client(base()).post('/outside/closed', {}, { ...cookie, 'x-prismeai-csrf-token': csrf })).status).toBe(200);
  });

  it('refuse what is blacklisted, and tell of targets that are silent, dead or elsewhere', async () => {
    expect((await client(base()).get('/outside/open/x?forbidden')).body).toMatchObject({ error: 'ForbiddenError', message: 'Blacklisted' });
    expect((await client(base()).get('/outside/open/silent')).body).toMatchObject({ error: 'TimeoutError', details: { timeout: 400 } });
    expect((await client(base()).get('/outside/dead')).body.error).toBe('UpstreamUnavailable');
    const redirected = await fetch(`${base()}/outside/open/redirect`, { redirect: 'manual' });
    expect([redirected.status, redirected.headers.get('location')]).toEqual([302, 'http://127.0.0.1:1/inner']);
    expect((await client(base()).post('/outside/open', 'x'.repeat(6000), { 'content-type': 'text/plain' })).status).toBe(413);
  });

  it('pass a stream on as it comes', async () => {
    const answer = await fetch(`${base()}/outside/open/stream`);
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    expect(first).toBe('data: one\n\n');
    target.server.emit('go-on');
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: two\n\n');
  });

  it('hand an upgrade on from the first moment, to who may, and refuse every other', async () => {
    const person = await newUser(gateways.url, 'upgrader');
    const upgrade = (path: string, headers: string, then = '') =>
      raw(base(), `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n${headers}\r\n${then}`, 'echo hello');
    expect(await upgrade('/outside/socket', `authorization: Bearer ${person.token}\r\nx-prismeai-user-id: spoofed\r\n`, 'hello')).toContain(
      'echo hello',
    );
    expect(target.asked.at(-1)?.headers).toMatchObject({ 'x-prismeai-user-id': person.user?.id });
    expect(await upgrade('/outside/socket', '')).toMatch(/^HTTP\/1.1 401/);
    expect(await upgrade('/outside/socket', `authorization: Bearer ${person.token}\r\norigin: https://evil.example.com\r\n`)).toMatch(
      /^HTTP\/1.1 403/,
    );
    expect(await upgrade('/v2/me', '')).toMatch(/^HTTP\/1.1 404/);
  });

  it('lead to the routes of one service of the cluster, whose own policies hold all the same', async () => {
    const person = await newUser(gateways.url, 'narrow');
    expect((await person.get('/workspaces/narrowed/events')).status).toBe(200);
    expect(lastCall().action).toBe('events.find');
    expect((await person.get('/workspaces/narrowed')).status).toBe(404);
    expect((await gateways.client().get('/workspaces/narrowed/events')).status).toBe(401);
  });

  it('change limits of the platform by name', async () => {
    const person = await newUser(gateways.url, 'limited');
    const create = () => person.post('/workspaces', { name: 'x' });
    expect([(await create()).status, (await create()).status, (await create()).status]).toEqual([200, 200, 429]);
  });

  it('change while the gateway works; a file with a mistake is named and changes nothing', async () => {
    const { broker } = gateways.nodes[0] as (typeof gateways.nodes)[number];
    writeFileSync(file, configuration(1000).replace('limit: 1000', 'limit: none'));
    const reload = () =>
      broker.call(
        'gateway.reload',
        {},
        { meta: { identity: identityKeysOf(broker).sign({ kind: 'system', service: 'console', correlationId: 'c' }) } },
      );
    await expect(reload()).rejects.toMatchObject({
      type: 'ConfigurationError',
      message: expect.stringContaining("'pipelines.0.policies.1.rateLimit.limit' must be a number"),
    });
    expect((await client(base()).get('/outside/open')).status).toBe(200);

    writeFileSync(file, `${configuration(1000)}\n`.replace('open*"', 'renamed*"'));
    process.emit('SIGHUP');
    expect((await client(base()).get('/outside/open')).status).toBe(404);
    expect((await client(base()).get('/outside/renamed')).status).toBe(200);
    writeFileSync(file, configuration(1000));
    await reload();
  });

  it('with a mistake stop the start, and say which key', async () => {
    const wrong = join(folder, 'wrong.yml');
    writeFileSync(wrong, 'pipelines: [{ name: x, endpoints: [nowhere], policies: [{ authentication: {} }] }]');
    await expect(startGateways({}, { gatewayConfig: wrong })).rejects.toThrow("'pipelines.0.endpoints.0' there is no endpoint 'nowhere'");
  });
});

describe('25.2 an anonymous sign-in', () => {
  it('returns token, sessionId and expires, and its token works as bearer and as cookie', async () => {
    const answer = await gateways.client().post('/login/anonymous', { expiresAfter: 3600 });
    expect(answer.body).toMatchObject({
      id: expect.any(String),
      token: expect.any(String),
      sessionId: expect.any(String),
      expires: expect.any(String),
    });
    expect(Date.parse(answer.body.expires) - Date.now()).toBeLessThanOrEqual(3_600_000);
    expect(answer.headers.get('set-cookie')).toMatch(/^access-token=.+; Path=\/; HttpOnly; SameSite=Lax$/);
    const proofs: Record<string, string>[] = [
      { authorization: `Bearer ${answer.body.token}` },
      { cookie: `access-token=${answer.body.token}` },
    ];
    for (const headers of proofs)
      expect((await gateways.client().get('/me', headers)).body).toMatchObject({ id: answer.body.id, sessionId: answer.body.sessionId });
  });
});

describe('25.3 the routing table', () => {
  const W = '/workspaces/w1';
  it.each([
    ['POST', `${W}/webhooks/hello/there`, 'runtime.webhook', 'optional'],
    ['POST', `${W}/test/hello`, 'runtime.test', 'optional'],
    ['GET', `${W}/events`, 'events.find', 'optional'],
    ['POST', `${W}/search`, 'events.search', 'optional'],
    ['GET', `${W}/usage`, 'events.usage', 'required'],
    ['POST', '/search', 'events.searchAll', 'required'],
    ['GET', '/files/w1/logo.png', 'files.download', 'optional'],
    ['GET', '/workspaces', 'workspaces.list', 'apiKey'],
    ['GET', W, 'workspaces.get', 'apiKey'],
    ['POST', `${W}/automations`, 'automations.create', 'apiKey'],
    ['GET', '/apps', 'apps.list', 'apiKey'],
    ['GET', '/pages/shop/home', 'pages.getPublic', 'optional'],
    ['GET', '/workspaces/w1/permissions', 'permissions.workspacesList', 'apiKey'],
  ])('%s %s → %s, %s', async (method, path, action, mode) => {
    const person = await newUser(gateways.url, 'table');
    const reach = async (headers: Record<string, string>) => {
      calls.length = 0;
      const { status } = await gateways.client().request(method, path, method === 'GET' ? undefined : {}, headers);
      return { status, action: calls[0]?.action };
    };
    const reached = { status: 200, action };
    const refused = { status: 401, action: undefined };

    expect(await reach({ authorization: `Bearer ${person.token}` })).toEqual(reached);
    expect(await reach({})).toEqual(mode === 'optional' ? reached : refused);
    expect(await reach({ 'x-prismeai-api-key': 'a-key' })).toEqual(mode === 'required' ? refused : reached);
    // FIX-0: a key let in once does not let the next one in without any.
    expect(await reach({})).toEqual(mode === 'optional' ? reached : refused);
    expect(await reach({ authorization: 'Bearer not-a-token' })).toEqual(mode === 'optional' ? reached : refused);
  });
});

describe('25.4 errors', () => {
  const cases: [string, number, () => Promise<{ status: number; body: any; headers: Headers }>][] = [
    ['AuthenticationError', 401, () => gateways.client().get('/me')],
    [
      'CsrfError',
      401,
      async () => {
        const { token } = await expectOk(gateways.client().post('/login/anonymous', {}));
        return gateways.client().post('/logout', {}, { cookie: `access-token=${token}` });
      },
    ],
    ['ForbiddenError', 403, async () => (await newUser(gateways.url, 'forbidden')).patch('/users/other', {})],
    ['NotFoundError', 404, () => gateways.client().get('/nowhere')],
    ['RequestValidationError', 400, () => gateways.client().post('/login', { email: 1 })],
    [
      'AlreadyUsed',
      400,
      async () => {
        const { user } = await newUser(gateways.url, 'used');
        return gateways.client().post('/signup', { email: user?.email, password: 'a-long-password-1' });
      },
    ],
    ['InvalidEmail', 400, () => gateways.client().post('/signup', { email: 'x', password: 'a-long-password-1' })],
    ['InvalidPassword', 400, () => gateways.client().post('/signup', { email: 'free@example.org', password: 'short' })],
    ['InvalidOrExpiredToken', 400, () => gateways.client().post('/user/validate', { token: 'x' })],
    ['PayloadTooLarge', 413, () => gateways.client().post('/login', { email: 'x'.repeat(3000), password: 'y' })],
    ['ObjectNotFoundError', 404, async () => (await newUser(gateways.url, 'gone')).delete('/user/accessTokens/unknown')],
  ];
  it.each(cases)('%s is %i, with message, details and a correlation id', async (error, status, ask) => {
    const answer = await ask();
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.body).sort()).toEqual(['details', 'error', 'message']);
    expect(answer.body.error).toBe(error);
    expect(answer.headers.get('x-correlation-id')).toMatch(/^[\w-]{8,64}$/);
  });

  it.each([
    [
      'a fault of an action',
      () => {
        throw fault('WorkspaceLocked');
      },
      423,
      'WorkspaceLocked',
    ],
    [
      'an error nobody expected',
      () => {
        throw new Error('password=hunter2 at /srv/app.ts:12');
      },
      500,
      'InternalServiceError',
    ],
    [
      'something that is no error',
      () => {
        throw { sql: 'select' };
      },
      500,
      'InternalServiceError',
    ],
  ])('%s tells what may be told', async (_name, fail, status, error) => {
    failures.set('workspaces.get', fail);
    const answer = await (await newUser(gateways.url, 'unlucky')).get('/workspaces/w1');
    failures.clear();
    expect(answer).toMatchObject({ status, body: { error } });
    expect(JSON.stringify(answer.body)).not.toMatch(/hunter2|srv|select/);
  });

  it('TooManyRequests is 429, with the time to wait', async () => {
    const person = await newUser(gateways.url, 'many');
    await person.post('/workspaces', {});
    await person.post('/workspaces', {});
    const answer = await person.post('/workspaces', {});
    expect(answer).toMatchObject({ status: 429, body: { error: 'TooManyRequests', details: { retryAfter: expect.any(Number) } } });
    expect(answer.headers.get('retry-after')).toBe(String(answer.body.details.retryAfter));
  });

  it('a service that is not there is 503 and may be asked again', async () => {
    failures.set('workspaces.get', () => {
      throw Object.assign(new Error('gone'), { name: 'ServiceNotFoundError' });
    });
    const answer = await (await newUser(gateways.url, 'nobody')).get('/workspaces/w1');
    failures.clear();
    expect(answer).toMatchObject({ status: 503, body: { error: 'ServiceUnavailable' } });
    expect(answer.headers.get('retry-after')).toBe('1');
  });
});

describe('25.5 headers of the platform that a client invents', () => {
  it('never reach an action, nor its identity', async () => {
    const person = await newUser(gateways.url, 'spoof');
    await person.post(
      '/workspaces/w1/webhooks/x',
      { a: 1 },
      {
        'x-prismeai-user-id': 'admin',
        'X-PrismeAI-Role': 'superadmin',
        'x-prismeai-workspace-id': 'w9',
        'x-prismeai-session-id': 's',
        'x-prismeai-auth-data': '{}',
        'x-prismeai-api-key': 'mine',
        'x-custom': 'kept',
      },
    );
    const { params, identity } = lastCall();
    expect(Object.keys(params.headers).filter((name) => name.startsWith('x-prismeai'))).toEqual(['x-prismeai-api-key']);
    expect(params.headers['x-custom']).toBe('kept');
    expect(params.headers.authorization).toBeUndefined();
    expect(identity).toMatchObject({ kind: 'user', userId: person.user?.id });
    expect(identity.role).toBeUndefined();
    expect(identity.sourceWorkspaceId).toBeUndefined();
  });

  it('never hands on a credential of the platform, also one that was not used or is not valid', async () => {
    const person = await newUser(gateways.url, 'kept-back');
    for (const headers of [
      { authorization: `Bearer ${person.token}`, cookie: 'access-token=stolen; a=b' },
      { authorization: `Bearer ${person.token}x` },
      { authorization: `bearer   ${person.token}` },
    ]) {
      await gateways.client().post('/workspaces/w1/webhooks/x', {}, headers as Record<string, string>);
      expect(JSON.stringify(lastCall().params)).not.toContain(person.token as string);
    }
  });

  it('keeps a foreign bearer value for the automation, since it is no credential of ours', async () => {
    await gateways.client().post('/workspaces/w1/webhooks/x', {}, { authorization: 'Bearer a-third-partys-secret' });
    expect(lastCall().params.headers.authorization).toBe('Bearer a-third-partys-secret');
  });

  it('puts neither body nor query into the path parameters', async () => {
    const person = await newUser(gateways.url, 'params');
    await person.patch('/workspaces/w1?workspaceId=w2', { workspaceId: 'w3' });
    expect(lastCall().params).toMatchObject({ workspaceId: 'w1', query: { workspaceId: 'w2' }, body: { workspaceId: 'w3' } });
  });
});

describe('25.6 rate limits', () => {
  it('are one for all gateways, with headers on both outcomes', async () => {
    const person = await newUser(gateways.url, 'shared');
    const answers = [];
    for (let n = 0; n < 3; n++)
      answers.push(await client(gateways.nodes[n % 2]?.url as string, person.token).post('/workspaces', { name: 'x' }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers.map(({ headers }) => headers.get('x-ratelimit-remaining'))).toEqual(['1', '0', '0']);
    for (const { headers } of answers) {
      expect(headers.get('x-ratelimit-limit')).toBe('2');
      expect(Number(headers.get('x-ratelimit-reset'))).toBeGreaterThan(Date.now() / 1000 - 1);
    }
    expect(Number.isInteger(Number(answers[2]?.headers.get('retry-after')))).toBe(true);
  });

  it('take the address from the proxy that is trusted, not from what its client wrote before', async () => {
    const ipFor = async (forwarded?: string) => {
      await gateways.client().post('/workspaces/w1/webhooks/x', {}, forwarded ? { 'x-forwarded-for': forwarded } : {});
      return lastCall().identity.ip;
    };
    expect(await ipFor()).toBe('127.0.0.1');
    expect(await ipFor('203.0.113.7')).toBe('203.0.113.7');
    expect(await ipFor('10.0.0.1, 203.0.113.7')).toBe('203.0.113.7');
    expect(await ipFor('203.0.113.7, rubbish')).toBe('127.0.0.1');
  });
});

describe('25.8 limits of size', () => {
  it.each([
    ['with its length', () => gateways.client().post('/login', 'x'.repeat(3000), { 'content-type': 'application/json' })],
    ['of a webhook', () => gateways.client().post('/workspaces/w1/webhooks/x', 'x'.repeat(3000), { 'content-type': 'text/plain' })],
    [
      'of an upload',
      async () => (await newUser(gateways.url, 'upload')).upload('/workspaces/w1/files', 'file', 'x.bin', new Uint8Array(8000)),
    ],
  ])('a body %s above its limit is 413 and the connection ends', async (_name, send) => {
    const answer = await send();
    expect(answer).toMatchObject({ status: 413, body: { error: 'PayloadTooLarge', details: { limit: expect.any(Number) } } });
    expect((await gateways.client().get('/jwks')).status).toBe(200);
  });

  it('a body without length is cut when it passes the limit, not kept', async () => {
    const answer = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        `${gateways.url}/login`,
        { method: 'POST', headers: { 'content-type': 'application/json' } },
        (response) => {
          response.resume();
          resolve(response.statusCode as number);
        },
      );
      request.on('error', reject);
      for (let n = 0; n < 10; n++) request.write('x'.repeat(500));
      request.end();
    });
    expect(answer).toBe(413);
  });

  it('an address or headers of absurd length are refused', async () => {
    expect((await gateways.client().get(`/me?x=${'y'.repeat(17_000)}`)).status).toBe(400);
    expect(await raw(base(), `GET /v2/me HTTP/1.1\r\nhost: x\r\nx-big: ${'y'.repeat(40_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431/);
  });
});

describe('hygiene', () => {
  it.each([
    ['two lengths that differ', 'content-length: 3\r\ncontent-length: 5\r\n\r\nabc'],
    ['length and chunks at once', 'content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/me HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['an encoding nobody knows', 'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['a header of two lines', 'x-a: 1\r\n folded: 2\r\ncontent-length : 3\r\n\r\nabc'],
    ['a chunk of no length', 'transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n'],
    ['two hosts', 'host: y\r\ncontent-length: 0\r\n\r\n'],
    ['two credentials', 'authorization: Bearer a\r\nauthorization: Bearer b\r\ncontent-length: 0\r\n\r\n'],
  ])('refuses %s, and nothing behind it', async (_name, rest) => {
    calls.length = 0;
    const answer = await raw(base(), `POST /v2/workspaces/w1/webhooks/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${rest}`);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400']);
    expect(answer).toContain('"error":"RequestValidationError"');
    expect(calls).toEqual([]);
  });

  it('refuses a parameter given twice where one is meant, and names that reach a prototype', async () => {
    const person = await newUser(gateways.url, 'twice');
    for (const query of ['limit=1&limit=2', 'page=1&page=2', '__proto__[x]=1', 'a[constructor][y]=1']) {
      const answer = await person.get(`/workspaces?${query}`);
      expect(answer).toMatchObject({ status: 400, body: { error: 'BadParametersError' } });
    }
    expect((await person.get('/workspaces?labels=a&labels=b&ids[]=1&ids[]=2')).status).toBe(200);
    expect((await person.get('/workspaces/w1/events?payload.color=red&payload.color=blue')).status).toBe(200);
    expect((await person.get('/workspaces/w1/events?limit=1&limit=2')).status).toBe(400);
  });

  it('refuses bodies that are not what they say, and keeps on', async () => {
    const person = await newUser(gateways.url, 'bodies');
    const send = (body: string, type = 'application/json') =>
      person.request('POST', '/workspaces/w1/automations', body, { 'content-type': type });
    for (const [body, type] of [
      ['{"a":', undefined],
      [`${'['.repeat(200)}${']'.repeat(200)}`, undefined],
      ['<a/>', 'text/xml'],
    ] as const)
      expect((await send(body, type)).status).toBe(400);
    expect((await person.get('/me')).status).toBe(200);
  });

  it('checks every request against the document, and tells each place that is wrong', async () => {
    const person = await newUser(gateways.url, 'shape');
    calls.length = 0;
    const answer = await person.post('/workspaces/w1/automations', { name: 5, do: 'nothing', when: [] });
    expect(answer).toMatchObject({ status: 400, body: { error: 'RequestValidationError' } });
    expect(answer.body.details.problems.map(({ path }: { path: string }) => path).sort()).toEqual(['body.do', 'body.name', 'body.when']);
    expect((await person.get('/workspaces?limit=many')).body.details.problems[0].path).toBe('query.limit');
    expect((await person.post('/user/accessTokens', {})).body.details.problems.map(({ path }: { path: string }) => path)).toEqual([
      'body.name',
      'body.expiresAt',
    ]);
    expect((await person.post('/workspaces', '[]', { 'content-type': 'application/json' })).status).toBe(400);
    expect(calls).toEqual([]);
  });

  it('sends security headers, lets no page of another place read, and lets the studio', async () => {
    const ask = (origin: string) => gateways.client().get('/me', { origin });
    const studio = await ask(STUDIO);
    expect(studio.headers.get('access-control-allow-origin')).toBe(STUDIO);
    expect(studio.headers.get('access-control-allow-credentials')).toBe('true');
    expect(studio.headers.get('vary')).toContain('Origin');
    for (const origin of [
      'https://evil.example.com',
      'https://studio.example.org.evil.tld',
      'http://studio.example.org',
      'https://xstudio.example.org',
      'https://a.pages.local.prisme.ai.evil.tld',
      'https://apages.local.prisme.ai',
      'https://a.b.pages.local.prisme.ai',
      'null',
      'javascript://studio.example.org',
    ])
      expect((await ask(origin)).headers.get('access-control-allow-origin')).toBeNull();
    expect((await ask('https://shop.pages.local.prisme.ai')).headers.get('access-control-allow-origin')).toBe(
      'https://shop.pages.local.prisme.ai',
    );
    expect(studio.headers.get('x-content-type-options')).toBe('nosniff');
    expect(studio.headers.get('content-security-policy')).toContain("frame-ancestors 'self'");
    expect(studio.headers.get('x-powered-by')).toBeNull();
    const preflight = await fetch(`${gateways.url}/workspaces`, {
      method: 'OPTIONS',
      headers: {
        origin: STUDIO,
        'access-control-request-method': 'PATCH',
        'access-control-request-headers': 'authorization, x-prismeai-csrf-token',
      },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([
      204,
      'authorization, x-prismeai-csrf-token',
    ]);
  });

  it('keeps a correlation id only where the installation says so', async () => {
    const answer = await gateways.client().get('/me', { 'x-correlation-id': 'chosen-by-me-1' });
    expect(answer.headers.get('x-correlation-id')).not.toBe('chosen-by-me-1');
  });
});

describe('what the platform says of itself', () => {
  it('is an OpenAPI document with every route, and a page for people', async () => {
    const document = await expectOk(gateways.client().get('/openapi.json'));
    expect(document.openapi).toBe('3.1.0');
    for (const { method, path } of routes) {
      const shown = path.replace(/[:*](\w+)/g, '{$1}');
      expect(Object.keys(document.paths[shown])).toContain(method === 'ANY' ? 'post' : method.toLowerCase());
    }
    const ids = Object.values<any>(document.paths).flatMap((item) => Object.values<any>(item).map(({ operationId }) => operationId));
    expect(new Set(ids).size).toBe(ids.length);
    const page = await gateways.client().get('/docs');
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.body).toContain('/workspaces/{workspaceId}/webhooks/{endpoint}');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  it('is readiness of every part, with details for those who run it', async () => {
    const plain = await gateways.client().get('/readiness');
    expect(plain.body.services.gateway).toEqual({ status: 'ready' });
    const detailed = await gateways.client().get('/readiness?services=gateway', { 'x-prismeai-api-key': 'inner-key' });
    expect(Object.keys(detailed.body.services)).toEqual(['gateway']);
    expect(detailed.body.services.gateway.response).toMatchObject({
      status: 'ready',
      errors: [],
      modulesReady: expect.arrayContaining([
        { module: 'database', driver: 'sqlite' },
        { module: 'jwks', driver: 'RS256' },
      ]),
    });
    const admin = await gateways.admin();
    expect((await admin.get('/readiness')).body.services.gateway.response).toBeDefined();
  });
});

describe('a webhook', () => {
  const W1 = '/workspaces/w1/webhooks/any';
  const answerWith = (answer: object) =>
    failures.set('runtime.webhook', () => ({ status: 200, body: { n: 1 }, encoding: 'json', ...answer }));
  afterEach(() => failures.clear());

  it('that takes too long on this node answers 408, once, and the connection goes on', async () => {
    const service = gateways.nodes[0]?.broker.getLocalService('gateway') as unknown as { deadlines: Deadlines };
    const before = service.deadlines;
    service.deadlines = openDeadlines(100, { everyMs: 10 });
    let finish = (_answer: object) => {};
    failures.set(
      'runtime.webhook',
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    try {
      const late = await gateways.client().post(W1, {});
      expect(late.status).toBe(408);
      expect(late.body).toMatchObject({ error: 'TimeoutError' });
      expect(late.headers.get('content-security-policy')).toContain("default-src 'none'");
      finish({ status: 200, headers: {}, body: 'too late', encoding: 'json' });
      answerWith({ headers: {} });
      expect((await gateways.client().post(W1, {})).body).toEqual({ n: 1 });
    } finally {
      service.deadlines.close();
      service.deadlines = before;
    }
  });

  it('carries what every answer carries, but for the policy of the page and what the automation says otherwise', async () => {
    answerWith({ headers: { 'referrer-policy': 'origin', 'x-mine': 'a\r\nset-cookie: b' } });
    for (const origin of [undefined, 'https://studio.example.org']) {
      const { status, headers } = await gateways.client().post(W1, {}, origin ? { origin } : {});
      expect(status).toBe(200);
      expect(headers.get('x-correlation-id')).toMatch(/^[0-9a-f-]{36}$/);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-dns-prefetch-control')).toBe('off');
      expect(headers.get('referrer-policy')).toBe('origin');
      expect(headers.get('x-mine')).toBe('a set-cookie: b');
      expect(headers.get('set-cookie')).toBeNull();
      expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(headers.get('content-security-policy')).toBeNull();
    }
  });

  it('whose header HTTP has no form for is an error with all the headers of one', async () => {
    answerWith({ headers: { 'x-mine': 'snow ☃' } });
    const { status, headers, body } = await gateways.client().post(W1, {});
    expect(status).toBe(500);
    expect(body.error).toBe('InternalServiceError');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('x-mine')).toBeNull();
  });

  it('tells its caller his session and what is left of his limits', async () => {
    answerWith({ headers: {} });
    const visitor = await expectOk(gateways.client().post('/login/anonymous', {}));
    const { headers } = await client(gateways.url, visitor.token).post(W1, {});
    expect(headers.get('x-prismeai-session-id')).toBeTruthy();
    expect(headers.get('x-ratelimit-limit')).toBeTruthy();
  });
});

describe('stopping', () => {
  it('lets requests at work end and takes no new ones', async () => {
    let finish = () => {};
    const started = new Promise<void>((begun) => {
      failures.set('workspaces.get', () => {
        begun();
        return new Promise((done) => {
          finish = () => done({ id: 'late', name: 'late' });
        });
      });
    });
    const single = await startGateways({ services: recorders() as never }, {});
    const person = await newUser(single.url, 'drained');
    const pending = person.get('/workspaces/w1');
    await started;
    const stopped = single.stop();
    await eventually(() =>
      fetch(`${single.url}/jwks`).then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    finish();
    failures.clear();
    expect((await pending).body.id).toBe('late');
    await stopped;
  });
});
