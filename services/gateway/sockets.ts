/**
 * sockets — live events over Socket.IO: one namespace per workspace, `/v2/workspaces/<id or slug:…>/events`.
 *
 * A node follows the whole bus and matches only the sockets connected to it: no state is shared but the logical socket ids (cache), by which a client that
 * comes back to any node goes on under its old name. Messages: `event`, `filters`, `reconnection` in; events named by their type and `error` out.
 */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { ServiceBroker } from 'moleculer';
import { type Namespace, Server, type Socket } from 'socket.io';
import type { AuthMethods, IdentityKeys } from '../../mixins/auth/contract.ts';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { createMatcher } from '../../mixins/filters/matcher.ts';
import { parseFilters } from '../../mixins/filters/parse.ts';
import { HOUR, MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { fault, isFault, type PublicError, toPublicError } from '../../mixins/shared/errors.ts';
import { isNative, type PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId, shortId } from '../../mixins/shared/ids.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Credentials, Resolved } from './contract.ts';
import { credentialsOf, hasCredentials, resumeOf, termsOf } from './sockets/handshake.ts';
import { createRooms, type Member, messageName, type Room, readableOf } from './sockets/rooms.ts';

export interface SocketsOptions {
  server: HttpServer;
  broker: ServiceBroker;
  bus: EventBus;
  cache: CacheDriver;
  logger: ServiceBroker['logger'];
  /** `identity.resolve`. @throws AuthenticationError · InvalidAPIKey */
  resolve(credentials: Credentials): Promise<Resolved>;
  sign: IdentityKeys['sign'];
  abilityFor: AuthMethods['abilityFor'];
  systemMeta: AuthMethods['systemMeta'];
  /** Makes this node (and the others) forget what it knows of a workspace's rights, before they are judged anew. */
  accessChanged?: AuthMethods['accessChanged'];
  /** Address of the client, proxies considered. Default: the address of the connection. */
  clientIp?: (request: IncomingMessage) => string | undefined;
  /** Whether pages of an origin may use the cookie of their visitor. */
  isAllowedOrigin?: (origin: string) => boolean;
  limits?: Partial<SocketLimits>;
  /** Life of the cookie `io`, seconds. Default: the browser session. */
  cookieMaxAgeS?: number;
}

export interface SocketLimits {
  perSession: number;
  perWorkspace: number;
  /** Messages `event` of one socket, and how many at once. */
  emitsPerSecond: number;
  emitsBurst: number;
  /** Packets that may wait for a slow client. */
  waiting: number;
  /** Events replayed to a returning client. */
  replay: number;
}

export const SOCKET_LIMITS: SocketLimits = {
  perSession: 100,
  perWorkspace: 20_000,
  emitsPerSecond: 30,
  emitsBurst: 100,
  waiting: 1_000,
  replay: 5_000,
};

export interface Sockets {
  /** Rights in a workspace may have changed: every socket of it is judged anew. */
  refresh(workspaceId: string): Promise<void>;
  /** Connected sockets of this node. */
  count(): number;
  close(): Promise<void>;
}

const NAMESPACE = /^\/v2\/workspaces\/((?:slug:)?[\w-]+)\/events$/;
const LOGICAL_ID_TTL_MS = 12 * HOUR;
const SWEEP_MS = MINUTE;
const MAX_QUEUED_EMITS = 1_000;

/** Events after which rights must be judged anew before anything else of the workspace is delivered. */
const CHANGES_RIGHTS = (type: string) =>
  type === 'workspaces.security.updated' ||
  type.startsWith('workspaces.permissions.') ||
  type.startsWith('apikeys.') ||
  type === 'workspaces.created' ||
  type === 'workspaces.deleted';

const knownSockets = (workspaceId: string, sessionId: string) => `{sockets:${workspaceId}}:${sessionId}`;

/** What a client sees as `connect_error`; any other error is not told in its own words. */
const refusal = (message: string, error?: unknown): Error => {
  const refused = new Error(message) as Error & { data?: PublicError };
  refused.name = 'Refusal';
  if (error !== undefined) refused.data = publicError(error);
  return refused;
};

function publicError(error: unknown): PublicError {
  const { status: _status, ...visible } = toPublicError(error);
  return visible;
}

export async function attachSockets(options: SocketsOptions): Promise<Sockets> {
  const { broker, bus, cache, logger, abilityFor, systemMeta } = options;
  const limits = { ...SOCKET_LIMITS, ...options.limits };
  const io = new Server(options.server, {
    path: '/socket.io/',
    serveClient: false,
    cors: { origin: true, credentials: true },
    cookie: { name: 'io', path: '/', httpOnly: true, sameSite: 'lax', ...(options.cookieMaxAgeS && { maxAge: options.cookieMaxAgeS }) },
    cleanupEmptyChildNamespaces: true,
    maxHttpBufferSize: 1e6,
  });
  const rooms = createRooms(dropSlow, limits.waiting);
  const slugs = new Map<string, string>();

  // ---- rights ------------------------------------------------------------------------------------------------------------------------

  async function judge(member: Member): Promise<void> {
    member.readable = await readableOf(abilityFor, member.resolved.claims, member.workspaceId, member.topics);
    if (member.socket.connected || member.pending) rooms.update(member);
  }

  async function refresh(workspaceId: string): Promise<void> {
    const room = rooms.get(workspaceId);
    if (!room) return;
    await Promise.all(
      [...room.members.values()].map((member) =>
        judge(member).catch((error) => {
          // Rights that cannot be judged are none: the next sweep tries again.
          member.readable = null;
          rooms.update(member);
          logger.warn(`Rights of a socket in '${workspaceId}' cannot be judged: ${(error as Error).message}`);
        }),
      ),
    );
  }

  async function topicsOf(workspaceId: string, userId: string | undefined): Promise<Set<string>> {
    if (!userId) return new Set();
    const names = await broker.call<string[], object>('events.topics.of', { workspaceId, userId }, { meta: systemMeta() });
    return new Set(names);
  }

  /** A join is known to the sockets of the user before the next event of the workspace is delivered. */
  async function joined(event: PrismeEvent, room: Room): Promise<void> {
    const { topic, user, userIds } = event.payload as { topic?: unknown; user?: { id?: unknown }; userIds?: unknown[] };
    const users = new Set([user?.id, ...(Array.isArray(userIds) ? userIds : [])]);
    for (const member of room.members.values()) {
      if (typeof topic !== 'string' || !users.has(member.resolved.claims.userId)) continue;
      member.topics.add(topic);
      await judge(member);
    }
  }

  /** Sessions that have ended, rights that have changed unseen. */
  async function sweep(): Promise<void> {
    for (const room of rooms.all()) {
      const seen = new Map<string, Promise<Resolved | null>>();
      for (const member of room.members.values()) {
        const key = JSON.stringify(member.credentials);
        const known =
          seen.get(key) ??
          options.resolve(member.credentials).catch((error) => {
            if (isFault(error, 'AuthenticationError') || isFault(error, 'InvalidAPIKey')) return null;
            return member.resolved; // the identity service does not answer: not the client's fault
          });
        seen.set(key, known);
        const resolved = await known;
        if (resolved === null || (resolved.expiresAt !== undefined && resolved.expiresAt <= Date.now()))
          end(member, fault('AuthenticationError', { message: 'The session has ended.' }));
        else member.resolved = resolved;
      }
      await refresh(room.workspaceId);
    }
  }

  function end(member: Member, error: Error): void {
    rooms.remove(member);
    member.socket.emit('error', publicError(error));
    member.socket.disconnect(true);
  }

  function dropSlow(member: Member): void {
    logger.warn(`Socket ${member.socket.id} of '${member.workspaceId}' reads too slowly and is dropped.`);
    // Behind what already waits, so that the client learns why; the engine closes once that is sent or the ping times out.
    end(member, fault('SlowConsumerError', { data: { waiting: limits.waiting } }));
  }

  // ---- connecting --------------------------------------------------------------------------------------------------------------------

  async function authenticate(credentials: Credentials): Promise<Resolved> {
    if (!hasCredentials(credentials)) throw refusal('Missing authentication credentials');
    let resolved: Resolved;
    try {
      resolved = await options.resolve(credentials);
    } catch (error) {
      if (isFault(error) && Number(error.code) < 500) throw refusal(`${error.type}: ${error.message}`, error);
      throw refusal('Could not verify provided credentials, please try again later or initiate a new session.', error);
    }
    const { kind, apiKeyHash } = resolved.claims;
    if (kind === 'none' && !apiKeyHash) throw refusal('Invalid authentication credentials');
    return resolved;
  }

  /** A browser sends the cookie whatever page opens the socket: from a page the installation does not know it proves nothing. */
  function assertOwnPage(socket: Socket, { authorization, cookieToken, legacyToken }: Credentials): void {
    const { origin } = socket.handshake.headers;
    if (!cookieToken || authorization || legacyToken?.startsWith('at:') || origin === undefined) return;
    if (options.isAllowedOrigin && !options.isAllowedOrigin(origin))
      throw refusal('Sockets of this page must send a token: its origin is not one of this installation.');
  }

  async function workspaceOf(address: string): Promise<string> {
    if (!address.startsWith('slug:')) return address;
    const known = slugs.get(address);
    if (known) return known;
    try {
      const { id } = await broker.call<{ id: string }, object>('workspaces.resolve', { workspaceId: address }, { meta: systemMeta() });
      if (slugs.size > 10_000) slugs.clear();
      slugs.set(address, id);
      return id;
    } catch (error) {
      if (isFault(error, 'ObjectNotFoundError')) return address; // like an unknown id: connected, and nothing to receive
      throw error;
    }
  }

  /** The id a returning client may go on under; its own when the old one is not of this workspace and session. */
  async function logicalIdOf(workspaceId: string, sessionId: string | undefined, own: string, wanted: string | undefined): Promise<string> {
    if (!sessionId) return own;
    const key = knownSockets(workspaceId, sessionId);
    const id = wanted && (await cache.hasMember(key, wanted)) ? wanted : own;
    await cache.addMembers(key, [id], { ttlMs: LOGICAL_ID_TTL_MS });
    return id;
  }

  function assertRoomFor(workspaceId: string, sessionId: string | undefined): void {
    const room = rooms.get(workspaceId);
    if (!room) return;
    if (room.members.size >= limits.perWorkspace)
      throw refusal('Too many sockets in this workspace, please try again later.', fault('TooManyRequests'));
    if (!sessionId || room.members.size < limits.perSession) return;
    let own = 0;
    for (const { resolved } of room.members.values()) if (resolved.claims.sessionId === sessionId) own++;
    if (own >= limits.perSession) throw refusal('Too many sockets in this session.', fault('TooManyRequests'));
  }

  /** Everything that takes time happens before the client is told that it is connected: from then on it misses nothing. */
  async function prepare(socket: Socket): Promise<Member> {
    const [, address = ''] = NAMESPACE.exec(socket.nsp.name) ?? [];
    const ip = options.clientIp?.(socket.request) ?? socket.handshake.address;
    const credentials = credentialsOf(socket, ip);
    assertOwnPage(socket, credentials);
    const resolved = await authenticate(credentials);
    const { userId, sessionId } = resolved.claims;
    const workspaceId = await workspaceOf(address);
    assertRoomFor(workspaceId, sessionId);
    const { reuseSocketId, afterId } = resumeOf(socket);
    const [topics, logicalId] = await Promise.all([
      topicsOf(workspaceId, userId),
      logicalIdOf(workspaceId, sessionId, socket.id, reuseSocketId),
    ]);
    const member: Member = {
      socket,
      workspaceId,
      logicalId,
      credentials,
      resolved,
      terms: termsOf(socket),
      topics,
      readable: null,
      pending: afterId ? [] : null,
    };
    member.readable = await readableOf(abilityFor, resolved.claims, workspaceId, topics);
    return member;
  }

  /** Replays what came after `afterId`, then what came meanwhile, each once. */
  async function replay(member: Member, afterId: string): Promise<void> {
    const single = createMatcher();
    single.set('self', { terms: member.terms, readable: member.readable, socketId: member.logicalId });
    const seen = new Set<string>([afterId]);
    const send = (event: PrismeEvent) => {
      if (seen.has(event.id)) return;
      seen.add(event.id);
      member.socket.emit(messageName(event.type), event);
    };
    try {
      const past = await broker.call<PrismeEvent[] | null, object>(
        'events.replay',
        { workspaceId: member.workspaceId, afterId, limit: limits.replay },
        { meta: systemMeta() },
      );
      if (past === null || past.length >= limits.replay) member.socket.emit('gap', { afterId });
      for (const event of past ?? []) if (single.match(event).length > 0) send(event);
    } catch (error) {
      member.socket.emit('gap', { afterId });
      logger.warn(`Events after ${afterId} cannot be replayed: ${(error as Error).message}`);
    }
    for (const event of member.pending ?? []) send(event);
    member.pending = null;
  }

  // ---- messages ----------------------------------------------------------------------------------------------------------------------

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
    const correlationId = hexId();
    const identity = options.sign({
      ...member.resolved.claims,
      correlationId,
      via: 'socket',
      ...(member.credentials.ip && { ip: member.credentials.ip }),
    });
    const params = { workspaceId: member.workspaceId, body: { events: [message] }, socketId: member.logicalId };
    const [event] = await broker.call<PrismeEvent[], object>('events.emit', params, { meta: { identity, correlationId } });
    return event as PrismeEvent;
  }

  function listen(member: Member): void {
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

    socket.on('event', (message: unknown, ...rest: unknown[]) => {
      const ack = ackOf(rest);
      if (!takeToken() || queued >= MAX_QUEUED_EMITS)
        return failed(member, fault('TooManyRequests', { message: 'This socket sends events too fast.' }), ack);
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
      const wanted = isPlainObject(message) && typeof message.socketId === 'string' ? message.socketId : undefined;
      logicalIdOf(member.workspaceId, member.resolved.claims.sessionId, member.logicalId, wanted).then(
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
  }

  const prepared = new WeakMap<Socket, Member>();
  io.use((_socket, next) => next(refusal('Connect to /v2/workspaces/<id>/events.')));
  const namespaces: Namespace = io.of(NAMESPACE);
  namespaces.use((socket, next) => {
    prepare(socket).then(
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

  // ---- events ------------------------------------------------------------------------------------------------------------------------

  // The hint that rights have changed reaches every node; the cache of rights drops them in the same turn.
  const hints = broker.createService({
    name: `gateway.sockets-${shortId(5)}`,
    events: {
      'access.changed': ({ params }: { params?: { workspaceId?: unknown } }) => {
        const workspaceId = params?.workspaceId;
        if (typeof workspaceId === 'string') setImmediate(() => void refresh(workspaceId));
      },
    },
  } as never);
  const following = await bus.on(
    '*',
    (event) => {
      const room = rooms.get(event.source.workspaceId ?? '');
      if (!room) return;
      // The next event of the workspace waits until the new rights hold.
      // Only the platform's own word counts: anybody may emit an event that is merely called so.
      if (isNative(event) && CHANGES_RIGHTS(event.type)) {
        options.accessChanged?.(room.workspaceId);
        return refresh(room.workspaceId).then(() => rooms.deliver(event));
      }
      if (isNative(event) && (event.type === 'events.userTopics.joined' || event.type === 'events.userTopics.created'))
        return joined(event, room).then(() => rooms.deliver(event));
      rooms.deliver(event);
    },
    { mode: 'broadcast' },
  );
  const sweeping = setInterval(() => void sweep().catch((error) => logger.warn(`Sockets cannot be checked: ${error.message}`)), SWEEP_MS);
  sweeping.unref();

  return {
    refresh,
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
