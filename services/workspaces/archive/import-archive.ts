/**
 * import-archive — turns the files of an archive into one change of a workspace. A file with a fault is reported and left out, the others are
 * imported; all that is imported becomes visible together, or nothing does.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Ability } from '../../../mixins/auth/contract.ts';
import { fault, toPublicError } from '../../../mixins/shared/errors.ts';
import { shortId } from '../../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { breather } from '../breath.ts';
import { editedIndex } from '../create.ts';
import { checkedAutomation } from '../dsul/automation.ts';
import { checkedIndex } from '../dsul/index-file.ts';
import { KINDS, type Kind } from '../dsul/layout.ts';
import { assertPageRow, checkedPage } from '../dsul/page.ts';
import { pageEvents } from '../dsul/processed-events.ts';
import { checkedSecurity } from '../dsul/security-file.ts';
import { assertSlug } from '../dsul/slugs.ts';
import { editYaml, readYaml } from '../dsul/yaml.ts';
import { assertSecurityWithinRights, type Giver } from '../escalation.ts';
import { checkedInstance } from '../instances.ts';
import type { Draft } from '../store/draft.ts';
import type { PageRow } from '../store/rows.ts';
import type { Store } from '../store/store.ts';
import type { ArchivedFile } from './read-archive.ts';

export interface ImportError {
  msg: string;
  filepath: string;
  err: string;
  details?: unknown;
}

export interface ImportOptions {
  /** Objects that the archive lacks are deleted. */
  prune?: boolean;
  /** Paths left alone: `index`, `security`, `pages/<slug>`, … */
  exclude?: string[];
  /** Restoring a version of this very workspace: its slug, description and security come back as they were. */
  isRollback?: boolean;
}

export interface Parsed {
  index?: { value: JsonObject; text: string };
  security?: { value: JsonObject; text: string };
  origin?: JsonObject;
  objects: { kind: Kind; slug: string; value: JsonObject; text?: string }[];
  errors: ImportError[];
}

const errorOf = (filepath: string, error: unknown): ImportError => {
  const { error: err, message, details } = toPublicError(error);
  return { msg: message, filepath, err, ...(Object.keys(details).length > 0 ? { details } : {}) };
};

/** Reads and checks each file by itself. */
export async function parseArchive(files: ArchivedFile[]): Promise<Parsed> {
  const breathe = breather();
  const parsed: Parsed = { objects: [], errors: [] };
  for (const { path, file, text } of files) {
    await breathe();
    try {
      if (file.type === 'meta') continue;
      const value = readYaml(text, path);
      if (file.type === 'index') parsed.index = { value: checkedIndex(value, { lenient: true }), text };
      else if (file.type === 'security') parsed.security = { value: checkedSecurity(value), text };
      else if (file.type === 'import') parsed.origin = value;
      else parsed.objects.push(checkedObject(file.kind, file.slug, value, text));
    } catch (error) {
      // Without its index a workspace would be half of something: the whole import is refused.
      if (file.type === 'index') throw error;
      parsed.errors.push(errorOf(path, error));
    }
  }
  return parsed;
}

/** The name of the file is the slug; a text that says otherwise is corrected. */
function checkedObject(kind: Kind, slug: string, value: JsonObject, text: string): Parsed['objects'][number] {
  assertSlug(slug);
  const checked =
    kind === 'automations'
      ? checkedAutomation(value, `${kind}/${slug}`)
      : kind === 'imports'
        ? checkedInstance({ ...value, slug })
        : checkedPage(value);
  const { slug: _slug, ...withoutSlug } = checked;
  const stored =
    value.slug !== undefined && value.slug !== slug
      ? { ...checked, slug }
      : kind === 'imports' && value.slug === undefined
        ? withoutSlug
        : checked;
  // Comments and order stay, also of a file that is corrected.
  return { kind, slug, value: stored, text: JSON.stringify(stored) === JSON.stringify(value) ? text : editYaml(text, stored, slug) };
}

export interface Applied {
  imported: string[];
  deleted: string[];
  errors: ImportError[];
}

