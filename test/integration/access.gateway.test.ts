/** Rows 14, 22 and 26 of access-control.md 11 that need a gateway with its policies on: sockets before a second factor, addresses to return to, limits. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import { SETTINGS } from '../../mixins/shared/config.ts';
import { client, expectOk, newUser, signIn } from '../support/client.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

const STUDIO = 'https://studio.example.org';
const PASSWORD = 'a-long-password-1';

describe('the door', () => {
  let gateways: Gateways;
  beforeAll(async () => {
    gateways = await startGateways(
      {},
      { rateLimitDisabled: false, rateAnonymous: 5, rateSignup: 5, trustedProxies: [], consoleUrl: [STUDIO] },
    );
  });
  afterAll(() => gateways?.stop());

  it('14: a session whose second factor is still to come opens no socket', async () => {
    const person = await newUser(gateways.url, 'factor');
    const { url } = await expectOk(person.post('/user/mfa', { method: 'totp', currentPassword: PASSWORD }));
    const totp = new TOTP({ secret: Secret.fromBase32(new URL(url).searchParams.get('secret') as string), digits: 6, period: 30 });
    await expectOk(person.post('/login/mfa', { totp: totp.generate() }));
    const half = await signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD });
    await expect(half.events('w1')).rejects.toThrow(/MissingMFA/);
    expect((await half.get('/me')).body.error).toBe('MissingMFA');
    expect((await half.post('/user/accessTokens', { name: 'x', expiresAt: new Date(Date.now() + 60_000).toISOString() })).body.error).toBe(
      'MissingMFA',
    );
  });

  it('22: an authorisation or a sign-out returns to no address that is not registered letter by letter', async () => {
    const base = gateways.url.replace(/\/v2$/, '');
    const good = `${STUDIO}/signin`;
    const asked = (redirect: string) => {
      const url = new URL(`${base}/oidc/auth`);
      url.search = new URLSearchParams({
        client_id: 'local-client-id',
        redirect_uri: redirect,
        response_type: 'code',
        scope: 'openid',
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
        state: 's',
        resource: gateways.url,
      }).toString();
      return fetch(url, { redirect: 'manual' });
    };
    const wrong = [
      `${good}/more`,
      `${good}#x`,
      `${good}?x=1`,
      `${STUDIO}.evil.tld/signin`,
      'https://user@studio.example.org/signin',
      'https://evil.tld/signin',
      `http://studio.example.org/signin`,
      'javascript:alert(1)',
      `${STUDIO}/signin/../evil`,
      `${STUDIO}:444/signin`,
      '//evil.tld',
    ];
    for (const redirect of wrong) {
      const answer = await asked(redirect);
      expect([redirect, answer.status, answer.headers.get('location')]).toEqual([redirect, 400, null]);
      const out = await fetch(
        `${base}/oidc/session/end?client_id=local-client-id&post_logout_redirect_uri=${encodeURIComponent(redirect || 'https://evil.tld')}`,
        { redirect: 'manual' },
      );
      expect([redirect, out.headers.get('location')?.startsWith(redirect || 'https://evil.tld') ?? false]).toEqual([redirect, false]);
    }
    expect((await asked(good)).status).toBe(303);
  });

  it('26: limits count the connection, not what a header claims of it', async () => {
    const anonymous = (forwarded: string) =>
      client(gateways.url).post(
        '/login/anonymous',
        {},
        { 'x-forwarded-for': forwarded, 'x-real-ip': forwarded, forwarded: `for=${forwarded}`, 'x-client-ip': forwarded },
      );
    const statuses: number[] = [];
    for (let n = 0; n < 8; n++) statuses.push((await anonymous(`198.51.100.${n}`)).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429, 429]);
    for (const forwarded of ['10.0.0.1', '127.0.0.1', '::1', '', '1.1.1.1, 10.0.0.1']) {
      const refused = await anonymous(forwarded);
      expect([forwarded, refused.status, refused.body.error]).toEqual([forwarded, 429, 'TooManyRequests']);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    }
  });
});

describe('a start on a fresh machine', () => {
  const SECRET = /key|secret|password|token|credential/i;

  it('has no default for anything that is secret', () => {
    const secretive = Object.entries(SETTINGS).filter(
      ([, { env }]) => SECRET.test(env) && !/(AGE|DAYS|RATE|MAX|TTL|HEADER|LIMIT|REGEXP)/.test(env),
    );
    expect(secretive.length).toBeGreaterThan(5);
    expect(secretive.filter(([, setting]) => 'default' in setting && setting.default !== undefined).map(([name]) => name)).toEqual([]);
  });

  it('has none in the files it can be deployed with either', () => {
    const root = join(import.meta.dirname, '../..');
    const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    for (const [, name, value] of compose.matchAll(/^\s*([A-Z_]*(?:KEY|SECRET|PASSWORD|TOKEN)[A-Z_]*): *(.*)$/gm))
      expect([name, value]).toEqual([name, expect.stringMatching(/^\$\{\w+(:-|:\?[^}]*)\}$/)]);
  });

  it('makes keys of its own, readable by nobody else, and believes nothing another one signed', async () => {
    const [one, two] = await Promise.all([startGateways(), startGateways()]);
    try {
      const kids = await Promise.all([one, two].map(async ({ url }) => JSON.stringify((await expectOk(client(url).get('/jwks'))).keys)));
      expect(kids[0]).not.toBe(kids[1]);
      const files = (dir: string) =>
        readdirSync(join(dir, 'keys')).map((name) => [name, readFileSync(join(dir, 'keys', name), 'utf8')] as const);
      for (const [name, text] of files(one.dataDir)) {
        expect([name, statSync(join(one.dataDir, 'keys', name)).mode & 0o077]).toEqual([name, 0]);
        expect(new Map(files(two.dataDir)).get(name)).not.toBe(text);
      }
      expect(statSync(join(one.dataDir, 'keys')).mode & 0o077).toBe(0);
      const person = await newUser(one.url, 'fresh');
      expect((await person.get('/me')).status).toBe(200);
      expect((await client(two.url, person.token).get('/me')).status).toBe(401);
      const [a, b] = [one, two].map(({ nodes }) => identityKeysOf(nodes[0]?.broker as never));
      const identity = a?.sign({ kind: 'user', userId: 'ada', role: 'superadmin', correlationId: 'c' });
      expect(() => b?.verify(structuredClone({ ...identity }))).toThrow(expect.objectContaining({ type: 'AuthenticationError' }));
    } finally {
      await Promise.all([one.stop(), two.stop()]);
    }
  });

  it('lets nobody in with a name and password that anybody could guess', async () => {
    const house = await startGateways({}, { adminEmail: undefined, adminPassword: undefined } as never);
    try {
      for (const email of ['admin@example.org', 'admin@localhost', 'admin@prisme.ai', 'admin', 'root'])
        for (const password of ['', 'admin', 'password', 'changeme', 'prisme', '12345678'])
          expect([email, password, (await client(house.url).post('/login', { email, password })).status >= 400]).toEqual([
            email,
            password,
            true,
          ]);
    } finally {
      await house.stop();
    }
  });
});
