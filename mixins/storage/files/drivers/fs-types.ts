/**
 * fs-types — content types beside the files: one small JSON file per key that has one, etag → type. It may hold two etags, that of the content
 * before and after a write, so that type and content change together.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const typeFile = (path: string): string => `${path}.type`;

function readTypes(path: string): Record<string, string> {
  try {
    const found = JSON.parse(readFileSync(typeFile(path), 'utf8'));
    return typeof found === 'object' && found !== null ? found : {};
  } catch {
    return {};
  }
}

export const typeOf = (path: string, etag: string): string | undefined => {
  const known = readTypes(path);
  return Object.hasOwn(known, etag) ? known[etag] : undefined;
};

export const mayHaveType = (types: string, key: string): boolean =>
  statSync(typeFile(join(types, key)), { throwIfNoEntry: false }) !== undefined;

export function noteType(path: string, etag: string, contentType: string | undefined, before: (() => string | null) | null): void {
  const present = before?.() ?? null;
  const known = readTypes(path);
  const kept: Record<string, string> = {};
  if (present !== null && Object.hasOwn(known, present)) kept[present] = known[present] as string;
  if (contentType) kept[etag] = contentType;
  else delete kept[etag];
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${randomBytes(6).toString('hex')}`;
  writeFileSync(fresh, JSON.stringify(kept), { flush: true });
  renameSync(fresh, typeFile(path));
}

/** Names in a folder that have a noted type: one look for a whole listing. */
export function typedNames(types: string, folder: string): Set<string> {
  try {
    return new Set(readdirSync(join(types, folder)).map((name) => name.replace(/\.type$/, '')));
  } catch {
    return new Set();
  }
}
