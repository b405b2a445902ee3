/**
 * orgRoles — roles of an organisation: the built-in ones, which it may write anew (not `owner`), and its own.
 *
 * State   roles (documents).
 * Emits   `organizations.roles.created`, `.updated`, `.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { BUILT_IN_ROLES } from '../../../mixins/auth/permissions.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { core, type Self } from '../identity/core.mixin.ts';
import { type Ask, actIn, assertCovers, tellChange } from './acting.ts';
import { readFields } from './fields.ts';
import { pagingOf } from './lists.ts';
import { MEMBERS, ROLES, type RoleRow, rowId, SERVICE_ACCOUNTS, shown, stamp } from './rows.ts';
import { forgetServices } from './services-of.ts';

const MAX_ROLES = 200;
const builtIn = (slug: string) => (Object.hasOwn(BUILT_IN_ROLES, slug) ? BUILT_IN_ROLES[slug] : undefined);

async function rolesOf(self: Self, orgSlug: string): Promise<JsonObject[]> {
  const rows = await self.documents.find<RoleRow>(ROLES.name, { orgSlug }, { limit: MAX_ROLES * 2 });
  const own = new Map(rows.map((row) => [row.slug, row]));
  const all = Object.entries(BUILT_IN_ROLES).map(([slug, role]) => ({
    slug,
    orgSlug,
    ...role,
    ...(slug !== 'owner' && own.has(slug) ? shown(own.get(slug) as RoleRow) : {}),
    builtIn: true,
    overridden: slug !== 'owner' && own.has(slug),
  }));
  return [...all, ...rows.filter(({ slug }) => !builtIn(slug)).map((row) => ({ ...shown(row), builtIn: false }))];
}

async function theRole(self: Self, orgSlug: string, slug: string): Promise<JsonObject & { permissions: string[]; scopes: string[] }> {
  const role = (await rolesOf(self, orgSlug)).find((one) => one.slug === slug);
  if (!role) throw fault('ObjectNotFoundError', { message: `The organisation has no role '${slug}'.`, data: { role: slug } });
  return role as never;
}

const orgRoles: ServiceSchema<object, any> = {
  name: 'orgRoles',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/roles */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<{ results: JsonObject[]; total: number }> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:roles:read');
        const { skip, limit } = pagingOf(ctx.params.query, ['createdAt', 'slug', 'name']);
        const sort = String(ctx.params.query?.sort ?? '');
        const field = sort.replace(/^[-+]/, '');
        const roles = await rolesOf(this, orgSlug);
        if (field) roles.sort((a, b) => String(a[field] ?? '').localeCompare(String(b[field] ?? '')) * (sort.startsWith('-') ? -1 : 1));
        return { results: roles.slice(skip, skip + limit), total: roles.length };
      },
    },

    /** POST /orgs/:orgSlug/roles { slug, name, permissions, scopes?, description? } */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:roles:create');
        const { orgSlug, actorId } = acting;
        const given = readFields(ctx.params.body, ['slug', 'name', 'permissions'], ['scopes', 'description']);
        const { slug, name, permissions, scopes = [], description } = given;
        if (builtIn(slug))
          throw fault('AlreadyUsedError', { message: `'${slug}' is a built-in role; change it with PATCH.`, data: { fields: ['slug'] } });
        assertCovers(acting, { slug, permissions, scopes });
        if ((await this.documents.count(ROLES.name, { orgSlug })) >= MAX_ROLES)
          throw fault('BadParametersError', { message: `An organisation may have ${MAX_ROLES} roles.` });
        const now = stamp();
        const row = await this.documents.insert<RoleRow>(ROLES.name, {
          id: rowId(orgSlug, slug),
          orgSlug,
          slug,
          name,
          ...(description ? { description } : {}),
          permissions,
          scopes,
          createdAt: now,
          updatedAt: now,
          createdBy: actorId,
          updatedBy: actorId,
        });
        const after = { ...shown(row), builtIn: false };
        await tellChange(this, ctx, { orgSlug, category: 'roles', action: 'created', target: slug, after });
        return after;
      },
    },

    /** GET /orgs/:orgSlug/roles/:slug */
    get: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:roles:read');
        return theRole(this, orgSlug, ctx.params.slug);
      },
    },

    /** PATCH /orgs/:orgSlug/roles/:slug: a built-in one becomes the organisation's own version. */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:roles:update');
        const { orgSlug, actorId } = acting;
        const { slug } = ctx.params;
        const set = readFields(ctx.params.body, [], ['name', 'description', 'permissions', 'scopes']);
        const before = await theRole(this, orgSlug, slug);
        if (slug === 'owner') throw fault('ForbiddenError', { message: 'The role owner cannot be changed.' });
        // Neither to give more than one has, nor to take from those above.
        assertCovers(acting, before);
        assertCovers(acting, { slug, ...set });
        const now = stamp();
        const id = rowId(orgSlug, slug);
        const present = await this.documents.get<RoleRow>(ROLES.name, id);
        const base = builtIn(slug);
        const row = present
          ? await this.documents.update<RoleRow>(ROLES.name, id, { set: { ...set, updatedAt: now, updatedBy: actorId } }, present._rev)
          : await this.documents.insert<RoleRow>(ROLES.name, {
              ...(base as NonNullable<typeof base>),
              ...set,
              id,
              orgSlug,
              slug,
              createdAt: now,
              updatedAt: now,
              createdBy: actorId,
              updatedBy: actorId,
            });
        await forgetServices(this, orgSlug, slug);
        const after = { ...shown(row), builtIn: base !== undefined, ...(base ? { overridden: true } : {}) };
        await tellChange(this, ctx, { orgSlug, category: 'roles', action: 'updated', target: slug, before, after });
        return after;
      },
    },

    /** DELETE /orgs/:orgSlug/roles/:slug: of a built-in one, the organisation's own version of it. */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:roles:delete');
        const { orgSlug } = acting;
        const { slug } = ctx.params;
        const before = await theRole(this, orgSlug, slug);
        assertCovers(acting, before);
        const base = builtIn(slug);
        if (base && !before.overridden) throw fault('ForbiddenError', { message: 'A built-in role cannot be deleted.' });
        // The built-in one comes back: it too must be within what the caller may give.
        if (base) assertCovers(acting, base);
        const held = base ? 0 : await holdersOf(this, orgSlug, slug);
        if (held > 0)
          throw fault('BadParametersError', {
            message: `${held} still have this role; give them another one first.`,
            data: { holders: held },
          });
        await this.documents.remove(ROLES.name, rowId(orgSlug, slug));
        await forgetServices(this, orgSlug, slug);
        await tellChange(this, ctx, { orgSlug, category: 'roles', action: 'deleted', target: slug, before });
        return { success: true };
      },
    },
  },
};

const holdersOf = async (self: Self, orgSlug: string, role: string): Promise<number> =>
  (await self.documents.count(MEMBERS.name, { orgSlug, role })) + (await self.documents.count(SERVICE_ACCOUNTS.name, { orgSlug, role }));

export default orgRoles;
