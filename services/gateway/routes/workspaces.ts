/** Routes of the workspaces service: workspaces, their objects, apps, files, pages, sharing. */

import { apps } from './apps.ts';
import { archives } from './archives.ts';
import { automations } from './automations.ts';
import { files } from './files.ts';
import { pages } from './pages.ts';
import type { Route } from './route.ts';
import { security } from './security.ts';
import { versions } from './versions.ts';

const create = { name: 'createWorkspace', key: 'userId', windowS: 60, limit: 30 } as const;

const workspaces: Route[] = [
  { method: 'GET', path: '/workspaces', action: 'workspaces.list', auth: 'apiKey', summary: 'Workspaces the caller may read.' },
  {
    method: 'GET',
    path: '/workspaces/labels',
    action: 'workspaces.labels',
    auth: 'apiKey',
    summary: 'Labels of the workspaces the caller may read.',
  },
  {
    method: 'POST',
    path: '/workspaces',
    action: 'workspaces.create',
    auth: 'required',
    limits: [create],
    summary: 'Creates a workspace owned by the caller.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId',
    action: 'workspaces.get',
    auth: 'apiKey',
    summary: 'A workspace and maps of what it holds.',
  },
  {
    method: 'PATCH',
    path: '/workspaces/:workspaceId',
    action: 'workspaces.update',
    auth: 'apiKey',
    summary: 'Replaces top-level fields of a workspace.',
  },
  {
    method: 'DELETE',
    path: '/workspaces/:workspaceId',
    action: 'workspaces.remove',
    auth: 'apiKey',
    summary: 'Deletes a workspace and all it holds.',
  },
  { method: 'GET', path: '/workspaces/:workspaceId/config', action: 'workspaces.getConfig', auth: 'apiKey', summary: 'The configuration.' },
  {
    method: 'PATCH',
    path: '/workspaces/:workspaceId/config',
    action: 'workspaces.patchConfig',
    auth: 'apiKey',
    summary: 'Replaces schema, block or value of the configuration.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/status',
    action: 'workspaces.status',
    auth: 'apiKey',
    summary: 'What changed since the last import or export.',
  },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/writeLock',
    action: 'workspaces.lock',
    auth: 'apiKey',
    summary: 'Refuses modifications for a while.',
  },
  {
    method: 'DELETE',
    path: '/workspaces/:workspaceId/writeLock',
    action: 'workspaces.unlock',
    auth: 'apiKey',
    summary: 'Accepts modifications again.',
  },
  {
    method: 'PUT',
    path: '/workspaces/:workspaceId/suspension',
    action: 'workspaces.suspend',
    auth: 'required',
    summary: 'Lets nothing of a workspace start any more, or lets it start again; for super admins.',
  },
];

/** In this order: paths with fixed words before those with parameters. */
export const routes: Route[] = [...archives, ...workspaces, ...automations, ...apps, ...security, ...versions, ...files, ...pages];
