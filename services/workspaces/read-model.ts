/** read-model — a workspace as GET shows it: its index, and maps of what it holds without their bodies. */

import type { Config } from '../../mixins/shared/config.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { detailedInstance } from './app-details.ts';
import { automationMeta } from './dsul/automation.ts';
import { automationEvents, pageEvents } from './dsul/processed-events.ts';
import { shownIndex } from './git/credentials.ts';
import { shownPlatformRepositories } from './git/repositories.ts';
import type { WorkspaceRow } from './store/rows.ts';
import { audit, type Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

export async function readModel(
  { store, config }: { store: Store; config: Config },
  row: WorkspaceRow,
  snapshot: Snapshot,
): Promise<JsonObject> {
  const { index } = snapshot;
  const imports = await Promise.all(
    Object.entries(snapshot.imports).map(
      async ([slug, instance]) => [slug, await detailedInstance(store, slug, instance, snapshot.meta.imports[slug])] as const,
    ),
  );
  return {
    ...shownIndex(index),
    id: row.id,
    name: index.name ?? row.name,
    slug: index.slug ?? row.slug,
    createdAt: row.createdAt,
    createdBy: row.createdBy,
    updatedAt: row.updatedAt,
    updatedBy: row.updatedBy,
    revision: snapshot.revision,
    ...(row.writeLock ? { writeLock: row.writeLock } : {}),
    ...(row.suspension ? { suspension: row.suspension } : {}),
    platformRepositories: shownPlatformRepositories(config),
    automations: listedAutomations(snapshot),
    pages: listedPages(snapshot),
    imports: Object.fromEntries(imports),
  };
}

export function listedAutomations(snapshot: Snapshot): Record<string, JsonObject> {
  const config = isPlainObject(snapshot.index.config) ? snapshot.index.config.value : undefined;
  return Object.fromEntries(
    Object.entries(snapshot.automations).map(([slug, automation]) => [
      slug,
      { ...automationMeta(automation), slug, events: automationEvents(automation, config), ...shownMeta(snapshot, 'automations', slug) },
    ]),
  );
}

export function listedPages(snapshot: Snapshot): Record<string, JsonObject> {
  return Object.fromEntries(
    Object.entries(snapshot.pages).map(([slug, { blocks: _blocks, styles: _styles, ...page }]) => [
      slug,
      { ...page, slug, events: pageEvents(snapshot.pages[slug] as JsonObject), ...shownMeta(snapshot, 'pages', slug) },
    ]),
  );
}

export function shownMeta(snapshot: Snapshot, kind: 'automations' | 'pages' | 'imports', slug: string): JsonObject {
  const meta = snapshot.meta[kind][slug];
  return meta ? { ...audit(meta), checksum: meta.checksum, revision: meta.revision } : {};
}
