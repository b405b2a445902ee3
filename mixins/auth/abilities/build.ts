/** build — which rules a caller has: from his identity and, inside a workspace, from what that workspace says of him. */
import { fault } from '../../shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../shared/json.ts';
import type { Ability, Rule, WorkspaceAccess } from '../contract.ts';
import { type Identity, isAway } from '../identity.ts';
import { createAbility } from './ability.ts';
import { compileConditions } from './conditions.ts';
import {
  EDITOR,
  EDITOR_RUNS,
  EVERYONE,
  NOT_BY_ITSELF,
  OWNER,
  SIGNED_IN,
  STATIC_ROLES,
  SUPER_ADMIN,
  sharedWithRole,
  sharing,
} from './rules.ts';

export type Caller = Partial<Identity> & { correlationId: string };

export interface BuildOptions {
  access?: WorkspaceAccess;
  /** User topics joined in that workspace. */
  topics?: string[];
}

const from = (origin: string, rules: Rule[]): Rule[] => rules.map((rule) => (rule.origin ? rule : { ...rule, origin }));

/** The same for every caller. */
const FOR_EVERYONE = from('the platform, for everybody', EVERYONE);
const FOR_SIGNED_IN = from('the platform, for accounts', SIGNED_IN);
const FOR_SUPER_ADMINS = from('the platform, for super admins', SUPER_ADMIN);

/** What sign-in providers say of the caller. Our own accounts choose their address: one that was not proven says nothing. */
function provenData({ authData, emailVerified }: Caller): JsonObject | undefined {
  const own = authData?.prismeai;
  if (emailVerified || !isPlainObject(own) || own.email === undefined) return authData;
  const { email: _claimed, ...proven } = own;
  return { ...authData, prismeai: proven };
}

/** Whether a role bound to a sign-in provider is for this caller. */
function isBound(auth: JsonObject | undefined, authData: JsonObject | undefined): boolean {
  if (!auth || !authData) return false;
  return Object.entries(auth).some(([provider, options]) => {
    if (provider === 'apiKey' || !Object.hasOwn(authData, provider)) return false;
    const conditions = isPlainObject(options) ? options.conditions : undefined;
    return !isPlainObject(conditions) || compileConditions(conditions)({ authData: authData[provider] });
  });
}

/** Rules and role of a caller inside a workspace. */
function inside(access: WorkspaceAccess, caller: Caller, userId: string | undefined): { rules: Rule[]; role?: string } {
  const { id } = access;
  const custom = new Map(access.roles.map((role) => [role.name, role]));
  const rulesOf = (role: string): Rule[] => {
    const own = custom.get(role)?.rules;
    if (role === 'owner') return from('the role owner', OWNER(id));
    if (role === 'editor') return from('the role editor', [...(own ?? EDITOR(id)), ...EDITOR_RUNS(id)]);
    return own ?? [];
  };
  const entry = userId !== undefined && Object.hasOwn(access.permissions, userId) ? access.permissions[userId] : undefined;
  const everyone = Object.hasOwn(access.permissions, '*') ? access.permissions['*'] : undefined;
  const roles = new Set<string>();
  // Proven by a token of the workspace itself (`auth: { workspace: true }`).
  const isItself = caller.kind === 'delegated' && caller.authenticatedWorkspaceId === id;
  if (isItself) roles.add('owner');
  for (const role of [entry?.role, everyone?.role]) if (role) roles.add(role);
  if (caller.role === undefined) for (const { name, auth } of access.roles) if (isBound(auth, provenData(caller))) roles.add(name);
  const [role] = roles;
  const rules = [...(custom.get('default')?.rules ?? []), ...[...roles].flatMap(rulesOf)];
  if (isItself) rules.push(...from('the platform, for workspaces that act in their own name', NOT_BY_ITSELF(id)));
  if (role) rules.push(...from(`a share with the role ${role}`, sharedWithRole(role, id)));
  if (caller.apiKeyHash) {
    const key = access.apiKeys.find(({ hash }) => hash === caller.apiKeyHash);
    // The only credential, and it is worth nothing here: say so rather than treat its holder as anybody.
    if (!key && caller.via === 'apiKey') throw fault('InvalidAPIKey');
    if (key) rules.push(...from(`the API key '${key.name}'`, key.rules));
  }
  return { rules, ...(role ? { role } : {}) };
}

/** @throws InvalidAPIKey when an API key is all the caller has and it is not one of the workspace */
export function buildAbility(caller: Caller, { access, topics }: BuildOptions = {}): Ability {
  const { kind } = caller;
  if (kind === 'system') return createAbility(SUPER_ADMIN, { user: {} });
  // A run has the rights of its person in its own workspace only; elsewhere it is nobody.
  const isNobody = isAway(caller, access?.id);
  const userId = isNobody ? undefined : caller.userId;
  const user: JsonObject = isNobody
    ? {}
    : {
        id: userId,
        sessionId: caller.sessionId,
        email: caller.emailVerified ? caller.email : undefined,
        authData: provenData(caller),
        ...(topics ? { topics } : {}),
      };
  const variables = { user, ...(access ? { subject: { id: access.id, slug: access.slug, name: access.name } } : {}) };
  const known = access ? inside(access, isNobody ? { ...caller, authData: undefined } : caller, userId) : { rules: [] };
  const roles = [...STATIC_ROLES, ...(access?.roles.map(({ name }) => name) ?? [])].filter((name) => name !== 'default');
  const rules = [
    ...FOR_EVERYONE,
    ...(userId && kind === 'user' ? FOR_SIGNED_IN : []),
    ...(userId ? from('a share with this user', sharing([userId], roles)) : []),
    ...from('a share with everybody', sharing(['*'], roles)),
    ...known.rules,
    ...(caller.role === 'superadmin' && kind !== 'delegated' ? FOR_SUPER_ADMINS : []),
  ];
  return createAbility(rules, variables, known.role);
}
