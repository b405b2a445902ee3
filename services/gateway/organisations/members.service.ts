/**
 * orgMembers — who belongs to an organisation, as what. An organisation always keeps an owner.
 *
 * State   memberships (documents).
 * Emits   `organizations.members.created`, `.updated`, `.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Query } from '../../../mixins/storage/documents/contract.ts';
import { core, type Self } from '../identity/core.mixin.ts';
import { USERS, type UserRow } from '../identity/rows.ts';
import { userByEmail } from '../identity/users.ts';
import { type Acting, type Ask, actIn, assertCovers, grantableRole, tellChange } from './acting.ts';
import { readFields } from './fields.ts';
import { addMember, assertGroups } from './joining.ts';
import { literal, pagingOf } from './lists.ts';
import { memberOf, roleOrNothing } from './membership.ts';
import { MEMBERS, type MemberRow, rowId, shown, stamp } from './rows.ts';

const SORTABLE = ['createdAt', 'updatedAt', 'email', 'role', 'status'];
const EXPORTED = ['userId', 'email', 'firstName', 'lastName', 'role', 'status', 'joinedVia', 'groups', 'createdAt'];

async function withProfiles(self: Self, rows: MemberRow[]): Promise<JsonObject[]> {
  const users = rows.length
    ? await self.documents.find<UserRow>(USERS.name, { id: { $in: rows.map(({ userId }) => userId) } } as Query)
    : [];
  const byId = new Map(users.map((user) => [user.id, user]));
  return rows.map((row) => {
    const { firstName, lastName, photo, email } = byId.get(row.userId) ?? ({} as Partial<UserRow>);
    const profile: JsonObject = { firstName, lastName, photo, email: email ?? row.email };
    for (const key of Object.keys(profile)) if (profile[key] === undefined) delete profile[key];
    return { ...shown(row), ...profile, id: row.userId };
  });
}

function queryOf(orgSlug: string, query: JsonObject | undefined): Query {
  const all: Query[] = [{ orgSlug }];
  for (const field of ['role', 'status', 'groups'] as const) {
    const value = query?.[field === 'groups' ? 'group' : field];
    if (typeof value === 'string' && value) all.push({ [field]: value });
  }
  if (typeof query?.search === 'string' && query.search) all.push({ email: { $regex: literal(query.search), $options: 'i' } });
  return { $and: all };
}

/** @throws ObjectNotFoundError */
async function theMember(self: Self, orgSlug: string, userId: string): Promise<MemberRow> {
  const member = await memberOf(self.documents, orgSlug, userId);
  if (!member) throw fault('ObjectNotFoundError', { message: `'${userId}' does not belong to this organisation.`, data: { userId } });
  return member;
}

/** Whoever changes a member must have what that member has. */
async function assertAbove(self: Self, acting: Acting, member: MemberRow): Promise<void> {
  assertCovers(acting, await roleOrNothing(self.documents, acting.orgSlug, member.role));
}

/**
 * Undoes what left an organisation without an owner. Looking first would let two owners who leave at once both pass: each would see the other.
 * @throws ForbiddenError
 */
async function keepAnOwner(self: Self, before: MemberRow, undo: () => Promise<unknown>): Promise<void> {
  if (before.role !== 'owner' || before.status !== 'active') return;
  if ((await self.documents.count(MEMBERS.name, { orgSlug: before.orgSlug, role: 'owner', status: 'active' })) > 0) return;
  await undo();
  throw fault('ForbiddenError', { message: 'An organisation keeps at least one owner: name another one first.' });
}

/** Spreadsheets run what begins with these. */
const cell = (value: unknown): string => {
  const text = Array.isArray(value) ? value.join(' ') : String(value ?? '');
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
};

