/**
 * permissions — what a role of an organisation allows: `product:resource:action`, a `*` only at the end (`*`, `agents:*`, `agents:agents:*`). The action
 * `manage` stands for every action of its resource. Scopes have the same form and name things: `product:resource:id`.
 */

/** Begins with a letter: no segment is ever a name with a meaning of its own for JavaScript. */
const SEGMENT = /^[a-z][\w.-]{0,63}$/i;
const ID = /^[^\s:*]{1,200}$/;
const RESERVED = new Set(['constructor', 'prototype', 'tostring', 'valueof', 'hasownproperty']);
const MAX = 200;

const isName = (segment: string): boolean => SEGMENT.test(segment) && !RESERVED.has(segment.toLowerCase());

const isPattern = (value: unknown, isLast: (segment: string) => boolean): value is string => {
  if (typeof value !== 'string' || value.length > 300) return false;
  const segments = value.split(':');
  if (segments.length > 3) return false;
  return segments.every((segment, at) => (at === segments.length - 1 && segment === '*') || (at === 2 ? isLast(segment) : isName(segment)));
};

export const isPermission = (value: unknown): value is string => isPattern(value, isName);
export const isOrgScope = (value: unknown): value is string => isPattern(value, (segment) => ID.test(segment));
export const isPermissionList = (value: unknown): boolean => Array.isArray(value) && value.length <= MAX && value.every(isPermission);
export const isScopeList = (value: unknown): boolean => Array.isArray(value) && value.length <= MAX && value.every(isOrgScope);

/** Whether `granted` gives all that `wanted` gives; `wanted` may end with `*` itself. */
function gives(granted: string, wanted: string, hasManage: boolean): boolean {
  const has = granted.split(':');
  const asks = wanted.split(':');
  const last = has.at(-1);
  const isPrefix = (length: number) => has.slice(0, length).every((segment, at) => segment === asks[at]);
  if (last === '*') return asks.length >= has.length && isPrefix(has.length - 1);
  if (has.length !== asks.length || !isPrefix(has.length - 1)) return false;
  return last === asks.at(-1) || (hasManage && last === 'manage' && asks.at(-1) !== '*');
}

export const allows = (granted: readonly string[], wanted: string): boolean => granted.some((one) => gives(one, wanted, true));

/** The same for scopes, where `manage` is a name like any other. */
export const reaches = (scopes: readonly string[], wanted: string): boolean => scopes.some((one) => gives(one, wanted, false));

/** Whether somebody with `granted` may hand out all of `wanted`. */
export const covers = (granted: readonly string[], wanted: readonly string[]): boolean => wanted.every((one) => allows(granted, one));
export const coversScopes = (scopes: readonly string[], wanted: readonly string[]): boolean => wanted.every((one) => reaches(scopes, one));

export interface BuiltInRole {
  name: string;
  permissions: string[];
  scopes: string[];
}

const READS = ['orgs:organization:read', 'orgs:members:read', 'orgs:roles:read', 'orgs:groups:read'];

/** Every organisation has these; all but `owner` may be written anew by it. */
export const BUILT_IN_ROLES: Readonly<Record<string, BuiltInRole>> = {
  owner: { name: 'Owner', permissions: ['*'], scopes: ['*'] },
  admin: { name: 'Admin', permissions: ['*'], scopes: ['*'] },
  member: { name: 'Member', permissions: READS, scopes: [] },
  'agent-maker': { name: 'Agent maker', permissions: [...READS, 'agents:*'], scopes: [] },
  builder: { name: 'Builder', permissions: [...READS, 'agents:*', 'workspaces:*'], scopes: [] },
  'agent-standard': { name: 'Agent user', permissions: ['orgs:organization:read', 'agents:agents:read', 'agents:agents:use'], scopes: [] },
};

/** `run.permissions`: `{ product: { resource: { action: true } } }`, a `*` spelt out on every level under it. */
export function asTree(permissions: readonly string[]): Record<string, Record<string, Record<string, true>>> {
  const tree: Record<string, Record<string, Record<string, true>>> = {};
  for (const permission of permissions) {
    const segments = permission.split(':');
    const [product = '*', resource = '*', action = '*'] = segments.length === 2 ? [segments[0], '*', segments[1]] : segments;
    tree[product] ??= {};
    const resources = tree[product] as Record<string, Record<string, true>>;
    resources[resource] ??= {};
    (resources[resource] as Record<string, true>)[action] = true;
  }
  return tree;
}
