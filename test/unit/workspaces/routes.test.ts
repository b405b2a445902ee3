import { describe, expect, it } from '@jest/globals';
import { routes } from '../../../services/gateway/routes/workspaces.ts';

const SERVICES = [
  'workspaces',
  'automations',
  'pages',
  'app-instances',
  'apps',
  'versions',
  'archives',
  'files',
  'security',
  'secrets',
  'permissions',
];

describe('the routes of workspaces', () => {
  it('name published actions only, and every published action has a route', async () => {
    const published: string[] = [];
    for (const file of SERVICES) {
      const { default: schema } = await import(`../../../services/workspaces/${file}.service.ts`);
      for (const [name, action] of Object.entries<{ visibility: string }>(schema.actions))
        if (action.visibility === 'published') published.push(`${schema.name}.${name}`);
    }

    expect([...new Set(routes.map(({ action }) => action))].sort()).toEqual(published.sort());
  });

  it('are different from each other', () => {
    const shapes = routes.map(({ method, path }) => `${method} ${path.replace(/:\w+/g, ':').replace(/\*\w+/g, '*')}`);

    expect(shapes.filter((shape, index) => shapes.indexOf(shape) !== index)).toEqual([]);
  });
});
