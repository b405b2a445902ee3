/**
 * rules — what the platform itself allows: everybody, owners, editors, super admins, and the entries of the sharing API. The rules of a workspace's
 * security section come on top (WorkspaceAccess.roles), already confined to it.
 */
import { EMIT_TOPIC } from '../../shared/event.ts';
import type { JsonObject } from '../../shared/json.ts';
import type { Rule } from '../contract.ts';

/** Above every rule of a workspace. */
export const PLATFORM_PRIORITY = 1999;
export const STATIC_ROLES = ['owner', 'editor'];

const rule = (action: Rule['action'], subject: Rule['subject'], conditions?: JsonObject): Rule => ({
  action,
  subject,
  ...(conditions ? { conditions } : {}),
});

/** Nobody sees or forges the replication of contexts. */
const HIDDEN: Rule = {
  action: ['create', 'read', 'manage'],
  subject: 'events',
  conditions: { type: 'runtime.contexts.updated' },
  inverted: true,
  priority: PLATFORM_PRIORITY,
};

export const SUPER_ADMIN: Rule[] = [{ action: 'manage', subject: 'all', priority: PLATFORM_PRIORITY }];

/** Everybody, nobody's session included. */
export const EVERYONE: Rule[] = [
  rule('read', 'apps'),
  rule('create', 'files', { workspaceId: 'platform' }),
  rule('execute', 'automations', { 'authorizations.action': null }),
  rule('read', 'events', { 'source.userId': '${user.id}', 'source.serviceTopic': EMIT_TOPIC }),
  rule('read', 'events', { 'target.userTopic': { $in: '${user.topics}' } }),
  rule('read', 'events', { 'target.userId': '${user.id}' }),
  rule('read', 'events', { 'target.sessionId': '${user.sessionId}' }),
  HIDDEN,
];

/** Somebody with an account may found a workspace: who merely has a session has what workspaces open to him. */
export const SIGNED_IN: Rule[] = [rule('create', 'workspaces')];

const events = (id: string): JsonObject => ({ 'source.workspaceId': id });

export const OWNER = (id: string): Rule[] => [
  rule('manage', 'workspaces', { id }),
  rule('manage', ['apps', 'pages', 'files', 'secure_secrets', 'workspace_keyrings'], { workspaceId: id }),
  rule('manage', 'roles', { subjectId: id, subjectType: 'workspaces' }),
  rule('manage', 'secrets', { workspaceId: id, name: { $not: { $regex: '^prismeai_' } } }),
  rule('create', 'events', { ...events(id), 'source.serviceTopic': EMIT_TOPIC }),
  rule(['read', 'delete'], 'events', events(id)),
  rule(['execute', 'test'], 'automations', { runningWorkspaceId: id }),
];

/**
 * What an owner keeps for himself when a workspace acts in its own name (`auth: { workspace: true }`): its automations, those of installed apps among
 * them, set its configuration and its secrets; they share it with nobody, make no keys, change no rules and do not delete it.
 */
export const NOT_BY_ITSELF = (id: string): Rule[] => [
  {
    ...rule(['manage_permissions', 'manage_security', 'manage_repositories', 'delete'], 'workspaces', { id }),
    inverted: true,
    reason: 'A workspace that acts in its own name may not do this: it takes a person.',
    priority: PLATFORM_PRIORITY,
  },
  { ...rule('manage_permissions', 'pages', { workspaceId: id }), inverted: true, priority: PLATFORM_PRIORITY },
];

export const EDITOR = (id: string): Rule[] => [
  rule(['read', 'update', 'get_usage', 'aggregate_search'], 'workspaces', { id }),
  rule(['read', 'update', 'read_app_dsul'], 'apps', { workspaceId: id }),
  rule(['read', 'update'], 'pages', { workspaceId: id }),
  rule('manage', 'files', { workspaceId: id }),
  rule('create', 'events', { ...events(id), 'source.serviceTopic': EMIT_TOPIC }),
  rule('read', 'events', events(id)),
  {
    ...rule(['create', 'read'], 'events', { ...events(id), type: { $regex: '^apikeys\\.' } }),
    inverted: true,
    reason: 'Only owners read the events of API keys.',
  },
];

/** An editor runs and tests what he edits, also where the workspace has its own rules for the role. */
export const EDITOR_RUNS = (id: string): Rule[] => [rule(['execute', 'test'], 'automations', { runningWorkspaceId: id })];

const SHARED_SUBJECTS = ['workspaces', 'pages', 'files', 'apps', 'secrets'];
const SHARED_ACTIONS = ['manage_permissions', 'read', 'update', 'delete'];

/** What an entry of the sharing API gives: `permissions.<target>.policies.<action>`, and reading through a role. */
export function sharing(targets: string[], roles: string[]): Rule[] {
  return targets.flatMap((target) => [
    ...SHARED_ACTIONS.map((action) => rule(action, SHARED_SUBJECTS, { [`permissions.${target}.policies.${action}`]: true })),
    rule('read', SHARED_SUBJECTS, { [`permissions.${target}.role`]: { $in: roles } }),
  ]);
}

/** Objects of workspace `id` shared with the holders of a role there. */
export const sharedWithRole = (role: string, id: string): Rule[] =>
  SHARED_ACTIONS.map((action) =>
    rule(action, ['pages', 'files'], { workspaceId: id, [`permissions.role:${role}.policies.${action}`]: true }),
  );
