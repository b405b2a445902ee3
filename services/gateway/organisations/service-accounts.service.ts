/**
 * serviceAccounts — programs that act in an organisation with a role of it: a secret `sas_…`, shown once, is exchanged for short-lived tokens.
 *
 * State   service accounts (documents).
 * Emits   `organizations.serviceAccounts.created`, `.updated`, `.rotated`, `.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, core, type Self } from '../identity/core.mixin.ts';
import { type Acting, type Ask, actIn, assertCovers, grantableRole, tellChange } from './acting.ts';
import { readFields } from './fields.ts';
import { listOf, pagingOf } from './lists.ts';
import { roleOrNothing } from './membership.ts';
import { accountId, SERVICE_ACCOUNTS, type ServiceAccountRow, shown, stamp } from './rows.ts';
import { assertSecret, createAccount, deleteAccount, rotateSecret, theAccount, tokenOf } from './service-accounts.ts';

/** Nobody is as an owner but people. */
async function roleFor(self: Self, acting: Acting, slug: string): Promise<string> {
  if (slug === 'owner') throw fault('BadParametersError', { message: 'A service account cannot be an owner.', data: { role: slug } });
  return (await grantableRole(self, acting, slug)).slug;
}

const assertAbove = async (self: Self, acting: Acting, { role }: ServiceAccountRow): Promise<void> =>
  assertCovers(acting, await roleOrNothing(self.documents, acting.orgSlug, role));

const serviceAccounts: ServiceSchema<object, any> = {
  name: 'serviceAccounts',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/service-accounts */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask) {
        const { orgSlug } = await actIn(this, ctx, 'orgs:service-accounts:read');
        const paging = pagingOf(ctx.params.query, ['createdAt', 'slug', 'name', 'role']);
        return listOf<ServiceAccountRow>(this, SERVICE_ACCOUNTS.name, { orgSlug }, paging, shown);
      },
    },

    /** POST /orgs/:orgSlug/service-accounts { slug, name, role, description? } → with clientSecret, this once. */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:service-accounts:create');
        const { slug, name, role, description } = readFields(ctx.params.body, ['slug', 'name', 'role'], ['description']);
        await roleFor(this, acting, role);
        const given = { slug, name, role, ...(description ? { description } : {}) };
        const { row, clientSecret } = await createAccount(this, ctx, acting.orgSlug, acting.actorId, given);
        ctx.meta.$responseHeaders = { 'cache-control': 'no-store' };
        return { ...shown(row), clientSecret };
      },
    },

    /** GET /orgs/:orgSlug/service-accounts/:slug */
    get: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:service-accounts:read');
        return shown(await theAccount(this, orgSlug, ctx.params.slug));
      },
    },

    /** PATCH /orgs/:orgSlug/service-accounts/:slug { name?, description?, role?, status?: active | disabled } */
    update: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:service-accounts:update');
        const { status, ...set } = readFields(ctx.params.body, [], ['name', 'description', 'role', 'status']);
        if (status === 'suspended') throw fault('BadParametersError', { message: 'A service account is active or disabled.' });
        const before = await theAccount(this, acting.orgSlug, ctx.params.slug);
        await assertAbove(this, acting, before);
        if (set.role) await roleFor(this, acting, set.role);
        const change = { set: { ...set, ...(status ? { status } : {}), updatedAt: stamp(), updatedBy: acting.actorId } };
        const after = shown(await this.documents.update<ServiceAccountRow>(SERVICE_ACCOUNTS.name, before.id, change, before._rev));
        this.revoked({ userId: accountId(before.orgSlug, before.slug) });
        const [orgSlug, target] = [before.orgSlug, before.slug];
        await tellChange(this, ctx, { orgSlug, category: 'serviceAccounts', action: 'updated', target, before: shown(before), after });
        return after;
      },
    },

    /** POST /orgs/:orgSlug/service-accounts/:slug/rotate → a new secret, this once. */
    rotate: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:service-accounts:update');
        const row = await theAccount(this, acting.orgSlug, ctx.params.slug);
        await assertAbove(this, acting, row);
        ctx.meta.$responseHeaders = { 'cache-control': 'no-store' };
        return rotateSecret(this, ctx, row, acting.actorId);
      },
    },

    /** DELETE /orgs/:orgSlug/service-accounts/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:service-accounts:delete');
        const row = await theAccount(this, acting.orgSlug, ctx.params.slug);
        await assertAbove(this, acting, row);
        return deleteAccount(this, ctx, row);
      },
    },

    /** POST /orgs/:orgSlug/service-accounts/:slug/token { clientSecret, expiresIn? } → a JWT. */
    token: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ orgSlug: string; slug: string; body: unknown }>): Promise<JsonObject> {
        const { clientSecret, expiresIn } = readFields(ctx.params.body, ['clientSecret'], ['expiresIn']);
        const row = await assertSecret(this, ctx.params.orgSlug, ctx.params.slug, clientSecret);
        ctx.meta.$responseHeaders = { 'cache-control': 'no-store' };
        return tokenOf(this, row, expiresIn);
      },
    },
  },
};

export default serviceAccounts;
