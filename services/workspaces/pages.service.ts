/**
 * pages — owns pages as data: stored, versioned with the workspace, served to clients that draw them.
 *
 * State   `pages/<slug>.yml` of the workspace; rows `pages/<id>` for addresses and sharing.
 * Emits   `workspaces.pages.created|updated|deleted`.
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { detailedPage } from './detailed-page.ts';
import { assertPageRow, checkedPage } from './dsul/page.ts';
import { pageEvents } from './dsul/processed-events.ts';
import { assertSlug, randomSlug } from './dsul/slugs.ts';
import { type Call, editing, etagOf, type Self } from './editing.mixin.ts';
import { all } from './models.ts';
import { listedPages, shownMeta } from './read-model.ts';
import type { PageRow, WorkspaceRow } from './store/rows.ts';

const missing = (slug: string) =>
  fault('ObjectNotFoundError', { message: `There is no page '${slug}'.`, data: { subjectType: 'pages', slug } });

const isPublic = (row: PageRow | null | undefined): boolean => row?.permissions?.['*']?.policies?.read === true;

const pages: ServiceSchema<any, any> = {
  name: 'pages',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/pages: all those the caller may read. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject[]> {
        const id = await this.idOf(ctx.params.workspaceId);
        const { row, snapshot } = await this.store.current(id);
        const ability = await this.abilityOf(ctx, id);
        const rows = new Map((await all<PageRow>(this.store, 'pages', { workspaceId: id })).map((page) => [page.id, page]));
        return Object.values(listedPages(snapshot)).flatMap((page) => {
          const shared = rows.get(String(page.id));
          const object = { ...page, workspaceId: id, permissions: shared?.permissions ?? {} };
          if (!ability.can('read', 'pages', object)) return [];
          const { permissions, ...shown } = object;
          return [{ ...shown, workspaceSlug: row.slug, ...(ability.can('manage_permissions', 'pages', object) ? { permissions } : {}) }];
        });
      },
    },

    /** POST /workspaces/:workspaceId/pages; `public: true` opens it to everyone. */
    create: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        const fields = checkedPage(ctx.params.body);
        if (fields.slug !== undefined) assertSlug(fields.slug);
        const opens = isPlainObject(ctx.params.body) && ctx.params.body.public === true;
        return this.edit(ctx, ctx.params.workspaceId, { action: 'create', subject: 'pages' }, async (draft) => {
          const slug = String(fields.slug ?? randomSlug());
          if (draft.has('pages', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
          const page = { ...fields, id: shortId(7), slug, workspaceId: draft.row.id, workspaceSlug: draft.row.slug };
          if (opens) await this.authorize(ctx, draft.row.id, 'manage_permissions', 'pages', page);
          draft.put('pages', slug, page);
          assertPageRow(draft, page, opens ? { '*': { policies: { read: true } } } : undefined);
          draft.event('workspaces.pages.created', { page, slug, events: pageEvents(page) });
          this.setHeaders(ctx, { etag: etagOf(draft.meta('pages', slug)?.checksum ?? '') });
          return { ...page, events: pageEvents(page) };
        });
      },
    },

    /** GET /workspaces/:workspaceId/pages/:slug: the page with the blocks of the installed apps. */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const id = await this.idOf(ctx.params.workspaceId);
        const { row, snapshot } = await this.store.current(id);
        const page = Object.hasOwn(snapshot.pages, ctx.params.slug) ? snapshot.pages[ctx.params.slug] : undefined;
        if (!page) throw missing(ctx.params.slug);
        const shared = await rowOf(this, page.id, id);
        const object = { ...page, workspaceId: id, permissions: shared?.permissions ?? {} };
        const ability = await this.authorize(ctx, id, 'read', 'pages', object);
        this.setHeaders(ctx, { etag: etagOf(snapshot.meta.pages[ctx.params.slug]?.checksum ?? '') });
        return {
          ...(await detailedPage(this.store, row, snapshot, ctx.params.slug, isPublic(shared))),
          ...shownMeta(snapshot, 'pages', ctx.params.slug),
          ...(ability.can('manage_permissions', 'pages', object) ? { permissions: object.permissions } : {}),
        };
      },
    },

    /** PATCH /workspaces/:workspaceId/pages/:slug: replaces the page; another `slug` renames it, its id stays. */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const fields = checkedPage(ctx.params.body);
        const oldSlug = ctx.params.slug;
        const id = await this.idOf(ctx.params.workspaceId);
        const { snapshot } = await this.store.current(id);
        const stored = Object.hasOwn(snapshot.pages, oldSlug) ? snapshot.pages[oldSlug] : undefined;
        if (!stored) throw missing(oldSlug);
        const shared = await rowOf(this, stored.id, id);
        const object = { ...stored, workspaceId: id, permissions: shared?.permissions ?? {} };
        return this.edit(ctx, id, { action: 'update', subject: 'pages', object }, (draft) => {
          const old = draft.get('pages', oldSlug);
          if (!old) throw missing(oldSlug);
          this.assertMatch(ctx, draft.meta('pages', oldSlug)?.checksum, old);
          const slug = typeof fields.slug === 'string' && fields.slug ? fields.slug : oldSlug;
          if (slug !== oldSlug) {
            assertSlug(slug);
            if (draft.has('pages', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
          }
          const page: JsonObject = { ...fields, id: old.id ?? shortId(7), slug, workspaceId: draft.row.id, workspaceSlug: draft.row.slug };
          if (draft.put('pages', slug, page, { oldSlug })) {
            assertPageRow(draft, page);
            draft.event('workspaces.pages.updated', { page, slug, ...(slug === oldSlug ? {} : { oldSlug }), events: pageEvents(page) });
          }
          this.setHeaders(ctx, { etag: etagOf(draft.meta('pages', slug)?.checksum ?? '') });
          return { ...page, events: pageEvents(page) };
        });
      },
    },

    /** DELETE /workspaces/:workspaceId/pages/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<{ id: unknown }> {
        const { slug } = ctx.params;
        const id = await this.idOf(ctx.params.workspaceId);
        const { snapshot } = await this.store.current(id);
        if (!Object.hasOwn(snapshot.pages, slug)) throw missing(slug);
        const object = { ...snapshot.pages[slug], workspaceId: id };
        return this.edit(ctx, id, { action: 'delete', subject: 'pages', object }, (draft) => {
          const page = draft.get('pages', slug);
          if (!page) throw missing(slug);
          this.assertMatch(ctx, draft.meta('pages', slug)?.checksum, page);
          draft.remove('pages', slug);
          draft.step({ do: 'removeRows', collection: 'pages', query: { id: String(page.id), workspaceId: id } });
          draft.event('workspaces.pages.deleted', { pageSlug: slug });
          return { id: page.id };
        });
      },
    },

    /** GET /pages/:workspaceSlug/:slug: for visitors. `workspaceSlug` with a dot is a custom domain. */
    getPublic: {
      visibility: 'published',
      identity: 'optional',
      params: { workspaceSlug: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call<{ workspaceSlug: string; slug: string }>): Promise<JsonObject> {
        const { workspaceSlug, slug } = ctx.params;
        const found = await workspaceAt(this, workspaceSlug);
        if (!found) throw missing(slug);
        const { row, snapshot } = await this.store.current(found.id);
        const page = Object.hasOwn(snapshot.pages, slug) ? snapshot.pages[slug] : undefined;
        if (!page) throw missing(slug);
        const shared = await rowOf(this, page.id, row.id);
        if (!isPublic(shared))
          await this.authorize(ctx, row.id, 'read', 'pages', { ...page, workspaceId: row.id, permissions: shared?.permissions ?? {} });
        // Without a client of its own the page signs its visitors in under the id of its workspace (services/gateway/oidc/clients.ts).
        this.setHeaders(ctx, { 'x-prismeai-client-id': row.clientId ?? row.id });
        return detailedPage(this.store, row, snapshot, slug, isPublic(shared));
      },
    },
  },
};

export default pages;

/** What is shared of a page; a row of another workspace under the same id says nothing of it. */
async function rowOf(self: Self, pageId: unknown, workspaceId: string): Promise<PageRow | null> {
  const row = await self.store.documents.get<PageRow>('pages', String(pageId));
  return row?.workspaceId === workspaceId ? row : null;
}

async function workspaceAt(self: Self, slugOrDomain: string): Promise<WorkspaceRow | undefined> {
  const domains = slugOrDomain.includes('.') ? [slugOrDomain, slugOrDomain.replace(/:\d+$/, '')] : [];
  const query = domains.length > 0 ? { customDomains: { $in: domains } } : { slug: slugOrDomain };
  const [row] = await self.store.documents.find<WorkspaceRow>('workspaces', query, { limit: 1 });
  return row?.deletedAt ? undefined : row;
}
