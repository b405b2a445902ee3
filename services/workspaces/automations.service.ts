/**
 * automations — owns the automations of a workspace: create, read, replace, rename, delete.
 *
 * State   `workspaces/<id>/versions/current/automations/<slug>.yml`, through the store.
 * Emits   `workspaces.automations.created|updated|deleted`, once a change is durable.
 * Calls   `runtime.check`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { compileCheck } from './compile-check.ts';
import { checkedAutomation, type Finding } from './dsul/automation.ts';
import { CURRENT } from './dsul/layout.ts';
import { automationEvents } from './dsul/processed-events.ts';
import { assertSlug, slugFromName } from './dsul/slugs.ts';
import { type Call, editing, etagOf, type Self } from './editing.mixin.ts';
import { listedAutomations, shownMeta } from './read-model.ts';
import type { Draft } from './store/draft.ts';

const missing = (slug: string) =>
  fault('ObjectNotFoundError', { message: `There is no automation '${slug}'.`, data: { subjectType: 'automations', slug } });

const eventsOf = (draft: Draft, automation: JsonObject) =>
  automationEvents(automation, isPlainObject(draft.index.config) ? draft.index.config.value : undefined);

const answer = (slug: string, automation: JsonObject, warnings: Finding[]): JsonObject => ({
  ...automation,
  slug,
  ...(warnings.length > 0 ? { warnings } : {}),
});

const automations: ServiceSchema<any, any> = {
  name: 'automations',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/automations: the map of the workspace read, as a list. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject[]> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const snapshot = await this.store.version(id, (ctx.params.query?.version as string | undefined) ?? CURRENT);
        return Object.values(listedAutomations(snapshot));
      },
    },

    /** POST /workspaces/:workspaceId/automations. @throws RequestValidationError · InvalidSlugError · InvalidScheduleError · AlreadyUsedError · InvalidWorkspaceError */
    create: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const automation = checkedAutomation(ctx.params.body);
        if (automation.slug !== undefined) assertSlug(automation.slug);
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const warnings = await compileCheck(this, ctx, row.id, { [String(automation.slug ?? 'automation')]: automation });
        return this.edit(ctx, row.id, { action: 'update' }, (draft) => {
          const slug =
            (automation.slug as string | undefined) ?? slugFromName(automation.name, (candidate) => draft.has('automations', candidate));
          if (draft.has('automations', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
          draft.put('automations', slug, automation);
          draft.event('workspaces.automations.created', { automation: { ...automation, slug }, slug, events: eventsOf(draft, automation) });
          this.setHeaders(ctx, { etag: etagOf(draft.meta('automations', slug)?.checksum ?? '') });
          return answer(slug, automation, warnings);
        });
      },
    },

    /** GET /workspaces/:workspaceId/automations/:slug */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { slug, query } = ctx.params;
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const snapshot = await this.store.version(id, (query?.version as string | undefined) ?? CURRENT);
        if (!Object.hasOwn(snapshot.automations, slug)) throw missing(slug);
        this.setHeaders(ctx, { etag: etagOf(snapshot.meta.automations[slug]?.checksum ?? '') });
        return { ...snapshot.automations[slug], slug, ...shownMeta(snapshot, 'automations', slug) };
      },
    },

    /**
     * PATCH /workspaces/:workspaceId/automations/:slug: a body with `name` and `do` replaces the automation, any other is merged over it
     * (top-level keys). Another `slug` in the body renames it. @throws … · ObjectNotFoundError · PreconditionFailed
     */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { slug: oldSlug, body } = ctx.params;
        if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be an automation.' });
        const isWhole = body.name !== undefined && body.do !== undefined;
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const { snapshot } = await this.store.current(row.id);
        const known = Object.hasOwn(snapshot.automations, oldSlug) ? snapshot.automations[oldSlug] : undefined;
        if (!known) throw missing(oldSlug);
        // A file that names its slug goes on doing so.
        const merged = (base: JsonObject): JsonObject =>
          checkedAutomation(
            isWhole
              ? { ...body, ...(body.slug === undefined && base.slug !== undefined ? { slug: base.slug } : {}) }
              : { ...base, ...body },
          );
        const warnings = await compileCheck(this, ctx, row.id, { [oldSlug]: merged(known) });

        return this.edit(ctx, row.id, { action: 'update' }, (draft) => {
          const present = draft.get('automations', oldSlug);
          if (!present) throw missing(oldSlug);
          this.assertMatch(ctx, draft.meta('automations', oldSlug)?.checksum, { ...present, slug: oldSlug });
          const automation = merged(present);
          const slug = typeof automation.slug === 'string' && automation.slug !== '' ? automation.slug : oldSlug;
          if (slug !== oldSlug) {
            assertSlug(slug);
            if (draft.has('automations', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
          }
          const isChanged = draft.put('automations', slug, automation, { oldSlug });
          this.setHeaders(ctx, { etag: etagOf(draft.meta('automations', slug)?.checksum ?? '') });
          if (isChanged)
            draft.event('workspaces.automations.updated', {
              automation: { ...automation, slug },
              slug,
              ...(slug === oldSlug ? {} : { oldSlug }),
              events: eventsOf(draft, automation),
            });
          return answer(slug, automation, warnings);
        });
      },
    },

    /** DELETE /workspaces/:workspaceId/automations/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      handler(this: Self, ctx: Call): Promise<{ slug: string }> {
        const { slug } = ctx.params;
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, (draft) => {
          const present = draft.get('automations', slug);
          if (!present) throw missing(slug);
          this.assertMatch(ctx, draft.meta('automations', slug)?.checksum, { ...present, slug });
          draft.remove('automations', slug);
          draft.event('workspaces.automations.deleted', { automationSlug: slug });
          return { slug };
        });
      },
    },
  },
};

export default automations;
