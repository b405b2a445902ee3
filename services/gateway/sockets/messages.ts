/** messages — what a connected client says: `event` (emit), `filters`, `reconnection`. Every one is answered when the client asks for an acknowledgement. */
import { parseFilters } from '../../../mixins/filters/parse.ts';
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault, type PublicError } from '../../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { newCorrelationId } from '../../../mixins/shared/ids.ts';
import { isPlainObject } from '../../../mixins/shared/json.ts';
import type { Connecting } from './connecting.ts';
import { publicError, type SocketLimits, type SocketsOptions } from './options.ts';
import type { Member, Rooms } from './rooms.ts';

const MAX_QUEUED_EMITS = 1_000;

export interface MessagesOptions extends Pick<SocketsOptions, 'broker' | 'logger' | 'sign'> {
  rooms: Rooms;
  connecting: Connecting;
  limits: SocketLimits;
}

export function createMessages({ broker, logger, sign, rooms, connecting, limits }: MessagesOptions): (member: Member) => void {
  type Ack = (answer: { ok: boolean; error?: PublicError; event?: { id: string; createdAt: string }; socketId?: string }) => void;

  /** The callback is the last argument, whatever stands before it. */
  const ackOf = (args: unknown[]): Ack | undefined => (typeof args.at(-1) === 'function' ? (args.at(-1) as Ack) : undefined);

  function failed(member: Member, error: unknown, ack: Ack | undefined): void {
    const visible = publicError(error);
    if (visible.error === 'InternalServiceError') logger.error('A message of a socket failed:', error);
    member.socket.emit('error', visible);
    ack?.({ ok: false, error: visible });
  }

  async function emit(member: Member, message: unknown): Promise<PrismeEvent> {
    if (!isPlainObject(message))
      throw fault('RequestValidationError', { message: 'The message `event` carries an object { type, payload }.' });
    const correlationId = newCorrelationId();
    const identity = sign({
      ...member.resolved.claims,
      correlationId,
      via: 'socket',
      ...(member.credentials.ip && { ip: member.credentials.ip }),
    });
    const params = { workspaceId: member.workspaceId, body: { events: [message] }, socketId: member.logicalId };
    const [event] = await broker.call<PrismeEvent[], object>('events.emit', params, { meta: { identity, correlationId } });
    return event as PrismeEvent;
  }

  return function listen(member: Member): void {
    const { socket } = member;
    let tokens = limits.emitsBurst;
    let filledAt = Date.now();
    let queued = 0;
    let order: Promise<unknown> = Promise.resolve();
    const takeToken = (): boolean => {
      const now = Date.now();
      tokens = Math.min(limits.emitsBurst, tokens + ((now - filledAt) / SECOND) * limits.emitsPerSecond);
      filledAt = now;
      if (tokens < 1) return false;
      tokens--;
      return true;
    };

    const tooFast = () => fault('TooManyRequests', { message: 'This socket sends messages too fast.' });

    socket.on('event', (message: unknown, ...rest: unknown[]) => {
      const ack = ackOf(rest);
      if (!takeToken() || queued >= MAX_QUEUED_EMITS) return failed(member, tooFast(), ack);
      queued++;
      // One after the other: events of a socket keep their order.
      order = order
        .then(() => emit(member, message))
        .then(
          (event) => ack?.({ ok: true, event: { id: event.id, createdAt: event.createdAt } }),
          (error) => failed(member, error, ack),
        )
        .finally(() => queued--);
    });
    socket.on('filters', (filters: unknown, ...rest: unknown[]) => {
      const ack = ackOf(rest);
      if (!takeToken()) return failed(member, tooFast(), ack);
      try {
        member.terms = parseFilters(filters);
        rooms.update(member);
        ack?.({ ok: true });
      } catch (error) {
        failed(member, error, ack);
      }
    });
    socket.on('reconnection', (message: unknown, ...rest: unknown[]) => {
      const ack = ackOf(rest);
      if (!takeToken()) return failed(member, tooFast(), ack);
      const wanted = isPlainObject(message) && typeof message.socketId === 'string' ? message.socketId : undefined;
      connecting.logicalIdOf(member.workspaceId, member.resolved.claims.sessionId, member.logicalId, wanted).then(
        (id) => {
          member.logicalId = id;
          rooms.update(member);
          ack?.({ ok: id === wanted, socketId: id });
        },
        (error) => failed(member, error, ack),
      );
    });
    socket.on('disconnect', () => rooms.remove(member));
    // Anything else a client sends is ignored; a listener of that name would let it reach nothing either.
  };
}
