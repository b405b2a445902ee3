/**
 * lease — one writer per workspace over the cluster. In a process, changes of a workspace queue up; between processes a lease in the
 * document store is taken for the time of a change, renewed while it lasts, and free again when its holder died.
 * The commit itself does not rely on it: it is a compare-and-set of the workspace's row.
 */
import { SECOND, sleep } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { Stored } from '../../../mixins/storage/documents/contract.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';

interface LeaseRow extends Stored {
  owner: string;
  /** Milliseconds since the epoch. */
  until: number;
}

export interface Lease {
  /** @throws VersionConflict when the lease ran out: another writer may be at work */
  assertHeld(): void;
}

export interface Leases {
  /** Runs `work` alone, after those that asked before. @throws ServiceUnavailable when another process keeps the workspace too long */
  alone<T>(workspaceId: string, work: (lease: Lease) => Promise<T>): Promise<T>;
  /** Resolves when nothing is queued. */
  idle(): Promise<void>;
}

const COLLECTION = 'workspaceLeases';
const LIFE_MS = 15 * SECOND;
/** A pause of the process near the end of the lease must not let a write slip out after it. */
const MARGIN_MS = 2 * SECOND;
const PATIENCE_MS = 25 * SECOND;

export function leases(documents: Documents, owner: string, now: () => number = Date.now): Leases {
  const tails = new Map<string, Promise<unknown>>();

  async function take(id: string): Promise<void> {
    const deadline = now() + PATIENCE_MS;
    for (let delayMs = 4; ; delayMs = Math.min(delayMs * 2, 100)) {
      if (await tryTake(id)) return;
      if (now() > deadline)
        throw fault('ServiceUnavailable', {
          message: 'The workspace is being changed by another node; retry later.',
          data: { workspaceId: id },
        });
      await sleep(delayMs / 2 + Math.random() * delayMs);
    }
  }

  async function tryTake(id: string): Promise<boolean> {
    try {
      await documents.insert<LeaseRow>(COLLECTION, { id, owner, until: now() + LIFE_MS });
      return true;
    } catch (error) {
      if (!isFault(error, 'AlreadyUsedError')) throw error;
    }
    const held = await documents.get<LeaseRow>(COLLECTION, id);
    if (!held) return false;
    if (held.owner !== owner && held.until > now()) return false;
    return update(id, held._rev);
  }

  async function update(id: string, ifRevision?: number): Promise<boolean> {
    try {
      await documents.update<LeaseRow>(COLLECTION, id, { set: { owner, until: now() + LIFE_MS } }, ifRevision);
      return true;
    } catch (error) {
      if (isFault(error, 'VersionConflict') || isFault(error, 'ObjectNotFoundError')) return false;
      throw error;
    }
  }

  async function holding<T>(id: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    await take(id);
    let heldUntil = now() + LIFE_MS;
    const renewal = setInterval(async () => {
      const row = await documents.get<LeaseRow>(COLLECTION, id).catch(() => null);
      const asked = now();
      if (row?.owner === owner && (await update(id, row._rev).catch(() => false))) heldUntil = asked + LIFE_MS;
    }, LIFE_MS / 3);
    renewal.unref?.();
    try {
      return await work({
        assertHeld() {
          if (now() > heldUntil - MARGIN_MS) throw fault('VersionConflict', { data: { workspaceId: id } });
        },
      });
    } finally {
      clearInterval(renewal);
      await documents.removeMany(COLLECTION, { id, owner }).catch(() => {});
    }
  }

  return {
    alone(workspaceId, work) {
      const before = tails.get(workspaceId) ?? Promise.resolve();
      const turn = before.then(() => holding(workspaceId, work));
      const tail = turn.catch(() => {});
      tails.set(workspaceId, tail);
      void tail.then(() => tails.get(workspaceId) === tail && tails.delete(workspaceId));
      return turn;
    },
    async idle() {
      while (tails.size > 0) await Promise.all(tails.values());
    },
  };
}
