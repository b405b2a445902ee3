/** archive — a workspace folder as the zip that the product's clients upload: everything under `current/`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { zipSync } from 'fflate';

export function zipFolder(folder: string, rootName = 'current'): Uint8Array {
  const entries: Record<string, Uint8Array> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.mjs')) continue;
    const path = join(entry.parentPath, entry.name);
    entries[`${rootName}/${relative(folder, path)}`] = new Uint8Array(readFileSync(path));
  }
  return zipSync(entries);
}

/** A zip of these texts, below `current/`. */
export const zipOf = (files: Record<string, string>): Uint8Array =>
  zipSync(Object.fromEntries(Object.entries(files).map(([path, text]) => [`current/${path}`, new TextEncoder().encode(text)])));
