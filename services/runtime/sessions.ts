/**
 * sessions — who a session belongs to. Written when somebody signs in, removed when he signs out, read when a run starts from an event or
 * switches identity. The record lives in the cache as long as the session; a node remembers it a few seconds and forgets it at the notice.
 */
import { LRUCache } from 'lru-cache';
import { SECOND } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { keyPart } from './key-part.ts';

export interface SessionRecord {
  sessionId: string;
  userId: string;
  email?: string;
  authData?: JsonObject;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/** Native events of the gateway that this room follows. */
export const SESSION_EVENTS = ['gateway.login.succeeded', 'gateway.logout.succeeded', 'gateway.sessions.revoked', 'gateway.users.deleted'];

const REMEMBER_MS = 5 * SECOND;
const DEFAULT_LIFE_S = 30 * 24 * 3600;
const keyOf = (sessionId: string) => `runtime:session:${keyPart(sessionId)}`;

export function createSessions(cache: CacheDriver, now: () => number = Date.now) {
  const known = new LRUCache<string, { record: SessionRecord | null }>({ max: 2000, ttl: REMEMBER_MS });
  return {
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
      const session = (event.payload.session ?? {}) as { id?: string; expiresIn?: number; expires?: string };
      const sessionId = String(session.id ?? event.payload.sessionId ?? event.source.sessionId ?? '');
      if (!sessionId) return;
      if (event.type !== 'gateway.login.succeeded') {
        await cache.delete(keyOf(sessionId));
        return;
      }
      const life = (session.expiresIn ?? DEFAULT_LIFE_S) * SECOND;
      const expiresAt = Date.parse(String(session.expires ?? '')) || Date.parse(event.createdAt) + life;
      const ttlMs = expiresAt - now();
      if (ttlMs <= 0) return;
      const record: SessionRecord = {
        sessionId,
        userId: String(event.payload.id ?? event.source.userId ?? sessionId),
        ...(typeof event.payload.email === 'string' ? { email: event.payload.email } : {}),
        ...(event.payload.authData ? { authData: event.payload.authData as JsonObject } : {}),
        expiresAt,
      };
      await cache.set(keyOf(sessionId), record, { ttlMs });
    },

    /** Forgets what this node remembers of the session an event speaks of. */
    forget(event: PrismeEvent): void {
      const session = (event.payload.session ?? {}) as { id?: string };
      const sessionId = session.id ?? (event.payload.sessionId as string | undefined) ?? event.source.sessionId;
      if (sessionId) known.delete(sessionId);
      else known.clear();
    },
  };
}

export type Sessions = ReturnType<typeof createSessions>;
