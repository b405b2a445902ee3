/**
 * gateway — what other services may ask. Types only.
 *
 * Published actions of services/gateway/identity: `identity.signup`, `identity.login`, `identity.anonymous`, `identity.me`, `identity.logout`,
 * `users.*`, `contacts.search`, `accessTokens.*`. For services: the ones below.
 */
import type { IdentityClaims } from '../../mixins/auth/identity.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';

/** Credentials of a request or socket handshake, in any combination. */
export interface Credentials {
  authorization?: string;
  /** Cookie `access-token`. */
  cookieToken?: string;
  /** Header x-prismeai-token (legacy). */
  legacyToken?: string;
  apiKey?: string;
  /** Header x-prismeai-run: the token of a run that calls under another credential. Says how deep it is, and nothing of who calls. */
  run?: string;
  ip?: string;
  correlationId?: string;
}

/** `identity.resolve` (public, identity: any) Credentials → claims for the gateway to sign. @throws AuthenticationError for a presented token that is refused */
export interface Resolved {
  claims: Omit<IdentityClaims, 'v' | 'iat' | 'exp'>;
  /** Milliseconds since the epoch: when the session ends. */
  expiresAt?: number;
}

/** `tokens.mint` (public, identity: system): a token for calls a run makes back to the platform. */
export interface MintParams {
  kind: 'delegated' | 'workspace';
  workspaceId: string;
  userId?: string;
  sessionId?: string;
  /** See IdentityClaims. */
  isAway?: true;
  correlationId: string;
  ttlS: number;
  depth?: number;
}
export type MintAnswer = { jwt: string };

/** `users.get` { ids } (public, identity: system) → public profiles. */
export interface UserProfile {
  id: string;
  email?: string;
  firstName?: string;
  lastName?: string;
  photo?: string;
}

/** `orgs.context` { userId, sessionId? } (public, identity: system): what somebody is in the organisation he acts in. */
export interface OrganisationContext {
  /** `session.org` */
  org?: JsonObject;
  orgSlugs: string[];
  /** `run.permissions` */
  permissions: JsonObject;
  permissionList: string[];
  scopes: string[];
}

/** A file of a form that waits at the node that took it, until the call that was told of it ends. */
export interface SpooledFile {
  node: string;
  ref: string;
  /** Bytes. */
  size: number;
}

/** `gateway.readUpload` (public, identity: system), asked of the node of the file → base64, '' past the end. @throws InvalidUploadError */
export interface ReadUploadParams {
  ref: string;
  offset: number;
  /** At most a megabyte is answered. */
  length: number;
}
