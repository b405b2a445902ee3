/**
 * sessions — who is signed in: a record in the cache per session, living as long as the session, and per user the set of his sessions. A token is worth
 * nothing without its record, so signing out is immediate.
 */
import { type Clock, SECOND } from '../../../mixins/shared/clock.ts';
import { secretToken, uuid } from '../../../mixins/shared/ids.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';

export interface Session {
  id: string;
  userId: string;
  /** Token of cookie calls. */
  csrf: string;
  /** A second factor was given. */
  mfa?: boolean;
  /** Milliseconds. */
  createdAt: number;
  expiresAt: number;
  ip?: string;
  /** The organisation its user chose to act in. */
  orgSlug?: string;
}

const keyOf = (id: string) => `session:{${id}}`;
const indexOf = (userId: string) => `sessions:{${userId}}`;

/** @param longestS the longest life a session may have: the list of a user's sessions outlives all of them, also when a short one comes last */
export function createSessions(cache: CacheDriver, longestS: number, now: Clock = Date.now) {
  return {
    async start(userId: string, ttlS: number, more: Partial<Pick<Session, 'id' | 'mfa' | 'ip' | 'orgSlug'>> = {}): Promise<Session> {
      const createdAt = now();
      const session: Session = { id: uuid(), userId, csrf: secretToken(24), createdAt, expiresAt: createdAt + ttlS * SECOND, ...more };
      const ttlMs = ttlS * SECOND;
      await cache.set(keyOf(session.id), session, { ttlMs });
      await cache.addMembers(indexOf(userId), [session.id], { ttlMs: Math.max(ttlS, longestS) * SECOND });
      return session;
    },
    async find(id: string): Promise<Session | null> {
      const session = (await cache.get<Session>(keyOf(id)))?.value ?? null;
      return session && session.expiresAt > now() ? session : null;
    },
    /** A session that lives on because its client came back: never shorter than before. */
    async prolong(session: Session, ttlS: number): Promise<void> {
      const ttlMs = ttlS * SECOND;
      if (session.expiresAt >= now() + ttlMs) return;
      await cache.apply(keyOf(session.id), [{ path: ['expiresAt'], type: 'replace', value: now() + ttlMs }], { ttlMs });
      await cache.expire(indexOf(session.userId), Math.max(ttlS, longestS) * SECOND);
    },
    async provedSecondFactor(session: Session): Promise<void> {
      await cache.apply(keyOf(session.id), [{ path: ['mfa'], type: 'replace', value: true }]);
    },
    async choose(session: Session, orgSlug: string): Promise<void> {
      await cache.apply(keyOf(session.id), [{ path: ['orgSlug'], type: 'replace', value: orgSlug }]);
    },
    async end(session: Pick<Session, 'id' | 'userId'>): Promise<void> {
      await cache.delete(keyOf(session.id));
      await cache.removeMembers(indexOf(session.userId), [session.id]);
    },
    /** Ends all sessions of a user but one; returns their ids. */
    async endAll(userId: string, exceptId?: string): Promise<string[]> {
      const ids = (await cache.members(indexOf(userId))).filter((id) => id !== exceptId);
      for (const id of ids) await cache.delete(keyOf(id));
      if (ids.length > 0) await cache.removeMembers(indexOf(userId), ids);
      return ids;
    },
  };
}

export type Sessions = ReturnType<typeof createSessions>;
