/**
 * fetch — HTTP for automations: guarded addresses (guard.ts), time-outs, size limits, retries that cannot do a thing twice, redirects that
 * do not carry credentials to another host. HTTP statuses and network failures are values, never throws.
 */

import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { sleep } from '../../../mixins/shared/clock.ts';
import type { Config } from '../../../mixins/shared/config.ts';
import { fault, isFault, toPublicError } from '../../../mixins/shared/errors.ts';
import type { Guard } from '../../../mixins/shared/guard.ts';
import { undici } from '../../../mixins/shared/packages.ts';
import type { FetchRequest, LiveStream } from '../interpreter/index.ts';
import { buildRequest, type WireRequest } from './request.ts';
import { decodeBody, type Headers, shapeAnswer } from './response.ts';
import { liveStream, type StreamItem, sseChunks, streamItems, textChunks } from './stream.ts';

export interface FetchFailure {
  /** Answer with a status of 400 or more. */
  response?: { status: number; headers: Headers; body: unknown };
  error?: { error: string; message: string; status?: number; details: unknown };
}

export interface FetchHooks {
  signal: AbortSignal;
  /** Sent with methods that change something, unless the author gave one. */
  idempotencyKey: string;
  now: () => number;
  /** One token of the workspace's bucket, before each attempt. */
  throttle(): Promise<void>;
  /** Headers for addresses of the platform itself: credentials of the run. */
  platformHeaders(request: FetchRequest, headers: Record<string, string>): Promise<Record<string, string>>;
  /** A failure to tell as an event, when the author did not refuse it. */
  onFailure(failure: FetchFailure): void;
  /** Each item of a stream that the author wants as events. */
  onItem(item: StreamItem): Promise<void>;
  onEnd(endChunk: unknown): Promise<void>;
  /** A stream left open: to be ended with the run. */
  keep(stream: LiveStream): void;
}

const RETRY_CODES = new Set(['ECONNRESET', 'UND_ERR_SOCKET', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH']);
const RETRY_STATUS = new Set([429, 502, 503]);
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);
const MAX_REDIRECTS = 10;
const CREDENTIALS = [
  'authorization',
  'cookie',
  'proxy-authorization',
  'x-api-key',
  'x-prismeai-token',
  'x-prismeai-api-key',
  'x-prismeai-run',
];

interface Answer {
  status: number;
  headers: Headers;
  body: Readable;
  abort: () => void;
}

/** Addresses of the platform's own API. */
export function isPlatformUrl(apiUrl: string, url: URL): boolean {
  const base = new URL(apiUrl);
  if (url.origin !== base.origin) return false;
  const path = base.pathname.replace(/\/$/, '');
  return url.pathname.startsWith(`${path}/`) && /^(workspaces|pages|files)(\/|$)/.test(url.pathname.slice(path.length + 1));
}

/** One fetch to its end. @throws InvalidInstructionError · RunCancelledError */
export async function performFetch(asked: FetchRequest, guard: Guard, config: Config, hooks: FetchHooks): Promise<unknown> {
  let answer: Answer;
  try {
    const wire = buildRequest(asked, { userAgent: config.fetchUserAgent, now: new Date(hooks.now()) });
    if (isPlatformUrl(config.apiUrl, wire.url)) Object.assign(wire.headers, await hooks.platformHeaders(asked, wire.headers));
    if (!IDEMPOTENT.has(wire.method) || wire.body !== undefined) wire.headers['idempotency-key'] ??= hooks.idempotencyKey;
    answer = await withRetries(wire, asked, guard, config, hooks);
    return await read(answer, asked, config, hooks);
  } catch (error) {
    if (hooks.signal.aborted) throw fault('RunCancelledError');
    if (isFault(error, 'InvalidInstructionError') || isFault(error, 'RunCancelledError')) throw error;
    const value = failureValue(error);
    if (asked.emitErrors !== false) hooks.onFailure({ error: value });
    return value;
  }
}

function failureValue(error: unknown): { error: string; message: string; details: Record<string, unknown> } {
  if (isFault(error)) {
    const { error: name, message, details } = toPublicError(error);
    return { error: name, message, details };
  }
  const cause = (error as { cause?: unknown }).cause;
  if (isFault(cause)) return failureValue(cause);
  const { code, name } = error as { code?: string; name?: string };
  const isTimeout = name === 'TimeoutError' || /TIMEOUT/.test(String(code));
  return {
    error: 'FetchError',
    message: isTimeout ? 'The service did not answer in time.' : `The service cannot be reached: ${(error as Error).message}`,
    details: { code: code ?? (isTimeout ? 'ETIMEDOUT' : name) },
  };
}

async function withRetries(wire: WireRequest, asked: FetchRequest, guard: Guard, config: Config, hooks: FetchHooks): Promise<Answer> {
  const mayRepeat = IDEMPOTENT.has(wire.method);
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt > config.fetchMaxRetries || !mayRepeat;
    await hooks.throttle();
    try {
      const answer = await follow(wire, asked, guard, config, hooks);
      if (isLast || !RETRY_STATUS.has(answer.status)) return answer;
      const after = Number(answer.headers['retry-after']);
      // A service that asks for more patience than a minute gets its answer shown instead.
      if (after > 60) return answer;
      answer.abort();
      await sleep(Number.isFinite(after) && after > 0 ? after * 1000 : 200 * 2 ** attempt, hooks.signal);
    } catch (error) {
      const code = String((error as { code?: string }).code ?? '');
      if (isLast || !RETRY_CODES.has(code) || hooks.signal.aborted) throw error;
      await sleep(100 * 2 ** attempt, hooks.signal);
    }
  }
}

