/** multipart — forms with files, read within limits: `{ ...fields, files: UploadedFile[] }`, or files at their field name for webhooks. */
import type { IncomingMessage } from 'node:http';
import { Busboy, type BusboyHeaders } from '@fastify/busboy';
import { fault } from '../../mixins/shared/errors.ts';
import { isHostileName, type JsonObject } from '../../mixins/shared/json.ts';
import type { UploadedFile } from '../runtime/contract.ts';

const MAX_FILES = 20;
const MAX_FIELDS = 200;
const MAX_FIELD_BYTES = 1_000_000;

/**
 * @param maxBytes largest sum of all files and fields
 * @param inPlace files stand at their field name (a list when the name repeats)
 * @throws PayloadTooLarge · InvalidUploadError
 */
export function readMultipart(request: IncomingMessage, maxBytes: number, inPlace: boolean): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const values: JsonObject = {};
    const files: UploadedFile[] = [];
    let total = 0;
    let isOver = false;
    const fail = (error: Error) => {
      if (isOver) return;
      isOver = true;
      request.unpipe(parser);
      request.pause();
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
    const put = (name: string, value: unknown) => {
      if (isHostileName(name)) return fail(fault('InvalidUploadError', { message: `The field name '${name}' is refused.` }));
      if (!Object.hasOwn(values, name)) values[name] = value;
      else values[name] = [...[values[name]].flat(), value];
    };

    parser.on('field', (name: string, value: string, _nameTruncated: boolean, truncated: boolean) => {
      if (truncated) return fail(fault('PayloadTooLarge', { data: { field: name, limit: MAX_FIELD_BYTES } }));
      count(Buffer.byteLength(value));
      put(name, value);
    });
    parser.on('file', (fieldname: string, stream: NodeJS.ReadableStream, filename: string, encoding: string, mimetype: string) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        count(chunk.length);
      });
      stream.on('error', fail);
      stream.on('end', () => {
        if (isOver) return;
        const content = Buffer.concat(chunks);
        const file: UploadedFile = {
          fieldname,
          originalname: filename ?? '',
          encoding,
          mimetype,
          size: content.length,
          base64: content.toString('base64'),
        };
        if (inPlace) put(fieldname, file);
        else files.push(file);
      });
    });
    for (const limit of ['filesLimit', 'fieldsLimit', 'partsLimit'] as const)
      parser.on(limit, () => fail(fault('InvalidUploadError', { message: 'The form has too many parts.' })));
    parser.on('error', (cause: unknown) => fail(fault('InvalidUploadError', { message: 'The form is not valid.', cause })));
    parser.on('finish', () => {
      if (isOver) return;
      isOver = true;
      resolve(inPlace ? values : { ...values, files });
    });
    request.once('aborted', () => fail(fault('InvalidUploadError', { message: 'The request ended before its body.' })));
    request.pipe(parser);
  });
}
