/** organisations — organisations, who belongs to them, and their credentials. */
import type { RateLimit, Route } from './route.ts';

const at = '/orgs/:orgSlug';
type Line = [method: Route['method'], path: string, action: string, summary: string, more?: Partial<Route>];

const joins: RateLimit[] = [{ name: 'orgJoin', key: 'userId', windowS: 60, limit: 30 }];
/** Programs ask often; who guesses is slowed down. */
const guesses: RateLimit[] = [{ name: 'orgCredentials', key: 'ip', windowS: 60, limit: 120 }];
const sessionOnly = { sessionOnly: true };

const LINES: Line[] = [
  ['PUT', '/user/active-org', 'orgs.choose', 'Chooses the organisation this session acts in.', sessionOnly],
  ['GET', '/orgs', 'orgs.list', 'Organisations one belongs to; all for super admins.'],
  ['POST', '/orgs', 'orgs.create', 'Makes an organisation.'],
  ['GET', '/orgs/join', 'orgInvites.look', 'Where an invitation leads.', { limits: joins }],
  ['POST', '/orgs/join', 'orgInvites.join', 'Joins an organisation with the code of an invitation.', { limits: joins, sessionOnly: true }],
  ['GET', at, 'orgs.get', 'An organisation.'],
  ['PATCH', at, 'orgs.update', 'Changes an organisation.'],
  ['DELETE', at, 'orgs.remove', 'Deletes an organisation (its owners).', sessionOnly],

  ['GET', `${at}/members`, 'orgMembers.list', 'Members of an organisation.'],
  ['POST', `${at}/members`, 'orgMembers.create', 'Adds somebody who has an account.'],
  ['GET', `${at}/members/export`, 'orgMembers.export', 'All members as CSV.'],
  ['GET', `${at}/members/:userId`, 'orgMembers.get', 'A member.'],
  ['PATCH', `${at}/members/:userId`, 'orgMembers.update', 'Changes role, status or groups of a member.'],
  ['DELETE', `${at}/members/:userId`, 'orgMembers.remove', 'Removes a member, or oneself.'],

  ['GET', `${at}/roles`, 'orgRoles.list', 'Roles: the built-in ones and those of the organisation.'],
  ['POST', `${at}/roles`, 'orgRoles.create', 'Makes a role.'],
  ['GET', `${at}/roles/:slug`, 'orgRoles.get', 'A role.'],
  ['PATCH', `${at}/roles/:slug`, 'orgRoles.update', 'Changes a role; a built-in one becomes the own version of the organisation.'],
  ['DELETE', `${at}/roles/:slug`, 'orgRoles.remove', 'Deletes a role, or the own version of a built-in one.'],

  ['GET', `${at}/groups`, 'orgGroups.list', 'Groups of an organisation.'],
  ['POST', `${at}/groups`, 'orgGroups.create', 'Makes a group.'],
  ['GET', `${at}/groups/:slug`, 'orgGroups.get', 'A group.'],
  ['PATCH', `${at}/groups/:slug`, 'orgGroups.update', 'Changes a group.'],
  ['DELETE', `${at}/groups/:slug`, 'orgGroups.remove', 'Deletes a group.'],
  ['GET', `${at}/groups/:slug/members`, 'orgGroups.members', 'Who is in a group.'],
  ['POST', `${at}/groups/:slug/members`, 'orgGroups.addMembers', 'Adds members to a group.'],
  ['DELETE', `${at}/groups/:slug/members/:userId`, 'orgGroups.removeMember', 'Takes a member out of a group.'],

  ['GET', `${at}/invites`, 'orgInvites.list', 'Open invitations, without codes.'],
  ['POST', `${at}/invites`, 'orgInvites.create', 'Invites by mail, or makes a code that is shown once.', { origin: true }],
  ['DELETE', `${at}/invites/:inviteId`, 'orgInvites.remove', 'Withdraws an invitation.'],

  [
    'PUT',
    `${at}/workspaces/:workspaceId/privileges`,
    'orgPrivileges.put',
    'What runs of a workspace may make in this organisation: service accounts, keys.',
    sessionOnly,
  ],

  ['GET', `${at}/api-keys`, 'orgApiKeys.list', 'Keys of an organisation, without the keys themselves.'],
  ['POST', `${at}/api-keys`, 'orgApiKeys.create', 'Makes a key; its value is shown once.', sessionOnly],
  [
    'POST',
    `${at}/api-keys/validate`,
    'orgApiKeys.validate',
    'Whether a key is good in this organisation.',
    { auth: 'optional', limits: guesses },
  ],
  ['POST', `${at}/api-keys/:slug/rotate`, 'orgApiKeys.rotate', 'Gives a key a new value, which is shown once.', sessionOnly],
  ['DELETE', `${at}/api-keys/:slug`, 'orgApiKeys.remove', 'Deletes a key.', sessionOnly],

  ['GET', `${at}/service-accounts`, 'serviceAccounts.list', 'Service accounts, without secrets.'],
  ['POST', `${at}/service-accounts`, 'serviceAccounts.create', 'Makes a service account; its secret is shown once.', sessionOnly],
  ['GET', `${at}/service-accounts/:slug`, 'serviceAccounts.get', 'A service account.'],
  ['PATCH', `${at}/service-accounts/:slug`, 'serviceAccounts.update', 'Changes role or status of a service account.', sessionOnly],
  ['DELETE', `${at}/service-accounts/:slug`, 'serviceAccounts.remove', 'Deletes a service account.', sessionOnly],
  ['POST', `${at}/service-accounts/:slug/rotate`, 'serviceAccounts.rotate', 'Gives it a new secret, which is shown once.', sessionOnly],
  [
    'POST',
    `${at}/service-accounts/:slug/token`,
    'serviceAccounts.token',
    'Exchanges the secret of a service account for a token.',
    { auth: 'optional', limits: guesses },
  ],
];

export const routes: Route[] = LINES.map(([method, path, action, summary, more]) => ({
  method,
  path,
  action,
  auth: 'required',
  summary,
  ...more,
}));
