/** 25.10 Gateways die while people sign in: the flow goes on at another one. Two processes over a real Redis, `kill -9`. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Browser, browser } from '../support/browser.ts';
import { client, newUser } from '../support/client.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { redisAvailable } from '../support/redis.ts';

const PASSWORD = 'a-long-password-1';
const BACK = 'http://studio.local.prisme.ai:3000/signin';
const suite = redisAvailable() ? describe : describe.skip;

suite('sign-in through gateways that die', () => {
  let platform: Platform;
  /** What the public sees: one address, whichever gateway stands behind it. */
  let base: string;

  beforeAll(async () => {
    platform = await startPlatform({ mode: 1, parts: ['gateway', 'gateway'], env: { OIDC_SIGNIN_PAGE: 'own' } });
    base = platform.url.replace(/\/v2$/, '');
  }, 120_000);
  afterAll(() => platform?.stop(), 60_000);

  const baseOf = (url: string) => url.replace(/\/v2$/, '');
  const nodeAt = (url: string) => platform.nodes.find((node) => node.url === url) as (typeof platform.nodes)[number];
  /** A browser whose requests reach what `behind` says at the moment. */
  const through = (behind: () => string): Browser => browser((url) => url.replace(base, baseOf(behind())));

  async function begin(tab: Browser) {
    const verifier = randomBytes(32).toString('base64url');
    const url = new URL(`${base}/oidc/auth`);
    url.search = new URLSearchParams({
      response_type: 'code',
      client_id: 'local-client-id',
      redirect_uri: BACK,
      scope: 'openid profile email',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }).toString();
    const page = await tab.follow(url.href);
    return { verifier, page, action: new URL(/action="([^"]+)"/.exec(page.text)?.[1] as string, page.url).href };
  }

  async function end(tab: Browser, { action, verifier }: { action: string; verifier: string }, login: string): Promise<string> {
    const done = await tab.go(action, { method: 'POST', form: { page: '1', login, password: PASSWORD } });
    const back = await tab.follow(done.location as string, BACK);
    const code = new URL(back.url).searchParams.get('code') as string;
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, client_id: 'local-client-id', redirect_uri: BACK };
    const answer = await tab.go(`${base}/oidc/token`, { method: 'POST', form });
    return JSON.parse(answer.text).access_token as string;
  }

  it('serves each step at another gateway, with the sign-in page of its own', async () => {
    const [first, second] = platform.gateways as [string, string];
    const person = await newUser(first, 'round');
    let turn = 0;
    const tab = through(() => [first, second][turn++ % 2] as string);

    const begun = await begin(tab);
    expect(begun.page.text).toContain('Sign in to Studio');
    const wrong = await tab.go(begun.action, {
      method: 'POST',
      form: { page: '1', login: person.user?.email as string, password: 'wrong-password' },
    });
    expect([wrong.status, wrong.text.includes('Incorrect email or password.')]).toEqual([401, true]);
    const token = await end(tab, begun, person.user?.email as string);

    for (const url of platform.gateways) expect((await client(url, token).get('/me')).body.id).toBe(person.user?.id);
  });

  it('goes on at the other one when the first is killed in the middle, and at a new one after a restart', async () => {
    const [first, second] = platform.gateways as [string, string];
    const person = await newUser(first, 'killed');
    const login = person.user?.email as string;
    let behind = first;
    const [one, two] = [through(() => behind), through(() => behind)];
    const [atFirst, alsoAtFirst] = [await begin(one), await begin(two)];

    await platform.kill(nodeAt(first));
    behind = second;
    const token = await end(one, atFirst, login);
    expect((await client(second, token).get('/me')).body.id).toBe(person.user?.id);

    const third = (await platform.start('gateway')).url as string;
    behind = third;
    const late = await end(two, alsoAtFirst, login);
    for (const url of [second, third]) {
      expect((await client(url, late).get('/me')).body.id).toBe(person.user?.id);
      // Sessions of before the death live on as well.
      expect((await client(url, person.token).get('/me')).status).toBe(200);
    }
  });
});
