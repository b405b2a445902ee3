import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import type { IdentityClaims } from '../../../mixins/auth/identity.ts';
import { identityKeys, MAX_TTL_MS } from '../../../mixins/auth/identity-keys.ts';

const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as Record<string, unknown>;
const claims = (more: Partial<IdentityClaims> = {}) => ({ kind: 'user', userId: 'ada', correlationId: 'c', ...more }) as IdentityClaims;
const sent = (identity: object) => JSON.parse(JSON.stringify(identity));

describe('signed identities', () => {
  it('are accepted on another node of the same keys, and stay as they were signed', () => {
    const authData = { local: { mail: 'ada@example.org' } };
    const identity = identityKeys(jwk).sign(claims({ authData }));
    authData.local.mail = 'changed@example.org';

    const arrived = identityKeys(jwk).verify(sent(identity));

    expect(arrived).toMatchObject({ kind: 'user', userId: 'ada', authData: { local: { mail: 'ada@example.org' } } });
    expect(Object.isFrozen(arrived)).toBe(true);
    expect(identity.sig).toBe(identity.sig);
    expect(identityKeys(jwk).verify(sent({ ...identity })).userId).toBe('ada');
  });

  it('are refused when anything was changed, added, taken away or signed by others', () => {
    const identity = sent(identityKeys(jwk).sign(claims()));
    const stranger = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as Record<string, unknown>;
    const { userId: _, ...less } = identity;

    for (const forged of [
      { ...identity, userId: 'eve' },
      { ...identity, role: 'superadmin' },
      less,
      sent(identityKeys(stranger).sign(claims())),
    ])
      expect(() => identityKeys(jwk).verify(forged)).toThrow(expect.objectContaining({ type: 'AuthenticationError' }));
  });

  it('are known by the object where they were made; a look-alike is not', () => {
    const keys = identityKeys(jwk);
    const identity = keys.sign(claims());

    expect(keys.isKnown(identity)).toBe(true);
    expect(keys.verify(identity)).toBe(identity);
    expect(keys.isKnown({ ...identity })).toBe(false);
    expect(() => Object.assign(identity, { userId: 'eve' })).toThrow(TypeError);
    expect(() => keys.verify({ ...identity, userId: 'eve' } as never)).toThrow();
  });

  it('end after a minute, and never carry a platform role into a run', () => {
    let now = 1_000_000;
    const keys = identityKeys(jwk, () => now);
    const identity = keys.sign(claims({ kind: 'delegated', role: 'superadmin' }));
    expect(identity.role).toBeUndefined();

    now += 2 * MAX_TTL_MS;

    expect(() => keys.verify(identity)).toThrow(expect.objectContaining({ type: 'AuthenticationError' }));
  });
});
