/** users — profiles, and finding people. State: users (documents). Emits `gateway.users.updated`, `gateway.users.bulkUpdated`. */
import { isDeepStrictEqual } from 'node:util';
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Query } from '../../../mixins/storage/documents/contract.ts';
import type { UserProfile } from '../contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { type FieldName, fieldsOf } from './fields.ts';
import { shownUser, USERS, type UserRow } from './rows.ts';

const OWN: FieldName[] = ['firstName', 'lastName', 'meta', 'photo', 'language'];
const BY_SUPER_ADMIN: FieldName[] = ['firstName', 'lastName', 'meta', 'status', 'platformRole', 'groups'];

async function update(self: Self, ctx: Call<any>, id: string, allowed: FieldName[], body: unknown): Promise<JsonObject> {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be a JSON object.' });
  const foreign = Object.keys(body).find((name) => !allowed.includes(name as FieldName));
  if (foreign) throw fault('ForbiddenError', { message: `Unauthorized update on '${foreign}' field`, data: { field: foreign } });
  const set = fieldsOf(body, [], allowed) as JsonObject;
  const user = await self.documents.update<UserRow>(USERS.name, id, { set: { ...set, updatedAt: new Date().toISOString() } });
  if (set.status && set.status !== 'validated') {
    await self.core.sessions.endAll(id);
    self.revoked({ userId: id });
  }
  await self.tell(ctx, 'gateway.users.updated', { user: shownUser(user), fields: Object.keys(set) });
  return shownUser(user, { forSuperAdmin: self.identityOf(ctx).role === 'superadmin' });
}

const MAX_BULK = 1000;

const me = (self: Self, ctx: Call<any>): string => {
  const { userId, kind } = self.identityOf(ctx);
  if (!userId || kind === 'delegated') throw fault('AuthenticationError');
  return userId;
};

/** Over the revision that was read: two tabs that save at once lose nothing. */
async function changeMeta(self: Self, id: string, change: (meta: JsonObject) => JsonObject): Promise<JsonObject> {
  for (let attempt = 1; ; attempt++) {
    const user = await self.documents.get<UserRow>(USERS.name, id);
    if (!user) throw fault('AuthenticationError');
    const meta = change(user.meta ?? {});
    fieldsOf({ meta }, ['meta']);
    try {
      await self.documents.update<UserRow>(USERS.name, id, { set: { meta } }, user._rev);
      return meta;
    } catch (error) {
      if (!isFault(error, 'VersionConflict') || attempt >= 5) throw error;
    }
  }
}

const users: ServiceSchema<object, any> = {
  name: 'users',
  mixins: [core()],

  actions: {
    /** { ids } → public profiles, unknown ids left out. For services. */
    get: {
      visibility: 'public',
      identity: 'system',
      async handler(this: Self, ctx: Call<{ ids: string[] }>): Promise<UserProfile[]> {
        const ids = (ctx.params.ids ?? []).filter((id) => typeof id === 'string').slice(0, 2000);
        if (ids.length === 0) return [];
        const rows = await this.documents.find<UserRow>(USERS.name, { id: { $in: ids } } as Query);
        return rows.map(({ id, email, firstName, lastName, photo }) => ({
          id,
          ...(email ? { email } : {}),
          ...(firstName ? { firstName } : {}),
          ...(lastName ? { lastName } : {}),
          ...(photo ? { photo } : {}),
        }));
      },
    },

    /** PATCH /user */
    updateOwn: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<{ body: unknown }>) {
        return update(this, ctx, me(this, ctx), OWN, ctx.params.body);
      },
    },

    /** PATCH /users/:userId */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ userId: string; body: unknown }>) {
        const { userId } = ctx.params;
        const own = me(this, ctx) === userId;
        const isAdmin = this.identityOf(ctx).role === 'superadmin';
        if (!own && !isAdmin) throw fault('ForbiddenError');
        return update(this, ctx, userId, [...new Set([...(own ? OWN : []), ...(isAdmin ? BY_SUPER_ADMIN : [])])], ctx.params.body);
      },
    },

    /** POST /user/meta: merged into what is there. */
    mergeMeta: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { meta: given } = fieldsOf({ meta: ctx.params.body }, ['meta']);
        return changeMeta(this, me(this, ctx), (meta) => ({ ...meta, ...given }));
      },
    },

    /** DELETE /user/meta/:key */
    removeMeta: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call<{ key: string }>): Promise<JsonObject> {
        const { key } = ctx.params;
        return changeMeta(this, me(this, ctx), (meta) => Object.fromEntries(Object.entries(meta).filter(([name]) => name !== key)));
      },
    },

    /** PATCH /users { ids? | emails?, groups?, status?, platformRole?, behaviour?: { groups: replace | add | delete } }: for super admins. */
    updateMany: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        me(this, ctx);
        if (this.identityOf(ctx).role !== 'superadmin') throw fault('ForbiddenError');
        const body = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        const set = fieldsOf(body, [], ['groups', 'status', 'platformRole']) as JsonObject;
        const list = (value: unknown) =>
          Array.isArray(value) && value.length <= MAX_BULK && value.every((item) => typeof item === 'string')
            ? (value as string[])
            : undefined;
        const [ids, emails] = [list(body.ids), list(body.emails)?.map((email) => email.trim().toLowerCase())];
        const wanted = ids ?? emails;
        if (!wanted) throw fault('RequestValidationError', { message: `Give ids or emails: a list of at most ${MAX_BULK} texts.` });
        const mode = isPlainObject(body.behaviour) ? body.behaviour.groups : 'replace';
        if (!['replace', 'add', 'delete', undefined].includes(mode as string))
          throw fault('RequestValidationError', { message: 'behaviour.groups must be replace, add or delete.' });
        const rows = await this.documents.find<UserRow>(USERS.name, { [ids ? 'id' : 'email']: { $in: wanted } } as Query);
        let modified = 0;
        for (const row of rows) {
          const given = (set.groups as string[] | undefined) ?? [];
          const groups = row.groups ?? [];
          const next =
            mode === 'add'
              ? [...new Set([...groups, ...given])]
              : mode === 'delete'
                ? groups.filter((name) => !given.includes(name))
                : given;
          const change = { ...set, ...(set.groups === undefined ? {} : { groups: next }) };
          if (Object.entries(change).every(([name, value]) => isDeepStrictEqual(row[name as keyof UserRow], value))) continue;
          await this.documents.update<UserRow>(USERS.name, row.id, { set: { ...change, updatedAt: new Date().toISOString() } });
          if (set.status && set.status !== 'validated') await this.core.sessions.endAll(row.id);
          this.revoked({ userId: row.id });
          modified++;
        }
        const result = { requestedCount: wanted.length, matchedCount: rows.length, modifiedCount: modified };
        await this.tell(ctx, 'gateway.users.bulkUpdated', { query: ids ? { ids } : { emails: emails ?? [] }, data: set, result });
        return result;
      },
    },
  },
};

export default users;
