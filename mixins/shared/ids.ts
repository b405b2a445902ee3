/** ids — every identifier the platform makes. Randomness comes from node:crypto. */
import { randomBytes, randomFillSync, randomUUID, randomUUIDv7 } from 'node:crypto';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const URL_SAFE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';

/** Random bytes fetched ahead: one request to the system serves 256 ids. */
const pool = Buffer.alloc(4096);
let poolAt = pool.length;

/** Bytes from the pool; valid until the next call. */
function randomPart(length: number): Buffer {
  if (poolAt + length > pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += length;
  return pool.subarray(poolAt - length, poolAt);
}

/** Two characters for each ten bits. */
const PAIRS = Array.from({ length: 1024 }, (_, n) => `${CROCKFORD[n >> 5]}${CROCKFORD[n & 31]}`);
/** What ids of one millisecond differ in: the last four characters, counted up from the lower half. */
const COUNTED = 1 << 20;
let lastTime = -1;
let beginning = '';
let counter = 0;

function beginMillisecond(time: number): void {
  lastTime = time;
  let text = '';
  for (let i = 0, rest = time; i < 5; i++, rest = Math.floor(rest / 1024)) text = (PAIRS[rest % 1024] as string) + text;
  const random = randomPart(15);
  for (let i = 0; i < 12; i++) text += CROCKFORD[(random[i] as number) & 31];
  beginning = text;
  counter = random.readUIntBE(12, 3) % (COUNTED / 2);
}

/** 26 characters, sortable by time, strictly increasing within a process. @see https://github.com/ulid/spec */
export function ulid(now: number = Date.now()): string {
  if (now > lastTime) beginMillisecond(now);
  else if (++counter === COUNTED) beginMillisecond(lastTime + 1);
  return `${beginning}${PAIRS[counter >> 10]}${PAIRS[counter & 1023]}`;
}

/** The ULID of a moment and a random part of 80 bits that the caller derives: for what must have the same id when it is made again. */
export function ulidOf(at: number, random: bigint): string {
  let id = '';
  for (let i = 0, rest = (BigInt(at) << 80n) | random; i < 26; i++, rest >>= 5n) id = (CROCKFORD[Number(rest & 31n)] as string) + id;
  return id;
}

/** Milliseconds in the first ten characters of a ULID, or NaN. */
export function ulidTime(id: string): number {
  if (!/^[0-9A-HJKMNP-TV-Z]{26}$/.test(id)) return NaN;
  let time = 0;
  for (let i = 0; i < 10; i++) time = time * 32 + CROCKFORD.indexOf(id[i] as string);
  return time;
}

/** Random text of `length` characters of `A-Za-z0-9_-`; 7 for workspaces, 21 for files. */
export function shortId(length = 7): string {
  let id = '';
  for (const byte of randomBytes(length)) id += URL_SAFE[byte & 63];
  // An id never starts with a dash or underscore: ids end up in file names, command lines and URLs.
  return /^[_-]/.test(id) ? shortId(length) : id;
}

/** 32 hexadecimal characters: ids of tokens, of calls, of owners. */
export const hexId = (): string => randomPart(16).toString('hex');

/** Secret of `bytes` random bytes as base64url. */
export const secretToken = (bytes = 32): string => randomBytes(bytes).toString('base64url');

export const uuid = (): string => randomUUID();

/**
 * A UUID of version 7, which begins with the time: an index by such ids grows at its end, where random ones touch a page of it per request.
 * @see https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
 */
export const timeUuid = (): string => randomUUIDv7();

/** 32 hexadecimal characters that begin with the time. */
export const newCorrelationId = (): string => timeUuid().replaceAll('-', '');
