/** Policies on their own: rate limits when their store fails, addresses behind proxies, queries, scopes, one-way tokens, the router. */
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import jwt from 'jsonwebtoken';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { scopeOf } from '../../../services/gateway/identity/scopes.ts';
import { openTokenKeys } from '../../../services/gateway/identity/token-keys.ts';
import { createTokens } from '../../../services/gateway/identity/tokens.ts';
import { addressReader } from '../../../services/gateway/policies/address.ts';
import { queryOf } from '../../../services/gateway/policies/hygiene.ts';
import { createLimiter } from '../../../services/gateway/policies/rate-limit.ts';
import { compileRoutes } from '../../../services/gateway/router.ts';
import { routes } from '../../../services/gateway/routes/index.ts';
import type { Route } from '../../../services/gateway/routes/route.ts';

const thrown = async (work: () => unknown): Promise<any> => {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe('a rate limit', () => {
  const limits = (name: string) => [{ name, key: 'ip' as const, windowS: 60, limit: 1 }];
  const settings = { rateSignup: 5, rateAnonymous: 5, rateTokenExchange: 5 };
  const limiterOver = (cache: object, more: object = {}) => {
    const failures: Error[] = [];
    const limiter = createLimiter({
      cache: () => cache as never,
      disabled: false,
      settings,
      onFailure: (error) => failures.push(error),
      ...more,
    });
    return { limiter, failures };
  };
  const broken = {
    async increment() {
      throw new Error('no store');
    },
  };

  it('whose store is down lets data through and nobody in', async () => {
    const { limiter, failures } = limiterOver(broken);
    expect(await thrown(() => limiter.check(limits('searchEvents'), { ip: 'x' }))).toBeUndefined();
    expect((await thrown(() => limiter.check(limits('loginAnonymous'), { ip: 'x' }))).type).toBe('ServiceUnavailable');
    expect((await thrown(() => limiter.check(limits('signup'), { ip: 'x' }))).type).toBe('ServiceUnavailable');
    expect(failures).toHaveLength(3);
  });

  it('is changed by the installation, switched off by 0, and counted per user before per address', async () => {
    const keys: string[] = [];
    const counting = { increment: async (key: string) => ({ count: keys.push(key), expiresInMs: 1500 }) };
    const { limiter } = limiterOver(counting, { overrides: () => ({ off: { limit: 0 }, wide: { limit: 100 } }) });
    await limiter.check([{ ...(limits('off')[0] as never as object), name: 'off' } as never], { ip: 'x' });
    expect(keys).toEqual([]);
    await limiter.check([{ name: 'wide', key: 'userId', windowS: 60, limit: 1 }], { userId: 'u1', ip: 'x' });
    await limiter.check([{ name: 'wide', key: 'userId', windowS: 60, limit: 1 }], { ip: 'x' });
    await limiter.check([{ name: 'wide', key: 'workspaceId', windowS: 60, limit: 1 }], { ip: 'x' });
    expect(keys).toEqual(['rate:{wide:u:u1}', 'rate:{wide:a:x}']);
    expect((await thrown(() => limiter.check(limits('narrow'), { ip: 'x' }))).data).toEqual({ retryAfter: 2 });
  });
});

describe('the address of a client', () => {
  const read = addressReader(['10.0.0.0/8', '127.0.0.1', 'fd00::/8']);
  const from = (peer: string, forwarded?: string) =>
    read({ socket: { remoteAddress: peer }, headers: forwarded ? { 'x-forwarded-for': forwarded } : {} } as never);

  it('is the right-most entry that no trusted proxy wrote', () => {
    expect(from('203.0.113.9', '1.2.3.4')).toBe('203.0.113.9');
    expect(from('10.1.1.1', '1.2.3.4')).toBe('1.2.3.4');
    expect(from('10.1.1.1', '6.6.6.6, 1.2.3.4, 10.2.2.2')).toBe('1.2.3.4');
    expect(from('::ffff:10.1.1.1', '1.2.3.4')).toBe('1.2.3.4');
    expect(from('fd00::1', '2001:db8::7')).toBe('2001:db8::7');
    expect(from('10.1.1.1', 'unknown')).toBe('10.1.1.1');
    expect(from('127.0.0.1')).toBe('127.0.0.1');
  });

  it('is read only with networks that are networks', () => {
    expect(() => addressReader(['10.0.0.0/99'])).toThrow("TRUSTED_PROXIES: '10.0.0.0/99' is not an address or network.");
  });
});

describe('a query', () => {
  it('nests, lists, and refuses what means two things', () => {
    expect(queryOf('a=1&b[c]=2&d[]=3&d[]=4&labels=x&labels=y')).toEqual({ a: '1', b: { c: '2' }, d: ['3', '4'], labels: ['x', 'y'] });
    for (const text of [
      'limit=1&limit=2',
      'a=1&a=2',
      '__proto__=1',
      'a[__proto__][b]=1',
      'constructor[x]=1',
      '%5F_proto__[x]=1',
      'x[$ne]=1',
    ])
      expect(() => queryOf(text)).toThrow(expect.objectContaining({ type: 'BadParametersError' }) as never);
    expect(queryOf('payload.x=1&payload.x=2', { isFields: true })).toEqual({ 'payload.x': ['1', '2'] });
    expect(queryOf('$x=1&a=1&a=2', { isForeign: true })).toEqual({ $x: '1', a: ['1', '2'] });
  });

  it('never throws anything but a refusal, and never reaches a prototype', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          queryOf(text);
        } catch (error) {
          expect((error as { type?: string }).type).toBe('BadParametersError');
        }
        expect(({} as Record<string, unknown>).polluted).toBeUndefined();
      }),
    );
  });
});

