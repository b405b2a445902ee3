/** spooled — the bytes of a file that waits at the gateway that took it: fetched piece by piece, each asked for once the one before is written. */
import { Readable } from 'node:stream';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import { persistent, RETRY_AFTER_MS } from '../../mixins/shared/persistent.ts';
import type { SpooledFile } from '../gateway/contract.ts';

export const PIECE_BYTES = 512 * 1024;
const SILENCE = 'The node that received the file does not answer; send it again.';

/** Asks one node for one piece, in base64. */
export type Fetch = (file: SpooledFile, offset: number, length: number) => Promise<string>;

/** What a form says of itself is not believed: a client may have written it. */
export function spooledOf(value: unknown): SpooledFile | undefined {
  if (!isPlainObject(value)) return undefined;
  const { node, ref, size } = value;
  if (typeof node !== 'string' || typeof ref !== 'string' || !Number.isSafeInteger(size) || (size as number) < 0)
    throw fault('InvalidUploadError', { message: 'The form does not say where its file is.' });
  return { node, ref, size: size as number };
}

/** Fails when the file ends before its size: nothing of it is kept then. */
export function spooledContent(file: SpooledFile, fetch: Fetch, retryAfterMs: readonly number[] = RETRY_AFTER_MS): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let offset = 0; offset < file.size; ) {
      const length = Math.min(PIECE_BYTES, file.size - offset);
      const piece = Buffer.from(await persistent(() => fetch(file, offset, length), SILENCE, retryAfterMs), 'base64');
      if (piece.length === 0 || piece.length > length)
        throw fault('InvalidUploadError', { message: 'The uploaded file ended before its size.', data: { size: file.size, offset } });
      offset += piece.length;
      yield piece;
    }
  }
  return Readable.from(pieces(), { objectMode: false, highWaterMark: PIECE_BYTES });
}
