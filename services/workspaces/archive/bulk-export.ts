/** bulk-export — several workspaces in one zip: `bulkExport.json` and `workspaces/<id>.zip`, apps named so that dependencies come first. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Call, Self } from '../editing.mixin.ts';
import { listWorkspaces } from '../listing.ts';
import { appOfWorkspace } from '../publish-app.ts';
import { exported } from './export-workspace.ts';
import { BULK_FILE } from './read-archive.ts';
import { zip } from './write-archive.ts';

/** Fields a caller may select by; the values are texts or lists of texts, never operators of a database. */
const SELECTABLE = new Set(['ids', 'id', 'labels', 'name', 'slug', 'search']);
const MAX_WORKSPACES = 1000;

export async function bulkArchive(self: Self, ctx: Call<any>, body: JsonObject): Promise<Buffer> {
  const selection = isPlainObject(body.workspaces) ? body.workspaces : {};
  const query = isPlainObject(selection.query) ? selection.query : {};
  for (const [field, value] of Object.entries(query)) {
    const isText = (item: unknown) => typeof item === 'string';
    if (!SELECTABLE.has(field))
      throw fault('BadParametersError', { message: `Workspaces cannot be selected by '${field}'.`, data: { parameter: field } });
    if (!isText(value) && !(Array.isArray(value) && value.every(isText)))
      throw fault('BadParametersError', { message: `'${field}' must be a text or a list of texts.`, data: { parameter: field } });
  }
  const files = new Map<string, Uint8Array>();
  const workspaceIds: string[] = [];
  const apps: { app: JsonObject; uses: string[] }[] = [];
  const pagination = isPlainObject(selection.pagination) ? selection.pagination : {};
  const limit = Math.min(Number(pagination.limit) || MAX_WORKSPACES, MAX_WORKSPACES);
  const rows =
    Object.keys(query).length === 0
      ? []
      : await listWorkspaces(self, ctx, { ...query, ids: query.ids ?? query.id, limit, page: pagination.page ?? 0 });
  for (const { id } of rows) {
    const workspaceId = String(id);
    const { snapshot } = await self.store.current(workspaceId);
    workspaceIds.push(workspaceId);
    files.set(`workspaces/${workspaceId}.zip`, await exported(self.store, workspaceId, 'current'));
    const app = await appOfWorkspace(self.store, workspaceId);
    if (app && app.versions.length > 0)
      apps.push({
        app: { workspaceId, slug: app.slug, name: app.name, description: app.description, photo: app.photo },
        uses: Object.values(snapshot.imports).map(({ appSlug }) => String(appSlug)),
      });
  }
  files.set(BULK_FILE, Buffer.from(JSON.stringify({ workspaceIds, publishApps: dependenciesFirst(apps) }, null, 2)));
  return zip(files);
}

/** Apps after those they use; a circle is cut where it closes. */
function dependenciesFirst(apps: { app: JsonObject; uses: string[] }[]): JsonObject[] {
  const bySlug = new Map(apps.map((entry) => [String(entry.app.slug), entry]));
  const sorted = new Set<JsonObject>();
  const visit = (entry: { app: JsonObject; uses: string[] }, path: Set<unknown>): void => {
    if (sorted.has(entry.app) || path.has(entry)) return;
    path.add(entry);
    for (const slug of entry.uses) {
      const used = bySlug.get(slug);
      if (used) visit(used, path);
    }
    sorted.add(entry.app);
  };
  for (const entry of apps) visit(entry, new Set());
  return [...sorted];
}
