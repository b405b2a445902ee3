/**
 * sockets — live events over Socket.IO: one namespace per workspace, `/v2/workspaces/<id or slug:…>/events`.
 *
 * A node follows the whole bus and matches only the sockets connected to it: no state is shared but the logical socket ids (cache), by which a client that
 * comes back to any node goes on under its old name. Messages: `event`, `filters`, `reconnection` in; events named by their type and `error` out.
 */
import { type Namespace, Server, type Socket } from 'socket.io';
import { createFeedMemory } from '../../mixins/bus/catch-up.ts';
import { MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import { createConnecting, NAMESPACE, refusal } from './sockets/connecting.ts';
import { resumeOf } from './sockets/handshake.ts';
import { createMessages } from './sockets/messages.ts';
import { publicError, SOCKET_LIMITS, type SocketsOptions } from './sockets/options.ts';
import { createReplay } from './sockets/replay.ts';
import { createRights } from './sockets/rights.ts';
import { createRooms, type Member } from './sockets/rooms.ts';

export type { SocketLimits, SocketsOptions } from './sockets/options.ts';

export interface Sockets {
  /** Rights in a workspace may have changed: every socket of it is judged anew. */
  refresh(workspaceId: string): Promise<void>;
  /** Connected sockets of this node. */
  count(): number;
  close(): Promise<void>;
}

const SWEEP_MS = MINUTE;
/** A revoked session is looked at when the hint comes and once more, when the identity service has surely heard of it too. */
const RECHECK_MS = 2 * SECOND;

export async function attachSockets(options: SocketsOptions): Promise<Sockets> {
  const { broker, bus, logger, systemMeta } = options;
  const limits = { ...SOCKET_LIMITS, ...options.limits };
  const io = new Server(options.server, {
    path: '/socket.io/',
    // Upgrades of other paths are the gateway's (upgrades.ts).
    destroyUpgrade: false,
    serveClient: false,
    cors: { origin: true, credentials: true },
    cookie: { name: 'io', path: '/', httpOnly: true, sameSite: 'lax', ...(options.cookieMaxAgeS && { maxAge: options.cookieMaxAgeS }) },
    cleanupEmptyChildNamespaces: true,
    maxHttpBufferSize: 1e6,
  });
  const rooms = createRooms(dropSlow, limits);
  const rights = createRights({ ...options, rooms, end });
  const connecting = createConnecting({ ...options, rooms, rights, limits });
  const listen = createMessages({ ...options, rooms, connecting, limits });
  const feed = createFeedMemory();
  const replay = createReplay({ broker, systemMeta, logger, feed, limit: limits.replay });

  function end(member: Member, error: Error): void {
    rooms.remove(member);
    member.pending = null;
    member.socket.emit('error', publicError(error));
    member.socket.disconnect(true);
  }

  function dropSlow(member: Member): void {
    logger.warn(`Socket ${member.socket.id} of '${member.workspaceId}' reads too slowly and is dropped.`);
    // Behind what already waits, so that the client learns why; the engine closes once that is sent or the ping times out.
    end(member, fault('SlowConsumerError', { data: { waiting: limits.waiting } }));
  }

  function deliver(event: PrismeEvent): void {
    rooms.deliver(event);
    feed.add(event.id);
  }

  const sweep = (concerns?: (member: Member) => boolean): void =>
    void rights.sweep(concerns).catch((error) => logger.warn(`Sockets cannot be checked: ${error.message}`));

  const prepared = new WeakMap<Socket, Member>();
  io.use((_socket, next) => next(refusal('Connect to /v2/workspaces/<id>/events.')));
  const namespaces: Namespace = io.of(NAMESPACE);
  namespaces.use((socket, next) => {
    connecting.prepare(socket).then(
      (member) => {
        prepared.set(socket, member);
        next();
      },
      (error) => {
        if ((error as Error).name === 'Refusal') return next(error);
        if (isFault(error) && Number(error.code) < 500) return next(refusal(error.message, error));
        logger.error('A socket could not be connected:', error);
        next(refusal('Internal error : please try again later.'));
      },
    );
  });
  namespaces.on('connection', (socket) => {
    const member = prepared.get(socket);
    if (!member) return socket.disconnect(true);
    rooms.add(member);
    listen(member);
    const { afterId } = resumeOf(socket);
    if (afterId) void replay(member, afterId);
  });

  // Hints between nodes; what a node knows of rights and sessions is forgotten in the same turn.
  const hints = broker.createService({
    name: `gateway.sockets-${shortId(5)}`,
    events: {
      'access.changed': ({ params }: { params?: { workspaceId?: unknown } }) => {
        const workspaceId = params?.workspaceId;
        if (typeof workspaceId === 'string') setImmediate(() => void rights.refresh(workspaceId));
      },
      'identity.revoked': ({ params }: { params?: { userId?: string; sessionId?: string } }) => {
        const { userId, sessionId } = params ?? {};
        const concerns = ({ resolved: { claims } }: Member) =>
          (sessionId !== undefined && claims.sessionId === sessionId) || (userId !== undefined && claims.userId === userId);
        setImmediate(() => sweep(concerns));
        setTimeout(() => sweep(concerns), RECHECK_MS).unref();
      },
    },
  } as never);
  const following = await bus.on(
    '*',
    (event) => {
      // The next event of the workspace waits until new rights hold.
      const first = rights.before(event);
      if (first) return first.then(() => deliver(event));
      deliver(event);
    },
    { mode: 'broadcast' },
  );
  const sweeping = setInterval(() => sweep(), SWEEP_MS);
  sweeping.unref();

  return {
    refresh: rights.refresh,
    count: () => [...rooms.all()].reduce((sum, { members }) => sum + members.size, 0),
    async close() {
      clearInterval(sweeping);
      await following.stop({ drainMs: SECOND });
      await broker.destroyService(hints).catch(() => {});
      io.disconnectSockets(true);
      await new Promise<void>((resolve) => {
        io.engine.close();
        resolve();
      });
    },
  };
}
