/** rows — the records of the identity services in the document store, and what of them anybody may see. */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Collection, Stored } from '../../../mixins/storage/documents/contract.ts';
import { ORGANISATION_COLLECTIONS } from '../organisations/rows.ts';

export interface UserRow extends Stored {
  /** Lower case; absent for anonymous users. */
  email?: string;
  /** PHC text; never leaves this service. */
  password?: string;
  firstName?: string;
  lastName?: string;
  photo?: string;
  language?: string;
  status: 'pending' | 'validated' | 'deactivated';
  /** The address was proven by a link, or given by the installation. */
  emailVerified?: boolean;
  /** The administrator this installation was made with. */
  isFirstAdmin?: boolean;
  authData: JsonObject;
  /** `<provider>|<subject>` of the outside providers that open this account. */
  externalIds?: string[];
  mfa?: 'totp' | 'none';
  /** Sealed TOTP secret; `pendingTotp` until a first code has confirmed it. Hashes of recovery codes. */
  totp?: string;
  pendingTotp?: string;
  totpStep?: number;
  recoveryCodes?: string[];
  meta?: JsonObject;
  groups?: string[];
  platformRole?: string;
  /** Organisation → version of its rules of joining this person was judged by last. */
  joinRulesSeen?: Record<string, number>;
  /** Sessions and tokens issued before this moment (ms) are not valid any more. */
  validFrom?: number;
  createdAt: string;
  updatedAt: string;
  /** Milliseconds; anonymous users vanish with their session. */
  expiresAt?: number;
}

export interface AccessTokenRow extends Stored {
  userId: string;
  name: string;
  /** SHA-256 of the token; the token itself is shown once. */
  hash: string;
  hint: string;
  /** What it may be used for; absent: everything its owner may do (identity/scopes.ts). */
  scopes?: string[];
  /** Milliseconds. */
  expiresAt: number;
  createdAt: string;
  lastUsedAt?: string;
}

export type OneTimePurpose = 'validate' | 'reset' | 'delete';

/** The token of a link in a mail; `id` is its SHA-256. */
export interface OneTimeRow extends Stored {
  userId: string;
  purpose: OneTimePurpose;
  /** Milliseconds. */
  expiresAt: number;
}

/** A client that registered itself with the provider. */
export interface OidcClientRow extends Stored {
  metadata: JsonObject;
}

/** A secret all gateways share, sealed for `gatewaySecret/<id>`. */
export interface GatewaySecretRow extends Stored {
  sealed: string;
}

/** A signing key of tokens. `previous` makes one successor win when two nodes rotate at once. */
export interface TokenKeyRow extends Stored {
  previous: string;
  /** Private JWK, sealed for `tokenKey/<id>`. */
  sealed: string;
  createdAt: number;
  rotatesAt: number;
  /** Milliseconds; nothing it signed is alive after that. */
  expiresAt: number;
}

export const USERS: Collection = { name: 'users', indexes: ['externalIds'], uniques: ['email'], expiresAt: 'expiresAt' };
export const ACCESS_TOKENS: Collection = { name: 'accessTokens', indexes: ['userId'], uniques: ['hash'], expiresAt: 'expiresAt' };
export const TOKEN_KEYS: Collection = { name: 'tokenKeys', uniques: ['previous'], expiresAt: 'expiresAt' };
export const ONE_TIME_TOKENS: Collection = { name: 'oneTimeTokens', indexes: ['userId'], expiresAt: 'expiresAt' };
export const OIDC_CLIENTS: Collection = { name: 'oidcClients' };
export const GATEWAY_SECRETS: Collection = { name: 'gatewaySecrets' };
export const COLLECTIONS = [USERS, ACCESS_TOKENS, TOKEN_KEYS, ONE_TIME_TOKENS, OIDC_CLIENTS, GATEWAY_SECRETS, ...ORGANISATION_COLLECTIONS];

const authDataOf = ({ id, email, authData }: UserRow): JsonObject =>
  authData && Object.keys(authData).length > 0 ? authData : email ? { prismeai: { id, email } } : { anonymous: { id } };

/** What `/me` and the owner see. */
export function shownUser(user: UserRow, { forSuperAdmin = false } = {}): JsonObject {
  const { id, email, status, firstName, lastName, photo, language, mfa, meta, groups, platformRole } = user;
  const shown: JsonObject = {
    id,
    email,
    status,
    firstName,
    lastName,
    photo,
    authData: authDataOf(user),
    language,
    mfa: mfa ?? 'none',
    meta,
    groups,
  };
  if (forSuperAdmin) shown.platformRole = platformRole;
  for (const key of Object.keys(shown)) if (shown[key] === undefined) delete shown[key];
  return shown;
}

/** What other people see. */
export function shownContact(user: UserRow, { forSuperAdmin = false } = {}): JsonObject {
  const { id, firstName, lastName, photo, groups } = user;
  const shown: JsonObject = { id, firstName, lastName, photo, groups };
  if (forSuperAdmin)
    Object.assign(shown, {
      email: user.email,
      language: user.language,
      status: user.status,
      meta: user.meta,
      platformRole: user.platformRole,
    });
  for (const key of Object.keys(shown)) if (shown[key] === undefined) delete shown[key];
  return shown;
}
