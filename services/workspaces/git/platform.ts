/**
 * platform — many workspaces at once between this installation and a repository of the platform, in which each has the folder `<dirpath>/<slug>`.
 * For super admins: `POST /workspaces/platform/versions` pushes, `…/latest/pull` imports. One by one, each all or nothing; a failure is reported and the
 * others go on. Told by `workspaces.bulkPush.*` and `workspaces.bulkImport.*` in the workspace `platform`.
 */

import type { Config } from '../../../mixins/shared/config.ts';
import { fault, toPublicError } from '../../../mixins/shared/errors.ts';
import { shortId } from '../../../mixins/shared/ids.ts';
import { isPlainObject, type Json, type JsonObject } from '../../../mixins/shared/json.ts';
import { newIndex } from '../create.ts';
import { defaultSecurity } from '../dsul/security-file.ts';
import { slugProblem } from '../dsul/slugs.ts';
import { readYaml } from '../dsul/yaml.ts';
import type { Call, Self } from '../editing.mixin.ts';
import { removeWorkspace } from '../removal.ts';
import type { WorkspaceRow } from '../store/rows.ts';
import { generatedVersionName } from '../version-names.ts';
import { pull } from './pull.ts';
import { push } from './push.ts';
import { platformRepository, type Repository } from './repositories.ts';
import { openRemote } from './session.ts';
import { filesAt, textOf } from './tree.ts';

export const PLATFORM = 'platform';
const GROUP = /^WORKSPACES_GROUP_(.+)_LABELS$/;
const MAX_WORKSPACES = 2000;

interface Failure {
  slug: string;
  error: string;
  message: string;
}

const failureOf = (slug: string, error: unknown): Failure => {
  const { error: name, message } = toPublicError(error);
  return { slug, error: name, message };
};

/** @throws ForbiddenError but for super admins */
export function assertPlatform(self: Self, ctx: Call<any>): void {
  if (self.identityOf(ctx).role !== 'superadmin')
    throw fault('ForbiddenError', {
      message: 'Only super admins move several workspaces at once.',
      data: { action: 'update', subjectType: 'workspaces', id: PLATFORM },
    });
}

/** Labels of the groups asked for. @throws ObjectNotFoundError for an unknown one */
function labelsOf(config: Config, groups: string[]): string[] {
  const known = new Map(
    Object.entries(config.open).flatMap(([name, labels]) => {
      const group = GROUP.exec(name)?.[1];
      return group ? [[group, labels.split(',').map((label) => label.trim())] as const] : [];
    }),
  );
  return groups.flatMap((group) => {
    const labels = known.get(group);
    if (!labels)
      throw fault('ObjectNotFoundError', { message: `There is no group '${group}'.`, data: { subjectType: 'groups', id: group } });
    return labels;
  });
}

const groupsIn = (body: JsonObject): string[] => {
  if (body.groups === undefined) return [];
  if (!Array.isArray(body.groups) || body.groups.some((group) => typeof group !== 'string'))
    throw fault('BadParametersError', { message: 'groups must be a list of names.', data: { parameter: 'groups' } });
  return body.groups as string[];
};

function tell(self: Self, ctx: Call<any>, type: string, payload: JsonObject): void {
  const source = { ...self.author(ctx).source, workspaceId: PLATFORM };
  self.bus.send(type, payload as Json as never, { source }).catch((error) => self.logger.debug(`${type} was not told: ${error.message}`));
}

export interface PushSummary extends JsonObject {
  name: string;
  candidate: string[];
  mergeConflict: string[];
  inProgress: string[];
  alreadyPushed: string[];
  pushed: string[];
  errors: Failure[];
}

/** Slugs by what became of them; with `dryRun` nothing is pushed. @throws ObjectNotFoundError for an unknown group or repository */
export async function bulkPush(self: Self, ctx: Call<any>, body: JsonObject): Promise<PushSummary> {
  assertPlatform(self, ctx);
  const labels = labelsOf(self.config, groupsIn(body));
  if (labels.length === 0) throw fault('MissingFieldError', { message: 'groups names no group.', data: { field: 'groups' } });
  const repositoryId = repositoryIn(self, body).id;
  const rows = await self.store.documents.find<WorkspaceRow>(
    'workspaces',
    { labels: { $in: labels }, deletedAt: { $exists: false } },
    { sort: { slug: 1 }, limit: MAX_WORKSPACES },
  );
  const name = typeof body.name === 'string' && body.name ? body.name : generatedVersionName([], new Date());
  const summary: PushSummary = { name, candidate: [], mergeConflict: [], inProgress: [], alreadyPushed: [], pushed: [], errors: [] };
  const ids = new Map(rows.map((row) => [row.slug, row.id]));
  for (const row of rows) {
    const isClean = !row.dirty && row.lastPush?.repositoryId === repositoryId;
    if (row.writeLock?.reason === 'merge_conflict') summary.mergeConflict.push(row.slug);
    else if (row.writeLock?.reason.endsWith('_in_progress')) summary.inProgress.push(row.slug);
    else if (isClean && body.force !== true) summary.alreadyPushed.push(row.slug);
    else summary.candidate.push(row.slug);
  }
  if (body.dryRun === true) return summary;
  tell(self, ctx, 'workspaces.bulkPush.started', summary);
  for (const slug of summary.candidate) {
    try {
      await push(self, ctx, ids.get(slug) as string, { repositoryId, name, description: body.description ?? name });
      summary.pushed.push(slug);
    } catch (error) {
      summary.errors.push(failureOf(slug, error));
    }
    tell(self, ctx, 'workspaces.bulkPush.progress', { slug, pushed: summary.pushed.length, of: summary.candidate.length });
  }
  tell(self, ctx, 'workspaces.bulkPush.completed', summary);
  return summary;
}

