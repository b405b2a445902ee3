/**
 * workspaces — owns workspaces: their index (name, slug, config, blocks, …), who may see them, their life from creation to deletion.
 *
 * State   row `workspaces/<id>` and the tree `workspaces/<id>/` (store/, dsul/layout.ts); changed through the store only.
 * Emits   `workspaces.created|updated|configured|blocks.updated|events.updated|deleted|duplicated`, `workspaces.security.updated`.
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import { readiness } from '../../mixins/readiness/readiness.mixin.ts';
import { brokerCheck, databaseCheck, filesCheck } from '../../mixins/readiness/stores.ts';
import { MINUTE } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import { adoptDirectory } from './adopt-directory.ts';
import type { AccessAnswer, EventMappingAnswer, ModelAnswer, ResolveAnswer, RevisionsAnswer } from './contract.ts';
import { editedIndex, newIndex } from './create.ts';
import { checkedIndex, configProblems } from './dsul/index-file.ts';
import { CURRENT } from './dsul/layout.ts';
import { defaultSecurity } from './dsul/security-file.ts';
import { type Call, editing, etagOf, type Self } from './editing.mixin.ts';
import { isAsShown, sealedFields, shownIndex } from './git/credentials.ts';
import { listLabels, listWorkspaces } from './listing.ts';
import { accessOf, modelOf } from './models.ts';
import { readModel } from './read-model.ts';
import { removedModel, removeWorkspace, sweepRemoved } from './removal.ts';
import { statusOf } from './status.ts';
import type { Suspension, WorkspaceRow, WriteLock } from './store/rows.ts';

type Named = { workspaceId: string; query?: Record<string, any>; body?: any };

const SWEEP_MS = 15 * MINUTE;

const workspaces: ServiceSchema<any, any> = {
  name: 'workspaces',
  mixins: [
    editing(),
    readiness((self: Self) => [
      databaseCheck(self.config, self.documents, 'workspaces'),
      brokerCheck(self.config, self.bus),
      filesCheck(self.config, self.files, 'modelStorage'),
    ]),
  ],

  actions: {
    /** GET /workspaces: rows the caller may read. Header `x-total-count`. */
    list: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<Named>) {
        return listWorkspaces(this, ctx, ctx.params.query ?? {});
      },
    },

    /** GET /workspaces/labels: all labels of the workspaces the caller may read. */
    labels: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<Named>) {
        return listLabels(this, ctx, ctx.params.query ?? {});
      },
    },

    /** POST /workspaces. @throws RequestValidationError · InvalidSlugError · AlreadyUsedError */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<Named>): Promise<JsonObject> {
        (await this.abilityOf(ctx)).assert('create', 'workspaces', {});
        const author = this.author(ctx);
        const id = shortId(7);
        const fields = sealedFields(this.keyRing, id, checkedIndex(ctx.params.body ?? {}));
        const { row, index } = newIndex(fields, author, id, new Date().toISOString());
        const security = defaultSecurity();
        await this.store.create(row, author, (draft) => {
          draft.putIndex(index);
          draft.putSecurity(security);
          draft.event('workspaces.created', { workspace: shownIndex(index) });
          draft.event('workspaces.security.updated', { security });
        });
        return { ...shownIndex(index), createdAt: row.createdAt, createdBy: row.createdBy };
      },
    },

    /** GET /workspaces/:workspaceId. @throws InvalidVersionError */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<JsonObject> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const version = ctx.params.query?.version as string | undefined;
        const { row, snapshot: current } = await this.store.current(id);
        const snapshot = version && version !== CURRENT ? await this.store.version(id, version) : current;
        this.setHeaders(ctx, { etag: etagOf(snapshot.meta.index?.checksum ?? '') });
        return readModel(this, row, snapshot);
      },
    },

    /** PATCH /workspaces/:workspaceId: top-level keys replaced, `null` removes one. @throws … · AlreadyUsedError · PreconditionFailed */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<JsonObject> {
        const { repositories, ...rest } = checkedIndex(ctx.params.body ?? {});
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const areRepositoriesSent =
          repositories !== undefined && !isAsShown(repositories, (await this.store.current(row.id)).snapshot.index);
        if (areRepositoriesSent) await this.authorize(ctx, row.id, 'manage_repositories', 'workspaces', row);
        const fields = areRepositoriesSent ? { ...rest, repositories } : rest;
        return this.edit(ctx, row.id, { action: 'update' }, async (draft) => {
          this.assertMatch(ctx, draft.before.meta.index?.checksum, shownIndex(draft.index));
          const index = await editedIndex(this.store, draft, sealedFields(this.keyRing, row.id, fields, draft.index));
          return { ...shownIndex(index), id: row.id };
        });
      },
    },

    /** DELETE /workspaces/:workspaceId: everything of it goes, except apps published from it. */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<{ id: string }> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'delete');
        await this.store.remove(id, this.author(ctx), (draft) => removeWorkspace(draft, this.store));
        return { id };
      },
    },

    /** GET /workspaces/:workspaceId/config */
    getConfig: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<unknown> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const snapshot = await this.store.version(id, (ctx.params.query?.version as string | undefined) ?? CURRENT);
        return snapshot.index.config ?? {};
      },
    },

    /** PATCH /workspaces/:workspaceId/config: replaces those of `schema`, `block`, `value` that are sent. */
    patchConfig: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call<Named>): Promise<unknown> {
        const sent = ctx.params.body ?? {};
        const problems = configProblems(sent);
        if (problems.length > 0)
          throw fault('RequestValidationError', {
            message: problems.map(({ path, message }) => `${path} ${message}`).join('; '),
            data: { problems },
          });
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, async (draft) => {
          this.assertMatch(ctx, draft.before.meta.index?.checksum, shownIndex(draft.index));
          const config = { ...(isPlainObject(draft.index.config) ? draft.index.config : {}), ...sent };
          await editedIndex(this.store, draft, checkedIndex({ config }));
          return config;
        });
      },
    },

    /** GET /workspaces/:workspaceId/status: unreadable files, and what changed since the last import or export. */
    status: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<JsonObject> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        return statusOf((await this.store.current(id)).snapshot);
      },
    },

    /** POST /workspaces/:workspaceId/writeLock `{ reason? }`: modifications are refused with WorkspaceLocked until it is removed or 30 minutes passed. */
    lock: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call<Named>): Promise<{ writeLock: WriteLock }> {
        const reason = typeof ctx.params.body?.reason === 'string' ? ctx.params.body.reason.slice(0, 200) : 'manual';
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_security' }, (draft) => {
          const writeLock = { lockedAt: draft.now, ...(draft.author.userId ? { lockedBy: draft.author.userId } : {}), reason };
          draft.setRow({ writeLock });
          return { writeLock };
        });
      },
    },

    /** DELETE /workspaces/:workspaceId/writeLock */
    unlock: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call<Named>): Promise<{ id: string }> {
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_security', ignoreLock: true }, (draft) => {
          if (draft.row.writeLock) draft.setRow({ writeLock: undefined } as unknown as Partial<WorkspaceRow>);
          return { id: draft.row.id };
        });
      },
    },

    /**
     * PUT /workspaces/:workspaceId/suspension `{ suspended, reason? }`, for super admins: a suspended workspace starts nothing (423 SuspendedWorkspaceError with
     * the reason) until it is let go; its owners may read and edit it.
     */
    suspend: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<{ suspended: boolean; suspension?: Suspension }> {
        if (this.identityOf(ctx).role !== 'superadmin')
          throw fault('ForbiddenError', { message: 'Only a super admin suspends workspaces.' });
        const { suspended, reason = '' } = ctx.params.body ?? {};
        if (typeof suspended !== 'boolean')
          throw fault('RequestValidationError', { message: "'suspended' must be true or false.", data: { field: 'suspended' } });
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_security', ignoreLock: true }, (draft) => {
          const { now, author, row } = draft;
          if (suspended === Boolean(row.suspension)) return answerOf(row.suspension);
          const suspension: Suspension | undefined = suspended
            ? { reason: String(reason).slice(0, 500), suspendedAt: now, ...(author.userId ? { suspendedBy: author.userId } : {}) }
            : undefined;
          draft.setRow({ suspension } as unknown as Partial<WorkspaceRow>);
          draft.touch();
          draft.event('workspaces.suspended', { workspaceId: row.id, suspended, reason: String(reason).slice(0, 500) });
          return answerOf(suspension);
        });
      },
    },

    /** Everything needed to judge a caller in a workspace. */
    access: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<AccessAnswer> {
        return accessOf(this.store, await this.idOf(ctx.params.workspaceId));
      },
    },

    /** Everything the runtime compiles. @throws ObjectNotFoundError · SuspendedWorkspaceError */
    model: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<ModelAnswer> {
        return modelOf(this.store, await this.idOf(ctx.params.workspaceId));
      },
    },

    /** The last model of a workspace that was removed within the hour, for the automations its end starts; `null` when there is none. */
    removed: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string|min:1' },
      handler(this: Self, ctx: Call<Named>): Promise<ModelAnswer | null> {
        return removedModel(this.store.files, ctx.params.workspaceId);
      },
    },

    /** The section `events` of the index: which payload fields the history keeps in a form it can sum. */
    eventMapping: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<EventMappingAnswer> {
        const { snapshot } = await this.store.current(ctx.params.workspaceId);
        return { events: snapshot.index.events ?? null };
      },
    },

    /** Present revision of each known one of `workspaceIds`. */
    revisions: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      async handler(this: Self, ctx: Call<{ workspaceIds?: string[] }>): Promise<RevisionsAnswer> {
        const ids = ctx.params.workspaceIds ?? [];
        const rows = ids.length > 0 ? await this.store.documents.find<WorkspaceRow>('workspaces', { id: { $in: ids } }) : [];
        return Object.fromEntries(rows.filter((row) => !row.deletedAt).map((row) => [row.id, row.revision]));
      },
    },

    /** Id, names and addresses of `slug:<slug>` or an id. @throws ObjectNotFoundError */
    resolve: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<Named>): Promise<ResolveAnswer> {
        const { id, slug, name, customDomains } = await this.store.row(await this.idOf(ctx.params.workspaceId));
        return { id, slug, name, ...(customDomains ? { customDomains } : {}) };
      },
    },

    /** Ids of all workspaces, registered ones only with `registered`; pages of 2000 after `after`. For schedules, the registry, maintenance. */
    ids: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      async handler(
        this: Self,
        ctx: Call<{ after?: string; registered?: boolean }>,
      ): Promise<{ id: string; slug: string; name: string; revision: number }[]> {
        const { after = '', registered } = ctx.params;
        const rows = await this.store.documents.find<WorkspaceRow>('workspaces', {
          id: { $gt: after },
          ...(registered ? { registerWorkspace: true } : {}),
        });
        return rows.filter((row) => !row.deletedAt).map(({ id, slug, name, revision }) => ({ id, slug, name, revision }));
      },
    },

    /** Opens every tree of an existing data directory that has no rows yet. Done at start when there is no workspace at all. */
    adopt: {
      visibility: 'public',
      identity: 'system',
      handler(this: Self): Promise<{ workspaces: string[]; apps: string[] }> {
        return adoptDirectory(this.store, this.logger);
      },
    },
  },

  async started(this: Self & { sweeping?: NodeJS.Timeout }) {
    const finished = await this.store.recover();
    const sweep = () =>
      sweepRemoved(this.store.files).catch((error) => this.logger.warn(`Models of removed workspaces stay: ${error.message}`));
    this.sweeping = setInterval(sweep, SWEEP_MS).unref();
    void sweep();
    if (finished > 0) this.logger.info(`Finished ${finished} change(s) a former process had committed.`);
    if ((await this.store.documents.count('workspaces', {})) > 0) return;
    const { workspaces, apps } = await adoptDirectory(this.store, this.logger);
    if (workspaces.length + apps.length > 0)
      this.logger.info(`Opened ${workspaces.length} workspaces and ${apps.length} apps found in the file store; super admins see them.`);
  },

  async stopped(this: Self & { sweeping?: NodeJS.Timeout }) {
    clearInterval(this.sweeping);
  },
};

export default workspaces;

const answerOf = (suspension?: Suspension) => ({ suspended: Boolean(suspension), ...(suspension ? { suspension } : {}) });
