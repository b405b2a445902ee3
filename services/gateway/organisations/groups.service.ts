/**
 * orgGroups — groups of members, for sharing. Who is in a group is written at the member, so a group never holds a stranger.
 *
 * State   groups (documents).
 * Emits   `organizations.groups.created`, `.updated`, `.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { core, type Self } from '../identity/core.mixin.ts';
import { type Ask, actIn, tellChange } from './acting.ts';
import { readFields } from './fields.ts';
import { listOf, pagingOf } from './lists.ts';
import { memberOf } from './membership.ts';
import { GROUPS, type GroupRow, MEMBERS, type MemberRow, rowId, shown, stamp } from './rows.ts';

const MAX_GROUPS = 500;
const MAX_OF_MEMBER = 100;

async function theGroup(self: Self, orgSlug: string, slug: string): Promise<GroupRow> {
  const group = await self.documents.get<GroupRow>(GROUPS.name, rowId(orgSlug, slug));
  if (!group) throw fault('ObjectNotFoundError', { message: `The organisation has no group '${slug}'.`, data: { group: slug } });
  return group;
}

/** Over the revision that was read: two changes at once lose nothing. Whether anything changed. */
async function changeGroups(self: Self, orgSlug: string, userId: string, change: (groups: string[]) => string[]): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const member = await memberOf(self.documents, orgSlug, userId);
    if (!member) throw fault('ObjectNotFoundError', { message: `'${userId}' does not belong to this organisation.`, data: { userId } });
    const groups = [...new Set(change(member.groups))];
    if (groups.length === member.groups.length) return false;
    if (groups.length > MAX_OF_MEMBER) throw fault('BadParametersError', { message: `A member is in ${MAX_OF_MEMBER} groups at most.` });
    try {
      await self.documents.update<MemberRow>(MEMBERS.name, member.id, { set: { groups, updatedAt: stamp() } }, member._rev);
      return true;
    } catch (error) {
      if (!isFault(error, 'VersionConflict') || attempt >= 5) throw error;
    }
  }
}

const orgGroups: ServiceSchema<object, any> = {
  name: 'orgGroups',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/groups */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask) {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:read');
        return listOf<GroupRow>(this, GROUPS.name, { orgSlug }, pagingOf(ctx.params.query, ['createdAt', 'slug', 'name']), shown);
      },
    },

    /** POST /orgs/:orgSlug/groups { slug, name, description? } */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const { orgSlug, actorId } = await actIn(this, ctx, 'orgs:groups:create');
        const { slug, name, description } = readFields(ctx.params.body, ['slug', 'name'], ['description']);
        if ((await this.documents.count(GROUPS.name, { orgSlug })) >= MAX_GROUPS)
          throw fault('BadParametersError', { message: `An organisation may have ${MAX_GROUPS} groups.` });
        const now = stamp();
        const row = await this.documents.insert<GroupRow>(GROUPS.name, {
          id: rowId(orgSlug, slug),
          orgSlug,
          slug,
          name,
          ...(description ? { description } : {}),
          createdAt: now,
          updatedAt: now,
          createdBy: actorId,
          updatedBy: actorId,
        });
        await tellChange(this, ctx, { orgSlug, category: 'groups', action: 'created', target: slug, after: shown(row) });
        return shown(row);
      },
    },

    /** GET /orgs/:orgSlug/groups/:slug */
    get: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:read');
        return shown(await theGroup(this, orgSlug, ctx.params.slug));
      },
    },

    /** PATCH /orgs/:orgSlug/groups/:slug { name?, description? } */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug, actorId } = await actIn(this, ctx, 'orgs:groups:update');
        const set = readFields(ctx.params.body, [], ['name', 'description']);
        const before = await theGroup(this, orgSlug, ctx.params.slug);
        const change = { set: { ...set, updatedAt: stamp(), updatedBy: actorId } };
        const after = shown(await this.documents.update<GroupRow>(GROUPS.name, before.id, change));
        await tellChange(this, ctx, { orgSlug, category: 'groups', action: 'updated', target: before.slug, before: shown(before), after });
        return after;
      },
    },

    /** DELETE /orgs/:orgSlug/groups/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:delete');
        const before = await theGroup(this, orgSlug, ctx.params.slug);
        // Members first: a group of the same name made later must not find them in it.
        for (;;) {
          const members = await this.documents.find<MemberRow>(MEMBERS.name, { orgSlug, groups: before.slug }, { limit: 500 });
          for (const { userId } of members)
            await changeGroups(this, orgSlug, userId, (groups) => groups.filter((slug) => slug !== before.slug));
          if (members.length < 500) break;
        }
        await this.documents.remove(GROUPS.name, before.id);
        await tellChange(this, ctx, { orgSlug, category: 'groups', action: 'deleted', target: before.slug, before: shown(before) });
        return { success: true };
      },
    },

    /** GET /orgs/:orgSlug/groups/:slug/members */
    members: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>) {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:read');
        const { slug } = await theGroup(this, orgSlug, ctx.params.slug);
        return listOf<MemberRow>(
          this,
          MEMBERS.name,
          { orgSlug, groups: slug },
          pagingOf(ctx.params.query, ['createdAt', 'email', 'role']),
          ({ userId, email, role, status }) => ({ id: userId, userId, ...(email ? { email } : {}), role, status }),
        );
      },
    },

    /** POST /orgs/:orgSlug/groups/:slug/members { userIds } */
    addMembers: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:update');
        const { slug } = await theGroup(this, orgSlug, ctx.params.slug);
        const { userIds } = readFields(ctx.params.body, ['userIds']);
        let added = 0;
        for (const userId of userIds) if (await changeGroups(this, orgSlug, userId, (groups) => [...groups, slug])) added++;
        await tellChange(this, ctx, { orgSlug, category: 'groups', action: 'updated', target: slug, metadata: { added: userIds } });
        return { success: true, added };
      },
    },

    /** DELETE /orgs/:orgSlug/groups/:slug/members/:userId */
    removeMember: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string; userId: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:groups:update');
        const { slug } = await theGroup(this, orgSlug, ctx.params.slug);
        const { userId } = ctx.params;
        await changeGroups(this, orgSlug, userId, (groups) => groups.filter((one) => one !== slug));
        await tellChange(this, ctx, { orgSlug, category: 'groups', action: 'updated', target: slug, metadata: { removed: [userId] } });
        return { success: true };
      },
    },
  },
};

export default orgGroups;
