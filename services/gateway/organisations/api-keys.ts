/** api-keys — making, renewing and deleting keys of an organisation; shared by the routes and by runs of privileged workspaces. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Call, Self } from '../identity/core.mixin.ts';
import { sha256 } from '../identity/resolver.ts';
import { tellChange } from './acting.ts';
import { newOrganisationKey } from './credentials.ts';
import { keyId, ORG_API_KEYS, type OrgApiKeyRow, rowId, shown, stamp } from './rows.ts';

const MAX_KEYS = 500;
const hintOf = (key: string) => `${key.slice(0, key.lastIndexOf('_') + 5)}…`;

export type NewKey = Pick<OrgApiKeyRow, 'slug' | 'name' | 'permissions' | 'scopes' | 'ownerType'> & {
  ownerId?: string;
  expiresAt?: string | number;
};

export async function theKey(self: Self, orgSlug: string, slug: string): Promise<OrgApiKeyRow> {
  const row = await self.documents.get<OrgApiKeyRow>(ORG_API_KEYS.name, rowId(orgSlug, slug));
  if (!row) throw fault('ObjectNotFoundError', { message: `The organisation has no key '${slug}'.`, data: { slug } });
  return row;
}

export async function createKey(self: Self, ctx: Call<any>, orgSlug: string, by: string, given: NewKey): Promise<JsonObject> {
  if ((await self.documents.count(ORG_API_KEYS.name, { orgSlug })) >= MAX_KEYS)
    throw fault('BadParametersError', { message: `An organisation may have ${MAX_KEYS} keys.` });
  const { slug, name, permissions, scopes, ownerType, ownerId, expiresAt } = given;
  const apiKey = newOrganisationKey(orgSlug);
  const now = stamp();
  const row = await self.documents.insert<OrgApiKeyRow>(ORG_API_KEYS.name, {
    id: rowId(orgSlug, slug),
    orgSlug,
    slug,
    name,
    hash: sha256(apiKey),
    hint: hintOf(apiKey),
    permissions,
    scopes,
    ownerType,
    ...(ownerId ? { ownerId } : {}),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).getTime() }),
    createdAt: now,
    updatedAt: now,
    createdBy: by,
    updatedBy: by,
  });
  await tellChange(self, ctx, { orgSlug, category: 'apikeys', action: 'created', target: slug, after: shown(row) });
  return { ...shown(row), apiKey };
}

/** The old key is worth nothing from now on. */
export async function rotateKey(self: Self, ctx: Call<any>, row: OrgApiKeyRow, by: string): Promise<JsonObject> {
  const { orgSlug, slug } = row;
  const apiKey = newOrganisationKey(orgSlug);
  const change = { set: { hash: sha256(apiKey), hint: hintOf(apiKey), updatedAt: stamp(), updatedBy: by } };
  const updated = await self.documents.update<OrgApiKeyRow>(ORG_API_KEYS.name, row.id, change, row._rev);
  self.revoked({ userId: keyId(orgSlug, slug) });
  await tellChange(self, ctx, { orgSlug, category: 'apikeys', action: 'rotated', target: slug });
  return { ...shown(updated), apiKey };
}

export async function deleteKey(self: Self, ctx: Call<any>, row: OrgApiKeyRow): Promise<JsonObject> {
  const { orgSlug, slug } = row;
  await self.documents.remove(ORG_API_KEYS.name, row.id);
  self.revoked({ userId: keyId(orgSlug, slug) });
  await tellChange(self, ctx, { orgSlug, category: 'apikeys', action: 'deleted', target: slug, before: shown(row) });
  return { success: true };
}
