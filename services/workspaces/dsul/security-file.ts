/** security-file — a workspace's `security.yml`: its default, what it may hold, and the rules it gives each role, confined to the workspace. */

import { compileConditions } from '../../../mixins/auth/abilities/conditions.ts';
import type { Rule, WorkspaceAccess } from '../../../mixins/auth/contract.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { EMIT_TOPIC } from '../../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { assertPlain } from './yaml.ts';

/** Subject → the field of an object that holds the workspace it belongs to; the only subjects rules may name. */
const SCOPES: Record<string, string> = {
  workspaces: 'id',
  pages: 'workspaceId',
  files: 'workspaceId',
  apps: 'workspaceId',
  secrets: 'workspaceId',
  secure_secrets: 'workspaceId',
  workspace_keyrings: 'workspaceId',
  automations: 'runningWorkspaceId',
  events: 'source.workspaceId',
};
const OPERATORS = new Set('$eq $ne $in $nin $lt $lte $gt $gte $exists $regex $options $all $elemMatch $size $and $or $nor $not'.split(' '));
const MAX_REGEX_CHARS = 200;
const MAX_CONDITION_DEPTH = 10;
const MAX_RULES = 500;
export const MAX_PRIORITY = 999;

/** What a new workspace starts with: editors edit, everyone may emit custom events, read those of his own session, and upload files. */
export function defaultSecurity(): JsonObject {
  const editor = (action: string[] | string, subject: string) => ({ role: 'editor', action, subject });
  return {
    authorizations: {
      roles: { editor: {} },
      rules: [
        editor(['read', 'get_usage', 'aggregate_search', 'update'], 'workspaces'),
        editor('manage', 'files'),
        editor(['read', 'update'], 'pages'),
        editor(['read', 'update'], 'apps'),
        editor(['read', 'create'], 'events'),
        {
          ...editor('read', 'events'),
          inverted: true,
          conditions: { type: { $regex: '^apikeys\\.' } },
          reason: 'Only owners read the events of API keys.',
        },
        { action: 'create', subject: 'events', conditions: { 'source.serviceTopic': EMIT_TOPIC } },
        { action: 'read', subject: 'events', conditions: { 'source.serviceTopic': EMIT_TOPIC, 'source.sessionId': '{{session.id}}' } },
        { action: 'create', subject: 'files' },
      ],
    },
  };
}

/** @throws InvalidSecurity with the path of what is wrong */
export function checkedSecurity(body: unknown): JsonObject {
  if (!isPlainObject(body)) throw invalid('', 'The security section must be an object.');
  assertPlain(body, 'security');
  for (const key of Object.keys(body))
    if (key !== 'authorizations' && key !== 'authentication') throw invalid(key, `'${key}' is not one of authorizations, authentication.`);
  const { authorizations, authentication } = body;
  if (authentication !== undefined && !isPlainObject(authentication)) throw invalid('authentication', 'authentication must be an object.');
  if (authorizations === undefined || authorizations === null) return body;
  if (!isPlainObject(authorizations)) throw invalid('authorizations', 'authorizations must be an object.');
  for (const key of Object.keys(authorizations))
    if (key !== 'roles' && key !== 'rules') throw invalid(`authorizations.${key}`, `'${key}' is not one of roles, rules.`);
  const roles = authorizations.roles ?? {};
  if (!isPlainObject(roles)) throw invalid('authorizations.roles', 'roles must be a map of roles by name.');
  for (const [name, role] of Object.entries(roles)) checkRole(name, role);
  checkedRules(authorizations.rules ?? [], { roles: Object.keys(roles), at: 'authorizations.rules' });
  return body;
}

function checkRole(name: string, role: unknown): void {
  const at = `authorizations.roles.${name}`;
  if (!/^[\w .:@-]{1,60}$/.test(name)) throw invalid(at, `'${name}' is not a valid role name.`);
  if (role === null || role === undefined) return;
  if (!isPlainObject(role)) throw invalid(at, `The role '${name}' must be an object.`);
  for (const key of Object.keys(role))
    if (key !== 'description' && key !== 'auth') throw invalid(`${at}.${key}`, `'${key}' is not one of description, auth.`);
  if (role.auth === undefined) return;
  if (!isPlainObject(role.auth)) throw invalid(`${at}.auth`, 'auth must be a map of providers.');
  for (const [provider, options] of Object.entries(role.auth)) {
    if (options !== null && !isPlainObject(options)) throw invalid(`${at}.auth.${provider}`, 'must be an object.');
    if (isPlainObject(options) && options.conditions !== undefined)
      checkedConditions(options.conditions, `${at}.auth.${provider}.conditions`);
  }
}

