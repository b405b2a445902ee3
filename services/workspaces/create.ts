/** create — a new workspace's row and index, and the change of an existing index with the events it means. */
import { isDeepStrictEqual } from 'node:util';
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { rowFieldsOf } from './dsul/index-file.ts';
import { randomSlug } from './dsul/slugs.ts';
import { shownIndex } from './git/credentials.ts';
import type { Author, Draft } from './store/draft.ts';
import type { PageRow, WorkspaceRow } from './store/rows.ts';
import type { Store } from './store/store.ts';

/** @throws RequestValidationError without name · AuthenticationError without user: a workspace needs an owner */
export function newIndex(
  fields: JsonObject,
  author: Author,
  id: string,
  now: string,
): { row: Omit<WorkspaceRow, '_rev' | 'revision'>; index: JsonObject } {
  if (typeof fields.name !== 'string')
    throw fault('RequestValidationError', { message: 'name is required.', data: { problems: [{ path: 'name', message: 'is required' }] } });
  if (!author.userId) throw fault('AuthenticationError', { message: 'A workspace needs an owner: sign in first.' });
  const { name, slug, ...rest } = withoutNulls(fields);
  const index = { id, name, slug: slug || randomSlug(), ...rest };
  const row = {
    id,
    ...rowFieldsOf(index),
    permissions: { [author.userId]: { role: 'owner' } },
    versions: [],
    createdAt: now,
    createdBy: author.userId,
    updatedAt: now,
    updatedBy: author.userId,
  } as unknown as Omit<WorkspaceRow, '_rev' | 'revision'>;
  return { row, index };
}

/**
 * Merges `fields` over the index (top-level keys replaced, `null` removes), with the row, the rows of pages and the events that follow.
 * @throws AlreadyUsedError for the slug or a custom domain
 */
export async function editedIndex(store: Store, draft: Draft, fields: JsonObject): Promise<JsonObject> {
  const old = draft.index;
  const merged = withoutNulls({ ...old, ...fields });
  const index: JsonObject = { ...merged, id: draft.row.id, name: merged.name || draft.row.name, slug: merged.slug || draft.row.slug };
  if (isDeepStrictEqual(index, old)) return index;

  const oldSlug = draft.row.slug;
  if (index.slug !== oldSlug) await renameWorkspace(store, draft, String(index.slug));
  if (!isDeepStrictEqual(index.customDomains, old.customDomains)) await assertDomainsFree(store, draft.row.id, index.customDomains);
  draft.putIndex(index);
  draft.setRow(rowFieldsOf(index));

  draft.event('workspaces.updated', { workspace: shownIndex(index), ...(index.slug === oldSlug ? {} : { oldSlug }) });
  if (!isDeepStrictEqual(index.config, old.config))
    draft.event('workspaces.configured', { config: index.config ?? {}, ...(old.config ? { oldConfig: old.config } : {}) });
  if (!isDeepStrictEqual(index.blocks, old.blocks))
    draft.event('workspaces.blocks.updated', { blocks: index.blocks ?? {}, workspaceSlug: index.slug });
  if (!isDeepStrictEqual(index.events, old.events)) draft.event('workspaces.events.updated', { events: index.events ?? {} });
  return index;
}

async function renameWorkspace(store: Store, draft: Draft, slug: string): Promise<void> {
  const [taken] = await store.documents.find<WorkspaceRow>('workspaces', { slug }, { limit: 1 });
  if (taken && taken.id !== draft.row.id)
    throw fault('AlreadyUsedError', { message: `Slug ${slug} is taken`, data: { slug: 'AlreadyUsedError' } });
  for (const { _rev, ...page } of await store.documents.find<PageRow>('pages', { workspaceId: draft.row.id }))
    draft.step({ do: 'upsert', collection: 'pages', record: { ...page, workspaceSlug: slug } });
}

async function assertDomainsFree(store: Store, workspaceId: string, domains: unknown): Promise<void> {
  const wanted = Array.isArray(domains) ? domains.map(String) : [];
  if (wanted.length === 0) return;
  const users = await store.documents.find<WorkspaceRow>(
    'workspaces',
    { customDomains: { $in: wanted }, id: { $ne: workspaceId } },
    { limit: 1 },
  );
  const domain = wanted.find((name) => users[0]?.customDomains?.includes(name));
  if (domain)
    throw fault('AlreadyUsedError', { message: `The domain ${domain} is used by another workspace.`, data: { customDomains: domain } });
}

const withoutNulls = (fields: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
