/** fs-folders — what the folder driver does to folders: made, made durable, pruned, guarded against links, and locked between processes. */
import { closeSync, fsyncSync, lstatSync, mkdirSync, openSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { HOUR } from '../../../shared/clock.ts';
import { fault } from '../../../shared/errors.ts';
import { checkKey } from '../keys.ts';

/** A lock between processes that dies with its holder: the write lock of an SQLite file in which nothing is ever written. */
export function openLock(file: string) {
  const db = new DatabaseSync(file, { timeout: 30_000 });
  const begin = db.prepare('BEGIN IMMEDIATE');
  const end = db.prepare('ROLLBACK');
  return {
    hold<T>(work: () => T): T {
      begin.run();
      try {
        return work();
      } finally {
        end.run();
      }
    },
    close: () => void (db.isOpen && db.close()),
  };
}

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code);
/** Not there, or there is something that is no regular file on the way. */
export const isAbsence = (error: unknown): boolean => ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EISDIR'].includes(codeOf(error));
export const isFolderInTheWay = (error: unknown): boolean => ['EISDIR', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST'].includes(codeOf(error));
export const folderInTheWay = (key: string) =>
  fault('BadParametersError', { message: `'${key}' cannot be written: a file and a folder would have one name.`, data: { key } });

export function isKey(key: string): boolean {
  try {
    checkKey(key);
    return true;
  } catch {
    return false;
  }
}

/** Whether `path` exists and no link on the way leads elsewhere. */
export function isInside(base: string, path: string): boolean {
  try {
    return realpathSync.native(path) === path && (path === base || path.startsWith(base + sep));
  } catch {
    return false;
  }
}

export function makeFolder(base: string, path: string, key: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (isFolderInTheWay(error)) throw folderInTheWay(key);
    throw error;
  }
  if (!isInside(base, path)) throw fault('BadParametersError', { message: `'${key}' leads through a symbolic link.`, data: { key } });
}

export function flushFolder(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes the new name durable. A folder just made is durable only when its parent is flushed too; older ones are not flushed again. */
export function flushFolders(base: string, path: string): void {
  for (let folder = path; ; folder = dirname(folder)) {
    let isYoung: boolean;
    try {
      isYoung = Date.now() - statSync(folder).birthtimeMs < 2_000;
      flushFolder(folder);
    } catch (error) {
      if (!isAbsence(error)) throw error;
      isYoung = true;
    }
    if (folder === base || !isYoung) return;
  }
}

export function nearestFolder(path: string): string {
  for (let folder = path; ; folder = dirname(folder)) if (statSync(folder, { throwIfNoEntry: false })) return folder;
}

/** Removes empty folders upwards; under the lock, so that no writer has just made one. */
export function pruneFolders(base: string, path: string): void {
  for (let folder = path; folder !== base && folder.startsWith(base); folder = dirname(folder)) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if (isAbsence(error)) continue;
      return;
    }
  }
}

export function countFiles(path: string): number {
  let count = 0;
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) if (entry.isFile()) count++;
  return count;
}

/** What a killed process left behind. */
export function sweepTemporary(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat && Date.now() - stat.mtimeMs > HOUR) rmSync(path, { recursive: true, force: true });
  }
}
