/** held — streams of this node that wait for readers on other nodes. */
import type { Readable } from 'node:stream';
import { SECOND } from '../shared/clock.ts';
import { fault } from '../shared/errors.ts';
import { hexId } from '../shared/ids.ts';

const PIECE_BYTES = 512 * 1024;
/** As long as a reader may ask again for the same piece (`RETRY_AFTER_MS`), and some more. */
const LOST_MS = 30 * SECOND;

export interface Held {
  /** Keeps a stream for the node `reader`; the answer is what it is found by, and as secret as what it carries. */
  keep(stream: Readable, reader: string): string;
  /** @throws ObjectNotFoundError when the stream is not there (any more) or the piece is not the present or the next one; what the stream fails with */
  next(ref: string, index: number): Promise<string>;
  end(ref: string): void;
  /** A reader's node is gone, or was silent for a moment: what it does not ask for soon is given up. */
  lost(reader: string): void;
  endAll(): void;
  readonly count: number;
}

interface Stream {
  reader: string;
  source: Readable;
  pieces: AsyncGenerator<Buffer, void>;
  /** The piece asked for last: asked for again when its answer was lost. */
  index: number;
  piece: Promise<string>;
  idle: NodeJS.Timeout;
}

async function* inPieces(source: Readable): AsyncGenerator<Buffer, void> {
  let waiting: Buffer[] = [];
  let size = 0;
  for await (const chunk of source as AsyncIterable<Buffer | string>) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    while (size + rest.length >= PIECE_BYTES) {
      const cut = PIECE_BYTES - size;
      yield Buffer.concat([...waiting, rest.subarray(0, cut)]);
      rest = rest.subarray(cut);
      waiting = [];
      size = 0;
    }
    if (rest.length) waiting.push(rest);
    size += rest.length;
  }
  if (size) yield Buffer.concat(waiting);
}

/** @param idleMs after which a stream that nobody asks for is given up; `lostMs`: the same when its reader's node is gone */
export function openHeld(idleMs: number, lostMs = LOST_MS): Held {
  const streams = new Map<string, Stream>();
  const gone = () => fault('ObjectNotFoundError', { message: 'The stream is not there any more.' });

  function end(ref: string): void {
    const stream = streams.get(ref);
    if (!stream) return;
    streams.delete(ref);
    clearTimeout(stream.idle);
    stream.source.destroy();
  }

  const endIn = (ref: string, ms: number) => setTimeout(end, ms, ref).unref();

  return {
    keep(source, reader) {
      const ref = hexId();
      source.on('error', () => {}); // told with the next piece
      streams.set(ref, { reader, source, pieces: inPieces(source), index: -1, piece: Promise.resolve(''), idle: endIn(ref, idleMs) });
      return ref;
    },

    async next(ref, index) {
      const stream = streams.get(ref);
      if (!stream || (index !== stream.index && index !== stream.index + 1)) throw gone();
      clearTimeout(stream.idle);
      stream.idle = endIn(ref, idleMs);
      if (index > stream.index) {
        stream.index = index;
        stream.piece = stream.pieces.next().then(({ value }) => (value ? value.toString('base64') : ''));
        stream.piece.catch(() => {});
      }
      return stream.piece;
    },

    end,

    lost(reader) {
      for (const [ref, stream] of streams) {
        if (stream.reader !== reader) continue;
        clearTimeout(stream.idle);
        stream.idle = endIn(ref, lostMs);
      }
    },

    endAll() {
      for (const ref of streams.keys()) end(ref);
    },

    get count() {
      return streams.size;
    },
  };
}
