/** correlation — one id per request, told in every answer and carried by everything the request causes. */
import { timeUuid } from '../../../mixins/shared/ids.ts';

export const CORRELATION_HEADER = 'x-correlation-id';
const ACCEPTED = /^[A-Za-z0-9._-]{8,64}$/;

/** A client's own id is kept only where the installation says so, and when it is harmless in logs and headers. */
export function correlationIdOf(header: unknown, overwrite: boolean): string {
  return !overwrite && typeof header === 'string' && ACCEPTED.test(header) ? header : timeUuid();
}
