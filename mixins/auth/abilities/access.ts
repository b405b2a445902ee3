/**
 * access — what a node knows of the rights in each workspace: answers of `workspaces.access`, kept for at most ten seconds and dropped at once on the
 * hint `access.changed`. Abilities built from an answer live and die with it.
 */

import type { ServiceBroker } from 'moleculer';
import { SECOND } from '../../shared/clock.ts';
import { type Lru, lru } from '../../shared/lru.ts';
import type { Ability, WorkspaceAccess } from '../contract.ts';

const TTL_MS = 10 * SECOND;
const MAX_WORKSPACES = 2_000;
const MAX_ABILITIES = 500;

export interface KnownAccess {
  access: WorkspaceAccess;
  /** By caller. */
  abilities: Lru<string, Ability>;
}

export interface AccessCache {
  /** @throws ObjectNotFoundError */
  get(workspaceId: string): Promise<KnownAccess>;
  forget(workspaceId: string): void;
}

export function createAccessCache(load: (workspaceId: string) => Promise<WorkspaceAccess>): AccessCache {
  const entries = lru<string, { answer: Promise<KnownAccess>; known?: KnownAccess }>({ max: MAX_WORKSPACES, ttl: TTL_MS });

  return {
    get(workspaceId) {
      const present = entries.get(workspaceId);
      if (present) return present.answer;
      const entry: { answer: Promise<KnownAccess>; known?: KnownAccess } = {
        answer: load(workspaceId).then((access) => {
          const known = { access, abilities: lru<string, Ability>({ max: MAX_ABILITIES }) };
          entry.known = known;
          return known;
        }),
      };
      entries.set(workspaceId, entry);
      // A failure is told to those who wait and asked again by the next.
      entry.answer.catch(() => entries.get(workspaceId) === entry && entries.delete(workspaceId));
      return entry.answer;
    },
    forget(workspaceId) {
      entries.delete(workspaceId);
      // The same workspace may be known by `slug:…`; an answer under way was asked before the change and is dropped too.
      for (const [key, { known }] of entries.entries())
        if (!known ? key.startsWith('slug:') : known.access.id === workspaceId || known.access.slug === workspaceId) entries.delete(key);
    },
  };
}

const ofBroker = new WeakMap<ServiceBroker, AccessCache>();

/** One cache per node, shared by its services. */
export function accessCacheOf(broker: ServiceBroker, load: (workspaceId: string) => Promise<WorkspaceAccess>): AccessCache {
  let cache = ofBroker.get(broker);
  if (!cache) {
    cache = createAccessCache(load);
    ofBroker.set(broker, cache);
  }
  return cache;
}
