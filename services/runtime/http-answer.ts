/**
 * http-answer — what a webhook automation tells its caller: `set $http` (status, headers, chunks) and the output.
 *
 * Plain answer: one `WebhookAnswer` at the end. The first chunk or keep-alive turns it into a stream of server-sent events; the promise
 * `started` resolves then, so that the gateway can begin while the run goes on. The reader's pace holds the run back (`write` waits).
 */
import { PassThrough, type Readable } from 'node:stream';
import { DAY } from '../../mixins/shared/clock.ts';
import { toPublicError } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { WebhookAnswer } from './contract.ts';

export interface HttpMessage {
  status?: number;
  headers?: Record<string, unknown>;
  chunk?: unknown;
  sseKeepAlive?: number | null;
}

export interface StreamedAnswer {
  status: number;
  headers: WebhookAnswer['headers'];
  stream: Readable;
}

/** Whether the connection is kept is between the client and the server. */
const SSE_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' };
/** Timers hold no more than 2^31 - 1 ms: what is above would be due at once, again and again. */
const KEEP_ALIVE_MAX_MS = DAY;
/**
 * Headers of a hop belong to the server, not to an automation; others tell browsers what holds for all there is at this address, which is the API of the
 * platform (https://www.w3.org/TR/clear-site-data/, https://www.w3.org/TR/network-error-logging/, RFC 6797).
 */
const OWN_HEADERS = new Set(
  'content-length transfer-encoding connection keep-alive upgrade trailer set-cookie2 clear-site-data nel strict-transport-security'.split(
    ' ',
  ),
);

/** All but the tab. */
const CONTROLS = /[\p{Cc}--[\t]]+/gv;
const NOT_ASCII = /\P{ASCII}/u;

export class HttpAnswer {
  private readonly keepAliveMinMs: number;
  private status = 200;
  private headers: WebhookAnswer['headers'] = {};
  private stream: PassThrough | null = null;
  private timer: NodeJS.Timeout | undefined;
  private startListeners: ((answer: StreamedAnswer) => void)[] | undefined;
  private closeListeners: (() => void)[] | undefined;

  /** @param keepAliveMinMs shortest time between two keep-alive messages */
  constructor({ keepAliveMinMs }: { keepAliveMinMs: number }) {
    this.keepAliveMinMs = keepAliveMinMs;
  }

  get isStream(): boolean {
    return this.stream !== null;
  }

  /** It is a stream, and its reader is there. */
  get isRead(): boolean {
    return this.stream !== null && !this.stream.destroyed;
  }

  /** The answer becomes a stream; told at once when it is one. */
  onStarted(listener: (answer: StreamedAnswer) => void): void {
    if (this.stream) listener(this.started(this.stream));
    else if (this.startListeners) this.startListeners.push(listener);
    else this.startListeners = [listener];
  }

  /** The caller went away. */
  onClosed(listener: () => void): void {
    if (this.closeListeners) this.closeListeners.push(listener);
    else this.closeListeners = [listener];
  }

  /** One `set $http`. Resolves when the reader has taken enough for more to be sent. */
  async write(message: HttpMessage): Promise<void> {
    if (!isPlainObject(message)) return;
    if (!this.stream && isStatus(message.status)) this.status = Number(message.status);
    if (!this.stream && isPlainObject(message.headers)) this.headers = { ...this.headers, ...cleanHeaders(message.headers) };
    if (message.sseKeepAlive !== undefined) this.keepAlive(message.sseKeepAlive);
    if (message.chunk) await send(this.open(), message.chunk);
  }

  /** Ends the stream with the output, or makes the plain answer. */
  finish(output: unknown): WebhookAnswer {
    clearInterval(this.timer);
    const { stream, status, headers } = this;
    if (!stream) return plainAnswer(output, status, headers);
    const isNothing =
      output === undefined || output === null || output === '' || (isPlainObject(output) && Object.keys(output).length === 0);
    if (!isNothing) void send(stream, output);
    stream.end();
    return { status, headers, body: null, encoding: 'empty' };
  }

  /** Ends the stream with the error as last message; false when there is no stream. */
  fail(error: unknown): boolean {
    clearInterval(this.timer);
    if (!this.stream) return false;
    const { error: name, message, details } = toPublicError(error);
    void send(this.stream, { error: name, message, details });
    this.stream.end();
    return true;
  }

