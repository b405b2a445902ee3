/** ids — every identifier the platform makes. Randomness comes from node:crypto. */
import { randomBytes, randomFillSync, randomUUID } from 'node:crypto';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const URL_SAFE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';

/** Random bytes fetched ahead: one request to the system serves 256 ids. */
const pool = Buffer.alloc(4096);
let poolAt = pool.length;

let lastTime = -1;
let lastRandom: number[] = [];

/** 26 characters, sortable by time, strictly increasing within a process. @see https://github.com/ulid/spec */
export function ulid(now: number = Date.now()): string {
  if (now <= lastTime) {
    now = lastTime;
    for (let i = 15; i >= 0; i--) {
      lastRandom[i] = ((lastRandom[i] as number) + 1) % 32;
      if (lastRandom[i] !== 0) break;
    }
  } else {
    lastTime = now;
    lastRandom = Array.from(randomBytes(16), (byte) => byte % 32);
    lastRandom[0] = (lastRandom[0] as number) % 16; // room to count up within one millisecond
  }
  let time = '';
  for (let i = 0, rest = now; i < 10; i++, rest = Math.floor(rest / 32)) time = (CROCKFORD[rest % 32] as string) + time;
  let random = '';
  for (const digit of lastRandom) random += CROCKFORD[digit];
  return time + random;
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
  return [...id.slice(0, 10)].reduce((time, digit) => time * 32 + CROCKFORD.indexOf(digit), 0);
}

/** Random text of `length` characters of `A-Za-z0-9_-`; 7 for workspaces, 21 for files. */
export function shortId(length = 7): string {
  let id = '';
  for (const byte of randomBytes(length)) id += URL_SAFE[byte & 63];
  // An id never starts with a dash or underscore: ids end up in file names, command lines and URLs.
  return /^[_-]/.test(id) ? shortId(length) : id;
}

/** 32 hexadecimal characters: correlation ids, tokens' ids. */
export function hexId(): string {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += 16;
  return pool.toString('hex', poolAt - 16, poolAt);
}

/** Secret of `bytes` random bytes as base64url. */
export const secretToken = (bytes = 32): string => randomBytes(bytes).toString('base64url');

export const uuid = (): string => randomUUID();
