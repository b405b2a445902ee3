/** services-of — service accounts and keys of an organisation are remembered for seconds by every gateway: makes them forget at once. */
import type { Self } from '../identity/core.mixin.ts';
import { accountId, keyId, ORG_API_KEYS, type OrgApiKeyRow, SERVICE_ACCOUNTS, type ServiceAccountRow } from './rows.ts';

/** All of an organisation, or the service accounts of one role. */
export async function forgetServices(self: Self, orgSlug: string, role?: string): Promise<void> {
  const accounts = await self.documents.find<ServiceAccountRow>(SERVICE_ACCOUNTS.name, { orgSlug, ...(role ? { role } : {}) });
  for (const { slug } of accounts) self.revoked({ userId: accountId(orgSlug, slug) });
  if (role) return;
  const keys = await self.documents.find<OrgApiKeyRow>(ORG_API_KEYS.name, { orgSlug });
  for (const { slug } of keys) self.revoked({ userId: keyId(orgSlug, slug) });
}
