/** Routes of uploaded files. */
import type { Route } from './route.ts';

const base = '/workspaces/:workspaceId/files';
const limits = [{ name: 'uploadFile', key: 'userId', windowS: 60, limit: 50 } as const];

export const files: Route[] = [
  { method: 'POST', path: base, action: 'files.upload', auth: 'apiKey', multipart: 'spooled', limits, summary: 'Uploads files.' },
  { method: 'GET', path: base, action: 'files.list', auth: 'apiKey', summary: 'Files of a workspace.' },
  { method: 'POST', path: `${base}/:fileId/share`, action: 'files.share', auth: 'apiKey', summary: 'A temporary address of a file.' },
  { method: 'GET', path: `${base}/*fileId`, action: 'files.get', auth: 'apiKey', summary: 'What is known of a file.' },
  {
    method: 'PATCH',
    path: `${base}/*fileId`,
    action: 'files.update',
    auth: 'apiKey',
    summary: 'Changes visibility, sharing, metadata or life of a file.',
  },
  {
    method: 'PUT',
    path: `${base}/*fileId`,
    action: 'files.replace',
    auth: 'apiKey',
    multipart: 'spooled',
    limits,
    summary: 'Replaces the content of a file.',
  },
  { method: 'DELETE', path: `${base}/*fileId`, action: 'files.remove', auth: 'apiKey', summary: 'Deletes a file.' },
  { method: 'GET', path: '/files/*path', action: 'files.download', auth: 'optional', raw: true, summary: 'The content of a file.' },
];
