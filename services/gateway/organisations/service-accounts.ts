/** service-accounts — making, renewing and deleting service accounts, and their tokens; shared by the routes and by runs of privileged workspaces. */
import { timingSafeEqual } from 'node:crypto';
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { hexId } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Call, Self } from '../identity/core.mixin.ts';
import { sha256 } from '../identity/resolver.ts';
import { tellChange } from './acting.ts';
import { newAccountSecret } from './credentials.ts';
import { organisationOf, roleOrNothing } from './membership.ts';
import { accountId, rowId, SERVICE_ACCOUNTS, type ServiceAccountRow, shown, stamp } from './rows.ts';

const MAX_ACCOUNTS = 200;
const DEFAULT_TTL_S = 3600;
const hintOf = (secret: string) => `${secret.slice(0, secret.lastIndexOf('_') + 5)}…`;
const newSecret = (orgSlug: string) => {
  const clientSecret = newAccountSecret(orgSlug);
  return { clientSecret, stored: { hash: sha256(clientSecret), hint: hintOf(clientSecret), generation: hexId().slice(0, 16) } };
};

export const findAccount = (self: Self, orgSlug: string, slug: string): Promise<ServiceAccountRow | null> =>
  self.documents.get<ServiceAccountRow>(SERVICE_ACCOUNTS.name, rowId(orgSlug, slug));

export async function theAccount(self: Self, orgSlug: string, slug: string): Promise<ServiceAccountRow> {
  const row = await findAccount(self, orgSlug, slug);
  if (!row) throw fault('ObjectNotFoundError', { message: `The organisation has no service account '${slug}'.`, data: { slug } });
  return row;
}

export async function createAccount(
  self: Self,
  ctx: Call<any>,
  orgSlug: string,
  by: string,
  given: Pick<ServiceAccountRow, 'slug' | 'name' | 'role'> & { description?: string; ownerType?: string },
): Promise<{ row: ServiceAccountRow; clientSecret: string }> {
  if ((await self.documents.count(SERVICE_ACCOUNTS.name, { orgSlug })) >= MAX_ACCOUNTS)
    throw fault('BadParametersError', { message: `An organisation may have ${MAX_ACCOUNTS} service accounts.` });
  const { clientSecret, stored } = newSecret(orgSlug);
  const now = stamp();
  const row = await self.documents.insert<ServiceAccountRow>(SERVICE_ACCOUNTS.name, {
    ...given,
    ...stored,
    id: rowId(orgSlug, given.slug),
    orgSlug,
    status: 'active',
    createdAt: now,
    updatedAt: now,
    createdBy: by,
    updatedBy: by,
  });
  await tellChange(self, ctx, { orgSlug, category: 'serviceAccounts', action: 'created', target: row.slug, after: shown(row) });
  return { row, clientSecret };
}

/** The old secret, and the tokens it gave, are worth nothing from now on. */
export async function rotateSecret(self: Self, ctx: Call<any>, row: ServiceAccountRow, by: string): Promise<JsonObject> {
  const { orgSlug, slug } = row;
  const { clientSecret, stored } = newSecret(orgSlug);
  const change = { set: { ...stored, updatedAt: stamp(), updatedBy: by } };
  const updated = await self.documents.update<ServiceAccountRow>(SERVICE_ACCOUNTS.name, row.id, change, row._rev);
  self.revoked({ userId: accountId(orgSlug, slug) });
  await tellChange(self, ctx, { orgSlug, category: 'serviceAccounts', action: 'rotated', target: slug });
  return { ...shown(updated), clientSecret };
}

export async function deleteAccount(self: Self, ctx: Call<any>, row: ServiceAccountRow): Promise<JsonObject> {
  const { orgSlug, slug } = row;
  await self.documents.remove(SERVICE_ACCOUNTS.name, row.id);
  self.revoked({ userId: accountId(orgSlug, slug) });
  await tellChange(self, ctx, { orgSlug, category: 'serviceAccounts', action: 'deleted', target: slug, before: shown(row) });
  return { success: true };
}

/** A token of an account that is active. */
export async function tokenOf(self: Self, row: ServiceAccountRow, expiresIn: number | undefined): Promise<JsonObject> {
  const { orgSlug, slug, generation, role } = row;
  const ttlS = Math.max(1, Math.min(expiresIn ?? DEFAULT_TTL_S, self.core.config.saTokenMaxTtlS));
  const accessToken = self.core.tokens.sign({ kind: 'serviceAccount', sub: accountId(orgSlug, slug), generation }, ttlS);
  const { permissions, scopes } = await roleOrNothing(self.documents, orgSlug, role);
  return {
    accessToken,
    tokenType: 'Bearer',
    expiresIn: ttlS,
    expiresAt: new Date(Date.now() + ttlS * SECOND).toISOString(),
    permissions,
    scopes,
  };
}

/** @throws AuthenticationError, the same whatever is wrong */
export async function assertSecret(self: Self, orgSlug: string, slug: string, clientSecret: string): Promise<ServiceAccountRow> {
  const row = await findAccount(self, orgSlug, slug);
  const [given, kept] = [Buffer.from(sha256(clientSecret)), Buffer.from(row?.hash ?? sha256(''))];
  const isRight = row !== null && given.length === kept.length && timingSafeEqual(given, kept);
  const organisation = isRight ? await organisationOf(self.documents, orgSlug) : null;
  if (!isRight || row.status !== 'active' || organisation?.status !== 'active')
    throw fault('AuthenticationError', { message: 'There is no such service account, or its secret is another one.' });
  return row;
}
