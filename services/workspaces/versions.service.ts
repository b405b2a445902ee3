/**
 * versions — owns the published versions of a workspace: publish, list, compare, restore, duplicate, delete; and what the last changes replaced.
 *
 * State   `versions` of the workspace's row; folders `workspaces/<id>/versions/<name>/`, never changed once written.
 * Emits   `workspaces.versions.published|deleted|rollback|progress`, `workspaces.imported` (restore, pull), `workspaces.duplicated`.
 * Calls   `runtime.check`, `users.get` (author of commits), and git repositories.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { parseArchive } from './archive/import-archive.ts';
import { type Imported, importInto } from './archive/import-workspace.ts';
import { CURRENT, versionFolder } from './dsul/layout.ts';
import { duplicate } from './duplicate.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { shownIndex } from './git/credentials.ts';
import { bulkImport, bulkPush, type ImportSummary, PLATFORM, type PushSummary } from './git/platform.ts';
import { pull } from './git/pull.ts';
import { push } from './git/push.ts';
import { sweepTemporaryCopies } from './git/remote.ts';
import { endSessionLocks } from './git/session.ts';
import { paging } from './listing.ts';
import { inTime, type Processing } from './patience.ts';
import { compareSnapshots, type ObjectChange } from './semantic-diff.ts';
import type { Draft } from './store/draft.ts';
import { type HistoryChange, type HistoryEntry, historyEntry, historyOf } from './store/history.ts';
import type { VersionRow } from './store/rows.ts';
import type { Snapshot } from './store/snapshot.ts';
import { filesOfVersion } from './version-files.ts';
import { assertVersionName, generatedVersionName } from './version-names.ts';

type VersionParams = { workspaceId: string; versionId: string; query?: Record<string, any>; body?: any };

const shown = (snapshot: Snapshot): Snapshot => ({ ...snapshot, index: shownIndex(snapshot.index) });
const unknown = (version: string) => fault('InvalidVersionError', { message: `There is no version '${version}'.`, data: { version } });

const versions: ServiceSchema<any, any> = {
  name: 'versions',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/versions, newest first. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<VersionRow[]> {
        return (await this.allowed(ctx, ctx.params.workspaceId, 'read')).versions ?? [];
      },
    },

    /** POST /workspaces/:workspaceId/versions `{ description, name?, repository? }`: an immutable copy, here or pushed to a repository. The oldest beyond the kept number go. */
    publish: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<VersionRow | PushSummary | Processing> {
        const body: JsonObject = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        if (body.name !== undefined) assertVersionName(body.name);
        if (ctx.params.workspaceId === PLATFORM) {
          const told = { workspaceId: PLATFORM, event: 'workspaces.bulkPush.completed', timeout: ctx.params.query?.timeout };
          return inTime(this, told, bulkPush(this, ctx, body));
        }
        if (body.description === undefined || body.description === null || body.description === '')
          throw fault('RequestValidationError', {
            message: 'description is required.',
            data: { problems: [{ path: 'description', message: 'is required' }] },
          });
        if (!isRepository(body.repository)) return publish(this, ctx, body);
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const taken = (row.versions ?? []).map(({ name }) => name);
        const name = nameOf(body, taken, new Date().toISOString());
        const told = { workspaceId: row.id, event: 'workspaces.versions.published', timeout: ctx.params.query?.timeout };
        return inTime(this, told, push(this, ctx, row.id, { repositoryId: body.repository.id, name, description: body.description }));
      },
    },

    /** DELETE /workspaces/:workspaceId/versions/:versionId */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', versionId: 'string' },
      handler(this: Self, ctx: Call<VersionParams>): Promise<{ id: string }> {
        const { versionId } = ctx.params;
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, (draft) => {
          const version = draft.row.versions?.find(({ name }) => name === versionId);
          if (!version) throw unknown(versionId);
          draft.setRow({ versions: draft.row.versions.filter((other) => other !== version) });
          draft.step({ do: 'removeAll', prefix: versionFolder(draft.row.id, versionId) });
          draft.event('workspaces.versions.deleted', { version });
          return { id: versionId };
        });
      },
    },

    /**
     * POST /workspaces/:workspaceId/versions/:versionId/pull `{ repository?, discardLocalChanges? }`: the workspace becomes that version again, in one
     * change (`latest`: the newest), or takes what a repository holds. @throws InvalidVersionError · MergeConflictError
     */
    pull: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', versionId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<Imported | ImportSummary | Processing> {
        const { versionId, query } = ctx.params;
        const body: JsonObject = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        if (ctx.params.workspaceId === PLATFORM) {
          const told = { workspaceId: PLATFORM, event: 'workspaces.bulkImport.completed', timeout: query?.timeout };
          return inTime(this, told, bulkImport(this, ctx, body));
        }
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const told = { workspaceId: row.id, event: 'workspaces.imported', timeout: query?.timeout };
        const listed = row.versions?.find(({ name }) => name === versionId);
        const repository = isRepository(body.repository) ? body.repository : listed?.repository;
        if (repository) {
          const discardLocalChanges = body.discardLocalChanges === true || body.discardLocalChanges === 'true';
          return inTime(this, told, pull(this, ctx, row.id, { repositoryId: repository.id, version: versionId, discardLocalChanges }));
        }
        // The newest of those kept here: one that was pushed away is in its repository.
        const version = versionId === 'latest' ? row.versions?.find((entry) => !entry.repository)?.name : listed?.name;
        if (!version || version === CURRENT) throw unknown(versionId);
        const parsed = await parseArchive(await filesOfVersion(this.store, row.id, version));
        const record = (draft: Draft) => draft.event('workspaces.versions.rollback', { version: { name: version } });
        return inTime(
          this,
          told,
          importInto(this, ctx, row.id, parsed, { prune: true, isRollback: true, version, withoutApp: true, record }),
        );
      },
    },

    /** GET /workspaces/:workspaceId/versions/:versionId/diff `?with=<version>` (default current): which objects, and where in them. */
    diff: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', versionId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<{ from: string; to: string; changes: ObjectChange[] }> {
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const from = ctx.params.versionId;
        const to = String(ctx.params.query?.with ?? CURRENT);
        return {
          from,
          to,
          changes: compareSnapshots(shown(await this.store.version(row.id, from)), shown(await this.store.version(row.id, to))),
        };
      },
    },

    /** GET /workspaces/:workspaceId/history `?type&slug&limit`: the last changes, newest first: who changed what, and when. */
    history: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; query?: Record<string, any> }>): Promise<HistoryEntry[]> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { type, slug, ...query } = ctx.params.query ?? {};
        const wanted = (change: HistoryChange) => (!type || change.type === type) && (slug === undefined || change.slug === slug);
        const entries = await historyOf(this.store.files, id, paging(query).limit, wanted);
        return entries.map((entry) => ({ ...entry, changes: entry.changes.map(({ before: _before, ...change }) => change) }));
      },
    },

    /** GET /workspaces/:workspaceId/history/:revision: what that change replaced or removed. @throws ObjectNotFoundError */
    historyAt: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', revision: 'string' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; revision: string }>): Promise<HistoryEntry> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { revision } = ctx.params;
        const entry = /^\d{1,10}$/.test(revision) ? await historyEntry(this.store.files, id, Number(revision)) : null;
        if (!entry)
          throw fault('ObjectNotFoundError', {
            message: `Nothing is kept of a revision '${revision.slice(0, 20)}'.`,
            data: { subjectType: 'revisions', id: revision.slice(0, 20) },
          });
        const shownBefore = (change: HistoryChange): HistoryChange =>
          change.type === 'index' && change.before ? { ...change, before: shownIndex(change.before) } : change;
        return { ...entry, changes: entry.changes.map(shownBefore) };
      },
    },

    /** POST /workspaces/:workspaceId/versions/:versionId/duplicate: a new workspace of the caller. */
    duplicate: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', versionId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<JsonObject> {
        const source = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        (await this.abilityOf(ctx)).assert('create', 'workspaces', {});
        return duplicate(this.store, source, await this.store.version(source.id, ctx.params.versionId), this.author(ctx));
      },
    },
  },

  async started(this: Self) {
    await sweepTemporaryCopies();
    // Alone on its stores, nobody else can be in the middle of a pull or a push.
    if (!this.config.transporterUrl) await endSessionLocks(this.store);
  },
};

