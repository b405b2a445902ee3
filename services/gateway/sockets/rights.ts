/**
 * rights — what each socket may read, judged when it connects and again whenever it may have changed: a share, a role, a rule, a key, a topic, a session.
 *
 * Changes arrive twice: as an event of the workspace, and no later event of the workspace is delivered before the new rights hold; and as a hint between nodes,
 * which is sooner for changes that have no event. A sweep once a minute catches what nobody told of.
 */
import { changesRights, changesTopics } from '../../../mixins/auth/changes.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import type { Resolved } from '../contract.ts';
import type { SocketsOptions } from './options.ts';
import { type Member, type Room, type Rooms, readableOf } from './rooms.ts';

export interface Rights {
  /** Topics and rights of a member that is not in a room yet. */
  prepare(member: Member): Promise<void>;
  /** Every socket of a workspace, anew. */
  refresh(workspaceId: string): Promise<void>;
  /** What must happen before `event` is delivered, if anything. */
  before(event: PrismeEvent): Promise<void> | undefined;
  /** Sessions that have ended, rights that have changed unseen. */
  sweep(concerns?: (member: Member) => boolean): Promise<void>;
}

export interface RightsOptions
  extends Pick<SocketsOptions, 'broker' | 'logger' | 'resolve' | 'abilityFor' | 'systemMeta' | 'accessChanged'> {
  rooms: Rooms;
  /** Tells a client why and closes its socket. */
  end(member: Member, error: Error): void;
}

export function createRights({ rooms, end, broker, logger, ...options }: RightsOptions): Rights {
  /** Workspaces somebody connects to right now, and how often their rights have changed meanwhile. */
  const connecting = new Map<string, { members: number; changes: number }>();

  const topicsOf = (workspaceId: string, userId: string) =>
    broker.call<string[], object>('events.topics.of', { workspaceId, userId }, { meta: options.systemMeta() });

  async function judge(member: Member): Promise<void> {
    member.readable = await readableOf(options.abilityFor, member.resolved.claims, member.workspaceId, member.topics);
    rooms.update(member);
  }

  async function refresh(workspaceId: string): Promise<void> {
    noteChange(workspaceId);
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

  function noteChange(workspaceId: string): void {
    const entry = connecting.get(workspaceId);
    if (entry) entry.changes++;
  }

  async function prepare(member: Member): Promise<void> {
    const { workspaceId } = member;
    const { userId } = member.resolved.claims;
    const entry = connecting.get(workspaceId) ?? { members: 0, changes: 0 };
    connecting.set(workspaceId, entry);
    entry.members++;
    try {
      // A change in the middle would reach neither what was read before it nor the room this member is not in yet.
      for (let seen = -1; seen !== entry.changes; ) {
        seen = entry.changes;
        member.topics = new Set(userId ? await topicsOf(workspaceId, userId) : []);
        member.readable = await readableOf(options.abilityFor, member.resolved.claims, workspaceId, member.topics);
      }
    } finally {
      if (--entry.members === 0) connecting.delete(workspaceId);
    }
  }

  /** A join or a leave holds for the sockets of the user before the next event of the workspace is delivered. */
  async function topicChanged({ type, payload }: PrismeEvent, room: Room): Promise<void> {
    const { topic, user, userIds } = payload as { topic?: unknown; user?: { id?: unknown }; userIds?: unknown };
    if (typeof topic !== 'string') return;
    const users = new Set([user?.id, ...(Array.isArray(userIds) ? userIds : [])]);
    for (const member of room.members.values()) {
      if (!users.has(member.resolved.claims.userId)) continue;
      if (type === 'events.userTopics.left') member.topics.delete(topic);
      else member.topics.add(topic);
      await judge(member);
    }
  }

  return {
    prepare,
    refresh,
    before(event) {
      const { workspaceId } = event.source;
      if (!workspaceId) return undefined;
      if (changesRights(event)) {
        options.accessChanged?.(workspaceId);
        return refresh(workspaceId);
      }
      if (!changesTopics(event)) return undefined;
      noteChange(workspaceId);
      const room = rooms.get(workspaceId);
      return room && topicChanged(event, room);
    },
    async sweep(concerns = () => true) {
      for (const room of rooms.all()) {
        const seen = new Map<string, Promise<Resolved | null>>();
        const chosen = [...room.members.values()].filter(concerns);
        for (const member of chosen) {
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
        if (chosen.length > 0) await refresh(room.workspaceId);
      }
    },
  };
}
