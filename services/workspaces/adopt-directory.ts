/**
 * adopt-directory — opens a data directory that came without its rows (one of the reference product, or a copy of a folder of ours): every tree of
 * a workspace and of an app gets the rows it needs, made from its files. Nothing in the trees is changed.
 */
import type { Logger } from 'moleculer';
import { isFault } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import { appFolder, INDEX_FILE } from './dsul/layout.ts';
import { treesIn } from './store/adopt.ts';
import type { AppRow, PageRow } from './store/rows.ts';
import { readFolder } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

/** Ids of the workspaces and slugs of the apps that were adopted; one that cannot be read is told and left. */
export async function adoptDirectory(store: Store, logger: Logger): Promise<{ workspaces: string[]; apps: string[] }> {
  const adopted = { workspaces: [] as string[], apps: [] as string[] };
  const trying = async (what: string, work: () => Promise<boolean>, list: string[], name: string): Promise<void> => {
    try {
      if (await work()) list.push(name);
    } catch (error) {
      // Another node that starts at the same time has opened it.
      if (isFault(error, 'AlreadyUsedError')) return;
      logger.warn(`The ${what} '${name}' in the data directory could not be opened: ${(error as Error).message}`);
    }
  };
  for (const id of await treesIn(store.files)) await trying('workspace', () => adoptWorkspace(store, id), adopted.workspaces, id);
  for (const slug of await appsIn(store)) await trying('app', () => adoptApp(store, slug), adopted.apps, slug);
  return adopted;
}

async function adoptWorkspace(store: Store, id: string): Promise<boolean> {
  if (await store.documents.get('workspaces', id)) return false;
  if (!(await store.findRow(id))) return false;
  const { row, snapshot } = await store.current(id);
  for (const [slug, page] of Object.entries(snapshot.pages)) {
    if (typeof page.id !== 'string' || page.id === '') continue;
    await orKnown(() =>
      store.documents.insert<PageRow>('pages', {
        id: page.id as string,
        workspaceId: id,
        workspaceSlug: row.slug,
        slug,
        ...(page.name === undefined ? {} : { name: page.name }),
        ...(Array.isArray(page.labels) ? { labels: page.labels.map(String) } : {}),
        createdAt: row.createdAt,
        updatedAt: row.updatedAt,
      }),
    );
  }
  return true;
}

const APP_INDEX = /^apps\/([^/]+)\/versions\/([^/]+)\/index\.yml$/;

async function appsIn(store: Store): Promise<string[]> {
  const slugs = new Set<string>();
  for await (const { key } of store.files.list('apps')) {
    const [, slug] = APP_INDEX.exec(key) ?? [];
    if (slug) slugs.add(slug);
  }
  return [...slugs];
}

async function adoptApp(store: Store, slug: string): Promise<boolean> {
  if (await store.documents.get('apps', slug)) return false;
  const versions = new Map<string, number>();
  for await (const { key, modifiedAt } of store.files.list(`apps/${slug}/versions`)) {
    const [, , name] = APP_INDEX.exec(key) ?? [];
    if (name) versions.set(name, modifiedAt);
  }
  const newest = [...versions].sort(([, a], [, b]) => b - a);
  const current = versions.has('current') ? 'current' : newest[0]?.[0];
  const snapshot = current ? await readFolder(store.files, appFolder(slug, current), 1) : null;
  if (!current || !snapshot || snapshot.errors.some(({ file }) => file === INDEX_FILE)) return false;
  const { index } = snapshot;
  const at = (modifiedAt: number | undefined) => new Date(modifiedAt || Date.now()).toISOString();
  await store.documents.insert<AppRow>('apps', {
    id: slug,
    slug,
    // An index copied from a workspace says whose it was.
    workspaceId: typeof index.id === 'string' ? index.id : '',
    name: index.name ?? slug,
    ...(index.description === undefined ? {} : { description: index.description }),
    ...(typeof index.photo === 'string' ? { photo: index.photo } : {}),
    ...(Array.isArray(index.labels) ? { labels: index.labels.map(String) } : {}),
    ...(isPlainObject(snapshot.pages) && Object.hasOwn(snapshot.pages, '_doc') && typeof index.slug === 'string'
      ? { documentation: { workspaceSlug: index.slug, slug: '_doc' } }
      : {}),
    versions: newest
      .filter(([name]) => name !== 'current')
      .map(([name, modifiedAt]) => ({ name, description: '', createdAt: at(modifiedAt) })),
    ...(current === 'current' ? {} : { currentVersion: current }),
    revision: 1,
    createdAt: at(newest.at(-1)?.[1]),
    updatedAt: at(newest[0]?.[1]),
  });
  return true;
}

async function orKnown(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isFault(error, 'AlreadyUsedError')) throw error;
  }
}
