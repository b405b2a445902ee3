/** Routes of published versions. */
import type { Route } from './route.ts';

const base = '/workspaces/:workspaceId/versions';
const limits = [{ name: 'importWorkspace', key: 'userId', windowS: 60, limit: 30 } as const];

export const versions: Route[] = [
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/history',
    action: 'versions.history',
    auth: 'apiKey',
    summary: 'The last changes: who changed what, and when.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/history/:revision',
    action: 'versions.historyAt',
    auth: 'apiKey',
    summary: 'What a change replaced or removed.',
  },
  { method: 'GET', path: base, action: 'versions.list', auth: 'apiKey', summary: 'Published versions, newest first.' },
  { method: 'POST', path: base, action: 'versions.publish', auth: 'apiKey', summary: 'Publishes a version.' },
  { method: 'DELETE', path: `${base}/:versionId`, action: 'versions.remove', auth: 'apiKey', summary: 'Deletes a version.' },
  { method: 'POST', path: `${base}/:versionId/pull`, action: 'versions.pull', auth: 'apiKey', limits, summary: 'Restores a version.' },
  {
    method: 'GET',
    path: `${base}/:versionId/diff`,
    action: 'versions.diff',
    auth: 'apiKey',
    summary: 'What differs between two versions.',
  },
  {
    method: 'POST',
    path: `${base}/:versionId/duplicate`,
    action: 'versions.duplicate',
    auth: 'required',
    limits,
    summary: 'A new workspace from a version.',
  },
];
