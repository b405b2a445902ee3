/**
 * sessions — who a session belongs to. Written when somebody signs in, removed when he signs out, read when a run starts from an event or
 * switches identity. The record lives in the cache as long as the session; a node remembers it a few seconds and forgets it at the notice.
 */

import type { Identity } from '../../mixins/auth/identity.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { keyPart } from './key-part.ts';

export interface SessionRecord {
  sessionId: string;
  userId: string;
  email?: string;
  /** The address was proven; records of earlier versions do not say so, and give no right that asks for it. */
  emailVerified?: boolean;
  authData?: JsonObject;
  /** Milliseconds since the epoch. */
  startedAt: number;
  expiresAt: number;
}

/** Native events of the gateway that this room follows. */
export const SESSION_EVENTS = [
  'gateway.login.succeeded',
  'gateway.logout.succeeded',
  'gateway.sessions.revoked',
  'gateway.users.deleted',
  'gateway.passwordReset.succeeded',
];

const REMEMBER_MS = 5 * SECOND;
/** A session met in a call is believed this long without being met again. */
const LEARNT_MS = 6 * HOUR;
const LEARN_AGAIN_MS = 10 * MINUTE;
const LONGEST_LIFE_MS = 366 * DAY;
const DEFAULT_LIFE_S = 30 * 24 * 3600;
const ofUserKey = (userId: string) => `runtime:sessions-of:${keyPart(userId)}`;
const keyOf = (sessionId: string) => `runtime:session:${keyPart(sessionId)}`;
/** Says that a session is over to whoever hears of its beginning later: sign-in and sign-out may arrive in any order. */
const endedKey = (sessionId: string) => `runtime:session-ended:${keyPart(sessionId)}`;
const ENDED_MS = DAY;

const texts = (...values: unknown[]): string[] =>
  values.flat().filter((value): value is string => typeof value === 'string' && value !== '');

/** Whose sessions an event ends: some, or all of a user. The session in its source is of the person who did it, not always of the one concerned. */
function endedBy({ type, payload, source }: PrismeEvent): { sessionIds: string[]; userId?: string } {
  const ofUser = (userId: unknown) => ({ sessionIds: [], ...(typeof userId === 'string' && userId ? { userId } : {}) });
  if (type === 'gateway.users.deleted') return ofUser(payload.userId);
  if (type === 'gateway.passwordReset.succeeded') return ofUser(source.userId);
  const named = texts(payload.sessionIds, payload.sessionId, (payload.session as { id?: string } | undefined)?.id);
  return { sessionIds: named.length || type !== 'gateway.logout.succeeded' ? named : texts(source.sessionId) };
}

export function createSessions(cache: CacheDriver, now: () => number = Date.now) {
  const known = lru<string, { record: SessionRecord | null }>({ max: 2000, ttl: REMEMBER_MS });
  async function end(sessionIds: string[]): Promise<void> {
    for (const id of sessionIds) await cache.set(endedKey(id), true, { ttlMs: ENDED_MS });
    await Promise.all(sessionIds.map((id) => cache.delete(keyOf(id))));
  }
  const sessionsOf = (userId: string): Promise<string[]> => cache.members(ofUserKey(userId));

  /** Who signed in again after his password was reset keeps that session, however late the reset is heard of. */
  async function sessionsBefore(userId: string, at: number): Promise<string[]> {
    const ids = await sessionsOf(userId);
    const records = await cache.getMany(ids.map(keyOf));
    return ids.filter((_, i) => ((records[i]?.value as SessionRecord | undefined)?.startedAt ?? 0) <= at);
  }

  async function keep(record: SessionRecord, ttlMs: number): Promise<void> {
    if (await cache.get(endedKey(record.sessionId))) return;
    await cache.addMembers(ofUserKey(record.userId), [record.sessionId], { ttlMs });
    await cache.set(keyOf(record.sessionId), record, { ttlMs });
  }
  const learnt = lru<string, true>({ max: 10_000, ttl: LEARN_AGAIN_MS });
  return {
    /**
     * Keeps who a verified caller is, so that the events of his runs, which name the session only, still lead to him. For sessions whose
     * sign-in this installation has not seen (access tokens, a lost cache).
     */
    async learn({ kind, userId, sessionId, email, emailVerified = false, authData }: Identity): Promise<void> {
      if (kind !== 'user' || !userId || !sessionId || learnt.has(sessionId)) return;
      const record: SessionRecord = {
        sessionId,
        userId,
        ...(email ? { email } : {}),
        emailVerified,
        ...(authData ? { authData } : {}),
        startedAt: now(),
        expiresAt: now() + LEARNT_MS,
      };
      learnt.set(sessionId, true);
      const before = (await cache.get<SessionRecord>(keyOf(sessionId)))?.value;
      if (!before || before.expiresAt < record.expiresAt) return keep(record, LEARNT_MS);
      // Proven since he signed in, or signed in with an earlier version.
      if (before.userId === userId && (before.email !== email || (before.emailVerified ?? false) !== emailVerified)) {
        const { startedAt, expiresAt } = before;
        known.delete(sessionId);
        await keep({ ...record, startedAt, expiresAt }, expiresAt - now());
      }
    },

    /** The record of a live session, or `null`. */
    async find(sessionId: string): Promise<SessionRecord | null> {
      const remembered = known.get(sessionId);
      if (remembered && (!remembered.record || remembered.record.expiresAt > now())) return remembered.record;
      const record = (await cache.get<SessionRecord>(keyOf(sessionId)))?.value ?? null;
      const live = record && record.expiresAt > now() ? record : null;
      // "Nobody" is not remembered: the sign-in may be on its way.
      if (live) known.set(sessionId, { record: live });
      return live;
    },

    /** Stores or removes, once for the cluster. */
    async apply(event: PrismeEvent): Promise<void> {
      if (event.type !== 'gateway.login.succeeded') {
        const { sessionIds, userId } = endedBy(event);
        return end(userId ? await sessionsBefore(userId, Date.parse(event.createdAt)) : sessionIds);
      }
      const session = (event.payload.session ?? {}) as { id?: string; expiresIn?: number; expires?: string };
      const sessionId = String(session.id ?? event.payload.sessionId ?? event.source.sessionId ?? '');
      if (!sessionId) return;
      const life = (session.expiresIn ?? DEFAULT_LIFE_S) * SECOND;
      const expiresAt = Date.parse(String(session.expires ?? '')) || Date.parse(event.createdAt) + life;
      const ttlMs = Math.min(expiresAt - now(), LONGEST_LIFE_MS);
      if (ttlMs <= 0) return;
      const record: SessionRecord = {
        sessionId,
        userId: String(event.payload.id ?? event.source.userId ?? sessionId),
        ...(typeof event.payload.email === 'string' ? { email: event.payload.email } : {}),
        emailVerified: event.payload.emailVerified === true,
        ...(event.payload.authData ? { authData: event.payload.authData as JsonObject } : {}),
        startedAt: Date.parse(event.createdAt),
        expiresAt,
      };
      await keep(record, ttlMs);
    },

    /** Ends a session, or all of a user: told by the gateway to every node. */
    async revoke({ userId, sessionId }: { userId?: string; sessionId?: string }): Promise<void> {
      known.clear();
      learnt.clear();
      await end(sessionId ? [sessionId] : userId ? await sessionsOf(userId) : []);
    },

    /** Forgets what this node remembers of the sessions an event speaks of. */
    forget(event: PrismeEvent): void {
      if (event.type === 'gateway.login.succeeded') return;
      known.clear();
      learnt.clear();
    },
  };
}

export type Sessions = ReturnType<typeof createSessions>;
