import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  allows,
  asTree,
  BUILT_IN_ROLES,
  covers,
  coversScopes,
  isOrgScope,
  isPermission,
  isPermissionList,
  reaches,
} from '../../../mixins/auth/permissions.ts';

describe('permissions of organisations', () => {
  it('are product:resource:action with a star at the end only', () => {
    for (const good of ['*', 'a:*', 'a:b:*', 'a:b:c', 'a:b', 'orgs:api-keys:read'])
      expect([good, isPermission(good)]).toEqual([good, true]);
    for (const bad of [
      '',
      ':',
      'a:',
      '*:b',
      'a:*:c',
      'a*',
      'a:b*',
      'a:b:c:d',
      'a b',
      '__proto__:a:b',
      'a:constructor:b',
      1,
      null,
      'x'.repeat(400),
    ])
      expect([bad, isPermission(bad)]).toEqual([bad, false]);
    expect(isOrgScope('agents:agents:64f0-Ab/1')).toBe(true);
    expect(isOrgScope('agents:agents:a:b')).toBe(false);
    expect(isPermissionList(Array(201).fill('a:b:c'))).toBe(false);
  });

  it('allow what they name, what a star stands for, and with manage every action of the resource', () => {
    expect(allows(['orgs:*'], 'orgs:members:read')).toBe(true);
    expect(allows(['orgs:members:*'], 'orgs:members:read')).toBe(true);
    expect(allows(['orgs:members:manage'], 'orgs:members:read')).toBe(true);
    expect(allows(['orgs:members:read'], 'orgs:members:update')).toBe(false);
    expect(allows(['org:*'], 'orgs:members:read')).toBe(false);
    expect(allows(['orgs:members:manage'], 'orgs:groups:read')).toBe(false);
    expect(allows([], 'orgs:members:read')).toBe(false);
  });

  it('cover a star only with one that reaches as far', () => {
    expect(covers(['orgs:*'], ['orgs:members:*', 'orgs:*'])).toBe(true);
    expect(covers(['orgs:members:*'], ['orgs:*'])).toBe(false);
    expect(covers(['orgs:members:manage'], ['orgs:members:*'])).toBe(false);
    expect(covers(['orgs:*', 'agents:*'], ['*'])).toBe(false);
  });

  it('as scopes know no manage: it is the id of a thing there', () => {
    expect(reaches(['agents:agents:manage'], 'agents:agents:a1')).toBe(false);
    expect(reaches(['agents:agents:manage', 'files:*'], 'agents:agents:manage')).toBe(true);
    expect(coversScopes(['agents:agents:manage'], ['agents:agents:a1'])).toBe(false);
    expect(coversScopes(['agents:agents:*'], ['agents:agents:a1', 'agents:agents:*'])).toBe(true);
  });

  const name = fc.constantFrom('a', 'b', 'c');
  const permission = fc.oneof(
    fc.constant('*'),
    name.map((a) => `${a}:*`),
    fc.tuple(name, name).map(([a, b]) => `${a}:${b}:*`),
    fc.tuple(name, name, fc.constantFrom('read', 'update', 'manage')).map((parts) => parts.join(':')),
  );

  it('never give more when handed on: what is covered allows nothing its giver could not do', () => {
    fc.assert(
      fc.property(
        fc.array(permission),
        fc.array(permission),
        fc.tuple(name, name, fc.constantFrom('read', 'update')),
        (mine, theirs, parts) => {
          const wanted = parts.join(':');
          if (covers(mine, theirs) && allows(theirs, wanted)) expect(allows(mine, wanted)).toBe(true);
        },
      ),
    );
  });

  it('are told to runs as a tree', () => {
    expect(asTree(['*', 'a:*', 'a:b:c', 'a:b:d', 'w:read'])).toEqual({
      '*': { '*': { '*': true } },
      a: { '*': { '*': true }, b: { c: true, d: true } },
      w: { '*': { read: true } },
    });
  });

  it('of the built-in roles are well formed', () => {
    for (const { permissions, scopes } of Object.values(BUILT_IN_ROLES)) {
      expect(permissions.every(isPermission)).toBe(true);
      expect(scopes.every(isOrgScope)).toBe(true);
    }
  });
});
