/** app-details — what an installed app offers: read from its published version. */

import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { lru } from '../../mixins/shared/lru.ts';
import { appFolder, CURRENT } from './dsul/layout.ts';
import type { AppRow } from './store/rows.ts';
import { audit, type ObjectMeta, readFolder, type Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

const published = lru<string, Snapshot>({ max: 200 });

/** @throws ObjectNotFoundError */
export async function appRow(store: Store, appSlug: string): Promise<AppRow> {
  const row = await store.documents.get<AppRow>('apps', appSlug);
  if (!row) throw fault('ObjectNotFoundError', { message: `There is no app '${appSlug}'.`, data: { subjectType: 'apps', id: appSlug } });
  return row;
}

/** A published version; without `version` the one instances follow. @throws ObjectNotFoundError · InvalidVersionError */
export async function appSnapshot(store: Store, appSlug: string, version?: string): Promise<{ row: AppRow; snapshot: Snapshot }> {
  const row = await appRow(store, appSlug);
  const name = !version || version === CURRENT || version === 'latest' ? (row.currentVersion ?? CURRENT) : version;
  if (name !== CURRENT && !row.versions.some((known) => known.name === name))
    throw fault('InvalidVersionError', { message: `The app '${appSlug}' has no version '${name}'.`, data: { appSlug, version: name } });
  // Version folders never change: the name is all the key needs; `current` of older trees does.
  const key = `${row.workspaceId}/${appSlug}/${name}/${name === CURRENT ? row.revision : ''}/${row.versions.find((known) => known.name === name)?.createdAt ?? ''}`;
  let snapshot: Snapshot | null | undefined = published.get(key);
  if (!snapshot) {
    snapshot = await readFolder(store.files, appFolder(appSlug, name), row.revision);
    if (!snapshot)
      throw fault('ObjectNotFoundError', {
        message: `The version '${name}' of the app '${appSlug}' is missing.`,
        data: { subjectType: 'apps', id: appSlug },
      });
    published.set(key, snapshot);
  }
  return { row, snapshot };
}

/** An instance as lists show it. One whose app cannot be read is marked `broken`, never hidden. */
export async function detailedInstance(
  store: Store,
  slug: string,
  instance: JsonObject,
  meta: ObjectMeta | undefined,
): Promise<JsonObject> {
  const { config: _config, ...entry } = instance as JsonObject;
  const shown: JsonObject = { ...entry, slug, ...(meta ? { ...audit(meta), checksum: meta.checksum } : {}) };
  try {
    const { row, snapshot } = await appSnapshot(store, String(instance.appSlug), instance.appVersion as string | undefined);
    const automations = Object.entries(snapshot.automations)
      .filter(([, automation]) => automation.private !== true && automation.disabled !== true)
      .map(([automationSlug, { name, description, arguments: parameters }]) => ({
        slug: automationSlug,
        name,
        description,
        arguments: parameters,
      }));
    const blocks = Object.entries(isPlainObject(snapshot.index.blocks) ? snapshot.index.blocks : {}).map(([block, value]) => ({
      ...(isPlainObject(value) ? value : {}),
      slug: `${slug}.${block}`,
    }));
    const events = instanceEvents(snapshot);
    return { ...shown, appName: shown.appName ?? row.name, photo: row.photo, automations, blocks, events };
  } catch {
    return { ...shown, automations: [], blocks: [], events: { emit: [], listen: [], autocomplete: [] }, broken: true };
  }
}

/** Names of the events the automations of an app emit and listen to. */
export function instanceEvents(snapshot: Snapshot): { emit: string[]; listen: string[]; autocomplete: never[] } {
  const emit = new Set<string>();
  const listen = new Set<string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) for (const item of node) visit(item);
    else if (isPlainObject(node)) {
      if (isPlainObject(node.emit) && typeof node.emit.event === 'string' && node.emit.private !== true) emit.add(node.emit.event);
      for (const value of Object.values(node)) visit(value);
    }
  };
  for (const automation of Object.values(snapshot.automations)) {
    visit(automation.do);
    const events = isPlainObject(automation.when) && Array.isArray(automation.when.events) ? automation.when.events : [];
    for (const event of events) listen.add(String(event));
  }
  return { emit: [...emit], listen: [...listen], autocomplete: [] };
}
