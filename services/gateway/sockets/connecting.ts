/** connecting — from a handshake to a member: who is it, of which workspace, under which name, and what may it read. */
import type { Socket } from 'socket.io';
import { HOUR } from '../../../mixins/shared/clock.ts';
import { fault, isFault, type PublicError } from '../../../mixins/shared/errors.ts';
import type { Credentials, Resolved } from '../contract.ts';
import { credentialsOf, hasCredentials, resumeOf, termsOf } from './handshake.ts';
import { publicError, type SocketLimits, type SocketsOptions } from './options.ts';
import type { Rights } from './rights.ts';
import type { Member, Rooms } from './rooms.ts';

export const NAMESPACE = /^\/v2\/workspaces\/((?:slug:)?[\w-]+)\/events$/;
const LOGICAL_ID_TTL_MS = 12 * HOUR;

const knownSockets = (workspaceId: string, sessionId: string) => `{sockets:${workspaceId}}:${sessionId}`;

/** What a client sees as `connect_error`; any other error is not told in its own words. */
export const refusal = (message: string, error?: unknown): Error => {
  const refused = new Error(message) as Error & { data?: PublicError };
  refused.name = 'Refusal';
  if (error !== undefined) refused.data = publicError(error);
  return refused;
};

export interface Connecting {
  /** @throws a refusal, or a fault */
  prepare(socket: Socket): Promise<Member>;
  /** The id a returning client may go on under; its own when the old one is not of this workspace and session. */
  logicalIdOf(workspaceId: string, sessionId: string | undefined, own: string, wanted: string | undefined): Promise<string>;
}

export interface ConnectingOptions extends SocketsOptions {
  rooms: Rooms;
  rights: Rights;
  limits: SocketLimits;
}

export function createConnecting({ broker, cache, systemMeta, rooms, rights, limits, ...options }: ConnectingOptions): Connecting {
  const slugs = new Map<string, string>();

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

  return {
    logicalIdOf,
    /** Everything that takes time happens before the client is told that it is connected: from then on it misses nothing. */
    async prepare(socket) {
      const [, address = ''] = NAMESPACE.exec(socket.nsp.name) ?? [];
      const terms = termsOf(socket);
      const ip = options.clientIp?.(socket.request) ?? socket.handshake.address;
      const credentials = credentialsOf(socket, ip);
      assertOwnPage(socket, credentials);
      const resolved = await authenticate(credentials);
      const { sessionId } = resolved.claims;
      const workspaceId = await workspaceOf(address);
      assertRoomFor(workspaceId, sessionId);
      const { reuseSocketId, afterId } = resumeOf(socket);
      const member: Member = {
        socket,
        workspaceId,
        logicalId: await logicalIdOf(workspaceId, sessionId, socket.id, reuseSocketId),
        credentials,
        resolved,
        terms,
        topics: new Set(),
        readable: null,
        pending: afterId ? [] : null,
        replayed: null,
      };
      await rights.prepare(member);
      return member;
    },
  };
}
