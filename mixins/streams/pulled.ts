/** pulled — a stream kept by another node, as a Readable here: a piece is asked for once the reader has room for it. */
import { Readable } from 'node:stream';
import { persistent } from '../shared/persistent.ts';

/** A piece travels while the one before is written. */
const AHEAD_BYTES = 1024 * 1024;

export interface Pull {
  /** The piece number `index`, base64; '' after the last. */
  next(index: number): Promise<string>;
  /** Called once, however it ends. */
  end(): void;
  retryAfterMs: readonly number[];
}

export function pulled({ next, end, retryAfterMs }: Pull): Readable {
  let index = 0;
  return new Readable({
    highWaterMark: AHEAD_BYTES,
    read() {
      persistent(() => next(index), 'The node that holds the rest does not answer.', retryAfterMs).then(
        (piece) => {
          index++;
          this.push(piece ? Buffer.from(piece, 'base64') : null);
        },
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      end();
      done(error);
    },
  });
}
