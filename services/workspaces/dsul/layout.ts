/**
 * layout — where everything of a workspace stands in the file store (docs/decisions/041-workspace-tree.md):
 *
 *   workspaces/<id>/versions/current/          the workspace as edited
 *     index.yml · security.yml · .meta.json (who changed what and when; ours) · automations|pages|imports/<slug>.yml
 *   workspaces/<id>/versions/<name>/           a published version: an immutable copy
 *   workspaces/<id>/journal/<ulid>.json        a change between its commit and its last file (store/journal.ts)
 *   workspaces/<id>/history/<revision>.json    what a change replaced or removed, for the last 100 (store/history.ts)
 *   apps/<slug>/versions/{current,<name>}/     published apps, same layout
 *
 * All of it in the area `models` of the file store; uploaded files are `<id>/<fileId>.<name>` in the area `uploads`.
 */
export const KINDS = ['automations', 'pages', 'imports'] as const;
export type Kind = (typeof KINDS)[number];

export const CURRENT = 'current';
export const workspaceFolder = (workspaceId: string): string => `workspaces/${workspaceId}`;
export const versionFolder = (workspaceId: string, version = CURRENT): string => `workspaces/${workspaceId}/versions/${version}`;
export const appFolder = (appSlug: string, version = CURRENT): string => `apps/${appSlug}/versions/${version}`;
export const journalKey = (workspaceId: string, id: string): string => `workspaces/${workspaceId}/journal/${id}.json`;
export const uploadKey = (workspaceId: string, fileId: string, name: string): string => `${workspaceId}/${fileId}.${name}`;

export const INDEX_FILE = 'index.yml';
export const SECURITY_FILE = 'security.yml';
export const META_FILE = '.meta.json';
/** Index of a folder in trees written by the reference product: read for its dates when there is no META_FILE, never written. */
export const FOLDER_INDEX = '__index__';

export const objectFile = (kind: Kind, slug: string): string => `${kind}/${slug}.yml`;

export type TreeFile =
  | { type: 'index' }
  | { type: 'security' }
  | { type: 'meta' }
  | { type: 'import' }
  | { type: 'object'; kind: Kind; slug: string };

/** What a file of a version folder (or an archive) is; `null` for what is not ours: source trees, notes, folder indexes, dot files. */
export function classify(path: string): TreeFile | null {
  if (path === INDEX_FILE || path === 'index.yaml') return { type: 'index' };
  if (path === SECURITY_FILE || path === 'security.yaml') return { type: 'security' };
  if (path === META_FILE) return { type: 'meta' };
  if (path === '.import.yml') return { type: 'import' };
  const match = /^(automations|pages|imports)\/(.+)\.ya?ml$/.exec(path);
  if (!match) return null;
  const slug = match[2] as string;
  const segments = slug.split('/');
  if (segments.some((segment) => segment === '' || segment.startsWith('.')) || segments.at(-1) === FOLDER_INDEX) return null;
  return { type: 'object', kind: match[1] as Kind, slug };
}
