/** auth — what the mixin `auth()` gives a service. Rules, order and roles: docs of access control in docs/access-control.md. */
import type { Context, ServiceBroker } from 'moleculer';
import type { JsonObject } from '../shared/json.ts';
import type { Condition } from '../storage/datalake/contract.ts';
import type { CallMeta, Identity } from './identity.ts';

export type SubjectType =
  | 'workspaces'
  | 'apps'
  | 'pages'
  | 'files'
  | 'secrets'
  | 'secure_secrets'
  | 'events'
  | 'automations'
  | 'roles'
  | 'users'
  | 'all';

export interface Rule {
  action: string | string[];
  subject: string | string[];
  conditions?: JsonObject;
  inverted?: boolean;
  reason?: string;
  priority?: number;
  role?: string | string[];
  /** Where it is written, for people: `role owner`, `security.yml: authorizations.rules[2]`. */
  origin?: string;
}

export type PermissionsMap = Record<string, { role?: string; policies?: Record<string, boolean> }>;

/** Answer of the action `workspaces.access`: all that is needed to judge a caller in a workspace. Cached ≤ 10 s, dropped on the hint `access.changed`. */
export interface WorkspaceAccess {
  id: string;
  slug: string;
  name: string;
  /** Target (user id, `*`, `role:<name>`) → role and policies. */
  permissions: PermissionsMap;
  /** Custom roles with their rules, `default` for rules without role. Rules are already scoped to the workspace. */
  roles: { name: string; rules: Rule[]; auth?: JsonObject }[];
  /** Active API keys by hash. */
  apiKeys: { hash: string; name: string; rules: Rule[] }[];
  suspended?: boolean;
}

export interface Explanation {
  allowed: boolean;
  reason: string;
  /** The rule that decided, as it is for this caller. */
  rule?: Rule;
  /** All rules about the action and the kind of object, strongest first; the first that matches decides. At most twenty. */
  considered: { origin: string; effect: 'allows' | 'denies'; matches: boolean; conditions?: JsonObject }[];
}

/** What one identity may do in one workspace (or on the platform, without workspace). */
export interface Ability {
  /** Role in the workspace (owner, editor, a custom one), if any. */
  readonly role?: string;
  can(action: string, subject: SubjectType, object?: object): boolean;
  explain(action: string, subject: SubjectType, object?: object): Explanation;
  /** @throws ForbiddenError with details { action, subjectType, id } */
  assert(action: string, subject: SubjectType, object?: object): void;
  /** Whether the caller has all that `rule` gives: no object it allows is closed to him. When in doubt, no. */
  covers(rule: Rule): boolean;
  /** The same right as a condition for a query (see Condition), so that lists, counts and live matching agree. `null`: nothing at all. */
  condition(action: string, subject: SubjectType): Condition | null;
  /** The right as a Mongo-style query for the document store; `null`: nothing at all, `{}`: everything. */
  query(action: string, subject: SubjectType): JsonObject | null;
}

export interface AuthMethods {
  /** The verified identity of a call. @throws AuthenticationError */
  identityOf(ctx: Context<any, any>): Identity;
  /**
   * Rights of the caller in a workspace. `workspaceId` may be `slug:<slug>`.
   * @throws ObjectNotFoundError when the workspace does not exist
   */
  abilityOf(ctx: Context<any, any>, workspaceId?: string): Promise<Ability>;
  /** Rights of an identity outside a call (sockets, runs). */
  abilityFor(
    identity: Partial<Identity> & { correlationId: string },
    workspaceId?: string,
    options?: { topics?: string[] },
  ): Promise<Ability>;
  /** Shorthand: `(await abilityOf(ctx, workspaceId)).assert(action, subject, object)`; returns the ability. */
  authorize(ctx: Context<any, any>, workspaceId: string, action: string, subject: SubjectType, object?: object): Promise<Ability>;
  /** Meta of a call a service makes for itself: `ctx.call(name, params, { meta: this.systemMeta() })` or `broker.call`. */
  systemMeta(correlationId?: string): CallMeta;
  /** Meta of a call made by a run: rights of that workspace, never super admin. */
  delegatedMeta(claims: {
    workspaceId: string;
    userId?: string;
    sessionId?: string;
    correlationId: string;
    authenticatedWorkspaceId?: string;
    depth?: number;
  }): CallMeta;
  /** Tells every node that what is known of a workspace's rights is stale. A hint: caches also expire. */
  accessChanged(workspaceId: string): void;
}

/** Signs and verifies identities; one per node. */
export interface IdentityKeys {
  sign(claims: Omit<Identity, 'sig' | 'v' | 'iat' | 'exp'> & { ttlMs?: number }): Identity;
  /** The same object, frozen, when genuine and alive. @throws AuthenticationError */
  verify(identity: unknown): Identity;
}

export type OpenIdentityKeys = (broker: ServiceBroker) => Promise<IdentityKeys>;
