/** request — what `fetch` was asked for → method, address, headers and bytes to send. */
import { randomBytes } from 'node:crypto';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { FetchRequest } from '../interpreter/index.ts';
import { maskUrl } from '../redaction.ts';
import { signAws } from './sigv4.ts';

export interface WireRequest {
  method: string;
  url: URL;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string | Uint8Array | undefined;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const BODILESS = new Set(['GET', 'HEAD']);
const invalid = (message: string) => fault('InvalidInstructionError', { message: `Invalid fetch instruction : ${message}` });

const asText = (value: unknown): string => (typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value));

/** @throws InvalidInstructionError · FetchError for an address that is none */
export function buildRequest(request: FetchRequest, options: { userAgent: string; now: Date }): WireRequest {
  if (typeof request.url !== 'string' || request.url.trim() === '') throw invalid('empty url');
  let url: URL;
  try {
    url = new URL(request.url.trim());
  } catch {
    throw fault('FetchError', {
      message: `'${maskUrl(request.url).slice(0, 200)}' is not an absolute address.`,
      data: { code: 'ERR_INVALID_URL' },
    });
  }
  addQuery(url, request.query);
  const method = String(request.method ?? 'GET').toUpperCase();
  if (!METHODS.has(method)) throw invalid(`unknown method ${method.slice(0, 20)}`);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    if (value === undefined || value === null) continue;
    // Line breaks would let a value write further headers.
    headers[name.toLowerCase().trim()] = asText(value).replace(/[\r\n\0]+/g, ' ');
  }
  headers['user-agent'] = options.userAgent;
  for (const name of ['host', 'content-length', 'transfer-encoding', 'connection']) delete headers[name];

  const body = BODILESS.has(method) ? undefined : encodeBody(request, headers);
  if (request.auth?.basic) {
    const { user, password } = request.auth.basic;
    headers.authorization ??= `Basic ${Buffer.from(`${user ?? ''}:${password ?? ''}`).toString('base64')}`;
  }
  if (request.auth?.awsv4) Object.assign(headers, signAws({ method, url, headers, body: body ?? '' }, request.auth.awsv4, options.now));
  // Credentials inside the address are not something an address should hold in logs and events.
  if (url.username || url.password) {
    headers.authorization ??= `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString('base64')}`;
    url.username = url.password = '';
  }
  return { method, url, headers, body };
}

function addQuery(url: URL, query: unknown): void {
  if (!isPlainObject(query)) return;
  for (const [key, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? value : [value])
      if (item !== undefined && item !== null) url.searchParams.append(key, asText(item));
  }
}

function encodeBody(request: FetchRequest, headers: Record<string, string>): string | Uint8Array | undefined {
  if (request.multipart?.length) return encodeMultipart(request.multipart, headers);
  const { body } = request;
  if (body === undefined || body === null || body === '') return undefined;
  if (body instanceof Uint8Array) {
    headers['content-type'] ??= 'application/octet-stream';
    return body;
  }
  headers['content-type'] ??= 'application/json';
  const type = headers['content-type'].toLowerCase();
  if (typeof body === 'string') return body;
  if (type.includes('application/x-www-form-urlencoded') && isPlainObject(body)) return encodeForm(body);
  return JSON.stringify(body);
}

function encodeForm(body: JsonObject): string {
  const pairs = new URLSearchParams();
  for (const [key, value] of Object.entries(body))
    for (const item of Array.isArray(value) ? value : [value]) if (item !== undefined && item !== null) pairs.append(key, asText(item));
  return pairs.toString();
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Only a part with a file name is a file, and only a file is decoded: `John` stays `John`. */
function partBytes(value: unknown, isFile: boolean): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value) && value.every((item) => Number.isInteger(item) && item >= 0 && item < 256))
    return Buffer.from(value as number[]);
  if (typeof value !== 'string') return Buffer.from(asText(value ?? ''));
  const data = isFile ? /^data:[^,]*;base64,(.*)$/s.exec(value)?.[1] : undefined;
  if (data !== undefined) return Buffer.from(data, 'base64');
  return isFile && value.length > 0 && BASE64.test(value) ? Buffer.from(value, 'base64') : Buffer.from(value);
}

const quoted = (text: string) => text.replace(/["\r\n]/g, (c) => ({ '"': '%22', '\r': '%0D', '\n': '%0A' })[c] as string);

function encodeMultipart(parts: NonNullable<FetchRequest['multipart']>, headers: Record<string, string>): Uint8Array {
  const boundary = `----prisme${randomBytes(12).toString('hex')}`;
  const pieces: Buffer[] = [];
  for (const { fieldname, value, filename, contentType } of parts) {
    if (typeof fieldname !== 'string') throw invalid('a multipart entry has no fieldname');
    const isFile = typeof filename === 'string' && filename !== '';
    const type = contentType ?? (isFile ? 'application/octet-stream' : undefined);
    pieces.push(
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(fieldname)}"${isFile ? `; filename="${quoted(filename)}"` : ''}\r\n${
          type ? `Content-Type: ${String(type).replace(/[\r\n]/g, ' ')}\r\n` : ''
        }\r\n`,
      ),
      partBytes(value, isFile),
      Buffer.from('\r\n'),
    );
  }
  pieces.push(Buffer.from(`--${boundary}--\r\n`));
  headers['content-type'] = `multipart/form-data; boundary=${boundary}`;
  return Buffer.concat(pieces);
}
