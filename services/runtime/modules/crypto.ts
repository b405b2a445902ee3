/** crypto — hashes, signatures, base64 and random texts. Whatever is not text is made JSON first; results are plain text. */
import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { toKey, toNumber } from '../expressions/index.ts';
import type { Module } from './index.ts';

const ALGORITHMS = ['sha256', 'sha512', 'sha1', 'md5'];
const ENCODINGS = ['hex', 'base64', 'base64url'] as const;
const MAX_RANDOM_BYTES = 1024;

const bytesOf = (data: unknown): Buffer => {
  if (data instanceof Uint8Array) return Buffer.from(data);
  return Buffer.from(typeof data === 'string' ? data : (JSON.stringify(data) ?? ''), 'utf8');
};

function oneOf<T extends string>(name: string, value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined || value === null) return fallback;
  if (allowed.includes(value as T)) return value as T;
  throw fault('InvalidInstructionError', { message: `crypto: ${name} must be one of ${allowed.join(', ')}.`, data: { [name]: value } });
}

const hash = (algorithm: string) => (parameters: JsonObject) =>
  createHash(algorithm)
    .update(bytesOf(parameters.data))
    .digest(oneOf('encoding', parameters.encoding, ENCODINGS, 'hex'));

export const cryptoModule: Module = {
  sha256: ({ parameters }) => hash('sha256')(parameters),
  sha512: ({ parameters }) => hash('sha512')(parameters),
  md5: ({ parameters }) => hash('md5')(parameters),
  hmac({ parameters }) {
    if (parameters.key === undefined || parameters.key === null)
      throw fault('InvalidInstructionError', { message: 'crypto.hmac needs a key.' });
    const algorithm = oneOf('algorithm', parameters.algorithm, ALGORITHMS, 'sha256');
    return createHmac(algorithm, bytesOf(parameters.key))
      .update(bytesOf(parameters.data))
      .digest(oneOf('encoding', parameters.encoding, ENCODINGS, 'hex'));
  },
  base64Encode: ({ parameters }) => bytesOf(parameters.data).toString(parameters.urlSafe === true ? 'base64url' : 'base64'),
  // Node reads both alphabets, padded or not.
  base64Decode: ({ parameters }) => Buffer.from(toKey(parameters.data ?? ''), 'base64').toString('utf8'),
  randomBytes({ parameters }) {
    const length = toNumber(parameters.length ?? 32);
    if (!Number.isInteger(length) || length < 1 || length > MAX_RANDOM_BYTES)
      throw fault('InvalidInstructionError', { message: `crypto.randomBytes: length must be between 1 and ${MAX_RANDOM_BYTES}.` });
    return randomBytes(length).toString(oneOf('encoding', parameters.encoding, ENCODINGS, 'base64url'));
  },
  randomUUID: () => randomUUID(),
};