/** @throws InvalidSecurity. `roles`: names rules may use; absent for the rules of an API key, which name none */
export function checkedRules(rules: unknown, { roles, at = 'rules' }: { roles?: string[]; at?: string } = {}): Rule[] {
  if (!Array.isArray(rules)) throw invalid(at, 'rules must be a list.');
  if (rules.length > MAX_RULES) throw invalid(at, `There may be at most ${MAX_RULES} rules.`);
  for (const [index, rule] of rules.entries()) {
    const here = `${at}[${index}]`;
    if (!isPlainObject(rule)) throw invalid(here, 'A rule must be an object.');
    if (list(rule.action).length === 0) throw invalid(`${here}.action`, 'A rule needs an action.');
    for (const action of list(rule.action))
      if (!/^[\w:*-]{1,60}$/.test(action)) throw invalid(`${here}.action`, `'${action}' is not a valid action.`);
    if (list(rule.subject).length === 0) throw invalid(`${here}.subject`, 'A rule needs a subject.');
    for (const subject of list(rule.subject))
      if (!Object.hasOwn(SCOPES, subject)) throw invalid(`${here}.subject`, `'${subject}' is not a subject rules may name.`);
    if (roles)
      for (const role of list(rule.role)) {
        if (role === 'owner') throw invalid(`${here}.role`, "Rules may not name the role 'owner'.");
        if (role !== 'default' && !roles.includes(role)) throw invalid(`${here}.role`, `The role '${role}' is not declared.`);
      }
    if (rule.conditions !== undefined && rule.conditions !== null) checkedConditions(rule.conditions, `${here}.conditions`);
  }
  return rules as Rule[];
}

/** Refused when they are saved rather than met at each access. @throws InvalidSecurity */
function checkedConditions(conditions: unknown, at: string): void {
  checkConditions(conditions, at);
  try {
    compileConditions(withSamples(conditions as JsonObject) as JsonObject);
  } catch (error) {
    throw invalid(at, (error as Error).message);
  }
}

const PLACEHOLDER = /\$\{[a-zA-Z.]+\}|\{\{\s*[a-zA-Z.]+\s*\}\}/g;

/** As they will be judged, with something in the place of what is known of a caller only. */
function withSamples(value: unknown, operator = ''): unknown {
  if (typeof value === 'string') {
    const sample = value.replace(PLACEHOLDER, 'x');
    return sample !== value && (operator === '$in' || operator === '$nin') ? [] : sample;
  }
  if (Array.isArray(value)) return value.map((item) => withSamples(item));
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name.replace(PLACEHOLDER, 'x'), withSamples(item, name)]));
}

function checkConditions(conditions: unknown, at: string, depth = 1): void {
  if (depth > MAX_CONDITION_DEPTH) throw invalid(at, `Conditions may be nested ${MAX_CONDITION_DEPTH} levels deep.`);
  if (Array.isArray(conditions)) {
    for (const [index, item] of conditions.entries())
      if (typeof item === 'object' && item !== null) checkConditions(item, `${at}[${index}]`, depth);
    return;
  }
  if (!isPlainObject(conditions)) throw invalid(at, 'conditions must be an object.');
  for (const [key, value] of Object.entries(conditions)) {
    if (key.startsWith('$') && !key.startsWith('${') && !OPERATORS.has(key))
      throw invalid(`${at}.${key}`, `'${key}' is not a known operator.`);
    if (key === '$regex') {
      if (typeof value !== 'string' || value.length > MAX_REGEX_CHARS)
        throw invalid(`${at}.$regex`, `must be a text of at most ${MAX_REGEX_CHARS} characters.`);
    } else if (typeof value === 'object' && value !== null) checkConditions(value, `${at}.${key}`, depth + 1);
  }
}