const orgMembers: ServiceSchema<object, any> = {
  name: 'orgMembers',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/members ?search&role&status&group&page&limit&sort */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<{ results: JsonObject[]; total: number }> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:members:read');
        const query = queryOf(orgSlug, ctx.params.query);
        const rows = await this.documents.find<MemberRow>(MEMBERS.name, query, pagingOf(ctx.params.query, SORTABLE));
        return { results: await withProfiles(this, rows), total: await this.documents.count(MEMBERS.name, query) };
      },
    },

    /** GET /orgs/:orgSlug/members/export: all of them as CSV. */
    export: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<string> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:members:export');
        const lines = [EXPORTED.join(',')];
        const query = queryOf(orgSlug, ctx.params.query);
        for (let skip = 0; ; skip += 500) {
          const rows = await this.documents.find<MemberRow>(MEMBERS.name, query, { limit: 500, skip, sort: { id: 1 } });
          for (const row of await withProfiles(this, rows)) lines.push(EXPORTED.map((field) => cell(row[field])).join(','));
          if (rows.length < 500) break;
        }
        ctx.meta.$responseHeaders = {
          'content-type': 'text/csv; charset=utf-8',
          'content-disposition': `attachment; filename="members-${orgSlug}.csv"`,
          'cache-control': 'no-store',
        };
        await tellChange(this, ctx, {
          orgSlug,
          category: 'members',
          action: 'exported',
          target: orgSlug,
          metadata: { count: lines.length - 1 },
        });
        return `${lines.join('\r\n')}\r\n`;
      },
    },

    /** POST /orgs/:orgSlug/members { userId | email, role?, groups? }: somebody who has an account. */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:members:create');
        const {
          userId,
          email,
          role = acting.organisation.defaultRole,
          groups = [],
        } = readFields(ctx.params.body, [], ['userId', 'email', 'role', 'groups']);
        if (!userId === !email) throw fault('RequestValidationError', { message: 'Give userId or email.' });
        await grantableRole(this, acting, role);
        await assertGroups(this, acting.orgSlug, groups);
        const user = email
          ? await userByEmail(this, String(email).trim().toLowerCase())
          : await this.documents.get<UserRow>(USERS.name, userId);
        if (!user?.email)
          throw fault('ObjectNotFoundError', { message: 'There is no such account; send an invitation instead.', data: { userId, email } });
        const member = await addMember(this, ctx, acting.organisation, user, { role, groups, joinedVia: 'direct', by: acting.actorId });
        if (!member)
          throw fault('AlreadyUsedError', { message: 'This person belongs to the organisation already.', data: { userId: user.id } });
        return (await withProfiles(this, [member]))[0] as JsonObject;
      },
    },

    /** GET /orgs/:orgSlug/members/:userId */
    get: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ userId: string }>): Promise<JsonObject> {
        const isSelf = this.identityOf(ctx).userId === ctx.params.userId;
        const { orgSlug } = await actIn(this, ctx, isSelf ? null : 'orgs:members:read');
        return (await withProfiles(this, [await theMember(this, orgSlug, ctx.params.userId)]))[0] as JsonObject;
      },
    },

    /** PATCH /orgs/:orgSlug/members/:userId { role?, status?, groups? } */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ userId: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:members:update');
        const { orgSlug, actorId } = acting;
        const set = readFields(ctx.params.body, [], ['role', 'status', 'groups']);
        const before = await theMember(this, orgSlug, ctx.params.userId);
        await assertAbove(this, acting, before);
        if (set.status === 'disabled') throw fault('BadParametersError', { message: 'A member is active or suspended.' });
        if (set.role) await grantableRole(this, acting, set.role);
        if (set.groups) await assertGroups(this, orgSlug, set.groups);
        const change = { set: { ...set, updatedAt: stamp(), updatedBy: actorId } };
        // Over what was judged: a member who was made owner meanwhile is not touched by somebody below him.
        const updated = await this.documents.update<MemberRow>(MEMBERS.name, before.id, change, before._rev);
        await keepAnOwner(this, before, () =>
          this.documents.update(MEMBERS.name, before.id, { set: { role: before.role, status: before.status } }),
        );
        const [was, after] = [shown(before), shown(updated)];
        await tellChange(this, ctx, { orgSlug, category: 'members', action: 'updated', target: before.userId, before: was, after });
        return (await withProfiles(this, [updated]))[0] as JsonObject;
      },
    },

    /** DELETE /orgs/:orgSlug/members/:userId: others with the right, oneself always. */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ userId: string }>): Promise<JsonObject> {
        const isSelf = this.identityOf(ctx).userId === ctx.params.userId;
        const acting = await actIn(this, ctx, isSelf ? null : 'orgs:members:delete');
        const { orgSlug } = acting;
        const before = await theMember(this, orgSlug, ctx.params.userId);
        if (!isSelf) await assertAbove(this, acting, before);
        await this.documents.remove(MEMBERS.name, rowId(orgSlug, before.userId));
        await keepAnOwner(this, before, async () => {
          const { _rev, ...row } = before;
          await this.documents.insert<MemberRow>(MEMBERS.name, row).catch((error) => {
            if (!isFault(error, 'AlreadyUsedError')) throw error;
          });
        });
        await tellChange(this, ctx, { orgSlug, category: 'members', action: 'deleted', target: before.userId, before: shown(before) });
        return { success: true };
      },
    },
  },
};

export default orgMembers;
