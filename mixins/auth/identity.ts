/**
 * identity — who a call is made for: the value of `ctx.meta.identity`, signed by the service that resolved it, short-lived, verified and
 * frozen by a broker middleware on every node before any action runs (mixins/auth/identity.middleware.ts).
 * Never read it from parameters, headers or a reply.
 */
import type { JsonObject } from '../shared/json.ts';

export type IdentityKind =
  /** Signed-in person. */
  | 'user'
  /** Session without account. */
  | 'anonymous'
  /** Nobody: no credential was given. */
  | 'none'
  /** A service account or a key of an organisation: what its role there allows, and what is shared with it; nothing an account has. */
  | 'service'
  /** A service for itself (bus consumers, schedules). */
  | 'system'
  /** A run calling the platform: rights of its workspace only, never super admin. */
  | 'delegated';

export interface IdentityClaims {
  v: 1;
  kind: IdentityKind;
  userId?: string;
  sessionId?: string;
  email?: string;
  /** The address was proven: rules believe no other. */
  emailVerified?: boolean;
  /** Platform role; only `superadmin` exists. Never on delegated identities. */
  role?: 'superadmin';
  authData?: JsonObject;
  /** SHA-256 (hex) of the API key of the request. */
  apiKeyHash?: string;
  /** Of `service`: the one organisation it belongs to, and what it may do there. */
  org?: { slug: string; permissions: readonly string[]; scopes: readonly string[] };
  mfa?: boolean;
  /** How the caller proved himself: routes that manage credentials refuse `accessToken`. */
  via?: 'jwt' | 'cookie' | 'accessToken' | 'apiKey' | 'socket' | 'serviceAccount' | 'orgKey';
  /** Workspace on whose behalf a delegated call is made. */
  sourceWorkspaceId?: string;
  /** The run that makes a delegated call was itself called by another workspace: its person is known by name, his rights have stayed there. */
  isAway?: true;
  /** Workspace proven by an `auth: { workspace: true }` token. */
  authenticatedWorkspaceId?: string;
  /** Issuing service, for `system`. */
  service?: string;
  correlationId: string;
  ip?: string;
  /** Nested depth of the calling run, so that loops through HTTP end. */
  depth?: number;
  /** Milliseconds since the epoch. `exp` is at most 60 s after `iat`. */
  iat: number;
  exp: number;
}

/**
 * Whether a run calls in the name of somebody whose rights it does not have in that workspace. It has them in its own one only: every workspace a person
 * visits can call every other one in his name, and what it calls must not hand on what it did not get.
 */
export const isAway = ({ kind, sourceWorkspaceId, isAway }: Partial<IdentityClaims>, workspaceId: string | undefined): boolean =>
  kind === 'delegated' && (isAway === true || sourceWorkspaceId !== workspaceId);

/** What travels: the claims and an Ed25519 signature over their canonical JSON. */
export type Identity = Readonly<IdentityClaims> & { readonly sig: string };

/** Meta of every call. */
export interface CallMeta {
  identity?: Identity;
  correlationId?: string;
  /** Secret name of a call whose client may leave before it is answered (`runtime.cancel`). */
  callId?: string;
  /** Set by an action for the gateway. */
  $statusCode?: number;
  $responseHeaders?: Record<string, string | string[]>;
  [other: string]: unknown;
}

/**
 * Declared by every action, beside an explicit `visibility` (a start-up check refuses an action without both, except Moleculer's own):
 * `required` a user or anonymous session · `optional` anybody, `none` included · `system` services only · `any` no identity at all (health).
 */
export type IdentityRule = 'required' | 'optional' | 'system' | 'any';

declare module 'moleculer' {
  interface ActionSchema {
    identity?: IdentityRule;
  }
}
