/** narrow — which routes of the platform a service of the configuration file stands for. */
import type { Route } from '../routes/route.ts';

/** A service of the configuration file stands for the actions under its name, and those of its parts (`workspaces` also for `automations`). */
export function isOf(service: string, { action }: Route): boolean {
  const [first = ''] = action.split('.');
  return first === service || PARTS_OF[first] === service;
}

const PARTS_OF: Record<string, string> = {
  ...Object.fromEntries(
    ['automations', 'appInstances', 'apps', 'archives', 'versions', 'files', 'pages', 'permissions', 'security', 'secrets'].map((name) => [
      name,
      'workspaces',
    ]),
  ),
  ...Object.fromEntries(
    [
      'accounts',
      'users',
      'mfa',
      'accessTokens',
      'tokens',
      'contacts',
      'photos',
      'orgs',
      'orgMembers',
      'orgRoles',
      'orgGroups',
      'orgInvites',
      'orgApiKeys',
      'serviceAccounts',
      'orgPrivileges',
    ].map((name) => [name, 'identity']),
  ),
};
