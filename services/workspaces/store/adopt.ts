/** adopt — opens workspaces of an existing data directory: a tree that has no row yet gets one, made from its files. Nobody owns it but super admins. */
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { INDEX_FILE, versionFolder } from '../dsul/layout.ts';
import { plainText } from '../dsul/slugs.ts';
import { readYaml } from '../dsul/yaml.ts';
import type { WorkspaceRow } from './rows.ts';

const STATUS_FILE = 'status.yml';
const ID = /^[A-Za-z0-9_-]{1,64}$/;

/** The row of a tree without row, or `null` when there is no such tree. */
export async function adoptedRow(files: FilesDriver, workspaceId: string, now: string): Promise<Omit<WorkspaceRow, '_rev'> | null> {
  if (!ID.test(workspaceId)) return null;
  const file = await files.read(`${versionFolder(workspaceId)}/${INDEX_FILE}`);
  if (!file) return null;
  const index = readYaml(file.body.toString('utf8'), INDEX_FILE);
  const at = new Date(file.info.modifiedAt || Date.parse(now)).toISOString();
  return {
    id: workspaceId,
    name: plainText(index.name) || workspaceId,
    slug: typeof index.slug === 'string' && index.slug ? index.slug : workspaceId.toLowerCase(),
    ...(typeof index.photo === 'string' ? { photo: index.photo } : {}),
    ...(index.description === undefined ? {} : { description: index.description }),
    ...(Array.isArray(index.labels) ? { labels: index.labels.map(String) } : {}),
    ...(Array.isArray(index.customDomains) ? { customDomains: index.customDomains.map(String) } : {}),
    ...(index.registerWorkspace === true ? { registerWorkspace: true } : {}),
    ...(await suspensionOf(files, workspaceId, now)),
    permissions: {},
    versions: await versionsOf(files, workspaceId, at),
    revision: 1,
    createdAt: at,
    updatedAt: at,
  };
}

/** The mark that the reference product leaves beside the versions of a workspace it has suspended. */
async function suspensionOf(files: FilesDriver, workspaceId: string, now: string): Promise<Pick<WorkspaceRow, 'suspension'>> {
  const file = await files.read(`workspaces/${workspaceId}/${STATUS_FILE}`);
  const { suspended, reason } = file ? readYaml(file.body.toString('utf8'), STATUS_FILE) : {};
  if (suspended !== true) return {};
  const suspendedAt = file?.info.modifiedAt ? new Date(file.info.modifiedAt).toISOString() : now;
  return { suspension: { reason: typeof reason === 'string' ? reason : '', suspendedAt } };
}

async function versionsOf(files: FilesDriver, workspaceId: string, at: string): Promise<WorkspaceRow['versions']> {
  const prefix = `workspaces/${workspaceId}/versions`;
  const names = new Map<string, number>();
  for await (const info of files.list(prefix)) {
    const [name, file] = info.key.slice(prefix.length + 1).split('/');
    if (name && name !== 'current' && file === INDEX_FILE) names.set(name, info.modifiedAt);
  }
  return [...names]
    .sort(([, a], [, b]) => b - a)
    .map(([name, modifiedAt]) => ({ name, description: '', createdAt: modifiedAt ? new Date(modifiedAt).toISOString() : at }));
}

/** Ids of every workspace tree in the file store. */
export async function treesIn(files: FilesDriver): Promise<string[]> {
  const ids = new Set<string>();
  for await (const { key } of files.list('workspaces')) {
    const match = /^workspaces\/([^/]+)\/versions\/current\/index\.yml$/.exec(key);
    if (match) ids.add(match[1] as string);
  }
  return [...ids];
}
