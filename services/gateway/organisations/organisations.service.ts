/**
 * orgs — organisations: made by super admins (by any account when ORG_CREATION says `users`), read by their members, changed by who may.
 *
 * State   organisations (documents).
 * Emits   `organizations.created`, `organizations.updated`, `organizations.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { REPEATABLE } from '../../../mixins/shared/repeatable.ts';
import type { Query } from '../../../mixins/storage/documents/contract.ts';
import type { OrganisationContext } from '../contract.ts';
import { type Call, core, type Self } from '../identity/core.mixin.ts';
import { userByEmail } from '../identity/users.ts';
import { type Ask, actIn, grantableRole, tellChange } from './acting.ts';
import { chooseActive, contextOf } from './choosing.ts';
import { readFields } from './fields.ts';
import { listOf, literal, pagingOf } from './lists.ts';
import { membershipsOf } from './membership.ts';
import { BELONGINGS, MEMBERS, type MemberRow, ORGANISATIONS, type OrganisationRow, rowId, shown, stamp } from './rows.ts';
import { forgetServices } from './services-of.ts';

const SORTABLE = ['createdAt', 'updatedAt', 'name', 'id'];
const CHANGEABLE = [
  'name',
  'domains',
  'branding',
  'navigation',
  'joinRules',
  'defaultRole',
  'auth',
  'settings',
  'subscriptionSlug',
  'status',
];
/** Said by the installation, not by the organisation. */
const BY_SUPER_ADMINS = ['status', 'subscriptionSlug', 'domains'];
/** Paths of their own under /orgs. */
const RESERVED = new Set(['join', 'new', 'me', 'platform']);

export const shownOrganisation = (row: OrganisationRow): JsonObject => ({ ...shown(row), slug: row.id });

/** Roles that newcomers get by themselves must be ones the caller may give, and never owner. */
async function checkRoles(self: Self, acting: Awaited<ReturnType<typeof actIn>>, change: Record<string, any>): Promise<void> {
  const given = [change.defaultRole, change.auth?.anonymous?.role, ...(change.joinRules ?? []).map(({ role }: { role: string }) => role)];
  for (const role of new Set(given.filter((one) => one !== undefined))) {
    if (role === 'owner') throw fault('BadParametersError', { message: 'Nobody becomes owner by himself.', data: { role } });
    await grantableRole(self, acting, role);
  }
}

async function ownerOf(
  self: Self,
  { ownerId, ownerEmail }: Record<string, any>,
  callerId: string,
): Promise<{ id: string; email?: string }> {
  const email = ownerEmail?.trim().toLowerCase();
  const [profile] = email
    ? [await userByEmail(self, email)]
    : await self.documents.find<{ id: string; _rev: number; email?: string }>('users', { id: ownerId ?? callerId }, { limit: 1 });
  if (!profile) throw fault('ObjectNotFoundError', { message: 'There is no such account to be the owner.' });
  return { id: profile.id, ...(profile.email ? { email: profile.email } : {}) };
}

