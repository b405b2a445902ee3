/**
 * spool — where the files of a form wait on disk, under DATA_DIR, until the service that wants them has fetched them (`gateway.readUpload`). A file has no
 * name from the moment it is open: when its request ends, or the process is killed, the system gives the space back by itself.
 */
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, ensureDataDir } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { SpooledFile } from './contract.ts';

/** Largest piece that is handed out at once. */
export const MAX_PIECE_BYTES = 1_000_000;

/** The files of one request. */
export interface SpoolSession {
  create(): Promise<SpoolFile>;
  /** Closes all of them; the space is free again. */
  end(): Promise<void>;
}

export interface SpoolFile {
  write(chunk: Buffer): Promise<void>;
  /** By which it is found, once it is whole. */
  told(size: number): SpooledFile;
}

export interface Spool {
  session(): SpoolSession;
  /** @throws InvalidUploadError when there is no such file (any more) */
  read(ref: string, offset: number, length: number): Promise<Buffer>;
  /** Files that wait now. */
  readonly count: number;
}

export function createSpool(config: Config): Spool {
  const held = new Map<string, FileHandle>();

  async function openNameless(): Promise<FileHandle> {
    const folder = join(ensureDataDir(config), 'spool');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, hexId());
    const handle = await open(path, 'wx+', 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return handle;
  }

  return {
    session() {
      let isEnded = false;
      const opening: Promise<{ ref: string; handle: FileHandle }>[] = [];
      return {
        async create() {
          if (isEnded) throw fault('InvalidUploadError', { message: 'The request is over.' });
          const opened = openNameless().then((handle) => ({ ref: hexId(), handle }));
          opening.push(opened);
          const { ref, handle } = await opened;
          let position = 0;
          return {
            async write(chunk) {
              for (let done = 0; done < chunk.length; ) {
                const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position);
                done += bytesWritten;
                position += bytesWritten;
              }
            },
            told(size) {
              // The request may have failed while the last bytes went down.
              if (!isEnded) held.set(ref, handle);
              return { node: config.nodeId, ref, size };
            },
          };
        },
        async end() {
          isEnded = true;
          for (const opened of await Promise.allSettled(opening.splice(0))) {
            if (opened.status !== 'fulfilled') continue;
            held.delete(opened.value.ref);
            await opened.value.handle.close();
          }
        },
      };
    },

    async read(ref, offset, length) {
      const handle = held.get(ref);
      if (!handle) throw fault('InvalidUploadError', { message: 'The uploaded file is not there any more.' });
      const piece = Buffer.allocUnsafe(Math.min(length, MAX_PIECE_BYTES));
      const { bytesRead } = await handle.read(piece, 0, piece.length, offset);
      return piece.subarray(0, bytesRead);
    },

    get count() {
      return held.size;
    },
  };
}