export default versions;

/** Whether a repository is named. @throws RequestValidationError for anything but `{ id }`: nothing is kept here that was meant for elsewhere */
function isRepository(given: unknown): given is JsonObject {
  if (given === undefined || given === null) return false;
  if (isPlainObject(given) && typeof given.id === 'string' && given.id !== '') return true;
  throw fault('RequestValidationError', {
    message: 'repository must be { id }.',
    data: { problems: [{ path: 'repository.id', message: 'is required' }] },
  });
}

const nameOf = (body: JsonObject, taken: string[], now: string): string => {
  const name = (body.name as string | undefined) ?? generatedVersionName(taken, new Date(now));
  if (taken.includes(name)) throw fault('AlreadyUsedError', { message: `There is already a version '${name}'.`, data: { version: name } });
  return name;
};

/** An immutable copy kept here. */
function publish(self: Self, ctx: Call<VersionParams>, body: JsonObject): Promise<VersionRow> {
  return self.edit(ctx, ctx.params.workspaceId, { action: 'update' }, (draft) => {
    const known = draft.row.versions ?? [];
    const version: VersionRow = {
      name: nameOf(
        body,
        known.map(({ name }) => name),
        draft.now,
      ),
      description: body.description,
      createdAt: draft.now,
      ...(draft.author.userId ? { createdBy: draft.author.userId } : {}),
    };
    const kept = [version, ...known].slice(0, Math.max(1, self.config.maxWorkspaceVersions));
    draft.setRow({ versions: kept, dirty: draft.row.dirty ?? false });
    draft.step({ do: 'copyAll', from: versionFolder(draft.row.id), to: versionFolder(draft.row.id, version.name) });
    for (const old of known) if (!kept.includes(old)) draft.step({ do: 'removeAll', prefix: versionFolder(draft.row.id, old.name) });
    draft.event('workspaces.versions.published', { version });
    return version;
  });
}