const orgs: ServiceSchema<object, any> = {
  name: 'orgs',
  mixins: [core()],

  actions: {
    /** GET /orgs: those one belongs to; all for super admins. */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ query?: JsonObject }>) {
        const { userId, role, kind, org } = this.identityOf(ctx);
        const { query } = ctx.params;
        const mine =
          kind === 'user' && role === 'superadmin'
            ? null
            : kind === 'service'
              ? [org?.slug as string]
              : kind === 'user' && userId
                ? (await membershipsOf(this.documents, userId)).map(({ orgSlug }) => orgSlug)
                : [];
        const all: Query[] = [{ status: { $ne: 'deleted' } }];
        if (mine) all.push({ id: { $in: mine } });
        if (typeof query?.search === 'string' && query.search)
          all.push({
            $or: [{ name: { $regex: literal(query.search), $options: 'i' } }, { id: { $regex: literal(query.search), $options: 'i' } }],
          });
        return listOf<OrganisationRow>(this, ORGANISATIONS.name, { $and: all }, pagingOf(query, SORTABLE), shownOrganisation);
      },
    },

    /** POST /orgs { slug, name, …, ownerId? | ownerEmail? }: the owner is the caller unless a super admin names another one. */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { userId, role, kind } = this.identityOf(ctx);
        if (kind !== 'user' || !userId) throw fault('ForbiddenError');
        const isSuperAdmin = role === 'superadmin';
        if (!isSuperAdmin && this.core.config.orgCreation !== 'users')
          throw fault('ForbiddenError', { message: 'Organisations are made by the super admins of this installation.' });
        const optional = CHANGEABLE.filter((name) => name !== 'name' && name !== 'status');
        const {
          slug,
          name,
          ownerId,
          ownerEmail,
          joinRules = [],
          ...more
        } = readFields(ctx.params.body, ['slug', 'name'], [...optional, ...(isSuperAdmin ? ['ownerId', 'ownerEmail'] : [])]);
        const foreign = BY_SUPER_ADMINS.find((field) => !isSuperAdmin && more[field] !== undefined);
        if (foreign) throw fault('ForbiddenError', { message: `'${foreign}' is set by super admins.`, data: { field: foreign } });
        if (RESERVED.has(slug)) throw fault('AlreadyUsedError', { message: `The name '${slug}' is taken.`, data: { fields: ['slug'] } });
        const owner = await ownerOf(this, { ownerId, ownerEmail }, userId);
        const now = stamp();
        const dates = { createdAt: now, updatedAt: now, createdBy: userId, updatedBy: userId };
        const row: Omit<OrganisationRow, '_rev'> = {
          domains: [],
          defaultRole: 'member',
          ...more,
          id: slug,
          name,
          status: 'active',
          joinRules,
          joinRulesVersion: 1,
          ...dates,
        };
        const rights = { organisation: row as OrganisationRow, orgSlug: slug, actorId: userId, permissions: ['*'], scopes: ['*'] };
        await checkRoles(this, { ...rights, isOwner: true, isSuperAdmin }, { ...more, joinRules });
        // The organisation first: whoever loses the race for a name must not have become owner of the winner's.
        const made = await this.documents.insert<OrganisationRow>(ORGANISATIONS.name, row).catch((error) => {
          throw error.type === 'AlreadyUsedError'
            ? fault('AlreadyUsedError', { message: `The name '${slug}' is taken.`, data: { fields: ['slug'] } })
            : error;
        });
        await this.documents.insert<MemberRow>(MEMBERS.name, {
          id: rowId(slug, owner.id),
          orgSlug: slug,
          userId: owner.id,
          ...(owner.email ? { email: owner.email } : {}),
          role: 'owner',
          status: 'active',
          groups: [],
          joinedVia: 'direct',
          ...dates,
        });
        const after = shownOrganisation(made);
        await tellChange(this, ctx, {
          orgSlug: slug,
          category: '',
          action: 'created',
          target: slug,
          after,
          metadata: { ownerId: owner.id },
        });
        return after;
      },
    },

    /** GET /orgs/:orgSlug */
    get: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        return shownOrganisation((await actIn(this, ctx, 'orgs:organization:read')).organisation);
      },
    },

    /** PATCH /orgs/:orgSlug */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:organization:update');
        const { organisation, orgSlug, actorId } = acting;
        const set = readFields(ctx.params.body, [], CHANGEABLE);
        const foreign = BY_SUPER_ADMINS.find((field) => !acting.isSuperAdmin && set[field] !== undefined);
        if (foreign) throw fault('ForbiddenError', { message: `'${foreign}' is set by super admins.`, data: { field: foreign } });
        if (set.status === 'disabled') throw fault('BadParametersError', { message: 'An organisation is active or suspended.' });
        await checkRoles(this, acting, set);
        const more = set.joinRules ? { joinRulesVersion: organisation.joinRulesVersion + 1 } : {};
        const change = { set: { ...set, ...more, updatedAt: stamp(), updatedBy: actorId } };
        // Over what was read: two who change the rules of joining at once must not share a version.
        const updated = await this.documents.update<OrganisationRow>(ORGANISATIONS.name, orgSlug, change, organisation._rev);
        if (set.status) await forgetServices(this, orgSlug);
        const [before, after] = [shownOrganisation(organisation), shownOrganisation(updated)];
        await tellChange(this, ctx, { orgSlug, category: '', action: 'updated', target: orgSlug, before, after });
        return after;
      },
    },

    /** DELETE /orgs/:orgSlug: by its owners. Its name stays taken; all that belongs to it goes. */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { organisation, orgSlug, isOwner, actorId } = await actIn(this, ctx, null);
        if (!isOwner) throw fault('ForbiddenError', { message: 'Only an owner may delete an organisation.' });
        await forgetServices(this, orgSlug);
        // What belongs to it last: whoever asks again after an interruption is still the owner then.
        for (const { name } of BELONGINGS.filter(({ name }) => name !== MEMBERS.name)) await this.documents.removeMany(name, { orgSlug });
        await this.documents.update<OrganisationRow>(ORGANISATIONS.name, orgSlug, {
          set: { status: 'deleted', name: '', domains: [], joinRules: [], updatedAt: stamp(), updatedBy: actorId },
          unset: ['branding', 'navigation', 'auth', 'settings', 'subscriptionSlug'],
        });
        await this.documents.removeMany(MEMBERS.name, { orgSlug });
        await forgetServices(this, orgSlug);
        const before = shownOrganisation(organisation);
        await tellChange(this, ctx, { orgSlug, category: '', action: 'deleted', target: orgSlug, before });
        return { success: true };
      },
    },

    /** PUT /user/active-org { orgSlug }: where this session acts from now on. */
    choose: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        return chooseActive(this, ctx);
      },
    },

    /** { userId, sessionId? } → what a run of that person knows of his organisations. For services. */
    context: {
      visibility: 'public',
      identity: 'system',
      retryPolicy: REPEATABLE,
      handler(this: Self, ctx: Call<{ userId: string; sessionId?: string }>): Promise<OrganisationContext> {
        return contextOf(this, ctx.params);
      },
    },
  },
};

export default orgs;
