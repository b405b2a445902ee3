/** spooled — the bytes of a file that waits at the gateway that took it: fetched piece by piece, each asked for once the one before is written. */
import { Readable } from 'node:stream';
import { SECOND, sleep } from '../../mixins/shared/clock.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { SpooledFile } from '../gateway/contract.ts';

export const PIECE_BYTES = 512 * 1024;

/** Pauses before the same piece is asked for again, in ms: in all longer than a node takes to be back after it was taken for dead (docs/operations.md). */
const RETRY_AFTER_MS = [0.1, 0.4, 1, 2, 3, 4, 5].map((seconds) => seconds * SECOND);

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

/**
 * Asks again when nothing was answered: a busy node is silent for a moment, and a large file is hundreds of pieces. A refusal of the node is final.
 * @throws UpstreamUnavailable when the node stays silent
 */
async function persistent(fetch: () => Promise<string>, retryAfterMs: readonly number[]): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetch();
    } catch (cause) {
      if (isFault(cause)) throw cause;
      const pause = retryAfterMs[attempt];
      if (pause === undefined)
        throw fault('UpstreamUnavailable', { message: 'The node that received the file does not answer; send it again.', cause });
      await sleep(pause);
    }
  }
}

/** Fails when the file ends before its size: nothing of it is kept then. */
export function spooledContent(file: SpooledFile, fetch: Fetch, retryAfterMs: readonly number[] = RETRY_AFTER_MS): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let offset = 0; offset < file.size; ) {
      const length = Math.min(PIECE_BYTES, file.size - offset);
      const piece = Buffer.from(await persistent(() => fetch(file, offset, length), retryAfterMs), 'base64');
      if (piece.length === 0 || piece.length > length)
        throw fault('InvalidUploadError', { message: 'The uploaded file ended before its size.', data: { size: file.size, offset } });
      offset += piece.length;
      yield piece;
    }
  }
  return Readable.from(pieces(), { objectMode: false, highWaterMark: PIECE_BYTES });
}