/** One attempt with its redirects: each hop is checked again, and credentials stay with the host they were meant for. */
async function follow(first: WireRequest, asked: FetchRequest, guard: Guard, config: Config, hooks: FetchHooks): Promise<Answer> {
  let wire = first;
  for (let hop = 0; ; hop++) {
    const answer = await sendOnce(wire, asked, guard, config, hooks);
    const location = answer.headers.location;
    if (![301, 302, 303, 307, 308].includes(answer.status) || typeof location !== 'string') return answer;
    answer.abort();
    if (hop >= MAX_REDIRECTS)
      throw fault('FetchError', { message: 'The service redirects too often.', data: { code: 'TOO_MANY_REDIRECTS' } });
    const url = new URL(location, wire.url);
    const headers = { ...wire.headers };
    if (url.origin !== wire.url.origin) for (const name of CREDENTIALS) delete headers[name];
    const keepsMethod = answer.status >= 307 || wire.method === 'GET' || wire.method === 'HEAD';
    if (!keepsMethod) for (const name of Object.keys(headers)) if (name.startsWith('content-')) delete headers[name];
    wire = keepsMethod ? { ...wire, url, headers } : { method: 'GET', url, headers, body: undefined };
  }
}

async function sendOnce(wire: WireRequest, asked: FetchRequest, guard: Guard, config: Config, hooks: FetchHooks): Promise<Answer> {
  const dispatcher = guard.dispatcherFor(wire.url, {
    allowSelfSignedCert: asked.allowSelfSignedCert === true,
    isPlatform: isPlatformUrl(config.apiUrl, wire.url),
  });
  const control = new AbortController();
  const abort = () => control.abort();
  hooks.signal.addEventListener('abort', abort, { once: true });
  try {
    const response = await undici().request(wire.url, {
      method: wire.method as Dispatcher.HttpMethod,
      headers: wire.headers,
      body: wire.body ?? null,
      dispatcher,
      signal: control.signal,
    });
    response.body.on('error', () => {});
    response.body.once('close', () => hooks.signal.removeEventListener('abort', abort));
    return {
      status: response.statusCode,
      headers: response.headers as Headers,
      body: decompressed(response.body, String(response.headers['content-encoding'] ?? '')),
      abort: () => {
        hooks.signal.removeEventListener('abort', abort);
        control.abort();
      },
    };
  } catch (error) {
    hooks.signal.removeEventListener('abort', abort);
    throw error;
  }
}

function decompressed(body: Readable, encoding: string): Readable {
  const unzip = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress }[
    encoding.trim().toLowerCase()
  ];
  if (!unzip) return body;
  const stream = unzip();
  body.on('error', (error) => stream.destroy(error));
  stream.on('error', () => body.destroy());
  return body.pipe(stream);
}

async function read(answer: Answer, asked: FetchRequest, config: Config, hooks: FetchHooks): Promise<unknown> {
  const contentType = String(answer.headers['content-type'] ?? '');
  const isSse = contentType.includes('text/event-stream');
  if ((isSse || asked.stream) && answer.status < 400) return readStream(answer, isSse, asked, hooks);

  const bytes = await collect(answer, config.fetchMaxBytes, config.fetchTimeoutMs);
  if (answer.status >= 400 && asked.emitErrors !== false)
    hooks.onFailure({ response: { status: answer.status, headers: answer.headers, body: textual(decodeBody(bytes, contentType)) } });
  if (isSse || asked.stream) {
    const body = decodeBody(bytes, contentType);
    if (asked.stream?.event) await hooks.onItem({ index: 0, chunk: { data: [textual(body)] } });
    return { status: answer.status, headers: answer.headers, body };
  }
  return shapeAnswer(asked.outputMode, { status: answer.status, headers: answer.headers, bytes });
}

const textual = (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value);

async function readStream(answer: Answer, isSse: boolean, asked: FetchRequest, hooks: FetchHooks): Promise<unknown> {
  const items = streamItems(isSse ? sseChunks(answer.body) : textChunks(answer.body), asked.stream, hooks.now);
  const head = { status: answer.status, headers: answer.headers };
  if (!asked.stream?.event) {
    const stream = liveStream(items, answer.abort);
    hooks.keep(stream);
    return { ...head, stream: true, body: stream };
  }
  for await (const item of items) await hooks.onItem(item);
  if (asked.stream.endChunk !== undefined) await hooks.onEnd(asked.stream.endChunk);
  return { ...head, stream: true };
}

/** The whole body. @throws FetchError above the size limit or after the time-out */
async function collect(answer: Answer, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => answer.body.destroy(Object.assign(new Error('time-out'), { code: 'ETIMEDOUT' })), timeoutMs);
  try {
    for await (const piece of answer.body) {
      size += (piece as Buffer).length;
      if (size > maxBytes) {
        answer.abort();
        throw fault('FetchError', {
          message: `The answer is larger than ${maxBytes} bytes.`,
          data: { code: 'TOO_LARGE', limit: maxBytes },
        });
      }
      pieces.push(piece as Buffer);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(pieces, size);
}
