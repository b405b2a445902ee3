/** bulk-import — the workspaces of a bulk archive: each into the one with its id, else the one labelled `importFrom:<id>`, else a new one. */
import { toPublicError } from '../../../mixins/shared/errors.ts';
import { parseJson } from '../../../mixins/shared/json.ts';
import type { Call, Self } from '../editing.mixin.ts';
import type { WorkspaceRow } from '../store/rows.ts';
import { createFrom } from './create-from.ts';
import { type ImportError, parseArchive } from './import-archive.ts';
import { importInto } from './import-workspace.ts';
import { BULK_FILE, readArchive } from './read-archive.ts';
import { unzip } from './unzip.ts';

export interface BulkResult {
  createdWorkspaceIds: string[];
  updatedWorkspaceIds: string[];
  errors: (ImportError & { workspaceId?: string })[];
  imported: string[];
  publishedApps: string[];
}

const LIMITS = { entries: 5000, entryBytes: 50_000_000, totalBytes: 100_000_000 };
const WORKSPACE_FILE = /^workspaces\/([A-Za-z0-9_-]{1,64})\.zip$/;

export const isBulk = (archive: Buffer): boolean => unzip(archive, (name) => name === BULK_FILE, LIMITS).size > 0;

/** Workspaces are imported one by one, each all or nothing; a failure is reported and the others go on. */
export async function importBulk(self: Self, ctx: Call<any>, archive: Buffer): Promise<BulkResult> {
  const contents = unzip(archive, (name) => name === BULK_FILE || WORKSPACE_FILE.test(name), LIMITS);
  const plan = parseJson<{ workspaceIds?: unknown[] }>(contents.get(BULK_FILE)?.toString('utf8') ?? '{}');
  const result: BulkResult = { createdWorkspaceIds: [], updatedWorkspaceIds: [], errors: [], imported: [], publishedApps: [] };
  for (const sourceId of (Array.isArray(plan.workspaceIds) ? plan.workspaceIds : []).map(String)) {
    const content = contents.get(`workspaces/${sourceId}.zip`);
    try {
      if (!content) throw new Error('missing');
      const target = await targetOf(self, ctx, sourceId);
      const imported = target
        ? await importInto(self, ctx, target, await parseArchive(readArchive(content)), {})
        : await createFrom(self, ctx, content, [`importFrom:${sourceId}`]);
      (target ? result.updatedWorkspaceIds : result.createdWorkspaceIds).push(imported.id);
      result.imported.push(...imported.imported.map((path) => `${sourceId}/${path}`));
      result.errors.push(...imported.errors.map((error) => ({ ...error, workspaceId: imported.id })));
      if (imported.publishedAppSlug) result.publishedApps.push(imported.publishedAppSlug);
    } catch (error) {
      const { error: err, message } = toPublicError(error);
      result.errors.push({
        msg: content ? message : `The archive has no workspaces/${sourceId}.zip.`,
        err: content ? err : 'InvalidUploadError',
        filepath: `workspaces/${sourceId}.zip`,
        workspaceId: sourceId,
      });
    }
  }
  return result;
}

async function targetOf(self: Self, ctx: Call<any>, sourceId: string): Promise<string | undefined> {
  const candidates = [
    ...(await self.store.documents.find<WorkspaceRow>('workspaces', { id: sourceId })),
    ...(await self.store.documents.find<WorkspaceRow>('workspaces', { labels: `importFrom:${sourceId}` }, { limit: 20 })),
  ];
  for (const row of candidates) if (!row.deletedAt && (await self.abilityOf(ctx, row.id)).can('update', 'workspaces', row)) return row.id;
  return undefined;
}
