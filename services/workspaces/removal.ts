/** removal — what goes with a workspace: its rows, its uploads, its tree. Apps published from it stay: others have them installed. */
import type { Draft } from './store/draft.ts';

export function removeWorkspace(draft: Draft): void {
  const workspaceId = draft.row.id;
  for (const collection of ['secrets', 'apiKeys', 'pages', 'files']) draft.step({ do: 'removeRows', collection, query: { workspaceId } });
  draft.step({ do: 'removeUploads', prefix: workspaceId });
  draft.event('workspaces.deleted', { workspaceId, workspaceSlug: draft.row.slug, name: draft.row.name });
}
