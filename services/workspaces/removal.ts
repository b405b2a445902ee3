/**
 * removal — what goes with a workspace: its rows, its uploads, its tree. Apps published from it stay: others have them installed.
 *
 * Its last model stays for an hour, where only the runtime finds it: automations that listen to the end of their workspace are started by an event that
 * comes when all else is gone, on whichever node it reaches. Secrets in it are sealed, as in their rows.
 */
import { HOUR } from '../../mixins/shared/clock.ts';
import { parseJson } from '../../mixins/shared/json.ts';
import type { FilesDriver } from '../../mixins/storage/files/contract.ts';
import type { ModelAnswer } from './contract.ts';
import { modelOf } from './models.ts';
import type { Draft } from './store/draft.ts';
import type { Store } from './store/store.ts';

const FOLDER = 'removed';
const keyOf = (workspaceId: string): string => `${FOLDER}/${workspaceId}.json`;
const KEPT_MS = HOUR;
/** A larger model would not fit into the journal of the removal. */
const MAX_CHARS = 20_000_000;

/** @param store to keep the last model; without it nothing is kept, of a workspace that never was */
export async function removeWorkspace(draft: Draft, store?: Store): Promise<void> {
  const workspaceId = draft.row.id;
  const text = store ? await lastModel(store, workspaceId) : null;
  if (text !== null && text.length <= MAX_CHARS) draft.step({ do: 'write', key: keyOf(workspaceId), text });
  for (const collection of ['secrets', 'apiKeys', 'pages', 'files']) draft.step({ do: 'removeRows', collection, query: { workspaceId } });
  draft.step({ do: 'removeUploads', prefix: workspaceId });
  draft.event('workspaces.deleted', { workspaceId, workspaceSlug: draft.row.slug, name: draft.row.name });
}

/** `null` for one that is suspended, which starts nothing, to its end; and for one that cannot be read: it can be removed all the same. */
async function lastModel(store: Store, workspaceId: string): Promise<string | null> {
  try {
    return JSON.stringify(await modelOf(store, workspaceId));
  } catch {
    return null;
  }
}

/** The last model of a workspace that was removed a moment ago, or `null`. */
export async function removedModel(files: FilesDriver, workspaceId: string): Promise<ModelAnswer | null> {
  const file = await files.read(keyOf(workspaceId));
  return file && parseJson<ModelAnswer>(file.body.toString('utf8'));
}

/** Lets go of models that were kept long enough. */
export async function sweepRemoved(files: FilesDriver, now = Date.now()): Promise<void> {
  for await (const { key, modifiedAt } of files.list(FOLDER)) if (modifiedAt < now - KEPT_MS) await files.remove(key);
}