  /** @param said milliseconds; what is no number asks for nothing */
  private keepAlive(said: unknown): void {
    const wishedMs = said === null || said === false || said === '' ? Number.NaN : Number(said);
    if (Number.isNaN(wishedMs)) return;
    const target = this.open();
    clearInterval(this.timer);
    this.timer = setInterval(
      () => {
        // What waits for the reader keeps the connection alive as well; more of it would only fill memory.
        if (!target.writableNeedDrain) void send(target, { keepAlive: true });
      },
      Math.min(Math.max(wishedMs, this.keepAliveMinMs), KEEP_ALIVE_MAX_MS),
    );
    this.timer.unref();
  }

  private started(stream: PassThrough): StreamedAnswer {
    return { status: this.status, headers: { ...this.headers, ...SSE_HEADERS }, stream };
  }

  private open(): PassThrough {
    if (this.stream) return this.stream;
    const made = new PassThrough();
    this.stream = made;
    made.on('error', () => {});
    made.once('close', () => {
      clearInterval(this.timer);
      if (!made.writableEnded) for (const listener of this.closeListeners ?? []) listener();
    });
    for (const listener of this.startListeners ?? []) listener(this.started(made));
    return made;
  }
}

/** Resolves when the reader has taken enough for more to be sent. */
function send(target: PassThrough, value: unknown): Promise<void> | void {
  if (target.destroyed || target.writableEnded) return;
  if (target.write(`data: ${JSON.stringify(value)}\n\n`)) return;
  return new Promise((resolve) => {
    const done = () => {
      target.off('drain', done).off('close', done);
      resolve();
    };
    target.once('drain', done).once('close', done);
  });
}

const isStatus = (value: unknown): boolean => Number.isInteger(Number(value)) && Number(value) >= 200 && Number(value) <= 599;

/**
 * A value as HTTP sends it: bytes, each written as a letter of Latin-1. Other letters are sent in UTF-8, which is what browsers and clients make of them
 * (Node has no form for them); controls are a space, since a line break would let one header write others.
 */
function headerText(value: unknown): string {
  const text = (typeof value === 'object' ? JSON.stringify(value) : String(value)).replace(CONTROLS, ' ');
  return NOT_ASCII.test(text) ? Buffer.from(text).toString('latin1') : text;
}

/** Names a header may have, and values. Lists are one header, but for cookies, which HTTP has no list for. */
function cleanHeaders(headers: JsonObject): WebhookAnswer['headers'] {
  const clean: WebhookAnswer['headers'] = {};
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase();
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(key) || OWN_HEADERS.has(key) || value === undefined || value === null) continue;
    const values = (Array.isArray(value) ? value : [value]).filter((item) => item !== undefined && item !== null).map(headerText);
    clean[key] = key === 'set-cookie' && Array.isArray(value) ? values : values.join(', ');
  }
  return clean;
}

/** The output as an HTTP answer: '' or no output at all is an empty body, null is `{}`, every other JSON value is itself. */
export function plainAnswer(output: unknown, status = 200, headers: WebhookAnswer['headers'] = {}): WebhookAnswer {
  if (output === '' || output === undefined) return { status, headers, body: null, encoding: 'empty' };
  if (output === null) return json({}, status, headers);
  if (output instanceof Uint8Array)
    return {
      status,
      headers: { 'content-type': 'application/octet-stream', ...headers },
      body: Buffer.from(output).toString('base64'),
      encoding: 'base64',
    };
  if (typeof output !== 'string') return json(output, status, headers);
  const type = String(headers['content-type'] ?? 'text/html; charset=utf-8');
  const policy: Record<string, string> = type.startsWith('text/html') ? { 'content-security-policy': "script-src 'self'" } : {};
  return { status, headers: { ...policy, ...headers, 'content-type': type }, body: output, encoding: 'text' };
}

const json = (body: unknown, status: number, headers: WebhookAnswer['headers']): WebhookAnswer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  body,
  encoding: 'json',
});

const HIDDEN = new Set(['cookie', 'host']);

/** Request headers as automations see them. */
export function visibleHeaders(headers: Record<string, string>): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const name in headers) {
    const key = name.toLowerCase();
    if (HIDDEN.has(key) || (key.startsWith('x-') && key !== 'x-prismeai-workspace-id')) continue;
    visible[key] = headers[name] as string;
  }
  return visible;
}
