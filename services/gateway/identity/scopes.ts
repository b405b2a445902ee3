/**
 * scopes — what a limited credential may be used for: an access token made with `scopes`, or a session that an OpenID client opened. A scope never
 * grants what its owner may not do; it only takes away.
 */
import { fault } from '../../../mixins/shared/errors.ts';

export const SCOPES = [
  'workspaces:read',
  'workspaces:write',
  'events:read',
  'events:write',
  'webhooks',
  'pages:read',
  'files:read',
  'files:write',
  'orgs:read',
  'orgs:write',
] as const;
export type Scope = (typeof SCOPES)[number];

export const isScope = (value: unknown): value is Scope => (SCOPES as readonly unknown[]).includes(value);

/** Services of the identity room: who one is may be read with any credential, nothing may be changed with a limited one. */
const CREDENTIALS = new Set(['identity', 'accounts', 'users', 'mfa', 'accessTokens', 'tokens', 'providers', 'contacts', 'photos']);
const FREE = new Set([
  'identity.me',
  'identity.logout',
  'mfa.prove',
  'photos.get',
  'tokens.jwks',
  'orgApiKeys.validate',
  'serviceAccounts.token',
]);
const ORGANISATIONS = new Set(['orgs', 'orgMembers', 'orgRoles', 'orgGroups', 'orgInvites']);
const ORGANISATION_CREDENTIALS = new Set(['orgApiKeys', 'serviceAccounts', 'orgPrivileges']);
/** Searches are posted, but read. */
const READS = new Set(['events.search', 'events.searchAll', 'workspaces.exportMany', 'archives.exportMany', 'archives.export']);

/** The scope a route needs; `null`: none; `undefined`: no scope is enough. */
export function scopeOf(action: string, method: string): Scope | null | undefined {
  if (FREE.has(action)) return null;
  const [service = ''] = action.split('.');
  if (CREDENTIALS.has(service)) return undefined;
  if (ORGANISATION_CREDENTIALS.has(service)) return method === 'GET' ? 'orgs:read' : undefined;
  if (ORGANISATIONS.has(service)) return method === 'GET' ? 'orgs:read' : 'orgs:write';
  if (action === 'runtime.webhook' || action === 'runtime.test') return 'webhooks';
  const isRead = method === 'GET' || method === 'HEAD' || READS.has(action);
  if (service === 'events' || service === 'bus') return isRead ? 'events:read' : 'events:write';
  if (service === 'files') return isRead ? 'files:read' : 'files:write';
  if (service === 'pages' && isRead) return 'pages:read';
  return isRead ? 'workspaces:read' : 'workspaces:write';
}

/** @throws ForbiddenError with details { scope } */
export function assertScope(scopes: readonly string[] | undefined, action: string, method: string): void {
  if (!scopes) return;
  const needed = scopeOf(action, method);
  if (needed === null || (needed !== undefined && scopes.includes(needed))) return;
  throw fault('ForbiddenError', {
    message: needed ? `This credential lacks the scope '${needed}'.` : 'A credential limited by scopes may not do this.',
    data: needed ? { scope: needed, scopes } : { scopes },
  });
}
