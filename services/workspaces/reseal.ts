/**
 * reseal — after a rotation of the master key, everything sealed in workspaces is sealed again with the active one, so that the former key may
 * leave the ring. Runs at start; several nodes may do it at once, each value is replaced only as it was read.
 */
import { isFault } from '../../mixins/shared/errors.ts';
import type { KeyRing } from '../../mixins/shared/keyring.ts';
import { resealedIndex } from './git/credentials.ts';
import { all } from './models.ts';
import { placeOf } from './secret-place.ts';
import type { SecretRow, WorkspaceRow } from './store/rows.ts';
import type { Store } from './store/store.ts';

/** How many values were sealed again. @throws ConfigurationError when the key of one is not in the ring */
export async function resealAll(store: Store, ring: KeyRing): Promise<number> {
  let count = 0;
  for (const { id, _rev, workspaceId, name, sealed } of await all<SecretRow>(store, 'secrets', {})) {
    if (!ring.isStale(sealed)) continue;
    const fresh = ring.reseal(sealed, placeOf(workspaceId, name));
    try {
      await store.documents.update<SecretRow>('secrets', id, { set: { sealed: fresh } }, _rev);
      count++;
    } catch (error) {
      // Changed or removed meanwhile: sealed by whoever did it.
      if (!isFault(error, 'VersionConflict') && !isFault(error, 'ObjectNotFoundError')) throw error;
    }
  }
  for (const { id, hasSealedRepositories } of await all<WorkspaceRow>(store, 'workspaces', { hasSealedRepositories: true })) {
    if (!hasSealedRepositories) continue;
    await store.change(id, { source: {} }, (draft) => {
      const index = resealedIndex(ring, id, draft.index);
      if (!index) return;
      draft.putIndex(index);
      draft.setRow({ dirty: draft.row.dirty ?? false });
      count++;
    });
  }
  return count;
}
