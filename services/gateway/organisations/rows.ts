/**
 * rows — the records of organisations in the document store. The id of an organisation is its slug, and the id of all that belongs to it begins with
 * that slug, so that no row of one organisation can be read or written by naming another one.
 */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Collection, Stored } from '../../../mixins/storage/documents/contract.ts';

interface Dated extends Stored {
  createdAt: string;
  updatedAt: string;
  createdBy?: string;
  updatedBy?: string;
}

export interface JoinRule {
  name?: string;
  conditions: { field: string; operator: 'equals' | 'startsWith' | 'endsWith' | 'matches'; value: string }[];
  role: string;
  groups?: string[];
}

export interface OrganisationRow extends Dated {
  name: string;
  /** `deleted`: nothing is left but the name, which nobody can take: old tokens, shares and bindings that speak of it stay worthless. */
  status: 'active' | 'suspended' | 'deleted';
  domains: string[];
  branding?: JsonObject;
  navigation?: unknown;
  joinRules: JoinRule[];
  /** Grows when the rules change: whoever was judged by older ones is judged again. */
  joinRulesVersion: number;
  defaultRole: string;
  auth?: { anonymous?: { enabled: boolean; role?: string; allowedDomains?: string[] } };
  settings?: JsonObject;
  subscriptionSlug?: string;
}

export type JoinedVia = 'direct' | 'invite-code' | 'invite-email' | 'join-rule';

/** `<organisation>/<user>` */
export interface MemberRow extends Dated {
  orgSlug: string;
  userId: string;
  /** As it was at joining, for searching. */
  email?: string;
  role: string;
  status: 'active' | 'suspended';
  groups: string[];
  joinedVia: JoinedVia;
}

/** `<organisation>/<role>`; also the organisation's own version of a built-in role. */
export interface RoleRow extends Dated {
  orgSlug: string;
  slug: string;
  name: string;
  description?: string;
  permissions: string[];
  scopes: string[];
}

/** `<organisation>/<group>`; who is in it is written at the member. */
export interface GroupRow extends Dated {
  orgSlug: string;
  slug: string;
  name: string;
  description?: string;
}

export interface InviteRow extends Dated {
  orgSlug: string;
  kind: 'email' | 'code';
  /** SHA-256 of what the invited shows. */
  hash: string;
  hint: string;
  /** Lower case; of an invitation by mail, which is for this address only. */
  email?: string;
  role: string;
  groups: string[];
  maxUses: number;
  uses: number;
  /** Milliseconds. */
  expiresAt: number;
}

/** `<organisation>/<key>` */
export interface OrgApiKeyRow extends Dated {
  orgSlug: string;
  slug: string;
  name: string;
  /** SHA-256 of the key, which is shown once. */
  hash: string;
  hint: string;
  permissions: string[];
  scopes: string[];
  /** `user`, `org`, or `<workspace slug>:<its own kind>` for keys that workspaces make. */
  ownerType: string;
  ownerId?: string;
  /** Milliseconds. */
  expiresAt?: number;
  lastUsedAt?: string;
}

/** `<organisation>/<service account>` */
export interface ServiceAccountRow extends Dated {
  orgSlug: string;
  slug: string;
  name: string;
  description?: string;
  role: string;
  status: 'active' | 'disabled';
  /** SHA-256 of the secret, which is shown once. */
  hash: string;
  hint: string;
  /** New with each secret: tokens carry it, so those of an older secret are worth nothing. */
  generation: string;
  ownerType?: string;
}

/** `<organisation>/<workspace id>`: what runs of a workspace may do in that organisation. */
export interface PrivilegeRow extends Dated {
  orgSlug: string;
  workspaceId: string;
  serviceAccounts?: { defaultRoleSlug?: string; allowedRoleSlugs: string[] };
  apiKeys?: { allowedPermissions: string[]; allowedScopes: string[] };
}

const ofOrganisation = (name: string, more: Partial<Collection> = {}): Collection => ({
  name,
  ...more,
  indexes: ['orgSlug', ...(more.indexes ?? [])],
});

export const ORGANISATIONS: Collection = { name: 'organisations', indexes: ['status'] };
export const MEMBERS = ofOrganisation('organisationMembers', { indexes: ['userId'] });
export const ROLES = ofOrganisation('organisationRoles');
export const GROUPS = ofOrganisation('organisationGroups');
export const INVITES = ofOrganisation('organisationInvites', { uniques: ['hash'], expiresAt: 'expiresAt' });
export const ORG_API_KEYS = ofOrganisation('organisationApiKeys', { uniques: ['hash'] });
export const SERVICE_ACCOUNTS = ofOrganisation('serviceAccounts');
export const PRIVILEGES = ofOrganisation('organisationPrivileges');
/** What goes with an organisation. */
export const BELONGINGS = [MEMBERS, ROLES, GROUPS, INVITES, ORG_API_KEYS, SERVICE_ACCOUNTS, PRIVILEGES];
export const ORGANISATION_COLLECTIONS = [ORGANISATIONS, ...BELONGINGS];

export const rowId = (orgSlug: string, name: string): string => `${orgSlug}/${name}`;
/** Who a service account and a key are, as `userId`. */
export const accountId = (orgSlug: string, slug: string): string => `sa:${orgSlug}:${slug}`;
export const keyId = (orgSlug: string, slug: string): string => `iak:${orgSlug}:${slug}`;
export const stamp = (): string => new Date().toISOString();

/** A row without what only the store needs. */
export function shown({ _rev, hash, generation, ...row }: Stored & { hash?: string; generation?: string }): JsonObject {
  const all: JsonObject = { ...row };
  if (typeof all.orgSlug === 'string' && row.id.startsWith(`${all.orgSlug}/`)) all.id = row.id.slice(all.orgSlug.length + 1);
  for (const field of ['expiresAt'] as const) if (typeof all[field] === 'number') all[field] = new Date(all[field] as number).toISOString();
  for (const key of Object.keys(all)) if (all[key] === undefined) delete all[key];
  return all;
}
