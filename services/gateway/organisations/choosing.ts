/** choosing — the organisation a session acts in, and what /me and runs are told of it. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { OrganisationContext } from '../contract.ts';
import type { Call, Self } from '../identity/core.mixin.ts';
import { USERS, type UserRow } from '../identity/rows.ts';
import { readFields } from './fields.ts';
import { organisationOf, roleOrNothing, type Standing, shownActive, standingOf, treeOf } from './membership.ts';
import { ORG_API_KEYS, type OrgApiKeyRow, rowId, SERVICE_ACCOUNTS, type ServiceAccountRow } from './rows.ts';

const NOTHING: OrganisationContext = { orgSlugs: [], permissions: {}, permissionList: [], scopes: [] };

const contextFrom = ({ memberships, active }: Standing): OrganisationContext => ({
  orgSlugs: memberships.map(({ organisation }) => organisation.id),
  ...(active
    ? { org: shownActive(active), permissions: treeOf(active), permissionList: active.role.permissions, scopes: active.role.scopes }
    : { permissions: {}, permissionList: [], scopes: [] }),
});

/** A service account or an organisation key: its organisation, with what it has there now. */
async function contextOfService(self: Self, userId: string): Promise<OrganisationContext> {
  const [kind, orgSlug = '', slug = ''] = userId.split(':');
  const standing = await standingOfService(self, kind as 'sa' | 'iak', orgSlug, slug);
  return standing ? contextFrom(standing) : NOTHING;
}

async function standingOfService(self: Self, kind: 'sa' | 'iak', orgSlug: string, slug: string): Promise<Standing | null> {
  const { documents } = self;
  const organisation = await organisationOf(documents, orgSlug);
  if (organisation?.status !== 'active') return null;
  if (kind === 'sa') {
    const account = await documents.get<ServiceAccountRow>(SERVICE_ACCOUNTS.name, rowId(orgSlug, slug));
    if (account?.status !== 'active') return null;
    return { memberships: [], active: { organisation, role: await roleOrNothing(documents, orgSlug, account.role), groups: [] } };
  }
  const key = await documents.get<OrgApiKeyRow>(ORG_API_KEYS.name, rowId(orgSlug, slug));
  if (!key || (key.expiresAt !== undefined && key.expiresAt <= Date.now())) return null;
  return {
    memberships: [],
    active: { organisation, role: { slug: 'api-key', permissions: key.permissions, scopes: key.scopes }, groups: [] },
  };
}

export async function contextOf(self: Self, { userId, sessionId }: { userId: string; sessionId?: string }): Promise<OrganisationContext> {
  if (typeof userId !== 'string' || userId === '') return NOTHING;
  if (/^(sa|iak):/.test(userId)) return contextOfService(self, userId);
  const user = await self.documents.get<UserRow>(USERS.name, userId);
  if (user?.status !== 'validated') return NOTHING;
  const session = sessionId ? await self.core.sessions.find(sessionId) : null;
  // A session says where its own user acts, nobody else.
  const chosen = session?.userId === userId ? session.orgSlug : undefined;
  return contextFrom(await standingOf(self.documents, userId, chosen, Boolean(user.authData?.anonymous) && !user.email));
}

/** What /me says beside the account. */
export function shownStanding({ memberships, active }: Standing): JsonObject {
  const organizations = memberships.map(({ member, organisation }) => ({
    slug: organisation.id,
    name: organisation.name,
    role: member.role,
    ...(organisation.branding ? { branding: organisation.branding } : {}),
  }));
  if (!active) return { organizations, orgSlugs: organizations.map(({ slug }) => slug) };
  const { organisation, role, member } = active;
  return {
    organizations,
    orgSlugs: organizations.map(({ slug }) => slug),
    org: { ...shownActive(active), branding: organisation.branding ?? {}, navigation: organisation.navigation ?? null },
    role: { ...role },
    permissions: role.permissions,
    ...(member
      ? {
          membership: {
            role: member.role,
            status: member.status,
            groups: member.groups,
            joinedVia: member.joinedVia,
            createdAt: member.createdAt,
          },
        }
      : {}),
  };
}

export async function chooseActive(self: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
  const { userId, sessionId, kind } = self.identityOf(ctx);
  const session = sessionId ? await self.core.sessions.find(sessionId) : null;
  if (kind !== 'user' || !userId || session?.userId !== userId) throw fault('AuthenticationError');
  const { orgSlug } = readFields(ctx.params.body, ['orgSlug']);
  const standing = await standingOf(self.documents, userId, orgSlug);
  // The same answer for one that is not there and for one of others.
  if (standing.active?.organisation.id !== orgSlug)
    throw fault('ObjectNotFoundError', { message: `There is no organisation '${orgSlug}' you belong to.`, data: { orgSlug } });
  await self.core.sessions.choose(session, orgSlug);
  await self.broker.broadcast('organisations.changed', { userId });
  return shownStanding(standing);
}

/** @throws ObjectNotFoundError for an unknown organisation · ForbiddenError for one that lets nobody in without account, or not from there */
export async function assertLetsAnonymousIn(self: Self, orgSlug: string, origin: string | undefined): Promise<void> {
  const organisation = await organisationOf(self.documents, orgSlug);
  if (!organisation) throw fault('ObjectNotFoundError', { message: `There is no organisation '${orgSlug}'.`, data: { orgSlug } });
  const { enabled, allowedDomains = [] } = organisation.auth?.anonymous ?? { enabled: false };
  const refuse = (message: string) => fault('ForbiddenError', { message, data: { orgSlug } });
  if (!enabled || organisation.status !== 'active') throw refuse(`'${orgSlug}' lets nobody in without an account.`);
  if (allowedDomains.length === 0) return;
  const host = origin && URL.canParse(origin) ? new URL(origin).hostname.toLowerCase() : undefined;
  if (host === undefined || !allowedDomains.some((domain) => host === domain.toLowerCase() || host.endsWith(`.${domain.toLowerCase()}`)))
    throw refuse(`'${orgSlug}' lets people without account in from its own pages only.`);
}
