/**
 * fs — files in folders of this machine, readable with any tool: `<root>/<area>/<key>`. Several processes may share the folder.
 *
 * Beside the areas: `.tmp/` (content on its way, on the same file system), `.types/` (content types), `.lock.db` (one lock for all commits; the
 * system frees it when its holder dies). A write: temporary file → flush → lock → check → rename → unlock → flush of the folder. The lock covers
 * only the check and the rename, both synchronous, so it is held for some 50 µs.
 *
 * A key cannot be a file and a folder at once. Symbolic links are not followed and not listed.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { copyFile, type FileHandle, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fault } from '../../../shared/errors.ts';
import { lru } from '../../../shared/lru.ts';
import { compareText } from '../../order.ts';
import type { FileInfo, FilesDriver, WriteOptions } from '../contract.ts';
import { checkArea, checkKey, checkPrefix } from '../keys.ts';
import {
  countFiles,
  flushFolder,
  flushFolders,
  folderInTheWay,
  isAbsence,
  isFolderInTheWay,
  isInside,
  isKey,
  makeFolder,
  nearestFolder,
  openLock,
  pruneFolders,
  sweepTemporary,
} from './fs-folders.ts';
import { mayHaveType, noteType, typedNames, typeFile, typeOf } from './fs-types.ts';

const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW;
const PARALLEL = 16;
/** Files up to this size are hashed in one go, on the calling thread. */
const SMALL_BYTES = 128n * 1024n;
/** Files of a listing between two turns of the event loop. */
const TURN = 50;
/** Two writes within one tick of the file system's clock look alike; a fresh file is hashed again rather than believed. */
const CLOCK_TICK_MS = 50;

type Hashed = { stamp: string; etag: string };
type Hashing = { stat: BigIntStats; etag: string };

