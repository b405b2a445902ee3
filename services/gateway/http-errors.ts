/** http-errors — any thrown value as the one shape that clients see: { error, message, details } with a status. What is unknown is not told. */
import type { ServerResponse } from 'node:http';
import { type Fault, fault, isFault, toPublicError } from '../../mixins/shared/errors.ts';

/** Failures of Moleculer itself, in the words of the catalogue. */
function translated(error: unknown, action?: string): unknown {
  const { name, type, data } = (error ?? {}) as { name?: string; type?: string; data?: unknown };
  if (name === 'RequestTimeoutError' || type === 'REQUEST_TIMEOUT') return fault('TimeoutError', { cause: error });
  if (name === 'RequestRejectedError' || name === 'ServiceNotAvailableError')
    return fault(action === 'runtime.webhook' ? 'RunLostError' : 'ServiceUnavailable', { cause: error });
  // The transporter itself is away: nothing was sent.
  if (name === 'BrokerDisconnectedError') return fault('ServiceUnavailable', { cause: error });
  if (name === 'ServiceNotFoundError' || name === 'QueueIsFullError') return fault('ServiceUnavailable', { cause: error });
  if (name === 'ValidationError' || type === 'VALIDATION_ERROR')
    return fault('RequestValidationError', { data: { problems: Array.isArray(data) ? data : [] }, cause: error });
  return error;
}

/** Details are for programs: place, field, limit; never a cause or a stack. */
export function publicError(
  error: unknown,
  action?: string,
): { status: number; body: { error: string; message: string; details: Record<string, unknown> }; isUnknown: boolean } {
  const known = translated(error, action);
  const { status, error: type, message, details } = toPublicError(known);
  return { status: status === 499 ? 400 : status, body: { error: type, message, details }, isUnknown: !isFault(known) };
}

/** Writes the answer, unless one has begun: then the connection is cut, so that nobody takes half an answer for a whole one. */
export function sendError(response: ServerResponse, error: unknown, action?: string): { isUnknown: boolean; status: number } {
  const { status, body, isUnknown } = publicError(error, action);
  if (response.headersSent) {
    response.destroy();
    return { isUnknown, status };
  }
  const isLater = (translated(error, action) as Fault | null)?.retryable && (status === 503 || status === 429);
  if (isLater && !response.hasHeader('retry-after')) response.setHeader('retry-after', String(body.details.retryAfter ?? 1));
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text) });
  response.end(text);
  return { isUnknown, status };
}
