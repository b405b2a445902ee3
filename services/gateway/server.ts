/** server — the HTTP server of the gateway: its limits in time and size, and its answer to what is not a request. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { Connections } from './connections.ts';
import { sendError } from './http-errors.ts';
import { CORRELATION_HEADER, correlationIdOf } from './policies/correlation.ts';
import { GatewayResponse } from './response.ts';

/** Above the idle time-out of common balancers, so that they never reuse a connection this side has just closed. */
const KEEP_ALIVE_MS = 70 * SECOND;
const DRAIN_MS = 10 * SECOND;
/**
 * What HTTP clients offer beside an ordinary request (Java's with every first one), to be answered in HTTP/1.1 by who does not know it. What wants to be
 * something else is for upgrades.ts. @see https://www.rfc-editor.org/rfc/rfc9110#section-7.8
 */
const IN_PASSING = /^\s*(?:(?:h2c?|http|tls)(?:\/[\d.]+)?\s*(?:,\s*|$))+$/i;

export function makeServer(listener: RequestListener<typeof IncomingMessage, typeof GatewayResponse>): Server {
  const server = createServer(
    {
      maxHeaderSize: 32_768,
      requestTimeout: 5 * MINUTE,
      headersTimeout: 30 * SECOND,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // A request without a host is refused with the others that are not clean (policies/hygiene.ts), not by Node in a word.
      requireHostHeader: false,
      shouldUpgradeCallback: ({ headers }) => !IN_PASSING.test(headers.upgrade ?? ''),
      ServerResponse: GatewayResponse,
    },
    listener,
  );
  server.on('clientError', refuseUnreadable);
  server.on('checkExpectation', refuseExpectation);
  return server;
}

/** What Node's parser refuses: too large headers, too slow ones, contradictory lengths, rubbish. In the shape of every other refusal. */
function refuseUnreadable(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const [status, type, message] = refusalOf(error.code);
  const body = JSON.stringify({ error: type, message, details: {} });
  const lines = [
    `HTTP/1.1 ${status}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `${CORRELATION_HEADER}: ${correlationIdOf(undefined, true)}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1 */
function refuseExpectation({ headers }: IncomingMessage, response: GatewayResponse): void {
  response.begin(correlationIdOf(undefined, true), {});
  response.setHeader('connection', 'close'); // what the client still sends is not read
  const message = `This server does not know what '${String(headers.expect).slice(0, 50)}' means.`;
  sendError(response, fault('RequestValidationError', { status: 417, message }));
}

function refusalOf(code: string | undefined): [status: string, type: string, message: string] {
  if (code === 'HPE_HEADER_OVERFLOW')
    return ['431 Request Header Fields Too Large', 'RequestValidationError', 'The headers of the request are too large.'];
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return ['408 Request Timeout', 'TimeoutError', 'The request took too long.'];
  return ['400 Bad Request', 'RequestValidationError', 'This is not a request that can be understood in one way only.'];
}

/** @throws ConfigurationError naming PORT */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        fault('ConfigurationError', {
          message:
            error.code === 'EADDRINUSE'
              ? `Port ${port} of ${host} is busy. Set PORT to another one.`
              : `Cannot listen on ${host}:${port}: ${error.message}`,
          cause: error,
        }),
      ),
    );
    server.listen(port, host, () => resolve());
  });
}

/** New requests are refused, those at work end, then the rest is cut. */
export async function drain(server: Server, connections: Connections, closeSockets: () => Promise<void>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await closeSockets();
  connections.release();
  await closed;
  clearTimeout(timer);
}
