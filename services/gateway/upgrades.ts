/**
 * upgrades — connections that want to become something else. Socket.IO has its own path; a pipeline of the configuration file may hand others on to its
 * target; everything else is refused at once.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { fault } from '../../mixins/shared/errors.ts';
import type { Self } from './gateway.service.ts';
import { publicError } from './http-errors.ts';
import { correlationIdOf } from './policies/correlation.ts';
import { assertClean } from './policies/hygiene.ts';
import { runPipeline } from './policies/pipeline.ts';

const SOCKET_IO = '/socket.io/';

function refuse(socket: Duplex, error: unknown, correlationId: string): void {
  const { status, body } = publicError(error);
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nconnection: close\r\nx-correlation-id: ${correlationId}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

export async function handleUpgrade(self: Self, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const path = (request.url ?? '/').split('?')[0] as string;
  if (path.startsWith(SOCKET_IO)) return;
  const { configuration, limiter, forwarder, addressOf, cors } = self.policies;
  const correlationId = correlationIdOf(request.headers['x-correlation-id'], self.core.config.overwriteCorrelationId);
  socket.on('error', () => socket.destroy());
  try {
    assertClean(request);
    const current = configuration.current();
    const found = current.find('GET', path, String(request.headers.host ?? ''));
    if (!found) throw fault('NotFoundError');
    // A browser sends cookies with an upgrade from any page: its origin takes the place of the CSRF token.
    const { origin } = request.headers;
    if (origin !== undefined && !cors.isAllowed(origin)) throw fault('ForbiddenError', { message: 'This origin may not connect.' });
    const {
      proxy,
      counted: _counted,
      known: _known,
      ...more
    } = await runPipeline(self, current, limiter, { request, ip: addressOf(request), correlationId, found });
    if (!proxy?.policy.websockets || !('url' in proxy.target)) throw fault('NotFoundError');
    forwarder.upgrade(request, socket, head, {
      ...more,
      policy: proxy.policy,
      target: proxy.target,
      correlationId,
      maxBytes: self.core.config.uploadMaxBytes,
    });
  } catch (error) {
    refuse(socket, error, correlationId);
  }
}
