/** organisations-world — gateway, workspaces and runtime on one node, with organisations whose people start runs. */
import { type Client, expectOk, newUser } from './client.ts';
import { fresh } from './fresh.ts';
import { startGateways } from './gateway-node.ts';

const SERVICES = ['workspaces', 'automations', 'app-instances', 'apps', 'security', 'secrets', 'permissions', 'versions'];

export const idOf = ({ user }: Client) => user?.id as string;
export const put = (who: Client, path: string, body: unknown) => who.request('PUT', path, body);

/** An automation that calls a function of the module with what it is sent. */
export const CALL = {
  do: [
    {
      try: {
        do: [{ run: { module: 'access-manager', function: '{{body.function}}', parameters: '{{body.parameters}}', output: 'result' } }],
        catch: [{ set: { name: 'failure', value: '{{$error}}' } }],
      },
    },
  ],
  output: { result: '{{result}}', failure: '{{failure}}' },
};

export async function startOrganisations() {
  const services = await Promise.all(
    [...SERVICES.map((name) => `workspaces/${name}`), 'runtime/runtime'].map(
      async (name) => (await import(`../../services/${name}.service.ts`)).default,
    ),
  );
  const gateways = await startGateways(
    { services },
    {
      fetchAllowedPrivateHosts: ['127.0.0.1'],
      privilegedWorkspaces: JSON.stringify({
        vault: {
          serviceAccounts: { defaultRoleSlug: 'agent-standard', allowedRoleSlugs: ['agent-*'] },
          apiKeys: { allowedPermissions: ['agents:*'], allowedScopes: ['agents:*'] },
        },
      }),
    },
  );
  const admin = await gateways.admin();
  const person = (name: string) => newUser(gateways.url, name);
  const author = await person('author');

  async function makeOrg() {
    const slug = fresh('org');
    const owner = await person('owner');
    await expectOk(admin.post('/orgs', { slug, name: `Org ${slug}`, ownerId: idOf(owner), settings: { theme: 'dark' } }));
    return { slug, at: `/orgs/${slug}`, owner };
  }

  /** A member with a role of these permissions and scopes. */
  async function member({ at, owner }: { at: string; owner: Client }, permissions: string[], scopes: string[] = []) {
    const role = fresh('role');
    await expectOk(owner.post(`${at}/roles`, { slug: role, name: role, permissions, scopes }));
    const who = await person('member');
    await expectOk(owner.post(`${at}/members`, { userId: idOf(who), role }));
    return who;
  }

  async function makeWorkspace(slug: string, automations: Record<string, object>) {
    const workspace = await expectOk(author.post('/workspaces', { name: slug, slug }));
    for (const [name, automation] of Object.entries(automations))
      await expectOk(author.post(`/workspaces/${workspace.id}/automations`, { name, slug: name, when: { endpoint: true }, ...automation }));
    const run = (who: Client, automation: string, body: unknown = {}) =>
      expectOk(who.post(`/workspaces/${workspace.id}/webhooks/${automation}`, body));
    return { id: workspace.id as string, slug: workspace.slug as string, run };
  }

  /** A workspace whose runs call the module as they are asked to. */
  async function makeManager(slug = fresh('manager')) {
    const workspace = await makeWorkspace(slug, { call: CALL });
    const ask = async (who: Client, name: string, parameters: object = {}) => workspace.run(who, 'call', { function: name, parameters });
    return {
      ...workspace,
      ask,
      call: async (who: Client, name: string, parameters: object = {}) => {
        const { result, failure } = await ask(who, name, parameters);
        if (failure) throw new Error(JSON.stringify(failure));
        return result;
      },
      refused: async (who: Client, name: string, parameters: object = {}) =>
        (await ask(who, name, parameters)).failure?.error as string | undefined,
    };
  }

  return { gateways, admin, author, person, makeOrg, member, makeWorkspace, makeManager };
}

export type OrganisationsWorld = Awaited<ReturnType<typeof startOrganisations>>;
export type Organisation = Awaited<ReturnType<OrganisationsWorld['makeOrg']>>;
export type Manager = Awaited<ReturnType<OrganisationsWorld['makeManager']>>;
