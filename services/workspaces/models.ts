/** models — what other services are given of a workspace: its access rules, and the model that the runtime compiles. */
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import { appSnapshot } from './app-details.ts';
import type { AccessAnswer, ModelAnswer } from './contract.ts';
import { rolesOf, scopedRules } from './dsul/security-file.ts';
import { withoutCredentials } from './git/credentials.ts';
import type { ApiKeyRow, SecretRow, WorkspaceRow } from './store/rows.ts';
import type { Snapshot } from './store/snapshot.ts';
import type { Store } from './store/store.ts';

/** @throws ObjectNotFoundError */
export async function accessOf(store: Store, workspaceId: string): Promise<AccessAnswer> {
  const { row, snapshot } = await store.current(workspaceId);
  const keys = await all<ApiKeyRow>(store, 'apiKeys', { workspaceId });
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    permissions: row.permissions ?? {},
    roles: rolesOf(snapshot.security, row.id),
    apiKeys: keys.filter((key) => !key.disabled).map(({ hash, name, rules }) => ({ hash, name, rules: scopedRules(rules, row.id) })),
    ...(row.suspension ? { suspended: true } : {}),
  };
}

/** @throws ObjectNotFoundError · SuspendedWorkspaceError */
export async function modelOf(store: Store, workspaceId: string): Promise<ModelAnswer> {
  const { row, snapshot } = await store.current(workspaceId);
  if (row.suspension) throw fault('SuspendedWorkspaceError', { data: { workspaceId, reason: row.suspension.reason } });
  const secrets = await all<SecretRow>(store, 'secrets', { workspaceId });
  return {
    ...described(row, snapshot),
    secrets: Object.fromEntries(secrets.map(({ name, type, sealed }) => [name, { type, sealed }])),
  };
}

/** The published model of an app, its automations and configuration; never secrets. @throws ObjectNotFoundError · InvalidVersionError */
export async function appModelOf(store: Store, appSlug: string, version?: string): Promise<ModelAnswer> {
  const { row, snapshot } = await appSnapshot(store, appSlug, version);
  return {
    ...withoutCredentials(snapshot.index),
    id: row.workspaceId,
    slug: row.slug,
    name: String(snapshot.index.name ?? row.slug),
    revision: row.revision,
    config: isPlainObject(snapshot.index.config) ? snapshot.index.config : {},
    automations: snapshot.automations,
    imports: snapshot.imports,
  };
}

function described(row: WorkspaceRow, snapshot: Snapshot): ModelAnswer {
  return {
    ...withoutCredentials(snapshot.index),
    id: row.id,
    slug: row.slug,
    name: row.name,
    revision: snapshot.revision,
    ...(row.customDomains ? { customDomains: row.customDomains } : {}),
    ...(row.registerWorkspace ? { registerWorkspace: true } : {}),
    config: isPlainObject(snapshot.index.config) ? snapshot.index.config : {},
    automations: snapshot.automations,
    imports: snapshot.imports,
  };
}

const PAGE = 2000;

/** Every row of a query: pages of 2000 until there are no more. */
export async function all<T extends { id: string; _rev: number }>(
  store: Store,
  collection: string,
  query: Record<string, any>,
): Promise<T[]> {
  const rows: T[] = [];
  for (;;) {
    const page = await store.documents.find<T>(collection, query, { limit: PAGE, skip: rows.length });
    rows.push(...page);
    if (page.length < PAGE) return rows;
  }
}
