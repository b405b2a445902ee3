/**
 * proxy — hands a request on to a service outside the cluster and its answer back, byte by byte: nothing is held in memory, event streams included.
 *
 * What the target learns of the caller is what this gateway found out; no credential that was accepted here, and none of the platform's own headers
 * a client may have invented. Redirects are the client's to follow. @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Agent, Dispatcher } from 'undici';
import type { Identity } from '../../../mixins/auth/identity.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { undici } from '../../../mixins/shared/packages.ts';
import type { ProxyPolicy, Target } from '../configuration/read.ts';
import type { GatewayResponse } from '../response.ts';
import { forwardedHeaders } from './headers.ts';

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** Set by the gateway on every answer; a target does not overrule them. */
const OURS = new Set(['x-correlation-id', 'access-control-allow-origin', 'access-control-allow-credentials', 'strict-transport-security']);

export interface Forwarded {
  policy: ProxyPolicy;
  target: Extract<Target, { url: string }>;
  identity: Identity;
  correlationId: string;
  injectUserId: boolean;
  maxBytes: number;
  isAuthorizationOurs: boolean;
}

/** The address asked of the target: its own path, then the request's. @throws BadParametersError for a path that leaves it */
export function targetUrl({ policy, target }: Pick<Forwarded, 'policy' | 'target'>, requestUrl: string, host: string): URL {
  const mark = requestUrl.indexOf('?');
  let path = mark < 0 ? requestUrl : requestUrl.slice(0, mark);
  const base = new URL(policy.router.find(([key]) => (key.startsWith('/') ? path.startsWith(key) : key === host))?.[1] ?? target.url);
  for (const [pattern, replacement] of policy.pathRewrite) path = path.replace(new RegExp(pattern), replacement);
  const root = base.pathname.replace(/\/$/, '');
  const url = new URL(base.origin);
  url.pathname = `${root}/${path.replace(/^\/+/, '')}`;
  url.search = mark < 0 ? '' : requestUrl.slice(mark);
  if (!url.pathname.startsWith(`${root}/`)) throw fault('BadParametersError', { message: 'The path leaves its service.' });
  return url;
}

/** Headers as the target sees them. */
export function targetHeaders(request: IncomingMessage, forwarded: Forwarded): Record<string, string> {
  const { identity, correlationId, injectUserId, isAuthorizationOurs } = forwarded;
  const headers = forwardedHeaders(request.headers, { authorization: isAuthorizationOurs });
  const listed = new Set(
    String(request.headers.connection ?? '')
      .split(',')
      .map((name) => name.trim().toLowerCase()),
  );
  for (const name of Object.keys(headers))
    if (HOP_BY_HOP.has(name) || listed.has(name) || name.startsWith('x-forwarded-')) delete headers[name];
  const host = headers.host ?? '';
  delete headers.host;
  delete headers.expect;
  const { userId, sessionId, role, authData, ip, sourceWorkspaceId } = identity;
  return {
    ...headers,
    'x-correlation-id': correlationId,
    'x-forwarded-host': host,
    'x-forwarded-for': ip ?? '',
    ...(injectUserId && userId ? { 'x-prismeai-user-id': userId } : {}),
    ...(sessionId ? { 'x-prismeai-session-id': sessionId } : {}),
    ...(role ? { 'x-prismeai-role': role } : {}),
    ...(authData ? { 'x-prismeai-auth-data': asciiJson(authData) } : {}),
    ...(sourceWorkspaceId ? { 'x-prismeai-workspace-id': sourceWorkspaceId } : {}),
  };
}

/** A header holds no other letters. */
const asciiJson = (value: object) =>
  JSON.stringify(value).replace(/[^\x20-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** The body, until it is larger than it may be. */
async function* limited(request: IncomingMessage, maxBytes: number): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > maxBytes) throw fault('PayloadTooLarge', { message: 'request too large', data: { limit: maxBytes, length: size } });
    yield chunk as Buffer;
  }
}

