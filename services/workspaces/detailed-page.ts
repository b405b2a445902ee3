/** detailed-page — a page as a client draws it: its blocks with their configuration filled in, and the blocks that installed apps offer. */
import { isPlainObject, type JsonObject, readPath } from '../../mixins/shared/json.ts';
import { appSnapshot } from './app-details.ts';
import { pageEvents } from './dsul/processed-events.ts';
import type { WorkspaceRow } from './store/rows.ts';
import type { Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

const MAX_DEPTH = 50;

/** Computed at each read from the current revision: never stale. */
export async function detailedPage(
  store: Store,
  row: WorkspaceRow,
  snapshot: Snapshot,
  slug: string,
  isPublic: boolean,
): Promise<JsonObject> {
  const page = snapshot.pages[slug] as JsonObject;
  const config = isPlainObject(snapshot.index.config) ? snapshot.index.config.value : {};
  const owners = new Map<string, unknown>();
  const appInstances: { slug: string; blocks: JsonObject }[] = [];
  for (const [instanceSlug, instance] of Object.entries(snapshot.imports)) {
    const app = await appSnapshot(store, String(instance.appSlug), instance.appVersion as string | undefined).catch(() => null);
    const blocks = isPlainObject(app?.snapshot.index.blocks) ? app.snapshot.index.blocks : {};
    if (Object.keys(blocks).length === 0) continue;
    appInstances.push({ slug: instanceSlug, blocks: addresses(blocks) });
    for (const block of Object.keys(blocks)) owners.set(`${instanceSlug}.${block}`, instance.config);
  }
  if (isPlainObject(snapshot.index.blocks)) appInstances.push({ slug: '', blocks: addresses(snapshot.index.blocks) });

  const blocks = (Array.isArray(page.blocks) ? page.blocks : []).map((block) =>
    fillIn(block, { config, appConfig: isPlainObject(block) ? owners.get(String(block.slug)) : undefined }),
  );
  return {
    ...page,
    slug,
    workspaceId: row.id,
    workspaceSlug: row.slug,
    blocks,
    appInstances,
    events: pageEvents(page),
    public: isPublic,
    ...(page.favicon || row.photo ? { favicon: page.favicon ?? row.photo } : {}),
    ...(row.clientId ? { clientId: row.clientId } : {}),
  };
}

const addresses = (blocks: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(blocks).map(([slug, block]) => [slug, isPlainObject(block) && typeof block.url === 'string' ? block.url : block]),
  );

/** `{{config.a.b}}` and `{{appConfig.a.b}}` replaced where they are known; a text that is only one keeps the type of the value. */
function fillIn(value: unknown, scope: JsonObject, depth = 0): unknown {
  if (depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) return value.map((item) => fillIn(item, scope, depth + 1));
  if (isPlainObject(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillIn(item, scope, depth + 1)]));
  if (typeof value !== 'string' || !value.includes('{{')) return value;
  const whole = /^\{\{((?:config|appConfig)(?:\.[\w-]+)*)\}\}$/.exec(value);
  if (whole) return readPath(scope, (whole[1] as string).split('.')) ?? value;
  return value.replace(/\{\{((?:config|appConfig)(?:\.[\w-]+)*)\}\}/g, (text, path: string) => {
    const found = readPath(scope, path.split('.'));
    return found === undefined || found === null ? text : typeof found === 'object' ? JSON.stringify(found) : String(found);
  });
}
