/**
 * token-keys — the RSA key ring that signs session tokens: TOKEN_KEYS, else made at the first start, kept sealed in the document store and
 * rotated by age. All gateways read the same ring; a key leaves it when nothing it signed can be alive.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { type Clock, DAY, SECOND } from '../../../mixins/shared/clock.ts';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { hexId } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { openKeyRing } from '../../../mixins/shared/keyring.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import { TOKEN_KEYS, type TokenKeyRow } from './rows.ts';

export interface TokenKey {
  kid: string;
  secret: KeyObject;
  open: KeyObject;
  createdAt: number;
}

export interface TokenKeyRing {
  /** The key that signs now. */
  current(): TokenKey;
  find(kid: string): TokenKey | undefined;
  /** Public keys. @see https://www.rfc-editor.org/rfc/rfc7517 */
  jwks(): { keys: JsonObject[] };
  /** With their private parts, the signing one first: for the OpenID provider of this process. */
  privateJwks(): JsonObject[];
  /** Ids, the signing key first. */
  kids(): string[];
  /** Removes a key at once: what it signed is worth nothing any more. The signing key is replaced first. @throws ObjectNotFoundError */
  revoke(kid: string): Promise<void>;
  /** Reads the ring again; makes a new key when the present one is due or `force` is set. Returns what changed. */
  refresh(options?: { force?: boolean }): Promise<{ created: string[]; deleted: string[] }>;
}

const generate = promisify(generateKeyPair);

export async function openTokenKeys(config: Config, documents: Documents, now: Clock = Date.now): Promise<TokenKeyRing> {
  let keys = new Map<string, TokenKey>();
  const ring = config.tokenKeys ? undefined : openKeyRing(config);
  const aad = (kid: string) => `tokenKey/${kid}`;

  const fromJwk = (kid: string, jwk: JsonObject, createdAt: number): TokenKey => {
    const secret = createPrivateKey({ key: jwk as never, format: 'jwk' });
    return { kid, secret, open: createPublicKey(secret), createdAt };
  };

  async function read(): Promise<TokenKeyRow[]> {
    const rows = await documents.find<TokenKeyRow>(TOKEN_KEYS.name, {}, { sort: { createdAt: -1 } });
    const next = new Map<string, TokenKey>();
    for (const row of rows)
      next.set(row.id, keys.get(row.id) ?? fromJwk(row.id, JSON.parse(ring?.open(row.sealed, aad(row.id)) ?? ''), row.createdAt));
    keys = next;
    return rows;
  }

  async function make(previous: string): Promise<void> {
    const { privateKey } = await generate('rsa', { modulusLength: 2048 });
    const kid = hexId().slice(0, 16);
    const createdAt = now();
    const rotatesAt = createdAt + config.tokenKeyDays * DAY;
    const sealed = ring?.seal(JSON.stringify(privateKey.export({ format: 'jwk' })), aad(kid)) as string;
    const expiresAt = rotatesAt + config.accessTokenMaxAgeS * SECOND + DAY;
    try {
      await documents.insert<TokenKeyRow>(TOKEN_KEYS.name, { id: kid, previous, sealed, createdAt, rotatesAt, expiresAt });
    } catch (error) {
      // Another node was first: its key is as good.
      if (!isFault(error, 'AlreadyUsedError')) throw error;
    }
  }

  if (config.tokenKeys) {
    try {
      const { keys: given } = JSON.parse(config.tokenKeys) as { keys: (JsonObject & { kid: string })[] };
      for (const [index, jwk] of given.entries()) keys.set(jwk.kid, fromJwk(jwk.kid, jwk, -index));
      if (keys.size === 0) throw new Error('no key');
    } catch (cause) {
      throw fault('ConfigurationError', {
        message: `TOKEN_KEYS must be a JWKS of private RSA keys, the signing one first: ${(cause as Error).message}`,
        data: { variable: 'TOKEN_KEYS' },
        cause,
      });
    }
  }

  const self: TokenKeyRing = {
    current: () => keys.values().next().value as TokenKey,
    find: (kid) => keys.get(kid),
    jwks: () => ({
      keys: [...keys.values()].map(({ kid, open }) => ({
        ...(open.export({ format: 'jwk' }) as JsonObject),
        kid,
        use: 'sig',
        alg: 'RS256',
      })),
    }),
    privateJwks: () =>
      [...keys.values()].map(({ kid, secret }) => ({ ...(secret.export({ format: 'jwk' }) as JsonObject), kid, use: 'sig', alg: 'RS256' })),
    kids: () => [...keys.keys()],
    async revoke(kid) {
      if (!ring)
        throw fault('ConfigurationError', { message: 'TOKEN_KEYS holds the keys: remove it there.', data: { variable: 'TOKEN_KEYS' } });
      await read();
      if (!keys.has(kid)) throw fault('ObjectNotFoundError', { message: `There is no token key '${kid}'.`, data: { kid } });
      if (self.current().kid === kid) await self.refresh({ force: true });
      await documents.remove(TOKEN_KEYS.name, kid);
      await read();
    },
    async refresh({ force = false } = {}) {
      if (!ring) return { created: [], deleted: [] };
      const before = new Set(keys.keys());
      const [latest] = await read();
      if (!latest || force || latest.rotatesAt <= now()) {
        await make(latest?.id ?? 'none');
        await read();
      }
      return {
        created: [...keys.keys()].filter((kid) => !before.has(kid)),
        deleted: [...before].filter((kid) => !keys.has(kid)),
      };
    },
  };
  await self.refresh();
  return self;
}
