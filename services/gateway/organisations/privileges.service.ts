/**
 * orgPrivileges — what privileged workspaces do in organisations, asked for by their runs (module access-manager), and who is privileged.
 *
 * State   privileges an organisation gives (documents).
 * Emits   `organizations.privileges.updated`, those of keys and service accounts, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, type Self as CoreSelf, core } from '../identity/core.mixin.ts';
import { type Ask, actIn, assertCovers, grantableRole, tellChange } from './acting.ts';
import { createKey, deleteKey, rotateKey, theKey } from './api-keys.ts';
import { readFields } from './fields.ts';
import { listOf, literal, pagingOf } from './lists.ts';
import { organisationOf, roleOf } from './membership.ts';
import { assertKeyWithin, type Privileges, privilegedWorkspaces, privilegesOf, readPrivileges, roleWithin } from './privileges.ts';
import { ORG_API_KEYS, type OrgApiKeyRow, PRIVILEGES, type PrivilegeRow, rowId, type ServiceAccountRow, shown, stamp } from './rows.ts';
import { createAccount, deleteAccount, findAccount, rotateSecret, theAccount, tokenOf } from './service-accounts.ts';

type Self = CoreSelf & { byInstallation: Map<string, Privileges> };

interface Perform {
  workspaceId: string;
  workspaceSlug: string;
  function: string;
  parameters: JsonObject;
  /** Who started the run. */
  userId?: string;
}

interface Work {
  self: Self;
  ctx: Call<any>;
  orgSlug: string;
  workspaceSlug: string;
  privileges: Privileges;
  given: JsonObject;
  /** For the record: the workspace, and the person if there is one. */
  by: string;
}

/** Parameters of runs have names of their own; each is checked as the field of the REST API it stands for. */
const NAMES: Record<string, string> = { serviceAccountSlug: 'slug', roleSlug: 'role' };

function read({ given }: Work, required: string[], optional: string[] = []): Record<string, any> {
  const named: JsonObject = {};
  for (const [name, value] of Object.entries(given)) if (name !== 'orgSlug') named[NAMES[name] ?? name] = value;
  return readFields(named, required, optional);
}

/** An account that this workspace has made: those of people and of other workspaces are none of its business. */
async function ownAccount({ self, orgSlug, workspaceSlug }: Work, slug: string): Promise<ServiceAccountRow> {
  const row = await theAccount(self, orgSlug, slug);
  if (row.ownerType !== `${workspaceSlug}:workspace`)
    throw fault('ObjectNotFoundError', { message: `The organisation has no service account '${slug}' of this workspace.`, data: { slug } });
  return row;
}

async function newAccount(work: Work, { slug, name, role }: Record<string, any>) {
  const { self, ctx, orgSlug, workspaceSlug, privileges, by } = work;
  const wanted = roleWithin(privileges, role);
  if (!(await roleOf(self.documents, orgSlug, wanted)))
    throw fault('BadParametersError', { message: `The organisation has no role '${wanted}'.`, data: { role: wanted } });
  return createAccount(self, ctx, orgSlug, by, { slug, name: name ?? slug, role: wanted, ownerType: `${workspaceSlug}:workspace` });
}

/** Keys of one kind that this workspace has made. */
const ownerTypeOf = ({ workspaceSlug }: Work, ownerType: string) => `${workspaceSlug}:${ownerType}`;
async function ownKey(work: Work, slug: string): Promise<OrgApiKeyRow> {
  const row = await theKey(work.self, work.orgSlug, slug);
  if (!row.ownerType.startsWith(`${work.workspaceSlug}:`))
    throw fault('ObjectNotFoundError', { message: `The organisation has no key '${slug}' of this workspace.`, data: { slug } });
  assertKeyWithin(work.privileges, row.permissions, row.scopes);
  return row;
}
const shownKey = ({ id, slug, apiKey, name, permissions, expiresAt }: JsonObject): JsonObject => ({
  id,
  slug,
  apiKey,
  name,
  permissions,
  ...(expiresAt === undefined ? {} : { expiresAt }),
});

