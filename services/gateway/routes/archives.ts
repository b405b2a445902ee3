/** Routes of import and export. */
import type { Route } from './route.ts';

const limits = [{ name: 'importWorkspace', key: 'userId', windowS: 60, limit: 30 } as const];

export const archives: Route[] = [
  {
    method: 'POST',
    path: '/workspaces/import',
    action: 'archives.importNew',
    auth: 'required',
    multipart: true,
    limits,
    summary: 'A new workspace from an archive, or several from a bulk archive.',
  },
  { method: 'POST', path: '/workspaces/export', action: 'archives.exportMany', auth: 'apiKey', summary: 'Several workspaces as one zip.' },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/import',
    action: 'archives.import',
    auth: 'apiKey',
    multipart: true,
    limits,
    summary: 'Imports an archive into a workspace.',
  },
  { method: 'GET', path: '/workspaces/:workspaceId/export', action: 'archives.export', auth: 'apiKey', summary: 'The workspace as a zip.' },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/versions/:versionId/export',
    action: 'archives.export',
    auth: 'apiKey',
    summary: 'A version of the workspace as a zip.',
  },
];
