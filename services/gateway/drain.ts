/** drain — what is left of a request that is refused before its body was read. */
import type { IncomingMessage } from 'node:http';
import { SECOND } from '../../mixins/shared/clock.ts';

const MAX_BYTES = 2_000_000;
const MAX_MS = 2 * SECOND;

/**
 * Reads the rest and throws it away: a connection closed under a client that still writes shows him a reset instead of the answer. Not for ever:
 * false when there is too much of it, or it comes too slowly.
 */
export function drained(request: IncomingMessage): Promise<boolean> {
  if (request.readableEnded || request.complete) return Promise.resolve(true);
  if (Number(request.headers['content-length'] ?? 0) > MAX_BYTES) return Promise.resolve(false);
  return new Promise((resolve) => {
    let left = MAX_BYTES;
    const finish = (isDone: boolean) => {
      clearTimeout(timer);
      request.off('data', count).off('end', ended).off('close', closed).off('error', closed);
      resolve(isDone);
    };
    const count = (piece: Buffer) => {
      left -= piece.length;
      if (left < 0) finish(false);
    };
    const ended = () => finish(true);
    const closed = () => finish(false);
    const timer = setTimeout(closed, MAX_MS);
    request.on('data', count).once('end', ended).once('close', closed).once('error', closed);
    request.resume();
  });
}
