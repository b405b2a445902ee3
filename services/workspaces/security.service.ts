/**
 * security — owns the security section of a workspace (roles, rules) and its API keys.
 *
 * State   `security.yml` of the workspace; rows `apiKeys/<id>` holding hashes only: a key is shown once, when it is made.
 * Emits   `workspaces.security.updated`, `apikeys.created|updated|deleted` (never the key).
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import type { Rule } from '../../mixins/auth/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { createApiKey, findApiKey, shownApiKey } from './api-keys.ts';
import { assignableRoles, checkedRules, checkedSecurity } from './dsul/security-file.ts';
import { type Call, editing, etagOf, type Self } from './editing.mixin.ts';
import { assertGivesOwnRules, assertSecurityWithinRights } from './escalation.ts';
import { type ExplainAnswer, explainAccess } from './explain.ts';
import { all } from './models.ts';
import type { ApiKeyRow } from './store/rows.ts';

type KeyParams = { workspaceId: string; apiKey: string; body?: any };

const security: ServiceSchema<any, any> = {
  name: 'security',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/security */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const { snapshot } = await this.store.current(id);
        this.setHeaders(ctx, { etag: etagOf(snapshot.meta.security?.checksum ?? '') });
        return snapshot.security;
      },
    },

    /** PUT /workspaces/:workspaceId/security: replaces the section. A role that a collaborator holds cannot go. @throws InvalidSecurity */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const security = checkedSecurity(ctx.params.body);
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'manage_security');
        const { authorizations } = (await this.store.current(row.id)).snapshot.security;
        if (security.authorizations !== undefined || authorizations !== undefined)
          await this.authorize(ctx, row.id, 'manage_permissions', 'workspaces', row);
        const giver = { ability: await this.abilityOf(ctx, row.id), identity: this.identityOf(ctx), workspaceId: row.id };
        return this.edit(ctx, row.id, { action: 'manage_security' }, (draft) => {
          this.assertMatch(ctx, draft.before.meta.security?.checksum, draft.security);
          assertRolesKept(draft.row.permissions, security);
          assertSecurityWithinRights(giver, draft.security, security);
          if (draft.putSecurity(security)) draft.event('workspaces.security.updated', { security });
          return security;
        });
      },
    },

    /** GET /workspaces/:workspaceId/security/roles: roles a collaborator may be given. */
    roles: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<{ name: string; description?: string }[]> {
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        await this.authorize(ctx, row.id, 'manage_permissions', 'workspaces', row);
        return assignableRoles((await this.store.current(row.id)).snapshot.security);
      },
    },

    /** POST /workspaces/:workspaceId/security/explain `{ action, subject, userId?, apiKey?, id?, object? }`: which rule decides, and where it is written. */
    explain: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<ExplainAnswer> {
        return explainAccess(this, ctx, await this.allowed(ctx, ctx.params.workspaceId, 'manage_permissions'), ctx.params.body);
      },
    },

    /** GET /workspaces/:workspaceId/security/apikeys: never the keys themselves. */
    listApiKeys: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject[]> {
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'manage_permissions');
        return (await all<ApiKeyRow>(this.store, 'apiKeys', { workspaceId: id })).map(shownApiKey);
      },
    },

    /** POST /workspaces/:workspaceId/security/apikeys `{ name, rules }` → the only answer that holds the key. */
    createApiKey: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        const { name, rules } = keyBody(ctx.params.body);
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_permissions' }, async (draft) => {
          await assertOwnRights(this, ctx, draft.row.id, rules);
          const { key, row } = createApiKey(draft, name, rules);
          draft.step({ do: 'upsert', collection: 'apiKeys', record: row });
          draft.event('apikeys.created', { apiKey: row.hint, name, rules, subjectType: 'workspaces', subjectId: draft.row.id });
          return { ...shownApiKey(row as unknown as ApiKeyRow), apiKey: key };
        });
      },
    },

    /** PUT /workspaces/:workspaceId/security/apikeys/:apiKey (its id, or the key itself). @throws ObjectNotFoundError */
    updateApiKey: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', apiKey: 'string' },
      handler(this: Self, ctx: Call<KeyParams>): Promise<JsonObject> {
        const { name, rules, disabled } = keyBody(ctx.params.body);
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_permissions' }, async (draft) => {
          const { _rev, ...row } = await findApiKey(this.store, draft.row.id, ctx.params.apiKey);
          await assertOwnRights(this, ctx, draft.row.id, rules);
          const next = {
            ...row,
            name,
            rules,
            ...(disabled === undefined ? {} : { disabled }),
            updatedAt: draft.now,
            updatedBy: draft.author.userId,
          };
          draft.step({ do: 'upsert', collection: 'apiKeys', record: next });
          draft.event('apikeys.updated', { apiKey: row.hint, name, rules, subjectType: 'workspaces', subjectId: draft.row.id });
          return shownApiKey(next as ApiKeyRow);
        });
      },
    },

    /** DELETE /workspaces/:workspaceId/security/apikeys/:apiKey. It stops working at once. */
    removeApiKey: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', apiKey: 'string' },
      handler(this: Self, ctx: Call<KeyParams>): Promise<{ apiKey: string }> {
        return this.edit(ctx, ctx.params.workspaceId, { action: 'manage_permissions' }, async (draft) => {
          const row = await findApiKey(this.store, draft.row.id, ctx.params.apiKey);
          draft.step({ do: 'removeRow', collection: 'apiKeys', id: row.id });
          draft.event('apikeys.deleted', { apiKey: row.hint, subjectType: 'workspaces', subjectId: draft.row.id });
          return { apiKey: ctx.params.apiKey };
        });
      },
    },
  },
};

export default security;

function keyBody(body: unknown) {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be { name, rules }.' });
  const name = body.name === undefined ? 'API key' : body.name;
  if (typeof name !== 'string' || name.length === 0 || name.length > 100)
    throw fault('RequestValidationError', {
      message: 'name must be a text of at most 100 characters.',
      data: { problems: [{ path: 'name', message: 'is not valid' }] },
    });
  return { name, rules: checkedRules(body.rules ?? []), ...(typeof body.disabled === 'boolean' ? { disabled: body.disabled } : {}) };
}

/** A key may not do what its maker may not: otherwise making one would be a way to get rights. */
async function assertOwnRights(self: Self, ctx: Call<any>, workspaceId: string, rules: Rule[]): Promise<void> {
  assertGivesOwnRules({ ability: await self.abilityOf(ctx, workspaceId), identity: self.identityOf(ctx), workspaceId }, rules);
}

function assertRolesKept(permissions: Record<string, { role?: string }> | undefined, security: JsonObject): void {
  const names = new Set([
    'owner',
    'editor',
    ...Object.keys(((security.authorizations as JsonObject | undefined)?.roles as JsonObject | undefined) ?? {}),
  ]);
  for (const { role } of Object.values(permissions ?? {}))
    if (role && !names.has(role))
      throw fault('InvalidSecurity', {
        message: `The role '${role}' is still given to a collaborator.`,
        data: { path: `authorizations.roles.${role}`, role },
      });
}
