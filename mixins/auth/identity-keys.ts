/**
 * identity-keys — the key pair that signs inner identities, and the check of those that arrive. One pair per installation: IDENTITY_KEYS, else made
 * once under DATA_DIR/keys and shared by every process of the machine.
 *
 * Signature   Ed25519 over the canonical JSON of the claims (keys sorted at every depth, `sig` left out). @see https://www.rfc-editor.org/rfc/rfc8032
 * Cost        only identities that cross nodes pay: the signature is made when it is first read, and checked once per node; later arrivals of the same
 *             text are a map look-up, the same object a set look-up.
 */
import { createPrivateKey, createPublicKey, sign as ed25519, generateKeyPairSync, type KeyObject, randomBytes, verify } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceBroker } from 'moleculer';
import { type Clock, MINUTE, SECOND } from '../shared/clock.ts';
import { type Config, configOf, ensureDataDir } from '../shared/config.ts';
import { fault } from '../shared/errors.ts';
import { isPlainObject, type JsonObject } from '../shared/json.ts';
import { lru } from '../shared/lru.ts';
import type { IdentityKeys, OpenIdentityKeys } from './contract.ts';
import type { Identity, IdentityClaims } from './identity.ts';

/** Longest life of an identity. */
export const MAX_TTL_MS = MINUTE;
/** Clocks of nodes may differ by this much. */
const SKEW_MS = 5 * SECOND;
const KINDS = new Set(['user', 'anonymous', 'none', 'service', 'system', 'delegated']);

export interface NodeIdentityKeys extends IdentityKeys {
  /** Whether this very object was signed or verified here. */
  isKnown(identity: unknown): identity is Identity;
  /** The claims of a known identity with a new life: work that outlives a minute goes on calling as who started it. */
  renew(identity: Identity): Identity;
}

/** JSON with keys sorted at every depth: the same claims give the same text on every node. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item === undefined ? null : item)).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value as JsonObject).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}

const frozen = new WeakSet<object>();
const isFrozenData = (value: unknown): boolean => frozen.has(value as object);

/** A frozen copy, taken once by whoever signs the same data often: it is not copied again. */
export function frozenData<T>(value: T): T {
  const copy = deepFreeze(structuredClone(value));
  if (typeof copy === 'object' && copy !== null) frozen.add(copy);
  return copy;
}

const refused = (message: string) => fault('AuthenticationError', { message });

/** A constructor that hands back what it is given: the private fields of the class below land on it. */
class Given {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: that is what it is for
    return object;
  }
}

/** What marks an identity as made here: nothing outside this file can put it on another object, and looking for it costs next to nothing. */
class Mark extends Given {
  #by: object;
  #signature: string | undefined;
  private constructor(identity: object, by: object) {
    super(identity);
    this.#by = by;
  }
  static put(identity: object, by: object): void {
    new Mark(identity, by);
  }
  static isBy(identity: object, by: object): boolean {
    return #by in identity && identity.#by === by;
  }
  /** The signature of a marked identity, made when it is first asked for. */
  static signature(identity: object, make: () => string): string {
    const marked = identity as Mark;
    marked.#signature ??= make();
    return marked.#signature;
  }
}

