/** publish-app — makes a version of a workspace available as an app. The version is copied to a folder of its own that never changes; the row then points to it. */
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { appFolder, CURRENT, META_FILE, versionFolder } from './dsul/layout.ts';
import { assertSlug } from './dsul/slugs.ts';
import type { Draft } from './store/draft.ts';
import type { AppRow } from './store/rows.ts';
import type { Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';
import { generatedVersionName, isVersionName } from './version-names.ts';

export interface PublishOptions {
  slug?: string;
  workspaceVersion?: string;
  /** Of the new version of the app. */
  name?: string;
  description?: unknown;
}

const MAX_APP_VERSIONS = 1000;

/** The app a workspace is published as, if any. */
export async function appOfWorkspace(store: Store, workspaceId: string): Promise<AppRow | undefined> {
  return (await store.documents.find<AppRow>('apps', { workspaceId }, { limit: 1 }))[0];
}

/**
 * Adds the publication to a change.
 * @throws MissingFieldError (slug of a first publication) · InvalidSlugError · AlreadyUsedError · InvalidVersionError · PrismeError when another slug is asked for
 */
export async function publishApp(
  store: Store,
  draft: Draft,
  options: PublishOptions,
  { isImport = false } = {},
): Promise<Omit<AppRow, '_rev'>> {
  const workspaceId = draft.row.id;
  const published = await appOfWorkspace(store, workspaceId);
  const slug = options.slug ?? published?.slug;
  if (!slug)
    throw fault('MissingFieldError', { message: 'slug is required to publish an app for the first time.', data: { field: 'slug' } });
  assertSlug(slug);
  if (published && published.slug !== slug)
    throw fault('PrismeError', { message: 'The slug of an app cannot be updated.', data: { slug: published.slug } });

  const version = options.workspaceVersion && options.workspaceVersion !== 'latest' ? options.workspaceVersion : CURRENT;
  const source: Pick<Snapshot, 'index' | 'pages'> =
    version === CURRENT
      ? { index: draft.index, pages: draft.all('pages') as Snapshot['pages'] }
      : await store.version(workspaceId, version);
  const known = published?.versions ?? [];
  // The name given is the version's when it can be one; a title such as `My app` is kept beside a generated name.
  const taken = known.map((entry) => entry.name);
  const name = isVersionName(options.name) ? options.name : generatedVersionName(taken, new Date(draft.now));
  if (taken.includes(name))
    throw fault('AlreadyUsedError', { message: `The app already has a version '${name}'.`, data: { version: name } });

  const from = draft.row.versions?.find((entry) => entry.name === version);
  const entry = {
    name,
    ...(options.name && options.name !== name ? { title: options.name } : {}),
    description: options.description ?? from?.description ?? 'App release',
    createdAt: draft.now,
    ...(draft.author.userId ? { createdBy: draft.author.userId } : {}),
  };
  const documentation = Object.hasOwn(source.pages, '_doc') ? { workspaceSlug: draft.row.slug, slug: '_doc' } : undefined;
  const app = withoutUndefined({
    id: slug,
    slug,
    workspaceId,
    name: source.index.name,
    description: source.index.description ?? options.description,
    photo: source.index.photo,
    labels: source.index.labels,
    documentation,
    versions: [entry, ...known].slice(0, MAX_APP_VERSIONS),
    currentVersion: name,
    revision: (published?.revision ?? 0) + 1,
    createdAt: published?.createdAt ?? draft.now,
    createdBy: published?.createdBy ?? draft.author.userId,
    updatedAt: draft.now,
    updatedBy: draft.author.userId,
  }) as unknown as Omit<AppRow, '_rev'> & { [field: string]: unknown };
  if (!published) await reserve(store, slug, app);

  draft.step(
    { do: 'copyAll', from: versionFolder(workspaceId, version), to: appFolder(slug, name), except: [META_FILE] },
    { do: 'upsert', collection: 'apps', record: app },
  );
  for (const old of known.slice(MAX_APP_VERSIONS - 1)) draft.step({ do: 'removeAll', prefix: appFolder(slug, old.name) });
  draft.event(
    'apps.published',
    { app: shownApp(app as unknown as AppRow), ...(isImport ? { rebuildModel: true } : {}) },
    { appSlug: slug },
  );
  return app;
}

/** The slug of an app is unique on the platform: the row is made at once, without versions, so that of two workspaces one gets it. */
async function reserve(store: Store, slug: string, app: Omit<AppRow, '_rev'>): Promise<void> {
  try {
    await store.documents.insert<AppRow>('apps', { ...app, versions: [], revision: 0 });
  } catch (error) {
    if (!isFault(error, 'AlreadyUsedError')) throw error;
    const owner = await store.documents.get<AppRow>('apps', slug);
    if (owner?.workspaceId !== app.workspaceId)
      throw fault('AlreadyUsedError', { message: `The app slug ${slug} is taken`, data: { slug } });
  }
}

export const shownApp = ({
  _rev,
  currentVersion: _current,
  revision: _revision,
  permissions: _permissions,
  ...app
}: AppRow & { permissions?: unknown }): JsonObject => app;

const withoutUndefined = (fields: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
