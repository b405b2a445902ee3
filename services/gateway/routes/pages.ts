/** Routes of pages, and of sharing (workspaces and pages alike). */
import type { Route } from './route.ts';

const base = '/workspaces/:workspaceId/pages';

const sharing = (subject: string): Route[] => [
  {
    method: 'GET',
    path: `/${subject}/:subjectId/permissions`,
    action: `permissions.${subject}List`,
    auth: 'apiKey',
    summary: `Who shares one of the ${subject}.`,
  },
  {
    method: 'POST',
    path: `/${subject}/:subjectId/permissions`,
    action: `permissions.${subject}Share`,
    auth: 'apiKey',
    summary: `Shares one of the ${subject}.`,
  },
  {
    method: 'DELETE',
    path: `/${subject}/:subjectId/permissions/:permissionId`,
    action: `permissions.${subject}Revoke`,
    auth: 'apiKey',
    summary: 'Ends a share.',
  },
];

export const pages: Route[] = [
  ...sharing('workspaces'),
  ...sharing('pages'),
  { method: 'GET', path: base, action: 'pages.list', auth: 'apiKey', summary: 'Pages of a workspace.' },
  { method: 'POST', path: base, action: 'pages.create', auth: 'apiKey', summary: 'Creates a page.' },
  { method: 'GET', path: `${base}/*slug`, action: 'pages.get', auth: 'apiKey', summary: 'A page with its blocks.' },
  { method: 'PATCH', path: `${base}/*slug`, action: 'pages.update', auth: 'apiKey', summary: 'Replaces or renames a page.' },
  { method: 'DELETE', path: `${base}/*slug`, action: 'pages.remove', auth: 'apiKey', summary: 'Deletes a page.' },
  { method: 'GET', path: '/pages/:workspaceSlug/*slug', action: 'pages.getPublic', auth: 'optional', summary: 'A page for visitors.' },
];
