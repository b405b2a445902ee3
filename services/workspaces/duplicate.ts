/** duplicate — a copy of a version as a new workspace: index, automations, imports, pages, security. Not secrets, files, shares, versions or keys. */
import { fault } from '../../mixins/shared/errors.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { newIndex } from './create.ts';
import { assertPageRow } from './dsul/page.ts';
import { pageEvents } from './dsul/processed-events.ts';
import { defaultSecurity } from './dsul/security-file.ts';
import { plainText } from './dsul/slugs.ts';
import { withoutCredentials } from './git/credentials.ts';
import type { Author } from './store/draft.ts';
import type { WorkspaceRow } from './store/rows.ts';
import type { Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

const SUFFIX = ' - Copy';
const MAX_NAME_CHARS = 60;
/** Labels of the original that say something of the original alone. */
const isOwnLabel = (label: unknown): boolean =>
  label === 'suggestions' || String(label).startsWith('production:') || String(label).startsWith('importFrom:');

export async function duplicate(store: Store, source: WorkspaceRow, snapshot: Snapshot, author: Author): Promise<JsonObject> {
  const { id: _id, slug: _slug, customDomains: _domains, labels, name, ...fields } = withoutCredentials(snapshot.index);
  const title = plainText(name) || source.name;
  const copied = {
    ...fields,
    name: title.slice(0, MAX_NAME_CHARS - SUFFIX.length) + SUFFIX,
    ...(Array.isArray(labels) ? { labels: labels.filter((label) => !isOwnLabel(label)) } : {}),
  };
  if (snapshot.errors.length > 0)
    throw fault('InvalidWorkspaceError', {
      message: 'The workspace has files that cannot be read; a copy would lose them.',
      data: { errors: snapshot.errors },
    });
  const { row, index } = newIndex(copied, author, shortId(7), new Date().toISOString());
  const security = Object.keys(snapshot.security).length > 0 ? snapshot.security : defaultSecurity();
  await store.create(row, author, (draft) => {
    draft.putIndex(index);
    draft.putSecurity(security);
    for (const kind of ['automations', 'imports'] as const)
      for (const [slug, value] of Object.entries(snapshot[kind])) draft.put(kind, slug, value);
    draft.event('workspaces.security.updated', { security });
    draft.event('workspaces.duplicated', { workspace: index, fromWorkspace: { id: source.id, slug: source.slug, name: source.name } });
    for (const [slug, value] of Object.entries(snapshot.pages)) {
      const page = { ...value, id: shortId(7), slug, workspaceId: index.id, workspaceSlug: index.slug };
      draft.put('pages', slug, page);
      assertPageRow(draft, page);
      draft.event('workspaces.pages.created', { page, slug, events: pageEvents(page) });
    }
  });
  return index;
}
