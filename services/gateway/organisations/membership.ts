/** membership — who belongs to which organisation, with which role, and which organisation somebody acts in. Reads only; shared by routes, resolver and runs. */

import { asTree, BUILT_IN_ROLES } from '../../../mixins/auth/permissions.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import { MEMBERS, type MemberRow, ORGANISATIONS, type OrganisationRow, ROLES, type RoleRow, rowId } from './rows.ts';

export interface Role {
  slug: string;
  permissions: string[];
  scopes: string[];
}

/** A role as the organisation means it; `null` when it has none of that name. */
export async function roleOf(documents: Documents, orgSlug: string, slug: string): Promise<Role | null> {
  const builtIn = Object.hasOwn(BUILT_IN_ROLES, slug) ? BUILT_IN_ROLES[slug] : undefined;
  // Nobody can take from the owner what is his.
  if (builtIn && slug === 'owner') return { slug, permissions: builtIn.permissions, scopes: builtIn.scopes };
  const row = await documents.get<RoleRow>(ROLES.name, rowId(orgSlug, slug));
  const found = row ?? builtIn;
  return found ? { slug, permissions: found.permissions, scopes: found.scopes } : null;
}

/** A role that was deleted meanwhile gives nothing. */
export const roleOrNothing = async (documents: Documents, orgSlug: string, slug: string): Promise<Role> =>
  (await roleOf(documents, orgSlug, slug)) ?? { slug, permissions: [], scopes: [] };

export const organisationOf = async (documents: Documents, slug: string): Promise<OrganisationRow | null> => {
  const row = await documents.get<OrganisationRow>(ORGANISATIONS.name, slug);
  return row && row.status !== 'deleted' ? row : null;
};

export const memberOf = (documents: Documents, orgSlug: string, userId: string): Promise<MemberRow | null> =>
  documents.get<MemberRow>(MEMBERS.name, rowId(orgSlug, userId));

/** Oldest first. */
export const membershipsOf = (documents: Documents, userId: string): Promise<MemberRow[]> =>
  documents.find<MemberRow>(MEMBERS.name, { userId, status: 'active' }, { sort: { createdAt: 1, id: 1 } });

/** What a run knows of the organisation it is started in. */
export interface ActiveOrganisation {
  organisation: OrganisationRow;
  role: Role;
  groups: string[];
  member?: MemberRow;
}

export interface Standing {
  memberships: { member: MemberRow; organisation: OrganisationRow }[];
  active: ActiveOrganisation | null;
}

/** The memberships of a user that count, and the organisation he acts in: the one he chose, else the first. */
export async function standingOf(documents: Documents, userId: string, chosen: string | undefined, isAnonymous = false): Promise<Standing> {
  if (isAnonymous) return { memberships: [], active: chosen ? await anonymousIn(documents, chosen) : null };
  const rows = await membershipsOf(documents, userId);
  const memberships: Standing['memberships'] = [];
  for (const member of rows) {
    const organisation = await organisationOf(documents, member.orgSlug);
    if (organisation?.status === 'active') memberships.push({ member, organisation });
  }
  const wanted = memberships.find(({ member }) => member.orgSlug === chosen) ?? memberships[0];
  if (!wanted) return { memberships, active: null };
  const { member, organisation } = wanted;
  const role = await roleOrNothing(documents, organisation.id, member.role);
  return { memberships, active: { organisation, role, groups: member.groups, member } };
}

/** Somebody without account, in an organisation that lets such people in. */
async function anonymousIn(documents: Documents, orgSlug: string): Promise<ActiveOrganisation | null> {
  const organisation = await organisationOf(documents, orgSlug);
  const settings = organisation?.auth?.anonymous;
  if (organisation?.status !== 'active' || !settings?.enabled) return null;
  return { organisation, role: await roleOrNothing(documents, orgSlug, settings.role ?? organisation.defaultRole), groups: [] };
}

/** `session.org` */
export const shownActive = ({ organisation, role, groups }: ActiveOrganisation): JsonObject => ({
  slug: organisation.id,
  name: organisation.name,
  role: { ...role },
  groups,
  settings: organisation.settings ?? {},
  ...(organisation.subscriptionSlug ? { subscription: { slug: organisation.subscriptionSlug } } : {}),
});

export const treeOf = ({ role }: Pick<ActiveOrganisation, 'role'>): JsonObject => asTree(role.permissions);
