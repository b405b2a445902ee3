/** Routes of the app store and of the apps installed in a workspace. */
import type { Route } from './route.ts';

const instance = '/workspaces/:workspaceId/apps';

export const apps: Route[] = [
  { method: 'GET', path: '/apps', action: 'apps.list', auth: 'apiKey', summary: 'Published apps.' },
  {
    method: 'POST',
    path: '/apps',
    action: 'apps.publish',
    auth: 'apiKey',
    summary: 'Publishes a workspace as an app, or a new version of it.',
  },
  { method: 'GET', path: '/apps/:appSlug', action: 'apps.get', auth: 'apiKey', summary: 'An app and the form of its configuration.' },
  { method: 'DELETE', path: '/apps/:appSlug', action: 'apps.remove', auth: 'apiKey', summary: 'Removes an app from the store.' },
  { method: 'GET', path: instance, action: 'appInstances.list', auth: 'apiKey', summary: 'Apps installed in a workspace.' },
  { method: 'POST', path: instance, action: 'appInstances.install', auth: 'apiKey', summary: 'Installs an app.' },
  {
    method: 'GET',
    path: `${instance}/:slug/config`,
    action: 'appInstances.getConfig',
    auth: 'apiKey',
    summary: 'Configuration of an installed app.',
  },
  {
    method: 'PATCH',
    path: `${instance}/:slug/config`,
    action: 'appInstances.patchConfig',
    auth: 'apiKey',
    summary: 'Merges values into the configuration of an installed app.',
  },
  { method: 'GET', path: `${instance}/:slug`, action: 'appInstances.get', auth: 'apiKey', summary: 'An installed app.' },
  {
    method: 'PATCH',
    path: `${instance}/:slug`,
    action: 'appInstances.update',
    auth: 'apiKey',
    summary: 'Configures or renames an installed app.',
  },
  { method: 'DELETE', path: `${instance}/:slug`, action: 'appInstances.remove', auth: 'apiKey', summary: 'Uninstalls an app.' },
];
