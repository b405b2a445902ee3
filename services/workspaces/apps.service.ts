/**
 * apps — owns the store of apps: workspaces published for others to install.
 *
 * State   rows `apps/<slug>`; folders `apps/<slug>/versions/<name>/`, never changed once written.
 * Emits   `apps.published`, `apps.deleted`.
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import type { Query } from '../../mixins/storage/documents/contract.ts';
import { appRow, appSnapshot } from './app-details.ts';
import type { ModelAnswer, RevisionsAnswer } from './contract.ts';
import { assertPageRow } from './dsul/page.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { paging } from './listing.ts';
import { appModelOf } from './models.ts';
import { publishApp, shownApp } from './publish-app.ts';
import type { Draft } from './store/draft.ts';
import type { AppRow, PageRow } from './store/rows.ts';

type AppParams = { appSlug: string; query?: Record<string, any>; body?: any };

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

const apps: ServiceSchema<any, any> = {
  name: 'apps',
  mixins: [editing()],

  actions: {
    /** GET /apps `?text, workspaceId, labels, page, limit`. Everyone may see the store. */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<AppParams>): Promise<JsonObject[]> {
        const query = ctx.params.query ?? {};
        const filters: Query[] = [{ revision: { $gt: 0 } }];
        if (query.text) {
          const like = {
            $regex: String(query.text)
              .slice(0, 100)
              .replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&'),
            $options: 'i' as const,
          };
          filters.push({ $or: [{ slug: like }, { name: like }] });
        }
        if (query.workspaceId) filters.push({ workspaceId: await this.idOf(String(query.workspaceId)) });
        if (query.labels) filters.push({ labels: { $in: String(query.labels).split(',') } });
        const rows = await this.store.documents.find<AppRow>('apps', { $and: filters }, paging(query, { defaultSort: 'slug' }));
        return rows.map(shownApp);
      },
    },

    /** GET /apps/:appSlug `?version`: with `config { schema, block }` of that version. */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { appSlug: 'string' },
      async handler(this: Self, ctx: Call<AppParams>): Promise<JsonObject> {
        const { row, snapshot } = await appSnapshot(this.store, ctx.params.appSlug, text(ctx.params.query?.version));
        const { schema, block } = isPlainObject(snapshot.index.config) ? snapshot.index.config : {};
        return { ...shownApp(row), config: { ...(schema ? { schema } : {}), ...(block ? { block } : {}) } };
      },
    },

    /** POST /apps `{ workspaceId, slug?, workspaceVersion?, name?, description? }`; name and description are those of the new version. */
    publish: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<AppParams>): Promise<JsonObject> {
        const body = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        const workspaceId = text(body.workspaceId);
        if (!workspaceId) throw fault('MissingFieldError', { message: 'workspaceId is required.', data: { field: 'workspaceId' } });
        const row = await this.allowed(ctx, workspaceId, 'read');
        const [published] = await this.store.documents.find<AppRow>('apps', { workspaceId: row.id }, { limit: 1 });
        const right = { action: published ? 'update' : 'create', subject: 'apps' as const, object: { ...published, workspaceId: row.id } };
        return this.edit(ctx, row.id, right, async (draft) => {
          const options = {
            slug: text(body.slug),
            workspaceVersion: text(body.workspaceVersion),
            name: text(body.name),
            description: body.description,
          };
          await openDocumentation(this, ctx, draft);
          const app = await publishApp(this.store, draft, options as Parameters<typeof publishApp>[2]);
          return shownApp(app as AppRow);
        });
      },
    },

    /** DELETE /apps/:appSlug. Instances of it are shown as `broken` from then on. */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { appSlug: 'string' },
      async handler(this: Self, ctx: Call<AppParams>): Promise<{ id: string }> {
        const { appSlug } = ctx.params;
        const { workspaceId } = await appRow(this.store, appSlug);
        const right = { action: 'delete', subject: 'apps' as const, object: { id: appSlug, workspaceId } };
        // The workspace it came from may be gone: then only those who manage all apps are left.
        if (!(await this.store.findRow(workspaceId))) {
          (await this.abilityOf(ctx)).assert(right.action, right.subject, right.object);
          await this.store.documents.remove('apps', appSlug);
          await this.store.files.removeAll(`apps/${appSlug}`);
          return { id: appSlug };
        }
        return this.edit(ctx, workspaceId, right, (draft) => {
          draft.step({ do: 'removeRow', collection: 'apps', id: appSlug }, { do: 'removeAll', prefix: `apps/${appSlug}` });
          draft.event('apps.deleted', { appSlug });
          return { id: appSlug };
        });
      },
    },

    /** The published model, for the runtime. @throws ObjectNotFoundError · InvalidVersionError */
    model: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { appSlug: 'string' },
      handler(this: Self, ctx: Call<{ appSlug: string; version?: string }>): Promise<ModelAnswer> {
        return appModelOf(this.store, ctx.params.appSlug, ctx.params.version);
      },
    },

    /** Present revision of each of these apps that there is, as `apps.model` tells it. */
    revisions: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { appSlugs: { type: 'array', items: 'string' } },
      async handler(this: Self, ctx: Call<{ appSlugs?: string[] }>): Promise<RevisionsAnswer> {
        const slugs = ctx.params.appSlugs ?? [];
        const rows = slugs.length > 0 ? await this.store.documents.find<AppRow>('apps', { id: { $in: slugs } }) : [];
        return Object.fromEntries(rows.map(({ id, revision }) => [id, revision]));
      },
    },
  },
};

export default apps;

/** The page that documents an app is for everybody, as far as whoever publishes may say so. */
async function openDocumentation(self: Self, ctx: Call<AppParams>, draft: Draft): Promise<void> {
  const page = draft.get('pages', '_doc');
  if (typeof page?.id !== 'string') return;
  const row = await self.store.documents.get<PageRow>('pages', page.id);
  const known = row?.workspaceId === draft.row.id ? row.permissions : undefined;
  if (known?.['*']?.policies?.read) return;
  const object = { ...page, workspaceId: draft.row.id, permissions: known ?? {} };
  if (!(await self.abilityOf(ctx, draft.row.id)).can('manage_permissions', 'pages', object)) return;
  const permissions = { policies: { read: true } };
  assertPageRow(draft, { ...page, slug: '_doc' }, { ...known, '*': permissions });
  draft.event('workspaces.pages.permissions.shared', { subjectId: page.id, target: { public: true }, permissions });
}
