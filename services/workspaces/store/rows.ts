/** rows — the records the workspaces service keeps in the document store, beside the trees of files. */
import type { PermissionsMap, Rule } from '../../../mixins/auth/contract.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Collection, Stored } from '../../../mixins/storage/documents/contract.ts';

interface Audited {
  createdAt: string;
  createdBy?: string;
  updatedAt: string;
  updatedBy?: string;
}

export interface VersionRow {
  name: string;
  description: unknown;
  createdAt: string;
  createdBy?: string;
  repository?: { id: string };
}

export interface WriteLock {
  lockedAt: string;
  lockedBy?: string;
  reason: string;
}

export interface Synchronisation {
  createdAt: string;
  createdBy?: string;
  /** Name of the version, `latest`, or a commit. */
  version: string;
  commit: string;
  repositoryId: string;
}

export interface Suspension {
  reason: string;
  suspendedAt: string;
  suspendedBy?: string;
}

/** Identity, ownership and listing of a workspace, and the pointer that commits every change (store/store.ts). */
export interface WorkspaceRow extends Stored, Audited {
  name: string;
  slug: string;
  photo?: string;
  description?: unknown;
  labels?: string[];
  customDomains?: string[];
  registerWorkspace?: boolean;
  clientId?: string;
  permissions: PermissionsMap;
  /** Newest first. */
  versions: VersionRow[];
  revision: number;
  writeLock?: WriteLock;
  /** Its automations are not started. */
  suspension?: Suspension;
  /** Changed since the last push to a repository. */
  dirty?: boolean;
  lastPush?: Synchronisation;
  lastPull?: Synchronisation;
  /** Per repository, the commit that the workspace was the same as when they last met. */
  /** Its index holds sealed credentials: found by the rotation of keys. */
  hasSealedRepositories?: boolean;
  synced?: { repositoryId: string; commit: string }[];
  /** Key of a committed change whose files are being written. */
  journal?: string;
  /** Being deleted: nobody sees it any more. */
  deletedAt?: string;
}

export interface PageRow extends Stored, Audited {
  workspaceId: string;
  workspaceSlug: string;
  slug: string;
  name?: unknown;
  labels?: string[];
  permissions?: PermissionsMap;
}

export interface FileRow extends Stored, Audited {
  workspaceId: string;
  name: string;
  path: string;
  mimetype: string;
  size: number;
  metadata: JsonObject;
  public: boolean;
  shareToken?: string;
  expiresAfter?: number;
  expiresAt?: string;
  /** Milliseconds since the epoch, for the sweep. */
  expiresAtMs?: number;
  permissions?: PermissionsMap;
}

export type SecretType = 'string' | 'number' | 'boolean' | 'object';

/** `id` is `<workspaceId>/<name>`, so that a name is unique in its workspace. */
export interface SecretRow extends Stored, Audited {
  workspaceId: string;
  name: string;
  type: SecretType;
  description?: string;
  /** Sealed by the key ring for `secret/<workspaceId>/<name>`. */
  sealed: string;
}

export interface ApiKeyRow extends Stored, Audited {
  workspaceId: string;
  name: string;
  /** As given by the user; scoped when they are used. */
  rules: Rule[];
  /** SHA-256, hexadecimal. */
  hash: string;
  /** First characters of the key, to recognise it. */
  hint: string;
  disabled?: boolean;
}

export interface AppRow extends Stored, Audited {
  slug: string;
  workspaceId: string;
  name?: unknown;
  description?: unknown;
  photo?: string;
  labels?: string[];
  documentation?: { workspaceSlug: string; slug: string };
  /** Newest first. */
  versions: { name: string; description?: unknown; createdAt: string; createdBy?: string }[];
  /** Folder that an instance without version follows; absent in trees of the reference product, where it is `current`. */
  currentVersion?: string;
  /** Grows with each publication. */
  revision: number;
}

export const COLLECTIONS: Collection[] = [
  { name: 'workspaces', indexes: ['labels', 'customDomains', 'name', 'journal', 'createdAt'], uniques: ['slug'] },
  { name: 'workspaceLeases' },
  { name: 'pages', indexes: ['workspaceId', 'workspaceSlug', 'customDomains'] },
  { name: 'files', indexes: ['workspaceId', 'expiresAtMs'], uniques: ['path'] },
  { name: 'secrets', indexes: ['workspaceId'], uniques: [['workspaceId', 'name']] },
  { name: 'apiKeys', indexes: ['workspaceId', 'hash'] },
  { name: 'apps', indexes: ['workspaceId', 'labels'] },
];