export interface ImportSummary extends JsonObject {
  createdWorkspaceIds: string[];
  updatedWorkspaceIds: string[];
  /** Slugs of those that already are at the version of the repository. */
  skipped: string[];
  imported: string[];
  publishedApps: string[];
  errors: Failure[];
}

interface Folder {
  slug: string;
  origin: JsonObject;
}

/** Folders of the repository, of these groups when some are named, apps before those that depend on them. */
export async function bulkImport(self: Self, ctx: Call<any>, body: JsonObject): Promise<ImportSummary> {
  assertPlatform(self, ctx);
  const groups = groupsIn(body);
  const repository = repositoryIn(self, body);
  const folders = dependenciesFirst(await foldersOf(self, repository, groups));
  const summary: ImportSummary = {
    createdWorkspaceIds: [],
    updatedWorkspaceIds: [],
    skipped: [],
    imported: [],
    publishedApps: [],
    errors: [],
  };
  tell(self, ctx, 'workspaces.bulkImport.started', { folders: folders.map(({ slug }) => slug) });
  for (const { slug, origin } of folders) {
    try {
      const [known] = await self.store.documents.find<WorkspaceRow>('workspaces', { slug }, { limit: 1 });
      const version = isPlainObject(origin.version) ? origin.version.name : undefined;
      const isSame = version !== undefined && known?.lastPull?.version === version && known.lastPull.repositoryId === repository.id;
      if (known && isSame && body.forceReimport !== true) {
        summary.skipped.push(slug);
        continue;
      }
      const id = known?.id ?? (await created(self, ctx, slug));
      const options = { repositoryId: repository.id, version: 'latest', discardLocalChanges: true };
      const imported = await pull(self, ctx, id, options).catch(async (error) => {
        // A workspace that could not be filled does not stay as an empty shell.
        if (!known) await self.store.remove(id, self.author(ctx), (draft) => removeWorkspace(draft));
        throw error;
      });
      (known ? summary.updatedWorkspaceIds : summary.createdWorkspaceIds).push(id);
      summary.imported.push(...imported.imported.map((path) => `${slug}/${path}`));
      if (imported.publishedAppSlug) summary.publishedApps.push(imported.publishedAppSlug);
      summary.errors.push(...imported.errors.map(({ msg, err, filepath }) => ({ slug, error: err, message: `${filepath}: ${msg}` })));
    } catch (error) {
      summary.errors.push(failureOf(slug, error));
    }
    tell(self, ctx, 'workspaces.bulkImport.progress', { slug, of: folders.length });
  }
  tell(self, ctx, 'workspaces.bulkImport.completed', summary);
  return summary;
}

function repositoryIn(self: Self, body: JsonObject): Repository {
  const id = isPlainObject(body.repository) ? body.repository.id : undefined;
  return platformRepository(self.config, String(id ?? ''), '');
}

async function foldersOf(self: Self, repository: Repository, groups: string[]): Promise<Folder[]> {
  const remote = await openRemote(self, repository);
  try {
    const ref = `refs/heads/${repository.branch}`;
    const head = remote.refs.get(ref);
    if (!head)
      throw fault('ObjectNotFoundError', {
        message: `The repository has no branch '${repository.branch}'.`,
        data: { subjectType: 'repositories', id: repository.id },
      });
    await remote.fetch([ref]);
    const files = await filesAt(remote.store, head, repository.folder);
    const folders: Folder[] = [];
    for (const path of files.keys()) {
      const slug = /^(.+)\/index\.ya?ml$/.exec(path)?.[1];
      // A slug of several parts is a folder in a folder; a page named index is none.
      if (!slug || slugProblem(slug, 'workspace') || /\/(pages|automations|imports)$/.test(`/${slug}`)) continue;
      const oid = files.get(`${slug}/.import.yml`);
      const origin = oid ? readYaml(await textOf(remote.store, oid, `${slug}/.import.yml`), `${slug}/.import.yml`) : {};
      const own = Array.isArray(origin.groups) ? origin.groups : [];
      if (groups.length === 0 || groups.some((group) => own.includes(group))) folders.push({ slug, origin });
    }
    return folders;
  } finally {
    await remote.close();
  }
}

/** Folders after those whose app they depend on (`dependsOn: [app/<slug>]`); a circle is cut where it closes. */
function dependenciesFirst(folders: Folder[]): Folder[] {
  const appOf = ({ origin }: Folder) => (isPlainObject(origin.app) ? `app/${String(origin.app.slug)}` : '');
  const byApp = new Map(folders.map((folder) => [appOf(folder), folder]));
  const sorted = new Set<Folder>();
  const visit = (folder: Folder, path: Set<Folder>): void => {
    if (sorted.has(folder) || path.has(folder)) return;
    path.add(folder);
    for (const needed of Array.isArray(folder.origin.dependsOn) ? folder.origin.dependsOn : []) {
      const found = byApp.get(String(needed));
      if (found) visit(found, path);
    }
    sorted.add(folder);
  };
  for (const folder of folders) visit(folder, new Set());
  return [...sorted];
}

/** An empty workspace of that slug; the pull gives it its name. */
async function created(self: Self, ctx: Call<any>, slug: string): Promise<string> {
  const author = self.author(ctx);
  const { row, index } = newIndex({ name: slug.slice(0, 60), slug }, author, shortId(7), new Date().toISOString());
  const security = defaultSecurity();
  await self.store.create(row, author, (draft) => {
    draft.putIndex(index);
    draft.putSecurity(security);
    draft.event('workspaces.created', { workspace: index });
    draft.event('workspaces.security.updated', { security });
  });
  return row.id;
}
