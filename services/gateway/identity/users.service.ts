/** users — profiles, and finding people. State: users (documents). Emits `gateway.users.updated`, `gateway.users.deleted`. */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Query } from '../../../mixins/storage/documents/contract.ts';
import type { UserProfile } from '../contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { type FieldName, fieldsOf } from './fields.ts';
import { assertPassword } from './identity.service.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
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
  await self.tell(ctx, 'gateway.users.updated', { id, fields: Object.keys(set) });
  return shownUser(user, { forSuperAdmin: self.identityOf(ctx).role === 'superadmin' });
}

const me = (self: Self, ctx: Call<any>): string => {
  const { userId, kind } = self.identityOf(ctx);
  if (!userId || kind === 'delegated') throw fault('AuthenticationError');
  return userId;
};

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
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { meta } = fieldsOf({ meta: ctx.params.body }, ['meta']);
        const user = await this.documents.get<UserRow>(USERS.name, me(this, ctx));
        const merged = { ...user?.meta, ...meta };
        fieldsOf({ meta: merged }, ['meta']);
        await this.documents.update<UserRow>(USERS.name, me(this, ctx), { set: { meta: merged } });
        return merged;
      },
    },

    /** DELETE /user/meta/:key */
    removeMeta: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ key: string }>): Promise<JsonObject> {
        const user = await this.documents.get<UserRow>(USERS.name, me(this, ctx));
        const meta = { ...user?.meta };
        if (!isHostileName(ctx.params.key)) delete meta[ctx.params.key];
        await this.documents.update<UserRow>(USERS.name, me(this, ctx), { set: { meta } });
        return meta;
      },
    },

    /** POST /user/password { currentPassword, password }: other sessions end. */
    changePassword: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { currentPassword, password } = fieldsOf(ctx.params.body, ['password'], ['currentPassword']);
        const id = me(this, ctx);
        const user = (await this.documents.get<UserRow>(USERS.name, id)) as UserRow;
        if (user.password && !(await verifyPassword(currentPassword ?? '', user.password)))
          throw fault('AuthenticationError', { message: 'Incorrect password.' });
        assertPassword(this, password);
        await this.documents.update<UserRow>(USERS.name, id, {
          set: { password: await hashPassword(password), updatedAt: new Date().toISOString() },
        });
        const ended = await this.core.sessions.endAll(id, this.identityOf(ctx).sessionId);
        for (const sessionId of ended) this.revoked({ sessionId });
        return { success: true };
      },
    },

    /** DELETE /users/:userId: the account, its sessions and tokens. By its owner or a super admin. */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ userId: string }>): Promise<JsonObject> {
        const { userId } = ctx.params;
        if (me(this, ctx) !== userId && this.identityOf(ctx).role !== 'superadmin') throw fault('ForbiddenError');
        await this.core.sessions.endAll(userId);
        await this.documents.removeMany('accessTokens', { userId });
        const found = await this.documents.remove(USERS.name, userId);
        this.revoked({ userId });
        if (!found) throw fault('ObjectNotFoundError', { data: { subjectType: 'users', id: userId } });
        await this.tell(ctx, 'gateway.users.deleted', { userId });
        return { success: true };
      },
    },
  },
};

export default users;
