import { describe, expect, it } from '@jest/globals';
import { assertKeyWithin, privilegedWorkspaces, readPrivileges, roleWithin } from '../../../services/gateway/organisations/privileges.ts';

describe('privileges of workspaces', () => {
  it('are read from the configuration, whose mistakes are named at start', () => {
    expect(privilegedWorkspaces(undefined).size).toBe(0);
    const all = privilegedWorkspaces(
      '{"vault":{"serviceAccounts":{"defaultRoleSlug":"member"},"apiKeys":{"allowedPermissions":["agents:*"]}}}',
    );
    expect(all.get('vault')).toEqual({
      serviceAccounts: { defaultRoleSlug: 'member', allowedRoleSlugs: ['member'] },
      apiKeys: { allowedPermissions: ['agents:*'], allowedScopes: [] },
    });
    for (const [text, place] of [
      ['{', 'PRIVILEGED_WORKSPACES: no JSON'],
      ['[]', 'PRIVILEGED_WORKSPACES: an object'],
      ['{"a":{"apiKeys":{"allowedPermissions":["*:a"]}}}', 'a.apiKeys.allowedPermissions'],
      ['{"a":{"apiKeys":[]}}', 'a.apiKeys.allowedPermissions'],
      ['{"a":{"serviceAccounts":{"allowedRoleSlugs":"*"}}}', 'a.serviceAccounts.allowedRoleSlugs'],
      ['{"a":{"other":1}}', 'a.other'],
      ['{"a":1}', 'a.'],
    ] as const)
      expect(() => privilegedWorkspaces(text)).toThrow(place);
  });

  it('bound roles and keys; the role owner is never given, also where every role is', () => {
    const { serviceAccounts, apiKeys } = readPrivileges({
      serviceAccounts: { defaultRoleSlug: 'agent-standard', allowedRoleSlugs: ['agent-*'] },
      apiKeys: { allowedPermissions: ['agents:*'], allowedScopes: ['agents:agents:a1'] },
    });
    const both = { ...(serviceAccounts ? { serviceAccounts } : {}), ...(apiKeys ? { apiKeys } : {}) };
    expect(roleWithin(both, undefined)).toBe('agent-standard');
    expect(roleWithin(both, 'agent-maker')).toBe('agent-maker');
    expect(() => roleWithin(both, 'agent')).toThrow("'agent'");
    expect(() => roleWithin({ serviceAccounts: { allowedRoleSlugs: ['*'] } }, 'owner')).toThrow("'owner'");
    expect(() => roleWithin({ serviceAccounts: { allowedRoleSlugs: ['*'] } }, undefined)).toThrow('roleSlug');
    expect(() => roleWithin({}, 'member')).toThrow('service accounts');
    expect(() => assertKeyWithin(both, ['agents:agents:use'], ['agents:agents:a1'])).not.toThrow();
    expect(() => assertKeyWithin(both, ['orgs:members:read'], [])).toThrow('beyond');
    expect(() => assertKeyWithin(both, [], ['agents:*'])).toThrow('beyond');
    expect(() => assertKeyWithin({}, [], [])).toThrow('keys');
  });
});
