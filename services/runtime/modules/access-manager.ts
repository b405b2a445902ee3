/**
 * access-manager — who may do what with the things a workspace keeps: bindings of things to people, groups and organisations, the question `checkAccess`,
 * and, for privileged workspaces, service accounts and keys of organisations.
 *
 * Who asks is always the one who started the run, whoever the run poses as; the organisation is the one he acts in, never one that is named.
 * Emits `access-manager.bindings.created`, `access-manager.bindings.deleted`.
 */
import { allows, reaches } from '../../../mixins/auth/permissions.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { type Binding, bindingFunctions, bindingsOf } from './access-bindings.ts';
import type { Module, ModuleCall } from './index.ts';

interface Answer {
  granted: boolean;
  reason: string;
  grantedIds?: string[];
  hasWildcardScope: boolean;
  isWorkspaceAdmin: boolean;
  error?: string;
}

const bad = (message: string) => fault('InvalidInstructionError', { message: `access-manager: ${message}` });

function textOf(parameters: JsonObject, name: string, fallback?: string): string | undefined {
  const value = parameters[name];
  if (value === undefined || value === null || value === '') return fallback;
  if (typeof value !== 'string' || value.length > 200) throw bad(`${name} must be a text.`);
  return value;
}

/** What roles of the workspace's own allow: `{ editor: ['read', 'update'] }` or `[{ slug: 'editor', actions: [...] }]`. */
function actionsOf(roles: unknown, slug: string): string[] {
  const named = Array.isArray(roles) ? roles.find((role) => isPlainObject(role) && role.slug === slug) : undefined;
  const given = Array.isArray(roles) ? named : isPlainObject(roles) && Object.hasOwn(roles, slug) ? roles[slug] : undefined;
  const actions = isPlainObject(given) ? (given.actions ?? given.permissions) : given;
  return Array.isArray(actions) ? actions.filter((action): action is string => typeof action === 'string') : [];
}

function letsDo(binding: Binding, action: string, roles: unknown): boolean {
  if (binding.roleSlug === undefined) return action !== 'delete';
  if (!isPlainObject(roles) && !Array.isArray(roles))
    throw bad(`a binding has the role '${binding.roleSlug}': checkAccess needs \`roles\` to know what that allows.`);
  const actions = actionsOf(roles, binding.roleSlug);
  return actions.includes(action) || actions.includes('manage') || actions.includes('*');
}

const reasonOf = ({ principalType, roleSlug }: Binding): string =>
  `binding:${principalType}${roleSlug === undefined ? '' : `:${roleSlug}`}`;

async function checkAccess(call: ModuleCall): Promise<Answer> {
  const { parameters, services, request } = call;
  const type = textOf(parameters, 'resourceType');
  // Permissions and scopes are read in parts: a type that holds one of their signs would be taken for another one.
  if (type !== undefined && /[:*]/.test(type)) throw bad('resourceType holds no colon and no star.');
  const id = textOf(parameters, 'resourceId');
  const action = textOf(parameters, 'action', 'read') as string;
  const isList = parameters.list === true;
  if ((id !== undefined || isList) && type === undefined) throw bad('checkAccess needs resourceType beside resourceId or list.');
  const no = (reason: string, error: string, more: Partial<Answer> = {}): Answer => ({
    granted: false,
    reason,
    hasWildcardScope: false,
    isWorkspaceAdmin: false,
    error,
    ...more,
  });

  const standing = await services.organisations.of(request);
  const { userId, authData, isPosed } = request.identity;
  const isSomebody = userId !== undefined && !isPosed && !(authData?.anonymous && !standing?.org);
  if (!isSomebody) return no('authentication', 'Unauthorized');
  const workspace = await services.slugOf(request.workspaceId);
  const { permissionList = [], scopes = [] } = standing ?? {};
  const onAll = `${workspace}:${action}`;
  const isAdmin = ['*', `${workspace}:*`, `${workspace}:manage`].some((permission) => permissionList.includes(permission));
  const may = allows(permissionList, onAll) || allows(permissionList, type === undefined ? onAll : `${workspace}:${type}:${action}`);
  if (!standing?.org || !may) return no('missing permission', 'Forbidden');

  const known = {
    isWorkspaceAdmin: isAdmin,
    hasWildcardScope: type === undefined ? reaches(scopes, `${workspace}:*`) : reaches(scopes, `${workspace}:${type}:*`),
  };
  const yes = (reason: string, more: Partial<Answer> = {}): Answer => ({ granted: true, reason, ...known, ...more });
  if (type === undefined || (id === undefined && !isList)) return yes('permission');

  const { own, isOfOthers } = await bindingsOf(call, standing, type, id);
  const open = own.filter((binding) => letsDo(binding, action, parameters.roles));
  if (isList) {
    if (known.hasWildcardScope) return yes('wildcard-scope');
    const prefix = `${workspace}:${type}:`;
    const named = scopes.filter((scope) => scope.startsWith(prefix)).map((scope) => scope.slice(prefix.length));
    const grantedIds = [...new Set([...named, ...open.map(({ resourceId }) => resourceId)])];
    if (grantedIds.length === 0) return no('no access', 'Forbidden', { ...known, grantedIds });
    return yes(named.length > 0 ? 'scope' : reasonOf(open[0] as Binding), { grantedIds });
  }
  // Scopes are of one organisation: what others have bound, and this one has no part in, is out of their reach.
  if (!isOfOthers && known.hasWildcardScope) return yes('wildcard-scope');
  if (!isOfOthers && reaches(scopes, `${workspace}:${type}:${id}`)) return yes('scope');
  const [binding] = open;
  return binding ? yes(reasonOf(binding)) : no('no access', 'Forbidden', known);
}

/** Functions that only privileged workspaces may call; judged and done by the gateway, which owns what they change. */
const PRIVILEGED = [
  'getServiceAccountToken',
  'createServiceAccount',
  'rotateServiceAccountSecret',
  'deleteServiceAccount',
  'createOrgApiKey',
  'listOrgApiKeys',
  'rotateOrgApiKey',
  'deleteOrgApiKey',
];

const privileged = (name: string) => async (call: ModuleCall) => {
  const { request, parameters, services } = call;
  const { workspaceId, identity, run } = request;
  const workspaceSlug = await services.slugOf(workspaceId);
  return services.call(
    'orgPrivileges.perform',
    { workspaceId, workspaceSlug, function: name, parameters, ...(identity.userId ? { userId: identity.userId } : {}) },
    run.correlationId,
  );
};

export const accessManager: Module = {
  ...bindingFunctions,
  checkAccess,
  ...Object.fromEntries(PRIVILEGED.map((name) => [name, privileged(name)])),
};
