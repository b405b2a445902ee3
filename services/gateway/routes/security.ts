/** Routes of the security section, secrets and API keys. */
import type { Route } from './route.ts';

const base = '/workspaces/:workspaceId/security';
/** One guide spells it `apiKeys`. */
const spellings = ['apikeys', 'apiKeys'];

export const security: Route[] = [
  { method: 'GET', path: base, action: 'security.get', auth: 'apiKey', summary: 'Roles and rules of a workspace.' },
  { method: 'PUT', path: base, action: 'security.update', auth: 'apiKey', summary: 'Replaces roles and rules.' },
  { method: 'GET', path: `${base}/roles`, action: 'security.roles', auth: 'apiKey', summary: 'Roles collaborators may be given.' },
  {
    method: 'POST',
    path: `${base}/explain`,
    action: 'security.explain',
    auth: 'apiKey',
    summary: 'Which rule lets somebody do something, or keeps him from it.',
  },
  { method: 'GET', path: `${base}/secrets`, action: 'secrets.list', auth: 'apiKey', summary: 'Secrets the caller may read.' },
  { method: 'PATCH', path: `${base}/secrets`, action: 'secrets.patch', auth: 'apiKey', summary: 'Creates or changes secrets.' },
  { method: 'PUT', path: `${base}/secrets`, action: 'secrets.put', auth: 'apiKey', summary: 'Replaces the secrets.' },
  { method: 'DELETE', path: `${base}/secrets/:name`, action: 'secrets.remove', auth: 'apiKey', summary: 'Deletes a secret.' },
  ...spellings.flatMap((name): Route[] => [
    {
      method: 'GET',
      path: `${base}/${name}`,
      action: 'security.listApiKeys',
      auth: 'apiKey',
      summary: 'API keys, without the keys themselves.',
    },
    {
      method: 'POST',
      path: `${base}/${name}`,
      action: 'security.createApiKey',
      auth: 'apiKey',
      summary: 'Makes an API key; the answer shows it once.',
    },
    {
      method: 'PUT',
      path: `${base}/${name}/:apiKey`,
      action: 'security.updateApiKey',
      auth: 'apiKey',
      summary: 'Changes name and rules of an API key.',
    },
    { method: 'DELETE', path: `${base}/${name}/:apiKey`, action: 'security.removeApiKey', auth: 'apiKey', summary: 'Revokes an API key.' },
  ]),
];
