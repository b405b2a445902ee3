/**
 * appInstances — owns the apps installed in a workspace: install, configure, rename, uninstall.
 *
 * State   `workspaces/<id>/versions/current/imports/<slug>.yml`, through the store.
 * Emits   `workspaces.apps.installed|configured|uninstalled`; `configured` only when something stored really changed, so that an
 *         automation which configures its instance when it is configured comes to rest.
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { REPEATABLE } from '../../mixins/shared/repeatable.ts';
import { appRow, appSnapshot, detailedInstance, instanceEvents } from './app-details.ts';
import { assertSlug, slugProblem } from './dsul/slugs.ts';
import { type Call, editing, etagOf, type Self } from './editing.mixin.ts';
import { checkedInstance, configWarnings } from './instances.ts';
import { shownMeta } from './read-model.ts';
import type { Draft } from './store/draft.ts';
import { historyEntry } from './store/history.ts';
import type { Store } from './store/store.ts';

const missing = (slug: string) =>
  fault('ObjectNotFoundError', { message: `There is no app instance '${slug}'.`, data: { subjectType: 'imports', slug } });

const appInstances: ServiceSchema<any, any> = {
  name: 'appInstances',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/apps: with what each app offers. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject[]> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { snapshot } = await this.store.current(id);
        return Promise.all(
          Object.entries(snapshot.imports).map(([slug, instance]) =>
            detailedInstance(this.store, slug, instance, snapshot.meta.imports[slug]),
          ),
        );
      },
    },

    /** POST /workspaces/:workspaceId/apps `{ appSlug, slug?, appVersion?, config?, … }`. @throws ObjectNotFoundError (app) · AlreadyUsedError */
    install: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        const instance = checkedInstance(ctx.params.body);
        // The instance takes the name of the app unless told otherwise.
        const slug = instance.slug ?? (slugProblem(instance.appSlug, 'instance') ? undefined : instance.appSlug);
        if (slug === undefined) throw fault('MissingFieldError', { message: 'slug is required.', data: { field: 'slug' } });
        assertSlug(slug, 'instance');
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, async (draft) => {
          if (draft.has('imports', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
          const { row, snapshot } = await appSnapshot(this.store, String(instance.appSlug), instance.appVersion as string | undefined);
          await assertNoCircle(this.store, draft.row.id, row.workspaceId, String(instance.appSlug));
          const stored = { ...instance, slug, appName: instance.appName ?? row.name };
          draft.put('imports', slug, stored);
          draft.event('workspaces.apps.installed', { appInstance: stored, slug, events: instanceEvents(snapshot) }, sourceOf(stored, slug));
          const warnings = configWarnings(isPlainObject(snapshot.index.config) ? snapshot.index.config.schema : undefined, instance.config);
          return { ...stored, ...(warnings.length > 0 ? { warnings } : {}) };
        });
      },
    },

    /** GET /workspaces/:workspaceId/apps/:slug: `config { schema, block, value }`, schema and block of the version in use. */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { slug } = ctx.params;
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { snapshot } = await this.store.current(id);
        const instance = Object.hasOwn(snapshot.imports, slug) ? snapshot.imports[slug] : undefined;
        if (!instance) throw missing(slug);
        this.setHeaders(ctx, { etag: etagOf(snapshot.meta.imports[slug]?.checksum ?? '') });
        return { ...instance, slug, ...shownMeta(snapshot, 'imports', slug), ...(await configOfApp(this.store, instance)) };
      },
    },

    /**
     * The instance that was uninstalled by this revision, as it was; `null` when nobody knows. For the runtime: events tell the slug only, as a configuration
     * may hold what is not for all who read events.
     */
    former: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      params: { workspaceId: 'string|min:1', slug: 'string|min:1', revision: 'number' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; slug: string; revision: number }>): Promise<JsonObject | null> {
        const { workspaceId, slug, revision } = ctx.params;
        const entry = await historyEntry(this.store.files, workspaceId, revision);
        const change = entry?.changes.find((one) => one.type === 'imports' && one.slug === slug && one.change === 'deleted');
        return isPlainObject(change?.before) ? change.before : null;
      },
    },

    /** PATCH /workspaces/:workspaceId/apps/:slug: shallow merge; `config` replaces the whole value; another `slug` renames. */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        const body = ctx.params.body;
        if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be an app instance.' });
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, async (draft) => {
          const stored = await configured(this, ctx, draft, ctx.params.slug, (instance) => ({ ...instance, ...body }));
          return { ...stored, config: { value: stored.config ?? {} } };
        });
      },
    },

    /** DELETE /workspaces/:workspaceId/apps/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      handler(this: Self, ctx: Call): Promise<{ id: string; slug: string }> {
        const { slug } = ctx.params;
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, (draft) => {
          const instance = draft.get('imports', slug);
          if (!instance) throw missing(slug);
          this.assertMatch(ctx, draft.meta('imports', slug)?.checksum, instance);
          draft.remove('imports', slug);
          draft.event('workspaces.apps.uninstalled', { slug }, sourceOf(instance, slug));
          return { id: slug, slug };
        });
      },
    },

    /**
     * An automation of a workspace sets the configuration of an instance in it: the whole value is replaced. For runs of that very workspace
     * (their signed identity names it) and services; anybody else needs the right to update.
     */
    configure: {
      visibility: 'public',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const body = ctx.params.body;
        if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be the configuration: an object.' });
        const id = await this.idOf(ctx.params.workspaceId);
        const { kind, sourceWorkspaceId } = this.identityOf(ctx);
        if (kind !== 'system' && !(kind === 'delegated' && sourceWorkspaceId === id)) await this.allowed(ctx, id, 'update');
        const { result } = await this.store.change(id, this.author(ctx), (draft) =>
          configured(this, ctx, draft, ctx.params.slug, (instance) => ({ ...instance, config: body })),
        );
        return result;
      },
    },

    /** GET /workspaces/:workspaceId/apps/:slug/config: the value. */
    getConfig: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      async handler(this: Self, ctx: Call): Promise<unknown> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { snapshot } = await this.store.current(id);
        if (!Object.hasOwn(snapshot.imports, ctx.params.slug)) throw missing(ctx.params.slug);
        return snapshot.imports[ctx.params.slug]?.config ?? {};
      },
    },

    /** PATCH /workspaces/:workspaceId/apps/:slug/config: the body's keys are merged at first level into the value. */
    patchConfig: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', slug: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        const body = ctx.params.body;
        if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be the configuration: an object.' });
        return this.edit(ctx, ctx.params.workspaceId, { action: 'update' }, async (draft) => {
          const merged = (instance: JsonObject) => ({
            ...instance,
            config: { ...(isPlainObject(instance.config) ? instance.config : {}), ...body },
          });
          const stored = await configured(this, ctx, draft, ctx.params.slug, merged);
          return { ...stored, config: { value: stored.config ?? {} } };
        });
      },
    },
  },
};

