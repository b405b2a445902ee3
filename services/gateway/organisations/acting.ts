/**
 * acting — who acts in an organisation and what he may do there. The organisation is the one of the path; what the caller is in it comes from his
 * verified identity and the store, never from what he sends. To strangers an organisation is as if it were not there.
 */
import type { Identity } from '../../../mixins/auth/identity.ts';
import { allows, covers, coversScopes } from '../../../mixins/auth/permissions.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Call, Self } from '../identity/core.mixin.ts';
import { memberOf, organisationOf, type Role, roleOf, roleOrNothing } from './membership.ts';
import type { OrganisationRow } from './rows.ts';

export type Ask<P = object> = Call<P & { orgSlug: string; body?: unknown; query?: JsonObject }>;

export interface Acting {
  organisation: OrganisationRow;
  orgSlug: string;
  actorId: string;
  permissions: readonly string[];
  scopes: readonly string[];
  /** Owners and super admins. */
  isOwner: boolean;
  isSuperAdmin: boolean;
}

const noSuch = (slug: string) => fault('ObjectNotFoundError', { message: `There is no organisation '${slug}'.`, data: { orgSlug: slug } });

const ALL = ['*'];

async function rightsIn(
  self: Self,
  identity: Identity,
  orgSlug: string,
): Promise<Pick<Acting, 'permissions' | 'scopes' | 'isOwner' | 'isSuperAdmin'> | null> {
  const { kind, userId, role, org } = identity;
  if (kind === 'user' && role === 'superadmin') return { permissions: ALL, scopes: ALL, isOwner: true, isSuperAdmin: true };
  if (kind === 'service')
    return org?.slug === orgSlug ? { permissions: org.permissions, scopes: org.scopes, isOwner: false, isSuperAdmin: false } : null;
  if (kind !== 'user' || !userId) return null;
  const member = await memberOf(self.documents, orgSlug, userId);
  if (member?.status !== 'active') return null;
  const { permissions, scopes } = await roleOrNothing(self.documents, orgSlug, member.role);
  return { permissions, scopes, isOwner: member.role === 'owner', isSuperAdmin: false };
}

/**
 * The organisation of the path, for a caller who may do `permission` there (`null`: any member may).
 * @throws ObjectNotFoundError to who does not belong to it · ForbiddenError
 */
export async function actIn(self: Self, ctx: Ask<any>, permission: string | null): Promise<Acting> {
  const identity = self.identityOf(ctx);
  const { orgSlug } = ctx.params;
  if (identity.kind === 'none' || !identity.userId) throw fault('AuthenticationError');
  const organisation = await organisationOf(self.documents, orgSlug);
  const rights = organisation ? await rightsIn(self, identity, orgSlug) : null;
  if (!organisation || !rights) throw noSuch(orgSlug);
  if (organisation.status === 'suspended' && !rights.isSuperAdmin)
    throw fault('ForbiddenError', { message: `The organisation '${orgSlug}' is suspended.`, data: { orgSlug, status: 'suspended' } });
  if (permission !== null && !allows(rights.permissions, permission))
    throw fault('ForbiddenError', { message: `This needs the permission '${permission}'.`, data: { orgSlug, permission } });
  return { organisation, orgSlug, actorId: identity.userId, ...rights };
}

/** Nobody hands out, or takes from others, what he does not have himself; only owners make owners. @throws ForbiddenError */
export function assertCovers(acting: Acting, { slug, permissions, scopes }: Partial<Role>): void {
  if (slug === 'owner' && !acting.isOwner) throw fault('ForbiddenError', { message: 'Only an owner may give or take the role owner.' });
  if (covers(acting.permissions, permissions ?? []) && coversScopes(acting.scopes, scopes ?? [])) return;
  throw fault('ForbiddenError', { message: 'This goes beyond what you may do yourself.', data: { permissions, scopes } });
}

/** A role of the organisation that the caller may give. @throws BadParametersError · ForbiddenError */
export async function grantableRole(self: Self, acting: Acting, slug: string): Promise<Role> {
  const role = await roleOf(self.documents, acting.orgSlug, slug);
  if (!role) throw fault('BadParametersError', { message: `The organisation has no role '${slug}'.`, data: { role: slug } });
  assertCovers(acting, role);
  return role;
}

/** Tells of a change: the event of the thing, and the line of the audit. */
export async function tellChange(
  self: Self,
  ctx: Call<any>,
  change: {
    orgSlug: string;
    /** `members`, … ; `''` for the organisation itself. */
    category: string;
    /** Past participle: `created`. */
    action: string;
    target: string;
    before?: JsonObject | null;
    after?: JsonObject | null;
    metadata?: JsonObject;
  },
): Promise<void> {
  const { orgSlug, category, action, target, before = null, after = null, metadata = {} } = change;
  // Runs remember for seconds what their people may do.
  await self.broker.broadcast('organisations.changed', { orgSlug });
  const type = ['organizations', category, action].filter(Boolean).join('.');
  await self.tell(ctx, type, { orgSlug, target, ...metadata, ...(after ? { after } : {}) });
  await self.tell(ctx, 'organizations.audit', {
    category: category || 'organizations',
    action,
    orgSlug,
    target,
    changes: { before, after },
    metadata,
  });
}
