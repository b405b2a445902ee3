/** Tokens that nobody issued: random ones, and every way to bend a genuine one. Whatever comes, the answer is 401, nothing breaks, and nobody is let in. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { client, expectOk, newUser } from '../support/client.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';
import { raw } from '../support/raw-http.ts';
import { tokenRing } from '../support/token-ring.ts';

/** Requests are four times as many. */
const RUNS = 120;

describe('tokens nobody issued', () => {
  let gateways: Gateways;
  let genuine: string;
  let access: string;
  const ring = tokenRing();

  beforeAll(async () => {
    gateways = await startGateways({}, { tokenKeys: ring.env });
    const person = await newUser(gateways.url, 'fuzz');
    genuine = person.token as string;
    access = (await expectOk(person.post('/user/accessTokens', { name: 'x', expiresAt: new Date(Date.now() + 3_600_000).toISOString() })))
      .token;
    expect((await client(gateways.url, genuine).get('/me')).status).toBe(200);
    expect((await client(gateways.url, access).get('/me')).status).toBe(200);
  });
  afterAll(() => gateways?.stop());

  /** In each of the places where a credential may stand. */
  const statuses = async (token: string): Promise<number[]> => {
    const headers = [
      `Authorization: Bearer ${token}`,
      `Authorization: ${token}`,
      `Cookie: access-token=${token}`,
      `x-prismeai-token: ${token}`,
    ];
    return Promise.all(headers.map((line) => raw(gateways.url, ['GET /v2/me HTTP/1.1', line]).then(({ status }) => status)));
  };
  const refused = async (token: string) => {
    for (const status of await statuses(token)) expect([token, [400, 401].includes(status)]).toEqual([token, true]);
  };
  // What can stand in a header without ending it.
  const visible = fc.string({
    unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 300,
  });
  const base64url = fc.string({
    unit: fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'),
    maxLength: 200,
  });

  it('are refused when they are noise', () => fc.assert(fc.asyncProperty(visible, refused), { numRuns: RUNS / 3 }));

  it('are refused when they have the shape of one', () =>
    fc.assert(
      fc.asyncProperty(fc.tuple(base64url, base64url, base64url), (parts) => refused(parts.join('.'))),
      { numRuns: RUNS / 3 },
    ));

  it('are refused when one character of a genuine one is another, or is missing, or is one too many', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.constantFrom('replace', 'remove', 'insert', 'cut', 'double'),
        fc.constantFrom(...'Aa0-_.=%'),
        async (at, how, char) => {
          const n = at % genuine.length;
          const bent = {
            replace: genuine.slice(0, n) + char + genuine.slice(n + 1),
            remove: genuine.slice(0, n) + genuine.slice(n + 1),
            insert: genuine.slice(0, n) + char + genuine.slice(n),
            cut: genuine.slice(0, n),
            double: genuine + genuine.slice(n),
          }[how] as string;
          // The last character of a base64url text holds bits that mean nothing: another one may be the same signature.
          const isSame = Buffer.from(bent.split('.')[2] ?? '', 'base64url').equals(
            Buffer.from(genuine.split('.')[2] as string, 'base64url'),
          );
          if (isSame && bent.split('.').slice(0, 2).join('.') === genuine.split('.').slice(0, 2).join('.')) return;
          await refused(bent);
        },
      ),
      { numRuns: RUNS },
    ));

  it('are refused when header or claims of a genuine one are rewritten', () =>
    fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.constantFrom('sub', 'prismeaiSessionId', 'iss', 'aud', 'exp', 'iat', 'kind', 'role', '__proto__', 'workspaceId'),
          fc.jsonValue(),
          { minKeys: 1 },
        ),
        fc.dictionary(fc.constantFrom('alg', 'kid', 'typ', 'jku', 'jwk', 'crit', 'x5u', 'b64'), fc.jsonValue(), { maxKeys: 2 }),
        async (claims, header) => {
          const [head = '', body = '', signature = ''] = genuine.split('.');
          const opened = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString());
          const sealed = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
          await refused([sealed({ ...opened(head), ...header }), sealed({ ...opened(body), ...claims }), signature].join('.'));
        },
      ),
      { numRuns: RUNS },
    ));

  it('are refused when they are access tokens but for a character', () =>
    fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom(...'0123456789abcdefXYZ-:'), (at, char) => {
        const n = 3 + (at % (access.length - 3));
        const bent = access.slice(0, n) + char + access.slice(n + 1);
        return bent === access ? Promise.resolve() : refused(bent);
      }),
      { numRuns: RUNS / 3 },
    ));

  it('leave the genuine ones as good as before', async () => {
    for (const token of [genuine, access]) expect((await client(gateways.url, token).get('/me')).status).toBe(200);
  });
});
