/** answers — the result of an action as an HTTP answer: JSON, text, bytes, or a stream at the reader's pace. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import type { WebhookAnswer } from '../runtime/contract.ts';
import { foreignCookies } from './policies/cookies.ts';
import type { GatewayResponse } from './response.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * What an automation wrote and a browser makes a page of has an origin of its own, as if it came from nowhere: its scripts run and its forms are sent, but
 * they read nothing of the platform, whose API is at the same address, in the name of who looks at it.
 * @see https://html.spec.whatwg.org/multipage/browsers.html#sandboxing
 */
const CONFINED = 'sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals';
const PLAIN_TYPE = /^\s*([\w.+-]+\/[\w.+-]+)\s*(?:;[^,]*)?$/;
const PAGE_TYPE = /html|xml|xsl|multipart|unknown/i;

/** Line breaks in a value would let one header write others. */
const clean = (value: string) => value.replace(/[\r\n\0]+/g, ' ');
const cleaned = (value: unknown) => (Array.isArray(value) ? value.map((item) => clean(String(item))) : clean(String(value)));

/**
 * Whether a value has letters that are bytes of UTF-8 (http-answer.ts). Node writes a head that goes out in one piece with a text in the encoding of that
 * text, which would encode them once more; before bytes it writes the head as it stands.
 */
const isWide = (value: string | string[]) => NOT_ASCII.test(String(value));
const NOT_ASCII = /\P{ASCII}/u;
const NOTHING = Buffer.alloc(0);

/** Whether one of them is wide. */
function setHeaders(response: ServerResponse, headers: CallMeta['$responseHeaders'] = {}): boolean {
  let hasWide = false;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    const told = cleaned(value);
    response.setHeader(name, told);
    hasWide ||= isWide(told);
  }
  return hasWide;
}

function sendText(response: ServerResponse, status: number, text: string | Buffer): void {
  response.statusCode = status;
  response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

/** Bytes flow as fast as the client reads; when it leaves, the source is told. */
function sendStream(response: ServerResponse, status: number, stream: Readable, hasWide: boolean): void {
  response.statusCode = status;
  if (!response.hasHeader('content-type')) response.setHeader('content-type', 'application/octet-stream');
  if (hasWide) response.write(NOTHING);
  else response.flushHeaders();
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
  let hasWide: boolean;
  try {
    hasWide = setHeaders(response, meta.$responseHeaders);
  } catch (error) {
    abandon(result);
    throw error;
  }
  const status = meta.$statusCode ?? 200;
  if (result instanceof Readable) sendStream(response, status, result, hasWide);
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

/** What an automation answers: as a whole, or as a stream whose head is in `meta`. */
export function sendWebhook(response: GatewayResponse, result: unknown, meta: CallMeta): void {
  if (!isWebhookAnswer(result)) {
    if (meta.$responseHeaders?.['set-cookie'] !== undefined) dropOurCookies(meta.$responseHeaders);
    sendResult(response, result, meta);
    return;
  }
  const { status, headers, body, encoding } = result;
  const told: WebhookAnswer['headers'] = {};
  let hasWide = false;
  for (const name in headers) {
    const said = headers[name];
    if (said === undefined) continue;
    const value = cleaned(said);
    told[name] = value;
    if (value !== JSON_TYPE && isWide(value)) hasWide = true;
  }
  if (encoding === 'json') told['content-type'] ??= JSON_TYPE;
  if (told['set-cookie'] !== undefined) dropOurCookies(told);
  if (told['content-type'] !== JSON_TYPE && encoding !== 'empty' && isPage(told['content-type'])) confine(told);
  const content = contentOf(body, encoding);
  response.send(status, told, hasWide ? Buffer.from(content) : content);
}

const isWebhookAnswer = (value: unknown): value is WebhookAnswer =>
  typeof value === 'object' && value !== null && 'encoding' in value && 'status' in value;

function dropOurCookies(headers: WebhookAnswer['headers']): void {
  const left = foreignCookies(headers['set-cookie'] as string | string[]);
  if (left.length > 0) headers['set-cookie'] = left;
  else delete headers['set-cookie'];
}

/** Whether a browser may run scripts in it. What is not one well-formed type may be anything. */
function isPage(type: unknown): boolean {
  const [, plain] = PLAIN_TYPE.exec(String(type ?? '')) ?? [];
  return plain === undefined || PAGE_TYPE.test(plain);
}

/** A policy beside that of the automation: both hold, so there is nothing it can say against ours. */
function confine(headers: WebhookAnswer['headers']): void {
  const said = headers['content-security-policy'];
  headers['content-security-policy'] = said === undefined ? CONFINED : [said, CONFINED].flat();
  // Browsers refuse to show what is confined and asks for a window of its own as well.
  headers['cross-origin-opener-policy'] = 'unsafe-none';
}

function contentOf(body: unknown, encoding: WebhookAnswer['encoding']): string | Buffer {
  if (encoding === 'json') return JSON.stringify(body);
  if (encoding === 'base64') return Buffer.from(String(body), 'base64');
  return encoding === 'text' ? String(body) : '';
}