describe('a scope', () => {
  it('is known for every route, and none opens what manages credentials', () => {
    for (const { action, method } of routes) {
      const scope = scopeOf(action, method);
      if (/^(accounts|users|accessTokens|contacts)\./.test(action) || ['identity.login', 'mfa.set', 'tokens.rotate'].includes(action))
        expect([action, scope]).toEqual([action, undefined]);
      else if (scope !== null && scope !== undefined)
        expect(scope).toMatch(/^(workspaces|events|files|pages|orgs):(read|write)$|^webhooks$/);
    }
    for (const action of ['orgApiKeys.create', 'orgApiKeys.rotate', 'serviceAccounts.rotate'])
      expect([action, scopeOf(action, 'POST')]).toEqual([action, undefined]);
    expect(scopeOf('events.search', 'POST')).toBe('events:read');
    expect(scopeOf('workspaces.remove', 'DELETE')).toBe('workspaces:write');
  });
});

describe('a session token', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'k1' };
  const config = loadConfig({}, { tokenKeys: JSON.stringify({ keys: [jwk] }), apiUrl: 'https://api.example.org/v2' });

  it('is worth nothing once a letter of it changes, whoever signs it, whatever its header says', async () => {
    const keys = await openTokenKeys(config, {} as never);
    const tokens = createTokens(config, keys);
    const token = tokens.sign({ sub: 'u1', prismeaiSessionId: 's1' }, 60);
    expect(tokens.verify(token).sub).toBe('u1');

    const refused = (forged: string) =>
      expect(() => tokens.verify(forged)).toThrow(expect.objectContaining({ type: 'AuthenticationError' }) as never);
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.constantFrom(...'ABCxyz019-_.'), (at, letter) => {
        fc.pre(token[at] !== letter);
        const forged = token.slice(0, at) + letter + token.slice(at + 1);
        // Spare bits at the end of base64url may change without changing the signature.
        fc.pre(
          !Buffer.from(forged.split('.')[2] ?? '', 'base64url').equals(Buffer.from(token.split('.')[2] as string, 'base64url')) ||
            at < token.lastIndexOf('.'),
        );
        refused(forged);
      }),
      { numRuns: 300 },
    );
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => refused(text)));

    const claims = { sub: 'u1', prismeaiSessionId: 's1', iss: 'https://api.example.org', aud: 'https://api.example.org/v2' };
    const open = keys.find('k1')?.open.export({ format: 'pem', type: 'spki' }) as string;
    const sign = (more: object, key: any, options: object) => jwt.sign({ ...claims, ...more }, key, options as never);
    refused(sign({}, other, { algorithm: 'RS256', keyid: 'k1', expiresIn: 60 }));
    refused(sign({}, privateKey, { algorithm: 'RS512', keyid: 'k1', expiresIn: 60 }));
    refused(sign({}, privateKey, { algorithm: 'RS256', keyid: 'k2', expiresIn: 60 }));
    refused(sign({}, privateKey, { algorithm: 'RS256', keyid: 'k1' }));
    refused(sign({ exp: 1 }, privateKey, { algorithm: 'RS256', keyid: 'k1' }));
    refused(sign({ aud: 'https://other/v2' }, privateKey, { algorithm: 'RS256', keyid: 'k1', expiresIn: 60 }));
    refused(sign({ iss: 'https://other' }, privateKey, { algorithm: 'RS256', keyid: 'k1', expiresIn: 60 }));
    refused(`${Buffer.from('{"alg":"none","kid":"k1"}').toString('base64url')}.${token.split('.')[1]}.`);
    const [head] = [Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'k1' })).toString('base64url')];
    const { createHmac } = await import('node:crypto');
    const body = `${head}.${token.split('.')[1]}`;
    refused(`${body}.${createHmac('sha256', open).update(body).digest('base64url')}`);
  });

  it('of the platform is recognised whether it is valid or not, and others are not taken for it', async () => {
    const tokens = createTokens(config, await openTokenKeys(config, {} as never));
    const token = tokens.sign({ sub: 'u1' }, 1);
    for (const ours of [`Bearer ${token}`, `bearer  ${token}x`, token, 'Bearer at:123', 'at:123']) expect(tokens.isOurs(ours)).toBe(true);
    for (const foreign of [undefined, '', 'Basic YTpi', 'Bearer abc', `Bearer ${jwt.sign({ iss: 'https://other' }, 's')}`])
      expect(tokens.isOurs(foreign)).toBe(false);
  });
});