/** Keys of a private JWK. @throws ConfigurationError when it is not Ed25519 */
export function identityKeys(jwk: JsonObject, now: Clock = Date.now): NodeIdentityKeys {
  const secret = importKey(jwk);
  const open = createPublicKey(secret);
  /** Checked here. Those made here are marked. */
  const known = new WeakSet<object>();
  const checked = lru<string, string>({ max: 10_000 });

  const textOf = (identity: object) => {
    const claims: JsonObject = {};
    for (const name of Object.keys(identity)) if (name !== 'sig') claims[name] = (identity as JsonObject)[name];
    return canonical(claims);
  };
  /** Signed when first read, as the identity leaves the process: inside, it is known by the object. One getter for all: with one each they would all be of different shapes. */
  const sig = {
    enumerable: true,
    get(this: object) {
      return Mark.signature(this, () => {
        const text = textOf(this);
        const made = ed25519(null, Buffer.from(text), secret).toString('base64url');
        checked.set(made, text);
        return made;
      });
    },
  };
  const assertAlive = ({ iat, exp }: IdentityClaims) => {
    const time = now();
    if (exp + SKEW_MS <= time) throw refused('The identity of this call has expired.');
    if (iat - SKEW_MS > time) throw refused('The identity of this call is from the future.');
  };

  const keys: NodeIdentityKeys = {
    sign({ ttlMs = MAX_TTL_MS, ...claims }) {
      const iat = now();
      const full: Record<string, unknown> = {};
      for (const name in claims) {
        const value = (claims as Record<string, unknown>)[name];
        if (value !== undefined) full[name] = value;
      }
      full.v = 1;
      full.iat = iat;
      full.exp = iat + Math.min(ttlMs, MAX_TTL_MS);
      // Authority is never borrowed: a run acts for a person of its workspace, not for the platform.
      if (full.kind === 'delegated') delete full.role;
      // Freezing must not reach into objects of the caller.
      if (full.authData && !isFrozenData(full.authData)) full.authData = frozenData(full.authData);
      Object.defineProperty(full, 'sig', sig);
      Mark.put(full, keys);
      const identity = Object.freeze(full) as unknown as Identity;
      return identity;
    },
    verify(identity) {
      if (keys.isKnown(identity)) {
        assertAlive(identity);
        return identity;
      }
      if (!isPlainObject(identity) || typeof identity.sig !== 'string') throw refused('The call carries no signed identity.');
      const claims = identity as unknown as Identity;
      if (claims.v !== 1 || !KINDS.has(claims.kind) || !Number.isFinite(claims.iat) || !Number.isFinite(claims.exp))
        throw refused('The identity of this call is not valid.');
      if (claims.exp - claims.iat > MAX_TTL_MS) throw refused('The identity of this call lives too long.');
      assertAlive(claims);
      const text = textOf(identity);
      if (checked.get(claims.sig) !== text) {
        if (!verify(null, Buffer.from(text), open, Buffer.from(claims.sig, 'base64url')))
          throw refused('The signature of the identity of this call is not valid.');
        checked.set(claims.sig, text);
      }
      deepFreeze(identity);
      known.add(identity);
      return claims;
    },
    isKnown: (identity): identity is Identity =>
      typeof identity === 'object' && identity !== null && (Mark.isBy(identity, keys) || known.has(identity)),
    renew(identity) {
      if (!keys.isKnown(identity)) throw refused('Only a verified identity can be renewed.');
      const { sig: _sig, iat: _iat, exp: _exp, v: _v, ...claims } = identity;
      return keys.sign(claims);
    },
  };
  return keys;
}

function importKey(jwk: JsonObject): KeyObject {
  try {
    const key = createPrivateKey({ key: jwk as unknown as import('node:crypto').JsonWebKey, format: 'jwk' });
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`the key is ${key.asymmetricKeyType}`);
    return key;
  } catch (cause) {
    throw fault('ConfigurationError', {
      message: `IDENTITY_KEYS must be a private Ed25519 key as JWK JSON: ${(cause as Error).message}`,
      data: { variable: 'IDENTITY_KEYS' },
      cause,
    });
  }
}

/**
 * The content of DATA_DIR/keys/<name>, made by `make` when there is none yet. Several processes may start at once on one folder: a complete file is
 * linked under the name, the first wins and the others read it.
 */
export function sharedKeyFile(config: Config, name: string, make: () => unknown): string {
  const folder = join(ensureDataDir(config), 'keys');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, name);
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const mine = `${file}.${randomBytes(6).toString('hex')}`;
  writeFileSync(mine, `${JSON.stringify(make(), null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(mine, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(mine);
  }
  return readFileSync(file, 'utf8');
}

function jwkOf(config: Config): JsonObject {
  const text =
    config.identityKeys ??
    sharedKeyFile(config, 'identity.json', () => generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }));
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fault('ConfigurationError', {
      message: 'IDENTITY_KEYS must be a private Ed25519 key as JWK JSON.',
      data: { variable: 'IDENTITY_KEYS' },
      cause,
    });
  }
}

const ofBroker = new WeakMap<ServiceBroker, NodeIdentityKeys>();

/** The keys of this node, opened at the first use. @throws ConfigurationError */
export function identityKeysOf(broker: ServiceBroker): NodeIdentityKeys {
  let keys = ofBroker.get(broker);
  if (!keys) {
    keys = identityKeys(jwkOf(configOf(broker)));
    ofBroker.set(broker, keys);
  }
  return keys;
}

export const openIdentityKeys: OpenIdentityKeys = async (broker) => identityKeysOf(broker);
