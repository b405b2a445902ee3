/**
 * versions — owns the published versions of a workspace: publish, list, compare, restore, duplicate, delete.
 *
 * State   `versions` of the workspace's row; folders `workspaces/<id>/versions/<name>/`, never changed once written.
 * Emits   `workspaces.versions.published|deleted`, `workspaces.imported` (restore), `workspaces.duplicated`.
 * Calls   `runtime.check`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { parseArchive } from './archive/import-archive.ts';
import { type Imported, importInto } from './archive/import-workspace.ts';
import { CURRENT, versionFolder } from './dsul/layout.ts';
import { duplicate } from './duplicate.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { compareSnapshots, type ObjectChange } from './semantic-diff.ts';
import type { VersionRow } from './store/rows.ts';
import { filesOfVersion } from './version-files.ts';
import { assertVersionName, generatedVersionName } from './version-names.ts';

type VersionParams = { workspaceId: string; versionId: string; query?: Record<string, any>; body?: any };

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

    /** POST /workspaces/:workspaceId/versions `{ description, name? }`: an immutable copy. The oldest beyond the kept number go. */
    publish: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call<VersionParams>): Promise<VersionRow> {
        const body: JsonObject = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        if (body.description === undefined || body.description === null || body.description === '')
          throw fault('RequestValidationError', {
            message: 'description is required.',
            data: { problems: [{ path: 'description', message: 'is required' }] },
          });
        if (body.name !== undefined) assertVersionName(body.name);
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, (draft) => {
          assertNoRepository(body.repository, draft.index);
          const known = draft.row.versions ?? [];
          const taken = known.map(({ name }) => name);
          const name = (body.name as string | undefined) ?? generatedVersionName(taken, new Date(draft.now));
          if (taken.includes(name))
            throw fault('AlreadyUsedError', { message: `There is already a version '${name}'.`, data: { version: name } });
          const version: VersionRow = {
            name,
            description: body.description,
            createdAt: draft.now,
            ...(draft.author.userId ? { createdBy: draft.author.userId } : {}),
          };
          const kept = [version, ...known].slice(0, Math.max(1, this.config.maxWorkspaceVersions));
          draft.setRow({ versions: kept });
          draft.step({ do: 'copyAll', from: versionFolder(draft.row.id), to: versionFolder(draft.row.id, name) });
          for (const old of known) if (!kept.includes(old)) draft.step({ do: 'removeAll', prefix: versionFolder(draft.row.id, old.name) });
          draft.event('workspaces.versions.published', { version });
          return version;
        });
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

    /** POST /workspaces/:workspaceId/versions/:versionId/pull: the workspace becomes that version again, in one change. `latest` is the newest. */
    pull: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', versionId: 'string' },
      async handler(this: Self, ctx: Call<VersionParams>): Promise<Imported> {
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const { index } = (await this.store.current(row.id)).snapshot;
        assertNoRepository(isPlainObject(ctx.params.body) ? ctx.params.body.repository : undefined, index);
        const version = ctx.params.versionId === 'latest' ? row.versions?.[0]?.name : ctx.params.versionId;
        if (!version || version === CURRENT || !row.versions?.some(({ name }) => name === version)) throw unknown(ctx.params.versionId);
        const parsed = await parseArchive(await filesOfVersion(this.store, row.id, version));
        return importInto(this, ctx, row.id, parsed, { prune: true, isRollback: true, version, withoutApp: true });
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
        return { from, to, changes: compareSnapshots(await this.store.version(row.id, from), await this.store.version(row.id, to)) };
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
};

export default versions;

/** Versions kept in a git repository are not offered yet: refused clearly rather than kept here under a false name. */
function assertNoRepository(repository: unknown, index: JsonObject): void {
  if (!isPlainObject(repository)) return;
  const known = isPlainObject(index.repositories) ? index.repositories : {};
  if (typeof repository.id !== 'string' || !Object.hasOwn(known, repository.id))
    throw fault('ObjectNotFoundError', {
      message: `There is no repository '${String(repository.id)}'.`,
      data: { subjectType: 'repositories', id: String(repository.id) },
    });
  throw fault('PrismeError', {
    message: 'This installation does not synchronise with git repositories yet.',
    data: { repository: repository.id },
  });
}
