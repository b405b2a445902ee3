/** answers — the result of an action as an HTTP answer: JSON, text, bytes, or a stream at the reader's pace. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import type { WebhookAnswer } from '../runtime/contract.ts';
import type { GatewayResponse } from './response.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/** Line breaks in a value would let one header write others. */
const clean = (value: string) => value.replace(/[\r\n\0]+/g, ' ');

function setHeaders(response: ServerResponse, headers: Record<string, string> = {}): void {
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) response.setHeader(name, clean(String(value)));
}

function sendText(response: ServerResponse, status: number, text: string | Buffer): void {
  response.statusCode = status;
  response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

/** Bytes flow as fast as the client reads; when it leaves, the source is told. */
function sendStream(response: ServerResponse, status: number, stream: Readable): void {
  response.statusCode = status;
  if (!response.hasHeader('content-type')) response.setHeader('content-type', 'application/octet-stream');
  response.flushHeaders();
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

/**
 * Nobody will read this answer. A stream that is left alone keeps what fills it: a run that waits for its reader to make room would never end, and a stream
 * of another node would be kept here piece by piece. What that node still says of it, a failure too, is for nobody.
 */
export function abandon(result: unknown): void {
  if (result instanceof Readable) result.on('error', () => {}).destroy();
}

export function sendResult(response: ServerResponse, result: unknown, meta: CallMeta): void {
  try {
    setHeaders(response, meta.$responseHeaders);
  } catch (error) {
    abandon(result);
    throw error;
  }
  const status = meta.$statusCode ?? 200;
  if (result instanceof Readable) sendStream(response, status, result);
  else if (result instanceof Uint8Array) sendText(response, status, Buffer.from(result));
  else sendValue(response, status, result);
}

function sendValue(response: ServerResponse, status: number, result: unknown): void {
  if (status === 304 || status === 204) {
    response.statusCode = status;
    response.end();
    return;
  }
  const isText = typeof result === 'string' && response.hasHeader('content-type');
  if (!response.hasHeader('content-type')) response.setHeader('content-type', JSON_TYPE);
  sendText(response, status, isText ? result : JSON.stringify(result ?? null));
}

export function sendWebhook(response: GatewayResponse, { status, headers, body, encoding }: WebhookAnswer): void {
  const told: Record<string, string> = {};
  for (const name in headers) if (headers[name] !== undefined) told[name] = clean(String(headers[name]));
  if (encoding === 'json') told['content-type'] ??= JSON_TYPE;
  response.send(status, told, contentOf(body, encoding));
}

function contentOf(body: unknown, encoding: WebhookAnswer['encoding']): string | Buffer {
  if (encoding === 'json') return JSON.stringify(body);
  if (encoding === 'base64') return Buffer.from(String(body), 'base64');
  return encoding === 'text' ? String(body) : '';
}
