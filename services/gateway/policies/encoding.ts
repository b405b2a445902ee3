/** encoding — bodies as their sender wrote them: what was compressed for the way is decompressed, and letters of other character sets are read as such. */
import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { fault } from '../../../mixins/shared/errors.ts';

const DECODERS: Record<string, () => Transform> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

export interface Content {
  /** The request itself when nothing was done to it. */
  source: Readable;
  isDecoded: boolean;
  /** Reads no more; what the client still sends is left to whoever answers it. */
  stop(): void;
}

/**
 * The content of a request. Whoever reads it counts: a few kilobytes can stand for a gigabyte.
 * @throws UnsupportedMediaType
 */
export function contentOf(request: IncomingMessage): Content {
  const said = request.headers['content-encoding'];
  const name = said === undefined ? 'identity' : said.trim().toLowerCase();
  if (name === 'identity' || name === '') return { source: request, isDecoded: false, stop: () => void request.pause() };
  const open = Object.hasOwn(DECODERS, name) ? DECODERS[name] : undefined;
  if (!open)
    throw fault('UnsupportedMediaType', {
      message: `A body encoded with '${name.slice(0, 50)}' is not accepted; send it as it is, or with gzip, deflate or br.`,
      data: { accepted: ['gzip', 'deflate', 'br'] },
    });
  const decoder = open();
  // A request that is cut off does not end what it is piped to.
  request.once('aborted', () => decoder.destroy(fault('RequestValidationError', { message: 'The request ended before its body.' })));
  return {
    source: request.pipe(decoder),
    isDecoded: true,
    stop() {
      request.unpipe(decoder);
      request.pause();
      decoder.on('error', () => {}).destroy();
    },
  };
}

const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)/i;
const UTF8 = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

/** The character set a content type names; `undefined` for UTF-8, also when it names none. */
export function charsetOf(contentType: string): string | undefined {
  const name = contentType.includes(';') ? CHARSET.exec(contentType)?.[1]?.toLowerCase() : undefined;
  return name === undefined || UTF8.has(name) ? undefined : name;
}

/** Bytes as text, without a byte order mark. @throws UnsupportedMediaType */
export function textOf(bytes: Buffer, charset: string | undefined): string {
  if (charset !== undefined) return decoderOf(charset).decode(bytes);
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** @throws UnsupportedMediaType */
export const assertCharset = (charset: string): void => void decoderOf(charset);

function decoderOf(charset: string): TextDecoder {
  try {
    return new TextDecoder(charset);
  } catch (cause) {
    throw fault('UnsupportedMediaType', { message: `The character set '${charset.slice(0, 50)}' is not known; send UTF-8.`, cause });
  }
}
