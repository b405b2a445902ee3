/** token-ring — a key ring given to a platform (TOKEN_KEYS), so that a test can write the tokens an attacker would like to have. */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';

export interface TokenRing {
  /** Value of TOKEN_KEYS. */
  env: string;
  kid: string;
  secret: KeyObject;
  publicPem: string;
  /** A token as the platform makes them for `base` (ends with /v2), with what the options change. */
  token(base: string, claims: object, options?: jwt.SignOptions): string;
}

export function tokenRing(): TokenRing {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = 'test-key';
  return {
    env: JSON.stringify({ keys: [{ ...privateKey.export({ format: 'jwk' }), kid }] }),
    kid,
    secret: privateKey,
    publicPem: createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }) as string,
    token: (base, claims, options = {}) =>
      jwt.sign(claims, privateKey, {
        algorithm: 'RS256',
        keyid: kid,
        issuer: base.replace(/\/v2$/, ''),
        audience: base,
        ...('exp' in claims ? {} : { expiresIn: 60 }),
        ...options,
      }),
  };
}
