/**
 * privileges — what runs of a workspace may make in an organisation: said for every organisation by the installation (PRIVILEGED_WORKSPACES, by slug or, safer, `id:<id>`: a slug that is free is anybody's to take), or
 * by an organisation for itself. Both bound what is asked for; nothing else does, since behind a run there need not be a person.
 */
import { covers, coversScopes, isPermissionList, isScopeList } from '../../../mixins/auth/permissions.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Self } from '../identity/core.mixin.ts';
import { SLUG } from './fields.ts';
import { PRIVILEGES, type PrivilegeRow, rowId } from './rows.ts';

export type Privileges = Pick<PrivilegeRow, 'serviceAccounts' | 'apiKeys'>;

const isSlugs = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.length <= 100 &&
  value.every((one) => typeof one === 'string' && (SLUG.test(one) || /^[a-z0-9-]*\*$/.test(one)));

/** @throws RequestValidationError naming what is wrong */
export function readPrivileges(value: unknown, at = ''): Privileges {
  const problems: { path: string; message: string }[] = [];
  const wrong = (path: string, message = 'is not valid') => problems.push({ path: `${at}${path}`, message });
  const found: Privileges = {};
  const given = isPlainObject(value) ? value : {};
  if (!isPlainObject(value)) wrong('', 'must be an object');
  for (const name of Object.keys(given)) if (name !== 'serviceAccounts' && name !== 'apiKeys') wrong(name, 'is not a known field');
  const { serviceAccounts, apiKeys } = given;
  if (serviceAccounts !== undefined && serviceAccounts !== null) {
    const { defaultRoleSlug, allowedRoleSlugs = defaultRoleSlug === undefined ? [] : [defaultRoleSlug] } = isPlainObject(serviceAccounts)
      ? serviceAccounts
      : ({ allowedRoleSlugs: null } as JsonObject);
    if (!isSlugs(allowedRoleSlugs)) wrong('serviceAccounts.allowedRoleSlugs');
    else if (defaultRoleSlug !== undefined && (typeof defaultRoleSlug !== 'string' || !SLUG.test(defaultRoleSlug)))
      wrong('serviceAccounts.defaultRoleSlug');
    else
      found.serviceAccounts = {
        ...(defaultRoleSlug === undefined ? {} : { defaultRoleSlug: defaultRoleSlug as string }),
        allowedRoleSlugs,
      };
  }
  if (apiKeys !== undefined && apiKeys !== null) {
    const { allowedPermissions = [], allowedScopes = [] } = isPlainObject(apiKeys) ? apiKeys : ({ allowedPermissions: null } as JsonObject);
    if (!isPermissionList(allowedPermissions)) wrong('apiKeys.allowedPermissions');
    else if (!isScopeList(allowedScopes)) wrong('apiKeys.allowedScopes');
    else found.apiKeys = { allowedPermissions: allowedPermissions as string[], allowedScopes: allowedScopes as string[] };
  }
  if (problems.length > 0)
    throw fault('RequestValidationError', { message: `Not valid: ${problems.map(({ path }) => path).join(', ')}.`, data: { problems } });
  return found;
}

/** PRIVILEGED_WORKSPACES as checked data. @throws ConfigurationError */
export function privilegedWorkspaces(text: string | undefined): Map<string, Privileges> {
  if (!text) return new Map();
  const refuse = (message: string) => fault('ConfigurationError', { message: `PRIVILEGED_WORKSPACES: ${message}` });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw refuse(`no JSON: ${(error as Error).message}`);
  }
  if (!isPlainObject(parsed)) throw refuse('an object by workspace slug is expected.');
  try {
    return new Map(Object.entries(parsed).map(([slug, value]) => [slug, readPrivileges(value, `${slug}.`)]));
  } catch (error) {
    throw refuse((error as Error).message);
  }
}

/** By the installation, else by the organisation. @throws ForbiddenError */
export async function privilegesOf(
  self: Self,
  byInstallation: Map<string, Privileges>,
  { orgSlug, workspaceId, workspaceSlug }: { orgSlug: string; workspaceId: string; workspaceSlug: string },
): Promise<Privileges> {
  const found =
    byInstallation.get(`id:${workspaceId}`) ??
    byInstallation.get(workspaceSlug) ??
    (await self.documents.get<PrivilegeRow>(PRIVILEGES.name, rowId(orgSlug, workspaceId)));
  if (!found)
    throw fault('ForbiddenError', {
      message: `The workspace '${workspaceSlug}' has no privileges in this organisation.`,
      data: { orgSlug },
    });
  return found;
}

const isNamed = (patterns: string[], slug: string): boolean =>
  patterns.some((pattern) => (pattern.endsWith('*') ? slug.startsWith(pattern.slice(0, -1)) : slug === pattern));

/** @throws ForbiddenError · BadParametersError without any role to give */
export function roleWithin({ serviceAccounts }: Privileges, wanted: string | undefined): string {
  const slug = wanted ?? serviceAccounts?.defaultRoleSlug;
  if (!serviceAccounts) throw fault('ForbiddenError', { message: 'This workspace may not deal with service accounts.' });
  if (slug === undefined) throw fault('BadParametersError', { message: 'Give roleSlug: this workspace has no default.' });
  if (slug === 'owner' || !isNamed(serviceAccounts.allowedRoleSlugs, slug))
    throw fault('ForbiddenError', {
      message: `This workspace may not give the role '${slug}'.`,
      data: { allowed: serviceAccounts.allowedRoleSlugs },
    });
  return slug;
}

/** @throws ForbiddenError */
export function assertKeyWithin({ apiKeys }: Privileges, permissions: string[], scopes: string[]): void {
  if (!apiKeys) throw fault('ForbiddenError', { message: 'This workspace may not deal with keys.' });
  if (covers(apiKeys.allowedPermissions, permissions) && coversScopes(apiKeys.allowedScopes, scopes)) return;
  throw fault('ForbiddenError', { message: 'This goes beyond what this workspace may give.', data: { allowed: apiKeys } });
}