export default appInstances;

const sourceOf = (instance: JsonObject, slug: string) => ({ appSlug: String(instance.appSlug), appInstanceFullSlug: slug });

/** Changes an instance. @throws ObjectNotFoundError · AlreadyUsedError · PreconditionFailed · InvalidVersionError */
async function configured(
  self: Self,
  ctx: Call,
  draft: Draft,
  oldSlug: string,
  change: (instance: JsonObject) => JsonObject,
): Promise<JsonObject> {
  const old = draft.get('imports', oldSlug);
  if (!old) throw missing(oldSlug);
  self.assertMatch(ctx, draft.meta('imports', oldSlug)?.checksum, { ...old, slug: oldSlug });
  const next = checkedInstance(change({ ...old, slug: oldSlug }));
  const slug = String(next.slug);
  if (slug !== oldSlug) {
    assertSlug(slug, 'instance');
    if (draft.has('imports', slug)) throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug } });
  }
  const isOtherApp = next.appSlug !== old.appSlug || next.appVersion !== old.appVersion;
  const app = await appSnapshot(self.store, String(next.appSlug), next.appVersion as string | undefined).catch((error) => {
    // An instance whose app is gone may still be configured, or disabled; it may not be moved to what does not exist.
    if (isOtherApp) throw error;
    return null;
  });
  if (app && isOtherApp) await assertNoCircle(self.store, draft.row.id, app.row.workspaceId, String(next.appSlug));
  const isChanged = draft.put('imports', slug, next, { oldSlug });
  self.setHeaders(ctx, { etag: etagOf(draft.meta('imports', slug)?.checksum ?? '') });
  if (isChanged)
    draft.event(
      'workspaces.apps.configured',
      {
        appInstance: { ...next, oldConfig: old.config ?? {} },
        slug,
        ...(slug === oldSlug ? {} : { oldSlug }),
        events: app ? instanceEvents(app.snapshot) : { emit: [], listen: [], autocomplete: [] },
      },
      sourceOf(next, slug),
    );
  return next;
}

/** A workspace may not install itself, directly or through the apps it installs: the runtime would never end loading it. */
async function assertNoCircle(
  store: Store,
  workspaceId: string,
  appWorkspaceId: string,
  appSlug: string,
  path: string[] = [],
): Promise<void> {
  if (appWorkspaceId === workspaceId)
    throw fault('PrismeError', {
      message: `The app would contain itself: ${[...path, appSlug].join(' → ')}.`,
      data: { path: [...path, appSlug] },
    });
  if (path.includes(appSlug) || path.length > 20) return;
  const app = await appSnapshot(store, appSlug).catch(() => null);
  for (const nested of Object.values(app?.snapshot.imports ?? {})) {
    const row = await appRow(store, String(nested.appSlug)).catch(() => null);
    if (row) await assertNoCircle(store, workspaceId, row.workspaceId, row.slug, [...path, appSlug]);
  }
}

async function configOfApp(store: Store, instance: JsonObject): Promise<JsonObject> {
  const value = instance.config ?? {};
  try {
    const { row, snapshot } = await appSnapshot(store, String(instance.appSlug), instance.appVersion as string | undefined);
    const { schema, block } = isPlainObject(snapshot.index.config) ? snapshot.index.config : {};
    return {
      config: { ...(schema ? { schema } : {}), ...(block ? { block } : {}), value },
      ...(row.documentation ? { documentation: row.documentation } : {}),
    };
  } catch {
    return { config: { value }, broken: true };
  }
}
