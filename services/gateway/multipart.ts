/**
 * multipart — forms with files, read within limits: `{ ...fields, files: UploadedFile[] }`, or files at their field name for webhooks. With a spool the
 * bytes go to disk at its pace, and the form holds `spooled` instead of `base64`.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Busboy, type BusboyHeaders } from '@fastify/busboy';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { isHostileName, type JsonObject } from '../../mixins/shared/json.ts';
import type { UploadedFile } from '../runtime/contract.ts';
import type { SpooledFile } from './contract.ts';
import { contentOf } from './policies/encoding.ts';
import type { SpoolSession } from './spool.ts';

type FormFile = Omit<UploadedFile, 'base64'> & ({ base64: string } | { spooled: SpooledFile });

const MAX_FILES = 20;
const MAX_FIELDS = 200;
const MAX_FIELD_BYTES = 1_000_000;
/** What a form has beside the content of its parts, where that is compressed. */
const MAX_AROUND_BYTES = 1_000_000;

/**
 * @param maxBytes largest sum of all files and fields
 * @param options.inPlace files stand at their field name (a list when the name repeats)
 * @throws PayloadTooLarge · InvalidUploadError
 */
export function readMultipart(
  request: IncomingMessage,
  maxBytes: number,
  { inPlace = false, spool }: { inPlace?: boolean; spool?: SpoolSession } = {},
): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const values: JsonObject = {};
    const files: FormFile[] = [];
    const open = new Set<Readable>();
    const written: Promise<void>[] = [];
    let total = 0;
    let isOver = false;
    const { source, isDecoded, stop } = contentOf(request);
    const fail = (error: Error) => {
      if (isOver) return;
      isOver = true;
      source.unpipe(parser);
      stop();
      for (const stream of open) stream.destroy();
      reject(error);
    };
    const count = (bytes: number) => {
      total += bytes;
      if (total > maxBytes) fail(fault('PayloadTooLarge', { data: { limit: maxBytes } }));
    };
    let parser: InstanceType<typeof Busboy>;
    try {
      parser = new Busboy({
        headers: request.headers as BusboyHeaders,
        limits: {
          files: MAX_FILES,
          fields: MAX_FIELDS,
          fieldSize: MAX_FIELD_BYTES,
          fieldNameSize: 200,
          fileSize: maxBytes + 1,
          parts: MAX_FILES + MAX_FIELDS,
          headerPairs: 100,
        },
      });
    } catch (cause) {
      return reject(fault('InvalidUploadError', { message: `The form cannot be read: ${(cause as Error).message}`, cause }));
    }
    const put = (name: string | undefined, value: unknown) => {
      if (name === undefined) return fail(fault('InvalidUploadError', { message: 'A field of the form has no name.' }));
      if (isHostileName(name)) return fail(fault('InvalidUploadError', { message: `The field name '${name}' is refused.` }));
      if (!Object.hasOwn(values, name)) values[name] = value;
      else values[name] = [...[values[name]].flat(), value];
    };

    parser.on('field', (name: string | undefined, value: string, _nameTruncated: boolean, truncated: boolean) => {
      if (truncated) return fail(fault('PayloadTooLarge', { data: { field: name, limit: MAX_FIELD_BYTES } }));
      count(Buffer.byteLength(value));
      put(name, value);
    });
    parser.on('file', (name: string | undefined, stream: Readable, filename: string, encoding: string, mimetype: string) => {
      if (isOver) return void stream.resume();
      const fieldname = name ?? 'file';
      // Its place in the form is where it began, whenever its bytes are down.
      const file = { fieldname, originalname: filename ?? '', encoding, mimetype, size: 0 } as FormFile;
      if (inPlace) put(fieldname, file);
      else files.push(file);
      open.add(stream);
      written.push(
        keep(stream, file, inPlace ? maxBytes : Number.POSITIVE_INFINITY, count, spool)
          .catch((cause) => fail(isFault(cause) ? cause : fault('InvalidUploadError', { message: 'The form is not valid.', cause })))
          .finally(() => open.delete(stream)),
      );
    });
    for (const limit of ['filesLimit', 'fieldsLimit', 'partsLimit'] as const)
      parser.on(limit, () => fail(fault('InvalidUploadError', { message: 'The form has too many parts.' })));
    parser.on('error', (cause: unknown) => fail(fault('InvalidUploadError', { message: 'The form is not valid.', cause })));
    parser.on('finish', async () => {
      await Promise.all(written);
      if (isOver) return;
      isOver = true;
      resolve(inPlace ? values : { ...values, files });
    });
    request.once('aborted', () => fail(fault('InvalidUploadError', { message: 'The request ended before its body.' })));
    if (isDecoded) {
      source.once('error', (cause) =>
        fail(isFault(cause) ? cause : fault('InvalidUploadError', { message: 'The form is not what its content-encoding says.', cause })),
      );
      // Names and borders are not counted above, and a border may be followed by a gigabyte of nothing.
      let read = 0;
      source.on('data', (chunk: Buffer) => {
        read += chunk.length;
        if (read > maxBytes + MAX_AROUND_BYTES) fail(fault('PayloadTooLarge', { data: { limit: maxBytes } }));
      });
    }
    source.pipe(parser);
  });
}

/** In the words that clients of webhooks know. */
const tooLarge = (limit: number) =>
  fault('InvalidUploadError', { status: 413, message: `Invalid uploaded file : size must not exceed ${limit} bytes`, data: { limit } });

/** Reads no faster than the disk writes. */
async function keep(
  stream: Readable,
  file: FormFile,
  maxBytes: number,
  count: (bytes: number) => void,
  spool?: SpoolSession,
): Promise<void> {
  const chunks: Buffer[] = [];
  const place = await spool?.create().catch(full);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    file.size += chunk.length;
    if (file.size > maxBytes) throw tooLarge(maxBytes);
    count(chunk.length);
    if (place) await place.write(chunk).catch(full);
    else chunks.push(chunk);
  }
  Object.assign(file, place ? { spooled: place.told(file.size) } : { base64: Buffer.concat(chunks).toString('base64') });
}

function full(cause: unknown): never {
  throw isFault(cause) ? cause : fault('ServiceUnavailable', { message: 'The file cannot be taken now: no place to keep it.', cause });
}
