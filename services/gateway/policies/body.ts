/** body — reads a request's body within limits and turns it into a value: JSON, urlencoded, multipart, or text. */
import type { IncomingMessage } from 'node:http';
import { type ParsedUrlQuery, parse as parseForm } from 'node:querystring';
import qs from 'qs';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isHostileName, type JsonObject, parseJson } from '../../../mixins/shared/json.ts';
import { readMultipart } from '../multipart.ts';
import type { Route } from '../routes/route.ts';
import type { SpoolSession } from '../spool.ts';
import { assertCharset, charsetOf, contentOf, textOf } from './encoding.ts';
import { ARRAY_LIMIT, hasMore, MAX_PARAMETERS, withLists } from './hygiene.ts';

export interface Body {
  value: unknown;
  /** The bytes as they came; absent for multipart and empty bodies. */
  raw?: Buffer;
}

export interface BodyLimits {
  requestMaxBytes: number;
  uploadMaxBytes: number;
}

const MAX_DEPTH = 100;
const MAX_FIELDS = 10_000;
const ESCAPED = /%([0-9a-f]{2})/gi;
const BODILESS = new Set(['GET', 'HEAD']);

const tooLarge = (limit: number, length?: number) =>
  fault('PayloadTooLarge', { data: { limit, ...(length === undefined ? {} : { length }) } });

/** @param spool where files wait on disk instead of in memory  @throws PayloadTooLarge · RequestValidationError */
export async function readBody(request: IncomingMessage, route: Route, limits: BodyLimits, spool?: SpoolSession): Promise<Body> {
  const { headers } = request;
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (!hasBody) return { value: BODILESS.has(request.method as string) ? undefined : {} };
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'multipart/form-data' && route.multipart)
    return { value: await readMultipart(request, limits.uploadMaxBytes, { inPlace: Boolean(route.raw), ...(spool ? { spool } : {}) }) };
  const raw = await readBytes(request, limits.requestMaxBytes);
  if (raw.length === 0) return { value: {} };
  return { value: parse(raw, type, charsetOf(headers['content-type'] ?? ''), Boolean(route.raw)), raw };
}

/** @param limit of what was sent, and of what it stands for when it was compressed  @throws PayloadTooLarge · UnsupportedMediaType · RequestValidationError */
export function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > limit) return Promise.reject(tooLarge(limit, length));
  return new Promise((resolve, reject) => {
    const { source, isDecoded, stop } = contentOf(request);
    const chunks: Buffer[] = [];
    let size = 0;
    source.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        source.removeAllListeners('data');
        stop();
        reject(tooLarge(limit, size));
        return;
      }
      chunks.push(chunk);
    });
    source.once('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    source.once('error', (cause) => {
      if (!isDecoded || isFault(cause)) return reject(cause);
      stop();
      reject(fault('RequestValidationError', { message: 'The body is not what its content-encoding says.', cause }));
    });
    request.once('aborted', () => reject(fault('RequestValidationError', { message: 'The request ended before its body.' })));
  });
}

function parse(raw: Buffer, type: string, charset: string | undefined, isRaw: boolean): unknown {
  if (type === 'application/json' || type.endsWith('+json')) return json(textOf(raw, charset));
  if (type === 'application/x-www-form-urlencoded') return isRaw ? flatForm(raw, charset) : nestedForm(textOf(raw, charset));
  if (isRaw) return textOf(raw, charset);
  if (type === '') return json(textOf(raw, charset));
  throw fault('RequestValidationError', {
    message: `A body of type '${type.slice(0, 100)}' is not accepted here; send application/json.`,
    data: { contentType: type.slice(0, 100) },
  });
}

/** A form for an automation: names are its own affair, brackets are letters, and what it gets is all there was. */
function flatForm(raw: Buffer, charset: string | undefined): JsonObject {
  let form: ParsedUrlQuery;
  if (charset === undefined) form = parseForm(fieldsOf(textOf(raw, charset), MAX_FIELDS), '&', '=', { maxKeys: 0 });
  else {
    // Escaped bytes are in the character set of the form. @see https://url.spec.whatwg.org/#urlencoded-parsing
    assertCharset(charset);
    const decode = (text: string) =>
      textOf(
        Buffer.from(
          text.replace(ESCAPED, (_, code) => String.fromCharCode(Number.parseInt(code, 16))),
          'latin1',
        ),
        charset,
      );
    form = parseForm(fieldsOf(raw.toString('latin1'), MAX_FIELDS), '&', '=', { maxKeys: 0, decodeURIComponent: decode });
  }
  const hidden = Object.keys(form).find(isHostileName);
  if (hidden) throw fault('RequestValidationError', { message: `The field name '${hidden}' is refused.`, data: { field: hidden } });
  return { ...form };
}

/** A form for the platform: parameters as in a query. */
const nestedForm = (text: string): unknown =>
  withLists(qs.parse(fieldsOf(text, MAX_PARAMETERS), { depth: 5, parameterLimit: MAX_PARAMETERS, arrayLimit: ARRAY_LIMIT }));

/** The form, which parsers would cut in silence. @throws RequestValidationError */
function fieldsOf(text: string, limit: number): string {
  if (!hasMore(text, limit)) return text;
  throw fault('RequestValidationError', { message: `The form has more than ${limit} fields.`, data: { limit } });
}

function json(text: string): unknown {
  assertDepth(text);
  try {
    return parseJson(text);
  } catch (cause) {
    throw fault('RequestValidationError', { message: `The body is not valid JSON: ${(cause as Error).message.slice(0, 200)}`, cause });
  }
}

/** Deep nesting exhausts the stack of whatever walks the value later: refused before it is a value. */
function assertDepth(text: string): void {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inText) {
      if (code === 92) i++;
      else if (code === 34) inText = false;
    } else if (code === 34) inText = true;
    else if (code === 123 || code === 91) {
      if (++depth > MAX_DEPTH) throw fault('RequestValidationError', { message: `The body nests deeper than ${MAX_DEPTH} levels.` });
    } else if (code === 125 || code === 93) depth--;
  }
}
