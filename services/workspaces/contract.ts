/**
 * workspaces — what other services may ask, and the events it emits. Types only.
 *
 * Published actions (REST, see services/gateway/routes/workspaces.ts): `workspaces.*`, `automations.*`, `pages.*`, `appInstances.*`, `apps.*`,
 * `versions.*`, `archives.*` (import, export), `files.*`, `security.*`, `secrets.*`, `permissions.*`.
 * For services only (`identity: 'system'`): those below.
 */
import type { WorkspaceAccess } from '../../mixins/auth/contract.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';

/** `workspaces.access` { workspaceId } → WorkspaceAccess. `workspaceId` may be `slug:<slug>`. @throws ObjectNotFoundError */
export type AccessAnswer = WorkspaceAccess;

/**
 * `workspaces.model` { workspaceId } and `apps.model` { appSlug, version? } → everything the runtime compiles, at one revision.
 * @throws ObjectNotFoundError · SuspendedWorkspaceError
 */
export interface ModelAnswer {
  id: string;
  slug: string;
  name: string;
  /** Grows with every change of the workspace (also of its secrets). */
  revision: number;
  customDomains?: string[];
  registerWorkspace?: boolean;
  config: { schema?: JsonObject; block?: string; value?: JsonObject };
  automations: Record<string, JsonObject>;
  imports: Record<string, JsonObject>;
  /**
   * Encrypted with the key ring (mixins/shared/keyring.ts) for the place `secret/<workspace id>/<name>` (the aad): opened in the runtime only.
   * The text inside is the value itself for `string`, its JSON text for the other types. Absent for apps.
   */
  secrets?: Record<string, { type: 'string' | 'number' | 'boolean' | 'object'; sealed: string }>;
  /** Other index fields (labels, description, blocks, …), read-only in `$workspace`. */
  [other: string]: unknown;
}

/**
 * `workspaces.removed` { workspaceId } → the last ModelAnswer of a workspace removed within the hour, or null.
 * `appInstances.former` { workspaceId, slug, revision } → the instance that was uninstalled by that revision, or null.
 */

/** `workspaces.revisions` { workspaceIds } and `apps.revisions` { appSlugs } → present revision of each known one. */
export type RevisionsAnswer = Record<string, number>;

/** `workspaces.eventMapping` { workspaceId } → `events` of the index. @throws ObjectNotFoundError */
export type EventMappingAnswer = { events: unknown };

/** `workspaces.resolve` { workspaceId: 'slug:…' | id } → its id and addresses. @throws ObjectNotFoundError */
export type ResolveAnswer = { id: string; slug: string; name: string; customDomains?: string[] };

/** Every event of services/workspaces carries it: the runtime reloads when it is newer than what it has. */
export interface RevisionPayload {
  workspaceId: string;
  revision: number;
}