/** Puts what was parsed into the change, as far as the caller may. */
export async function applyImport(store: Store, draft: Draft, parsed: Parsed, giver: Giver, options: ImportOptions = {}): Promise<Applied> {
  const { ability } = giver;
  const applied: Applied = { imported: [], deleted: [], errors: [...parsed.errors] };
  const excluded = new Set(options.exclude ?? []);
  const attempt = (path: string, work: () => boolean | undefined): void => {
    if (excluded.has(path.replace(/\.yml$/, ''))) return;
    try {
      work();
      applied.imported.push(path.replace(/^index\.yml$/, 'index'));
    } catch (error) {
      applied.errors.push(errorOf(path, error));
    }
  };

  if (parsed.index && !excluded.has('index')) {
    await importIndex(store, draft, parsed.index, options);
    applied.imported.push('index');
  }
  if (parsed.security) {
    const { value, text } = parsed.security;
    attempt('security.yml', () => {
      // What stays as it is needs no right.
      if (isDeepStrictEqual(draft.security, value)) return false;
      ability.assert('manage_security', 'workspaces', draft.row);
      ability.assert('manage_permissions', 'workspaces', draft.row);
      assertRolesKept(draft, value);
      assertSecurityWithinRights(giver, draft.security, value);
      const isChanged = draft.putSecurity(value, text);
      if (isChanged) draft.event('workspaces.security.updated', { security: value });
      return isChanged;
    });
  }
  const foreign = await foreignPageIds(store, draft, parsed);
  for (const { kind, slug, value, text } of parsed.objects) {
    attempt(`${kind}/${slug}.yml`, () =>
      kind === 'pages' ? importPage(draft, ability, slug, value, foreign, text) : importObject(draft, kind, slug, value, text),
    );
  }
  if (options.prune) prune(draft, parsed, excluded, applied, ability);
  draft.putOrigin({
    ...parsed.origin,
    version: { ...(isPlainObject(parsed.origin?.version) ? parsed.origin.version : {}), type: 'import', importedAt: draft.now },
    checksums: Object.fromEntries(
      KINDS.map((kind) => [
        kind,
        Object.fromEntries(Object.keys(draft.all(kind)).map((slug) => [slug, draft.meta(kind, slug)?.checksum ?? ''])),
      ]),
    ),
  });
  return applied;
}

/** Slug, domains and repositories are the target's own; labels are joined. */
async function importIndex(
  store: Store,
  draft: Draft,
  { value, text }: { value: JsonObject; text: string },
  { isRollback = false }: ImportOptions,
): Promise<void> {
  const old = draft.index;
  const { slug: _slug, customDomains: _domains, repositories: _repositories, id: _id, labels, ...fields } = value;
  const joined = [...new Set([...(Array.isArray(old.labels) && !isRollback ? old.labels : []), ...(Array.isArray(labels) ? labels : [])])];
  // A restored version has the fields it had, not those added since.
  const added = isRollback
    ? Object.keys(old).filter((key) => !Object.hasOwn(value, key) && !['id', 'slug', 'customDomains', 'repositories'].includes(key))
    : [];
  const merged = await editedIndex(store, draft, {
    ...Object.fromEntries(added.map((key) => [key, null])),
    ...fields,
    ...(joined.length > 0 ? { labels: joined } : {}),
  });
  // The file keeps the comments of the imported text where it keeps its values.
  if (draft.index !== old) draft.restyle('index', text, merged);
}

function importObject(draft: Draft, kind: Kind, slug: string, value: JsonObject, text?: string): boolean {
  const isNew = !draft.has(kind, slug);
  const oldConfig = draft.get(kind, slug)?.config;
  if (!draft.put(kind, slug, value, text === undefined ? {} : { text })) return false;
  if (kind === 'imports') {
    const appInstance = { ...value, slug, ...(isNew || oldConfig === undefined ? {} : { oldConfig }) };
    draft.event(
      isNew ? 'workspaces.apps.installed' : 'workspaces.apps.configured',
      { appInstance, slug, events: {} },
      {
        appSlug: String(value.appSlug),
        appInstanceFullSlug: slug,
      },
    );
  }
  return true;
}

