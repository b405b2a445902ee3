/**
 * packages — large packages that a node may never need, or not for a while: loaded when they are first used. Each is a megabyte or more of memory, and part of
 * the time a node takes to start.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

function lazily<T>(name: string): () => T {
  let found: T | undefined;
  return () => {
    found ??= require(name) as T;
    return found;
  };
}

/** HTTP client of `fetch`, of forwarded routes and of Git. */
export const undici = lazily<typeof import('undici')>('undici');
export const git = lazily<typeof import('isomorphic-git')>('isomorphic-git');
/** Regular expressions that users write. */
export const re2js = lazily<typeof import('re2js')>('re2js');
export const otpauth = lazily<typeof import('otpauth')>('otpauth');
export const qrcode = lazily<typeof import('qrcode-generator')>('qrcode-generator');