export function fsFiles(folder: string, area: string): FilesDriver {
  checkArea(area);
  mkdirSync(join(folder, area), { recursive: true, mode: 0o700 });
  const root = realpathSync(folder);
  const base = join(root, area);
  const temporary = join(root, '.tmp');
  const types = join(root, '.types', area);
  mkdirSync(temporary, { recursive: true, mode: 0o700 });
  sweepTemporary(temporary);
  const lock = openLock(join(root, '.lock.db'));
  const hashes = lru<string, Hashed>({ max: 50_000 });

  const pathOf = (key: string) => join(base, key);
  const infoOf = (key: string, stat: BigIntStats, etag: string, isTyped = true): FileInfo => {
    const contentType = isTyped ? typeOf(join(types, key), etag) : undefined;
    return { key, size: Number(stat.size), etag, modifiedAt: Number(stat.mtimeMs), ...(contentType ? { contentType } : {}) };
  };

  /** Opens a regular file whose folders are no links; `null` when there is none. */
  async function openRegular(key: string): Promise<{ handle: FileHandle; stat: BigIntStats } | null> {
    const path = pathOf(key);
    if (!isInside(base, dirname(path))) return null;
    let handle: FileHandle;
    try {
      handle = await open(path, READ_FLAGS);
    } catch (error) {
      if (isAbsence(error)) return null;
      throw error;
    }
    const stat = await handle.stat({ bigint: true });
    if (stat.isFile()) return { handle, stat };
    await handle.close();
    return null;
  }

  function rememberedEtag(key: string, stat: BigIntStats): string | undefined {
    const known = hashes.get(key);
    return known && known.stamp === stampOf(stat) ? known.etag : undefined;
  }
  function remember(key: string, stat: BigIntStats, etag: string): void {
    if (Date.now() - Number(stat.mtimeMs) > CLOCK_TICK_MS) hashes.set(key, { stamp: stampOf(stat), etag });
  }

  async function etagOf(key: string, handle: FileHandle, stat: BigIntStats): Promise<string> {
    const known = rememberedEtag(key, stat);
    if (known) return known;
    const hash = newHash();
    for await (const chunk of handle.createReadStream({ start: 0, autoClose: false })) hash.update(chunk as Buffer);
    const etag = digest(hash);
    remember(key, stat, etag);
    return etag;
  }

  /** Current etag, synchronously: only called under the lock. `null` when there is no such file. */
  function currentEtag(key: string): string | null {
    const path = pathOf(key);
    let descriptor: number;
    try {
      if (!lstatSync(path).isFile()) return null;
      descriptor = openSync(path, READ_FLAGS);
    } catch (error) {
      if (isAbsence(error)) return null;
      throw error;
    }
    try {
      return digest(newHash().update(readFileSync(descriptor)));
    } finally {
      closeSync(descriptor);
    }
  }

  /** Puts a flushed temporary file in its place. @throws VersionConflict */
  function commit(key: string, from: string, etag: string, { ifMatch, contentType }: WriteOptions): void {
    const path = pathOf(key);
    lock.hold(() => {
      if (ifMatch !== undefined) {
        const actual = currentEtag(key);
        if (actual !== ifMatch) throw fault('VersionConflict', { data: { key, expected: ifMatch, actual } });
      }
      makeFolder(base, dirname(path), key);
      // Written before the content and keyed by its hash: a crash in between leaves the old content with its own type.
      if (contentType || mayHaveType(types, key))
        noteType(join(types, key), etag, contentType, ifMatch === null ? null : () => currentEtag(key));
      try {
        renameSync(from, path);
      } catch (error) {
        if (isFolderInTheWay(error)) throw folderInTheWay(key);
        throw error;
      }
    });
    flushFolders(base, dirname(path));
  }

  async function write(key: string, body: Buffer | string | Readable, options: WriteOptions = {}): Promise<FileInfo> {
    checkKey(key);
    const from = join(temporary, randomBytes(12).toString('hex'));
    try {
      const handle = await open(from, 'wx', 0o600);
      let etag: string;
      let stat: BigIntStats;
      try {
        etag = await fill(handle, body);
        await handle.sync();
        stat = await handle.stat({ bigint: true });
      } finally {
        await handle.close();
      }
      commit(key, from, etag, options);
      return infoOf(key, stat, etag);
    } catch (error) {
      await rm(from, { force: true });
      throw error;
    }
  }

  /** Keys under a folder, in code-point order, and whether a content type may be noted; nothing of the files themselves is read. */
  async function* keysUnder(prefix: string): AsyncGenerator<{ key: string; isTyped: boolean }> {
    if (!isInside(base, join(base, prefix))) return;
    let entries: { name: string; isFolder: boolean }[];
    try {
      entries = (await readdir(join(base, prefix), { withFileTypes: true }))
        .filter((entry) => entry.isFile() || entry.isDirectory())
        .map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }));
    } catch (error) {
      if (isAbsence(error)) return;
      throw error;
    }
    // A folder sorts as `name/`, its place among the full keys: `a-b` comes before `a/b`.
    entries.sort((a, b) => compareText(a.isFolder ? `${a.name}/` : a.name, b.isFolder ? `${b.name}/` : b.name));
    const typed = typedNames(types, prefix);
    for (const { name, isFolder } of entries) {
      const key = prefix ? `${prefix}/${name}` : name;
      if (isFolder) yield* keysUnder(key);
      else if (isKey(key)) yield { key, isTyped: typed.has(name) };
    }
  }

  async function info(key: string): Promise<FileInfo | null> {
    const found = await openRegular(checkKey(key));
    if (!found) return null;
    try {
      return infoOf(key, found.stat, await etagOf(key, found.handle, found.stat));
    } finally {
      await found.handle.close();
    }
  }

  /** For listings, where the folder is known to be no link: a small file is looked at in some 20 µs, a large one without holding the event loop. */
  async function describe({ key, isTyped }: { key: string; isTyped: boolean }): Promise<FileInfo | null> {
    const path = pathOf(key);
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (!stat?.isFile()) return null;
    const known = rememberedEtag(key, stat);
    if (!known && stat.size > SMALL_BYTES) return info(key);
    try {
      const found = known ? { stat, etag: known } : hashSmall(path);
      remember(key, found.stat, found.etag);
      return infoOf(key, found.stat, found.etag, isTyped);
    } catch (error) {
      if (isAbsence(error)) return null;
      throw error;
    }
  }

  return {
    async read(key) {
      const found = await openRegular(checkKey(key));
      if (!found) return null;
      try {
        const body = await found.handle.readFile();
        const etag = rememberedEtag(key, found.stat) ?? digest(newHash().update(body));
        remember(key, found.stat, etag);
        return { body, info: infoOf(key, found.stat, etag) };
      } finally {
        await found.handle.close();
      }
    },

    async stream(key, range) {
      const found = await openRegular(checkKey(key));
      if (!found) return null;
      const { handle, stat } = found;
      const etag = await etagOf(key, handle, stat).catch(async (error) => {
        await handle.close();
        throw error;
      });
      const size = Number(stat.size);
      const start = range?.start ?? 0;
      const end = Math.min(range?.end ?? size - 1, size - 1);
      if (start > end) {
        await handle.close();
        return { body: Readable.from([]), info: infoOf(key, stat, etag) };
      }
      // The open handle keeps the content of this moment, also when the file is replaced meanwhile.
      return { body: handle.createReadStream({ start, end }), info: infoOf(key, stat, etag) };
    },

    info,
    write,

    async remove(key) {
      checkKey(key);
      const path = pathOf(key);
      const removed = lock.hold(() => {
        if (!isInside(base, dirname(path))) return false;
        try {
          if (!lstatSync(path).isFile()) return false;
          unlinkSync(path);
        } catch (error) {
          if (isAbsence(error)) return false;
          throw error;
        }
        rmSync(typeFile(join(types, key)), { force: true });
        return true;
      });
      if (removed) {
        flushFolders(base, dirname(path));
        lock.hold(() => pruneFolders(base, dirname(path)));
      }
      return removed;
    },

    async removeAll(prefix) {
      checkPrefix(prefix);
      const folderKey = checkPrefix(prefix);
      const path = folderKey ? join(base, folderKey) : base;
      const away = join(temporary, randomBytes(12).toString('hex'));
      // One rename takes the whole folder away at once; its content is removed afterwards.
      const taken = lock.hold(() => {
        if (!isInside(base, path)) return false;
        try {
          if (!lstatSync(path).isDirectory()) return false;
          renameSync(path, away);
        } catch (error) {
          if (isAbsence(error)) return false;
          throw error;
        }
        if (!folderKey) mkdirSync(base, { mode: 0o700 });
        rmSync(join(types, folderKey), { recursive: true, force: true });
        pruneFolders(base, dirname(path));
        return true;
      });
      if (!taken) return 0;
      flushFolder(folderKey ? nearestFolder(dirname(path)) : root);
      const count = countFiles(away);
      await rm(away, { recursive: true, force: true });
      return count;
    },

    async *list(prefix) {
      let count = 0;
      for await (const entry of keysUnder(checkPrefix(prefix))) {
        const found = await describe(entry);
        if (found) yield found;
        // Others get their turn: a listing of small files would otherwise never leave the thread.
        if (++count % TURN === 0) await nextTurn();
      }
    },

    async copyAll(from, to) {
      const source = checkPrefix(from);
      const target = checkPrefix(to);
      const keys: string[] = [];
      for await (const { key } of keysUnder(source)) keys.push(key);
      let copied = 0;
      const rest = keys.values();
      const worker = async () => {
        for (const key of rest) if (await copyOne(key, target + (source ? key.slice(source.length) : `/${key}`))) copied++;
      };
      await Promise.all(Array.from({ length: PARALLEL }, worker));
      return copied;
    },

    async close() {
      lock.close();
    },
  };

  async function copyOne(key: string, to: string): Promise<boolean> {
    const copy = to.startsWith('/') ? to.slice(1) : to;
    checkKey(copy);
    const from = join(temporary, randomBytes(12).toString('hex'));
    try {
      const found = await info(key);
      if (!found) return false;
      await copyFile(pathOf(key), from, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      const handle = await open(from, 'r+');
      await handle.sync().finally(() => handle.close());
      // The content may have changed since `info`: the copy is what counts.
      const etag = found.contentType ? digest(newHash().update(await readFile(from))) : found.etag;
      commit(copy, from, etag, found.contentType ? { contentType: found.contentType } : {});
      return true;
    } catch (error) {
      await rm(from, { force: true });
      if (isAbsence(error)) return false;
      throw error;
    }
  }
}

const newHash = () => createHash('sha256');
const digest = (hash: ReturnType<typeof newHash>): string => hash.digest('hex').slice(0, 32);
const stampOf = (stat: BigIntStats): string => `${stat.ino}.${stat.size}.${stat.mtimeNs}.${stat.ctimeNs}`;

function hashSmall(path: string): Hashing {
  const descriptor = openSync(path, READ_FLAGS);
  try {
    return { stat: fstatSync(descriptor, { bigint: true }), etag: digest(newHash().update(readFileSync(descriptor))) };
  } finally {
    closeSync(descriptor);
  }
}

async function fill(handle: FileHandle, body: Buffer | string | Readable): Promise<string> {
  const hash = newHash();
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    hash.update(body);
    await handle.writeFile(body);
    return digest(hash);
  }
  await pipeline(body, async (chunks) => {
    for await (const chunk of chunks as AsyncIterable<Buffer | string>) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      hash.update(bytes);
      await handle.writeFile(bytes);
    }
  });
  return digest(hash);
}