const FUNCTIONS: Record<string, (work: Work) => Promise<unknown>> = {
  async getServiceAccountToken(work) {
    const { create, ...more } = work.given;
    const asked = { ...work, given: more };
    const { slug, expiresIn, name, role } = read(asked, ['slug'], ['name', 'role', 'expiresIn']);
    let row = await findAccount(work.self, work.orgSlug, slug);
    if (!row && create === true)
      try {
        row = (await newAccount(work, { slug, name, role })).row;
      } catch (error) {
        // Two runs that ask at once make one.
        if (!isFault(error, 'AlreadyUsedError')) throw error;
      }
    row = await ownAccount(work, slug);
    if (row.status !== 'active') throw fault('ForbiddenError', { message: `The service account '${slug}' is disabled.` });
    // An account may have got another role since.
    roleWithin(work.privileges, row.role);
    const { accessToken, tokenType, expiresAt, permissions, scopes } = await tokenOf(work.self, row, expiresIn);
    return { accessToken, tokenType, expiresAt, permissions, scopes };
  },
  async createServiceAccount(work) {
    const { slug, ...more } = read(work, ['slug'], ['name', 'role']);
    const present = await findAccount(work.self, work.orgSlug, slug);
    if (present) return { slug: (await ownAccount(work, slug)).slug };
    const { clientSecret } = await newAccount(work, { slug, ...more });
    return { slug, clientSecret };
  },
  async rotateServiceAccountSecret(work) {
    const row = await ownAccount(work, read(work, ['slug']).slug);
    roleWithin(work.privileges, row.role);
    const { clientSecret } = await rotateSecret(work.self, work.ctx, row, work.by);
    return { slug: row.slug, clientSecret };
  },
  async deleteServiceAccount(work) {
    const row = await ownAccount(work, read(work, ['slug']).slug);
    roleWithin(work.privileges, row.role);
    return deleteAccount(work.self, work.ctx, row);
  },
  async createOrgApiKey(work) {
    const { ownerType, ...more } = work.given;
    const asked = { ...work, given: more };
    const fields = read(asked, ['slug', 'name', 'permissions'], ['scopes', 'ownerId', 'expiresAt']);
    const { slug, name, permissions, scopes = [], ...rest } = fields;
    if (typeof ownerType !== 'string' || !/^[\w-]{1,60}$/.test(ownerType))
      throw fault('BadParametersError', { message: 'Give ownerType: a name of letters, digits, dashes and underscores.' });
    assertKeyWithin(work.privileges, permissions, scopes);
    const key = { slug, name, permissions, scopes, ownerType: ownerTypeOf(work, ownerType), ...rest };
    return shownKey(await createKey(work.self, work.ctx, work.orgSlug, work.by, key));
  },
  async listOrgApiKeys(work) {
    if (!work.privileges.apiKeys) throw fault('ForbiddenError', { message: 'This workspace may not deal with keys.' });
    const { ownerType, ownerId, page, limit, sort } = work.given;
    const prefix = ownerTypeOf(work, typeof ownerType === 'string' ? ownerType.replace(/[^\w-]/g, '') : '');
    const kind = typeof ownerType === 'string' ? prefix : { $regex: `^${literal(prefix)}` };
    const query = { orgSlug: work.orgSlug, ownerType: kind, ...(typeof ownerId === 'string' ? { ownerId } : {}) };
    return listOf<OrgApiKeyRow>(work.self, ORG_API_KEYS.name, query, pagingOf({ page, limit, sort }, ['createdAt', 'slug', 'name']), shown);
  },
  async rotateOrgApiKey(work) {
    const row = await ownKey(work, read(work, ['slug']).slug);
    return shownKey(await rotateKey(work.self, work.ctx, row, work.by));
  },
  async deleteOrgApiKey(work) {
    return deleteKey(work.self, work.ctx, await ownKey(work, read(work, ['slug']).slug));
  },
};

const orgPrivileges: ServiceSchema<object, any> = {
  name: 'orgPrivileges',
  mixins: [core()],

  actions: {
    /** PUT /orgs/:orgSlug/workspaces/:workspaceId/privileges { serviceAccounts?, apiKeys? }; `{}` takes them away. */
    put: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ workspaceId: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:privileges:update');
        const { orgSlug, actorId } = acting;
        const { workspaceId } = ctx.params;
        if (!/^[\w-]{1,60}$/.test(workspaceId)) throw fault('BadParametersError', { message: 'That is no id of a workspace.' });
        const given = readPrivileges(ctx.params.body);
        // Nobody lets a workspace do what he may not do himself.
        const { allowedPermissions: permissions = [], allowedScopes: scopes = [] } = given.apiKeys ?? {};
        assertCovers(acting, { permissions, scopes });
        for (const slug of given.serviceAccounts?.allowedRoleSlugs ?? [])
          if (slug.endsWith('*')) assertCovers(acting, { permissions: ['*'], scopes: ['*'] });
          else await grantableRole(this, acting, slug);
        const id = rowId(orgSlug, workspaceId);
        const before = await this.documents.get<PrivilegeRow>(PRIVILEGES.name, id);
        const now = stamp();
        const row = { ...given, id, orgSlug, workspaceId, createdAt: before?.createdAt ?? now, updatedAt: now, updatedBy: actorId };
        if (before) await this.documents.remove(PRIVILEGES.name, id);
        if (given.serviceAccounts || given.apiKeys) await this.documents.insert<PrivilegeRow>(PRIVILEGES.name, row);
        await tellChange(this, ctx, {
          orgSlug,
          category: 'privileges',
          action: 'updated',
          target: workspaceId,
          before: before ? shown(before) : null,
          after: { ...given },
        });
        return { workspaceId, orgSlug, ...given };
      },
    },

    /** A function of the module access-manager, for a run of a workspace. For the runtime. */
    perform: {
      visibility: 'public',
      identity: 'system',
      async handler(this: Self, ctx: Call<Perform>): Promise<unknown> {
        const { workspaceId, workspaceSlug, function: name, parameters, userId } = ctx.params;
        const act = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
        const given = isPlainObject(parameters) ? parameters : {};
        const { orgSlug } = readFields({ orgSlug: given.orgSlug }, ['orgSlug']);
        if (!act) throw fault('BadParametersError', { message: `There is no function '${name}'.` });
        const privileges = await privilegesOf(this, this.byInstallation, { orgSlug, workspaceId, workspaceSlug });
        const organisation = await organisationOf(this.documents, orgSlug);
        if (organisation?.status !== 'active')
          throw fault('ObjectNotFoundError', { message: `There is no organisation '${orgSlug}'.`, data: { orgSlug } });
        const by = `workspace:${workspaceId}${userId ? `:${userId}` : ''}`;
        return act({ self: this, ctx, orgSlug, workspaceSlug, privileges, given, by });
      },
    },
  },

  created(this: Self) {
    this.byInstallation = new Map();
  },

  async started(this: Self) {
    this.byInstallation = privilegedWorkspaces(this.core.config.privilegedWorkspaces);
  },
};

export default orgPrivileges;
