/**
 * keyring — seals short texts at rest (secrets, tokens) with AES-256-GCM, by envelope: each text has its own random data key, and the ring's
 * active master key wraps that data key. Rotation: add a new key as active and keep the old one, which still opens what it sealed; once
 * everything was resealed (`isStale`, `reseal`) the old key may go.
 *
 * Sealed text: `v1.<kid>.<wrapped data key>.<ciphertext>`; each part is iv (12 bytes) + tag (16) + bytes, in base64url. The additional data
 * (`aad`, e.g. `secret/<workspaceId>/<name>`) is authenticated by both layers: a sealed text copied to another place does not open there.
 * @see https://nvlpubs.nist.gov/nistpubs/Legacy/SP/nistspecialpublication800-38d.pdf
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, ensureDataDir } from './config.ts';
import { fault } from './errors.ts';

export interface MasterKey {
  /** Name of the key, without dots. */
  kid: string;
  /** 32 bytes as 64 hexadecimal digits. */
  key: string;
  /** Seals new texts; exactly one key of a ring is active (the first when none says so). */
  active?: boolean;
}

export interface KeyRing {
  /** Encrypts `text` for the place named by `aad`. */
  seal(text: string, aad: string): string;
  /** @throws SecretsError when it was altered or sealed for another place · ConfigurationError when its key left the ring */
  open(sealed: string, aad: string): string;
  /** Whether it was sealed with a key that is not the active one any more. */
  isStale(sealed: string): boolean;
  /** The same text under the active key. @throws as `open` */
  reseal(sealed: string, aad: string): string;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;
const VARIABLE = 'SECRETS_MASTER_KEYS';

/** The ring of SECRETS_MASTER_KEYS; without it a key is made once and kept under DATA_DIR/keys, readable by its owner only. */
export function openKeyRing(config: Config): KeyRing {
  return keyRing(config.secretsMasterKeys ? parseKeys(config.secretsMasterKeys, VARIABLE) : localKeys(config));
}

/** A ring of given keys. @throws ConfigurationError */
export function keyRing(keys: MasterKey[]): KeyRing {
  const byId = new Map(keys.map(({ kid, key }) => [kid, Buffer.from(key, 'hex')]));
  const active = keys.find((key) => key.active) ?? keys[0];
  if (!active) throw fault('ConfigurationError', { message: `${VARIABLE} holds no key.`, data: { variable: VARIABLE } });
  const activeKey = byId.get(active.kid) as Buffer;

  const ring: KeyRing = {
    seal(text, aad) {
      const dataKey = randomBytes(32);
      const wrapped = encrypt(activeKey, dataKey, `${active.kid}|${aad}`);
      return `v1.${active.kid}.${wrapped}.${encrypt(dataKey, Buffer.from(text, 'utf8'), aad)}`;
    },
    open(sealed, aad) {
      const [version, kid, wrapped, body] = String(sealed).split('.');
      if (version !== 'v1' || !kid || !wrapped || !body) throw unreadable();
      const master = byId.get(kid);
      if (!master)
        throw fault('ConfigurationError', {
          message: `A secret was sealed with the key '${kid}', which ${VARIABLE} does not hold.`,
          data: { variable: VARIABLE, kid },
        });
      const dataKey = decrypt(master, wrapped, `${kid}|${aad}`);
      return decrypt(dataKey, body, aad).toString('utf8');
    },
    isStale: (sealed) => String(sealed).split('.')[1] !== active.kid,
    reseal: (sealed, aad) => ring.seal(ring.open(sealed, aad), aad),
  };
  return ring;
}

function encrypt(key: Buffer, bytes: Buffer, aad: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(aad, 'utf8'));
  const body = Buffer.concat([cipher.update(bytes), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64url');
}

function decrypt(key: Buffer, text: string, aad: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < IV_BYTES + TAG_BYTES) throw unreadable();
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(aad, 'utf8')).setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw unreadable(cause);
  }
}

const unreadable = (cause?: unknown) =>
  fault('SecretsError', { message: 'The sealed value cannot be opened: it was altered, or sealed for another place.', cause });

function parseKeys(text: string, origin: string): MasterKey[] {
  const problem = (message: string) => fault('ConfigurationError', { message: `${origin} ${message}`, data: { variable: VARIABLE } });
  let keys: unknown;
  try {
    keys = JSON.parse(text);
  } catch {
    throw problem('is not JSON: expected a list of {kid, key, active}.');
  }
  if (!Array.isArray(keys) || keys.length === 0) throw problem('must be a list of at least one {kid, key, active}.');
  const seen = new Set<string>();
  for (const [index, entry] of keys.entries()) {
    const { kid, key } = (entry ?? {}) as Partial<MasterKey>;
    if (typeof kid !== 'string' || !/^[\w-]{1,64}$/.test(kid)) throw problem(`[${index}].kid must be 1 to 64 letters, digits, '_' or '-'.`);
    if (seen.has(kid)) throw problem(`names the key '${kid}' twice.`);
    if (typeof key !== 'string' || !/^[0-9a-fA-F]{64}$/.test(key)) throw problem(`[${index}].key must be 64 hexadecimal digits.`);
    seen.add(kid);
  }
  if (keys.filter((key) => key.active === true).length > 1) throw problem('has more than one active key.');
  return keys as MasterKey[];
}

function localKeys(config: Config): MasterKey[] {
  const folder = join(ensureDataDir(config), 'keys');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'secrets.json');
  const fresh: MasterKey[] = [{ kid: `k${randomBytes(4).toString('hex')}`, key: randomBytes(32).toString('hex'), active: true }];
  const mine = `${file}.${randomBytes(6).toString('hex')}`;
  // Several processes may start at once on one folder: a complete file is linked under the name, the first wins and the others read it.
  writeFileSync(mine, `${JSON.stringify(fresh, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(mine, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(mine);
  }
  return parseKeys(readFileSync(file, 'utf8'), file);
}