function translated(error: unknown, timeout: number): unknown {
  const known = error as { type?: string; cause?: unknown } | null;
  if (known?.type === 'PayloadTooLarge') return error;
  const { errors } = undici();
  const isLate =
    error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError || error instanceof errors.ConnectTimeoutError;
  return isLate ? fault('TimeoutError', { data: { timeout }, cause: error }) : fault('UpstreamUnavailable', { cause: error });
}

export interface Forwarder {
  forward(request: IncomingMessage, response: GatewayResponse, forwarded: Forwarded): Promise<void>;
  /** Joins the two ends of an upgraded connection. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, forwarded: Forwarded): void;
  close(): Promise<void>;
}

export function createForwarder(): Forwarder {
  let agent: Agent | undefined;
  const tunnels = new Set<Duplex>();
  return {
    async forward(request, response, forwarded) {
      const { policy, maxBytes } = forwarded;
      const url = targetUrl(forwarded, request.url as string, String(request.headers.host ?? ''));
      const length = Number(request.headers['content-length'] ?? 0);
      if (length > maxBytes) throw fault('PayloadTooLarge', { message: 'request too large', data: { limit: maxBytes, length } });
      const hasBody = length > 0 || request.headers['transfer-encoding'] !== undefined;
      const cancelled = new AbortController();
      response.once('close', () => cancelled.abort());
      let answer: Dispatcher.ResponseData<unknown>;
      try {
        const { Agent, request: send } = undici();
        agent ??= new Agent({ keepAliveTimeout: 4_000, connect: { timeout: 10_000 } });
        answer = await send(url, {
          dispatcher: agent,
          method: request.method as Dispatcher.HttpMethod,
          headers: targetHeaders(request, forwarded),
          body: hasBody ? limited(request, maxBytes) : null,
          headersTimeout: policy.timeout,
          bodyTimeout: policy.timeout,
          signal: cancelled.signal,
        } as Parameters<typeof send>[1]);
      } catch (error) {
        if (response.destroyed) return;
        throw translated(error, policy.timeout);
      }
      response.isForeign = true;
      for (const [name, value] of Object.entries(answer.headers))
        if (value !== undefined && !HOP_BY_HOP.has(name) && !OURS.has(name)) response.setHeader(name, value);
      response.writeHead(answer.statusCode);
      response.flushHeaders();
      // What has begun cannot become an error any more: the connection is cut, so that nobody takes half an answer for a whole one.
      await pipeline(answer.body, response).catch(() => response.destroy());
    },

    upgrade(request, socket, head, forwarded) {
      const url = targetUrl(forwarded, request.url as string, String(request.headers.host ?? ''));
      const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
      const outgoing = open(url, {
        method: 'GET',
        headers: { ...targetHeaders(request, forwarded), connection: 'upgrade', upgrade: request.headers.upgrade ?? 'websocket' },
        timeout: forwarded.policy.timeout,
      });
      const fail = () => socket.destroy();
      tunnels.add(socket);
      socket.once('close', () => {
        tunnels.delete(socket);
        outgoing.destroy();
      });
      socket.on('error', fail);
      outgoing.on('error', fail);
      outgoing.on('timeout', fail);
      outgoing.on('response', fail);
      outgoing.on('upgrade', (answer, far, farHead) => {
        const lines = [`HTTP/1.1 101 ${answer.statusMessage ?? 'Switching Protocols'}`];
        for (let i = 0; i < answer.rawHeaders.length; i += 2) lines.push(`${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}`);
        socket.write(`${lines.join('\r\n')}\r\n\r\n`);
        far.setTimeout(0);
        if (farHead.length > 0) socket.write(farHead);
        if (head.length > 0) far.write(head);
        far.on('error', fail);
        far.once('close', fail);
        socket.once('close', () => far.destroy());
        socket.pipe(far).pipe(socket);
      });
      outgoing.end();
    },

    async close() {
      for (const socket of tunnels) socket.destroy();
      // Requests at work end with their clients; only what is idle is closed here.
      void agent?.close();
    },
  };
}
