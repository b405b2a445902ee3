/** tokens — JWTs of sessions and of runs: RS256 only, our issuer and audience only, always with an end. Nothing in a token's header chooses a key but `kid`. */
import jwt from 'jsonwebtoken';
import { type Config, issuerOf } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { TokenKeyRing } from './token-keys.ts';

export interface TokenClaims {
  sub?: string;
  iat: number;
  exp: number;
  prismeaiSessionId?: string;
  /** Tokens of runs, and of service accounts. */
  kind?: 'delegated' | 'workspace' | 'serviceAccount';
  /** Of the secret a service account got this token for. */
  generation?: string;
  workspaceId?: string;
  sessionId?: string;
  correlationId?: string;
  depth?: number;
  isAway?: true;
  /** Tokens of the OpenID provider. */
  scope?: string;
  client_id?: string;
}

export interface Tokens {
  sign(claims: Omit<TokenClaims, 'iat' | 'exp'>, ttlS: number): string;
  /** @throws AuthenticationError with the reason */
  verify(token: string): TokenClaims;
  /** Whether a header holds a credential this platform has issued, valid or not: nobody else is to learn it. */
  isOurs(authorization: string | undefined): boolean;
}

const MAX_TOKEN_CHARS = 8_000;

/** Claims that are no JSON make the library throw: such a token is as malformed as any other. */
function decode(token: string): jwt.Jwt | null {
  try {
    return jwt.decode(token, { complete: true });
  } catch {
    return null;
  }
}

export function createTokens(config: Config, keys: TokenKeyRing): Tokens {
  const issuer = issuerOf(config);
  const audience = config.apiUrl;
  const refuse = (message: string) => fault('AuthenticationError', { message });

  return {
    sign(claims, ttlS) {
      const { kid, secret } = keys.current();
      return jwt.sign(claims, secret, { algorithm: 'RS256', keyid: kid, issuer, audience, expiresIn: ttlS });
    },
    isOurs(authorization) {
      const token = authorization?.replace(/^\s*bearer\s+/i, '').trim();
      if (!token || token.length > MAX_TOKEN_CHARS) return false;
      if (/^(?:at:|iak_|sas_)/.test(token)) return true;
      const payload = jwt.decode(token);
      return typeof payload === 'object' && payload?.iss === issuer;
    },
    verify(token) {
      if (token.length > MAX_TOKEN_CHARS) throw refuse('Malformed authentication token');
      const decoded = decode(token);
      if (!decoded || typeof decoded.payload === 'string') throw refuse('Malformed authentication token');
      const key = typeof decoded.header.kid === 'string' ? keys.find(decoded.header.kid) : undefined;
      if (!key) throw refuse('Authentication token signed with an unknown key');
      try {
        const claims = jwt.verify(token, key.open, { algorithms: ['RS256'], issuer, audience }) as TokenClaims;
        if (!Number.isFinite(claims.exp)) throw refuse('The token has no end');
        return claims;
      } catch (error) {
        throw refuse((error as Error).message);
      }
    },
  };
}