/** Ids of the archive's pages that stand for pages of other workspaces: what it was exported from, or what its author would like to own. */
async function foreignPageIds(store: Store, draft: Draft, parsed: Parsed): Promise<Set<string>> {
  const ids = parsed.objects.flatMap(({ kind, value }) => (kind === 'pages' && typeof value.id === 'string' ? [value.id] : []));
  const rows = ids.length > 0 ? await store.documents.find<PageRow>('pages', { id: { $in: ids } }) : [];
  return new Set(rows.filter(({ workspaceId }) => workspaceId !== draft.row.id).map(({ id }) => id));
}

function importPage(draft: Draft, ability: Ability, slug: string, value: JsonObject, foreign: Set<string>, text?: string): boolean {
  // A page is recognised by its id first: one renamed in the source is renamed here.
  const oldSlug = draft.has('pages', slug)
    ? slug
    : (Object.entries(draft.all('pages')).find(([, page]) => page.id !== undefined && page.id === value.id)?.[0] ?? slug);
  const isNew = !draft.has('pages', oldSlug);
  if (oldSlug === slug && isDeepStrictEqual(draft.get('pages', slug), value)) return false;
  ability.assert(isNew ? 'create' : 'update', 'pages', { ...value, workspaceId: draft.row.id });
  const taken = new Set([
    ...foreign,
    ...Object.entries(draft.all('pages')).flatMap(([other, page]) => (other === oldSlug ? [] : [page.id])),
  ]);
  const given = typeof value.id === 'string' && value.id && !taken.has(value.id) ? value.id : shortId(7);
  const id = draft.get('pages', oldSlug)?.id ?? given;
  const page = { ...value, id, slug, workspaceId: draft.row.id, workspaceSlug: draft.row.slug };
  const stored = text === undefined ? {} : { text: editYaml(text, page, slug) };
  if (!draft.put('pages', slug, page, { oldSlug, ...stored })) return false;
  assertPageRow(draft, page);
  draft.event(isNew ? 'workspaces.pages.created' : 'workspaces.pages.updated', {
    page,
    slug,
    ...(oldSlug === slug ? {} : { oldSlug }),
    events: pageEvents(page),
  });
  return true;
}

function prune(draft: Draft, parsed: Parsed, excluded: Set<string>, applied: Applied, ability: Ability): void {
  const broken = new Set(parsed.errors.map(({ filepath }) => filepath));
  for (const kind of KINDS) {
    const kept = new Set(parsed.objects.filter((object) => object.kind === kind).map(({ slug }) => slug));
    for (const [slug, value] of Object.entries(draft.all(kind))) {
      const path = `${kind}/${slug}`;
      // A file of the archive that could not be read is no order to delete what it stands for.
      if (kept.has(slug) || excluded.has(path) || broken.has(`${path}.yml`) || broken.has(`${path}.yaml`)) continue;
      if (kind === 'pages' && !ability.can('delete', 'pages', { ...value, workspaceId: draft.row.id })) continue;
      draft.remove(kind, slug);
      if (kind === 'pages')
        draft.step({ do: 'removeRows', collection: 'pages', query: { id: String(value.id), workspaceId: draft.row.id } });
      if (kind === 'pages') draft.event('workspaces.pages.deleted', { pageSlug: slug });
      if (kind === 'imports')
        draft.event('workspaces.apps.uninstalled', { slug }, { appSlug: String(value.appSlug), appInstanceFullSlug: slug });
      applied.deleted.push(`${path}.yml`);
    }
  }
}

function assertRolesKept(draft: Draft, security: JsonObject): void {
  const authorizations = isPlainObject(security.authorizations) ? security.authorizations : {};
  const names = new Set(['owner', 'editor', ...Object.keys(isPlainObject(authorizations.roles) ? authorizations.roles : {})]);
  const lost = Object.values(draft.row.permissions ?? {}).find(({ role }) => role && !names.has(role));
  if (lost)
    throw fault('InvalidSecurity', { message: `The role '${lost.role}' is still given to a collaborator.`, data: { role: lost.role } });
}
