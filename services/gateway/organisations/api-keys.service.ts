/**
 * orgApiKeys — keys `iak_…` of an organisation: shown once, kept as hashes, with permissions of their own that their maker must have.
 *
 * State   keys (documents).
 * Emits   `organizations.apikeys.created`, `.rotated`, `.deleted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, core, type Self } from '../identity/core.mixin.ts';
import { type Ask, actIn, assertCovers } from './acting.ts';
import { createKey, deleteKey, rotateKey, theKey } from './api-keys.ts';
import { findOrganisationKey } from './credentials.ts';
import { readFields } from './fields.ts';
import { listOf, pagingOf } from './lists.ts';
import { ORG_API_KEYS, type OrgApiKeyRow, shown } from './rows.ts';

const orgApiKeys: ServiceSchema<object, any> = {
  name: 'orgApiKeys',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/api-keys */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask) {
        const { orgSlug } = await actIn(this, ctx, 'orgs:api-keys:read');
        const paging = pagingOf(ctx.params.query, ['createdAt', 'slug', 'name', 'expiresAt']);
        return listOf<OrgApiKeyRow>(this, ORG_API_KEYS.name, { orgSlug }, paging, shown);
      },
    },

    /** POST /orgs/:orgSlug/api-keys { slug, name, permissions, scopes?, ownerType?, ownerId?, expiresAt? } → the key, this once. */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:api-keys:create');
        const given = readFields(ctx.params.body, ['slug', 'name', 'permissions'], ['scopes', 'ownerType', 'ownerId', 'expiresAt']);
        const { slug, name, permissions, scopes = [], ownerType = 'org', ...more } = given;
        assertCovers(acting, { permissions, scopes });
        ctx.meta.$responseHeaders = { 'cache-control': 'no-store' };
        return createKey(this, ctx, acting.orgSlug, acting.actorId, { slug, name, permissions, scopes, ownerType, ...more });
      },
    },

    /** POST /orgs/:orgSlug/api-keys/:slug/rotate → a new key, this once. */
    rotate: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:api-keys:update');
        const row = await theKey(this, acting.orgSlug, ctx.params.slug);
        // A new value of a key is the key: whoever gets it must have what it gives.
        assertCovers(acting, { permissions: row.permissions, scopes: row.scopes });
        ctx.meta.$responseHeaders = { 'cache-control': 'no-store' };
        return rotateKey(this, ctx, row, acting.actorId);
      },
    },

    /** DELETE /orgs/:orgSlug/api-keys/:slug */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ slug: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:api-keys:delete');
        return deleteKey(this, ctx, await theKey(this, orgSlug, ctx.params.slug));
      },
    },

    /** POST /orgs/:orgSlug/api-keys/validate { apiKey }: whether it is good in this organisation, for services that are shown one. */
    validate: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ orgSlug: string; body: unknown }>): Promise<JsonObject> {
        const { apiKey } = readFields(ctx.params.body, ['apiKey']);
        try {
          const { orgSlug, slug, name, permissions, scopes, ownerType, ownerId, expiresAt } = await findOrganisationKey(
            this.documents,
            apiKey,
          );
          // One of another organisation is as good as none.
          if (orgSlug !== ctx.params.orgSlug) return { valid: false };
          return {
            valid: true,
            orgSlug,
            slug,
            name,
            permissions,
            scopes,
            ownerType,
            ...(ownerId ? { ownerId } : {}),
            ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
          };
        } catch (error) {
          if (isFault(error, 'AuthenticationError')) return { valid: false };
          throw isFault(error) ? error : fault('ServiceUnavailable', { cause: error });
        }
      },
    },
  },
};

export default orgApiKeys;
