/**
 * credentials — keys and tokens of an organisation → who that is. What they may do is read from the store when they are met, so a role that is changed,
 * an account that is disabled or an organisation that is suspended counts at once (each gateway remembers a few seconds and is told to forget).
 */
import { hash } from 'node:crypto';
import { frozenData } from '../../../mixins/auth/identity-keys.ts';
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { uuid } from '../../../mixins/shared/ids.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import type { Known } from '../identity/resolver.ts';
import { SCOPES } from '../identity/scopes.ts';
import type { TokenClaims } from '../identity/tokens.ts';
import { organisationOf, roleOrNothing } from './membership.ts';
import {
  accountId,
  keyId,
  ORG_API_KEYS,
  type OrgApiKeyRow,
  type OrganisationRow,
  rowId,
  SERVICE_ACCOUNTS,
  type ServiceAccountRow,
  stamp,
} from './rows.ts';

export const newOrganisationKey = (orgSlug: string): string => `iak_${orgSlug}_${uuid()}`;
export const newAccountSecret = (orgSlug: string): string => `sas_${orgSlug}_${uuid()}`;
export const isOrganisationKey = (text: string | undefined): text is string => text?.startsWith('iak_') === true;

const YEAR_MS = 365 * 24 * 3600 * SECOND;
const LAST_USE_EVERY_MS = 60 * SECOND;
const refuse = (message: string) => fault('AuthenticationError', { message });

async function activeOrganisation(documents: Documents, slug: string): Promise<OrganisationRow> {
  const organisation = await organisationOf(documents, slug);
  if (organisation?.status !== 'active') throw refuse('The organisation of this credential is not active.');
  return organisation;
}

/** The row of a key that is good now. @throws AuthenticationError */
export async function findOrganisationKey(documents: Documents, key: string): Promise<OrgApiKeyRow> {
  const [row] = await documents.find<OrgApiKeyRow>(ORG_API_KEYS.name, { hash: hash('sha256', key) }, { limit: 1 });
  if (!row) throw refuse('Invalid organisation key');
  if (row.expiresAt !== undefined && row.expiresAt <= Date.now()) throw refuse('Expired organisation key');
  await activeOrganisation(documents, row.orgSlug);
  return row;
}

export async function byOrganisationKey(documents: Documents, key: string): Promise<Known> {
  const row = await findOrganisationKey(documents, key);
  const { orgSlug, slug, permissions, scopes } = row;
  if (!row.lastUsedAt || Date.now() - Date.parse(row.lastUsedAt) > LAST_USE_EVERY_MS)
    void documents.update(ORG_API_KEYS.name, row.id, { set: { lastUsedAt: stamp() } }).catch(() => {});
  const userId = keyId(orgSlug, slug);
  return {
    claims: { kind: 'service', userId, via: 'orgKey', org: frozenData({ slug: orgSlug, permissions, scopes }) },
    expiresAt: row.expiresAt ?? Date.now() + YEAR_MS,
    userId,
    scopes: SCOPES,
  };
}

/** A token of POST …/token. @throws AuthenticationError when the account, its secret or its organisation is not what it was */
export async function byServiceAccount(documents: Documents, { sub = '', generation, exp }: TokenClaims): Promise<Known> {
  const [, orgSlug = '', slug = ''] = sub.split(':');
  const account = await documents.get<ServiceAccountRow>(SERVICE_ACCOUNTS.name, rowId(orgSlug, slug));
  if (account?.status !== 'active' || account.generation !== generation) throw refuse('This service account is not active any more.');
  await activeOrganisation(documents, orgSlug);
  const { permissions, scopes } = await roleOrNothing(documents, orgSlug, account.role);
  const userId = accountId(orgSlug, slug);
  return {
    claims: { kind: 'service', userId, via: 'serviceAccount', org: frozenData({ slug: orgSlug, permissions, scopes }) },
    expiresAt: exp * SECOND,
    userId,
    scopes: SCOPES,
  };
}