describe('the router', () => {
  const route = (method: Route['method'], path: string): Route => ({
    method,
    path,
    action: `${method} ${path}`,
    auth: 'optional',
    summary: '',
  });
  const router = compileRoutes([
    route('GET', '/w'),
    route('GET', '/w/import'),
    route('GET', '/w/:id'),
    route('GET', '/w/:id/a/*rest'),
    route('POST', '/w/:id'),
    route('ANY', '/w/:id/hook/*rest'),
  ]);
  const at = (method: string, path: string) => {
    const found = router.match(method, path);
    return found && 'route' in found ? [found.route.path, found.params] : found;
  };

  it('prefers a word to a parameter and a parameter to a wildcard, and goes back from dead ends', () => {
    expect(at('GET', '/w/import')).toEqual(['/w/import', {}]);
    expect(at('POST', '/w/import')).toEqual(['/w/:id', { id: 'import' }]);
    expect(at('GET', '/w/1/a/b/c%2Fd')).toEqual(['/w/:id/a/*rest', { id: '1', rest: 'b/c/d' }]);
    expect(at('HEAD', '/w/1/')).toEqual(['/w/:id', { id: '1' }]);
    expect(at('PATCH', '/w/1/hook/x')).toEqual(['/w/:id/hook/*rest', { id: '1', rest: 'x' }]);
  });

  it('tells a wrong method from a wrong path, and a path that is no text from both', () => {
    expect(at('DELETE', '/w/1')).toEqual({ allow: ['GET', 'POST'] });
    for (const method of ['HEAD', 'OPTIONS', 'TRACE', 'PURGE'])
      expect(at(method, '/w/1/hook/x')).toEqual({ allow: ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'] });
    expect(at('GET', '/nowhere')).toBeNull();
    expect(() => at('GET', '/w/%E0%A4%A')).toThrow(expect.objectContaining({ type: 'BadParametersError' }) as never);
  });

  it('refuses a table in which two routes are one', () => {
    expect(() => compileRoutes([route('GET', '/w/:a'), route('GET', '/w/:b')])).toThrow('another route has the same method and path');
  });
});