const without = (conditions: JsonObject | undefined, names: string[]): JsonObject =>
  Object.fromEntries(Object.entries(conditions ?? {}).filter(([name]) => !names.includes(name)));

const list = (value: unknown): string[] =>
  (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]).map(String);

const invalid = (path: string, message: string) => fault('InvalidSecurity', { message, data: { path } });

/** Rules confined to one workspace: one per subject, its scope forced; custom events only may be created. */
export function scopedRules(rules: Rule[], workspaceId: string, firstPriority = 100): Rule[] {
  return rules.flatMap((rule, index) =>
    list(rule.subject).flatMap((subject) => {
      const scope = SCOPES[subject];
      if (!scope) return [];
      const scoped = (action: string[], conditions: JsonObject = {}): Rule => ({
        action,
        subject,
        // Last, whatever the rule says itself: a key filled in for a caller (`{{subject.name}}`) must not come to replace the scope.
        conditions: { ...without(rule.conditions, [scope, ...Object.keys(conditions)]), ...conditions, [scope]: workspaceId },
        ...(rule.inverted ? { inverted: true } : {}),
        ...(rule.reason ? { reason: rule.reason } : {}),
        priority: Math.min(firstPriority + index, MAX_PRIORITY),
      });
      const actions = list(rule.action);
      if (subject !== 'events' || rule.inverted || !actions.some((action) => action === 'create' || action === 'manage'))
        return [scoped(actions)];
      // Nobody may forge native events: creation is for the topic of custom ones, also through `manage`.
      const others = actions.flatMap((action) =>
        action === 'create' ? [] : action === 'manage' ? ['read', 'update', 'delete'] : [action],
      );
      return [...(others.length > 0 ? [scoped(others)] : []), scoped(['create'], { 'source.serviceTopic': EMIT_TOPIC })];
    }),
  );
}

/** The custom roles of a security section with their rules; `default` holds those without role. */
export function rolesOf(security: JsonObject, workspaceId: string): WorkspaceAccess['roles'] {
  const authorizations = isPlainObject(security.authorizations) ? security.authorizations : {};
  const declared = isPlainObject(authorizations.roles) ? authorizations.roles : {};
  const rules = Array.isArray(authorizations.rules) ? (authorizations.rules as Rule[]) : [];
  const byRole = new Map<string, Rule[]>();
  for (const [index, rule] of rules.entries()) {
    if (!isPlainObject(rule)) continue;
    const origin = `security.yml: authorizations.rules[${index}]`;
    const scoped = scopedRules([rule], workspaceId, 100 + index).map((one) => ({ ...one, origin }));
    for (const role of list(rule.role).length > 0 ? list(rule.role) : ['default'])
      byRole.set(role, [...(byRole.get(role) ?? []), ...scoped]);
  }
  const roles: WorkspaceAccess['roles'] = [];
  for (const [name, role] of Object.entries(declared)) {
    const own = byRole.get(name) ?? [];
    if ((name === 'editor' || name === 'owner') && own.length === 0) continue;
    const auth = isPlainObject(role) && isPlainObject(role.auth) ? role.auth : undefined;
    roles.push({ name, rules: own, ...(auth ? { auth } : {}) });
  }
  const everyone = byRole.get('default');
  if (everyone && !Object.hasOwn(declared, 'default')) roles.push({ name: 'default', rules: everyone });
  return roles;
}

/** Names of the roles a collaborator may be given in this workspace. */
export function assignableRoles(security: JsonObject): { name: string; description?: string }[] {
  const authorizations = isPlainObject(security.authorizations) ? security.authorizations : {};
  const declared = isPlainObject(authorizations.roles) ? authorizations.roles : {};
  const custom = Object.entries(declared)
    .filter(
      ([name, role]) =>
        name !== 'owner' && name !== 'editor' && !(isPlainObject(role) && isPlainObject(role.auth) && Object.hasOwn(role.auth, 'apiKey')),
    )
    .map(([name, role]) => ({
      name,
      ...(isPlainObject(role) && typeof role.description === 'string' ? { description: role.description } : {}),
    }));
  return [{ name: 'owner' }, { name: 'editor' }, ...custom];
}
