/**
 * rooms — the sockets of this node, by workspace, and what each may receive. A room exists while it has sockets; an event of a workspace nobody here
 * listens to costs one look-up.
 */
import type { Namespace, Socket } from 'socket.io';
import type { AuthMethods } from '../../../mixins/auth/contract.ts';
import type { IdentityClaims } from '../../../mixins/auth/identity.ts';
import type { Replayed } from '../../../mixins/bus/catch-up.ts';
import { createMatcher, type Matcher } from '../../../mixins/filters/matcher.ts';
import type { Term } from '../../../mixins/filters/parse.ts';
import { isFault } from '../../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { newCorrelationId } from '../../../mixins/shared/ids.ts';
import type { Condition } from '../../../mixins/storage/datalake/contract.ts';
import type { Credentials, Resolved } from '../contract.ts';
import type { SocketLimits } from './options.ts';

export type Claims = Omit<IdentityClaims, 'v' | 'iat' | 'exp'>;

/** One connected socket. */
export interface Member {
  socket: Socket;
  workspaceId: string;
  /** Logical id: the Socket.IO id, or the one it had before a reconnection. */
  logicalId: string;
  credentials: Credentials;
  resolved: Resolved;
  terms: Term[];
  topics: Set<string>;
  readable: Condition | null;
  /** While the past is replayed, what happens meanwhile waits here. */
  pending: PrismeEvent[] | null;
  /** Events replayed that the feed has yet to bring; over once it brings the last one. */
  replayed: Replayed | null;
}

export interface Room {
  workspaceId: string;
  namespace: Namespace;
  matcher: Matcher;
  members: Map<string, Member>;
}

/** Names that Socket.IO keeps for itself: such events travel under a neutral one, the envelope tells the type. */
const RESERVED = new Set(['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']);
export const messageName = (type: string): string => (RESERVED.has(type) ? 'event' : type);

export interface Rooms {
  get(workspaceId: string): Room | undefined;
  add(member: Member): void;
  remove(member: Member): void;
  /** Terms, rights or logical id have changed. */
  update(member: Member): void;
  deliver(event: PrismeEvent): void;
  all(): IterableIterator<Room>;
}

export function createRooms(onSlow: (member: Member) => void, limits: Pick<SocketLimits, 'waiting' | 'waitingChars' | 'replay'>): Rooms {
  const rooms = new Map<string, Room>();

  function update(member: Member): void {
    rooms
      .get(member.workspaceId)
      ?.matcher.set(member.socket.id, { terms: member.terms, readable: member.readable, socketId: member.logicalId });
  }

  function remove(member: Member): void {
    const room = rooms.get(member.workspaceId);
    if (!room?.members.delete(member.socket.id)) return;
    room.matcher.remove(member.socket.id);
    if (room.members.size === 0) rooms.delete(member.workspaceId);
  }

  return {
    get: (workspaceId) => rooms.get(workspaceId),
    all: () => rooms.values(),
    update,
    remove,
    add(member) {
      let room = rooms.get(member.workspaceId);
      if (!room) {
        room = { workspaceId: member.workspaceId, namespace: member.socket.nsp, matcher: createMatcher(), members: new Map() };
        rooms.set(member.workspaceId, room);
      }
      room.members.set(member.socket.id, member);
      update(member);
    },
    deliver(event) {
      const room = rooms.get(event.source.workspaceId ?? '');
      if (!room) return;
      const ready: Member[] = [];
      for (const id of room.matcher.match(event)) {
        const member = room.members.get(id) as Member;
        if (member.replayed && wasReplayed(member, event.id)) continue;
        if (member.pending) {
          if (member.pending.push(event) > limits.replay) onSlow(member);
        } else if (isSlow(member.socket, limits)) onSlow(member);
        else ready.push(member);
      }
      send(ready, event);
    },
  };
}

const bufferOf = (socket: Socket) => (socket.conn as unknown as { writeBuffer: { data?: unknown }[] }).writeBuffer;

/** Packets the transport has not taken yet. */
export const waitingOf = (socket: Socket): number => bufferOf(socket).length;

const FEW = 16;

function isSlow(socket: Socket, { waiting, waitingChars }: Pick<SocketLimits, 'waiting' | 'waitingChars'>): boolean {
  const buffer = bufferOf(socket);
  if (buffer.length <= FEW || buffer.length > waiting) return buffer.length > waiting;
  let chars = 0;
  for (const { data } of buffer) if (typeof data === 'string') chars += data.length;
  return chars > waitingChars;
}

/** Resolves once the transport has taken what waits, or is closed. */
export function drained({ socket: { conn } }: Member): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      conn.off('drain', done);
      conn.off('close', done);
      resolve();
    };
    conn.on('drain', done);
    conn.on('close', done);
  });
}

/** Whether the member has `id` from a replay already. */
function wasReplayed(member: Member, id: string): boolean {
  const replayed = member.replayed as Replayed;
  if (replayed.isOver()) member.replayed = null;
  return replayed.has(id);
}

/** One encoding for all receivers of a namespace (a workspace addressed by id and by slug has two). */
function send(members: Member[], event: PrismeEvent): void {
  if (members.length === 0) return;
  const name = messageName(event.type);
  if (members.length === 1) return void (members[0] as Member).socket.emit(name, event);
  const byNamespace = new Map<Namespace, string[]>();
  for (const { socket } of members) {
    const ids = byNamespace.get(socket.nsp);
    if (ids) ids.push(socket.id);
    else byNamespace.set(socket.nsp, [socket.id]);
  }
  for (const [namespace, ids] of byNamespace) {
    // Everybody: without a list of rooms the adapter has nothing to look up.
    if (ids.length === namespace.sockets.size) namespace.emit(name, event);
    else namespace.to(ids).emit(name, event);
  }
}

/** What an identity may read live in a workspace; nothing in one that does not exist. */
export async function readableOf(
  abilityFor: AuthMethods['abilityFor'],
  claims: Claims,
  workspaceId: string,
  topics: Iterable<string>,
): Promise<Condition | null> {
  try {
    const ability = await abilityFor({ ...claims, correlationId: claims.correlationId || newCorrelationId() }, workspaceId, {
      topics: [...topics],
    });
    return ability.condition('read', 'events');
  } catch (error) {
    if (isFault(error, 'ObjectNotFoundError')) return null;
    throw error;
  }
}
