/** Routes of automations. Slugs may hold slashes, encoded or not. */
import type { Route } from './route.ts';

export const automations: Route[] = [
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/automations',
    action: 'automations.list',
    auth: 'apiKey',
    summary: 'Automations of a workspace, without their instructions.',
  },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/automations',
    action: 'automations.create',
    auth: 'apiKey',
    summary: 'Creates an automation.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/automations/*slug',
    action: 'automations.get',
    auth: 'apiKey',
    summary: 'An automation.',
  },
  {
    method: 'PATCH',
    path: '/workspaces/:workspaceId/automations/*slug',
    action: 'automations.update',
    auth: 'apiKey',
    summary: 'Replaces or renames an automation.',
  },
  {
    method: 'DELETE',
    path: '/workspaces/:workspaceId/automations/*slug',
    action: 'automations.remove',
    auth: 'apiKey',
    summary: 'Deletes an automation.',
  },
];
