import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createAbility } from '../../../mixins/auth/abilities/ability.ts';
import { buildAbility, type Caller } from '../../../mixins/auth/abilities/build.ts';
import { compileConditions } from '../../../mixins/auth/abilities/conditions.ts';
import type { Rule, WorkspaceAccess } from '../../../mixins/auth/contract.ts';
import { compile } from '../../../mixins/filters/condition.ts';
import { EMIT_TOPIC } from '../../../mixins/shared/event.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { defaultSecurity, rolesOf, scopedRules } from '../../../services/workspaces/dsul/security-file.ts';

const user = (userId: string, more: Partial<Caller> = {}): Caller => ({
  kind: 'user',
  userId,
  sessionId: `s-${userId}`,
  correlationId: 'c',
  ...more,
});
const accessTo = (more: Partial<WorkspaceAccess> = {}, security: JsonObject = defaultSecurity()): WorkspaceAccess => ({
  id: 'w1',
  slug: 'one',
  name: 'One',
  permissions: { ada: { role: 'owner' }, eve: { role: 'editor' }, vic: { role: 'viewer' } },
  roles: rolesOf(security, 'w1'),
  apiKeys: [],
  ...more,
});
const securityOf = (roles: JsonObject, rules: Rule[]): JsonObject => ({ authorizations: { roles, rules } });
const event = (type: string, source: JsonObject = {}) => ({ type, source: { workspaceId: 'w1', serviceTopic: EMIT_TOPIC, ...source } });

describe('the order of rules', () => {
  const decide = (rules: Rule[], object: object = { a: 1, b: 2 }) => createAbility(rules, { user: {} }).can('read', 'pages', object);
  const allow = (conditions?: JsonObject, priority?: number): Rule => ({
    action: 'read',
    subject: 'pages',
    ...(conditions && { conditions }),
    ...(priority && { priority }),
  });
  const deny = (conditions?: JsonObject, priority?: number): Rule => ({ ...allow(conditions, priority), inverted: true });

  it('denies what no rule allows', () => expect(decide([])).toBe(false));
  it('lets a denial win over an allowance of the same priority, wherever it stands', () => {
    expect(decide([deny(), allow()])).toBe(false);
    expect(decide([allow(), deny()])).toBe(false);
    expect(decide([deny(undefined, 1999), allow(undefined, 1999)])).toBe(false);
  });
  it('lets the higher priority win, allowance or denial', () => {
    expect(decide([deny(undefined, 100), allow(undefined, 101)])).toBe(true);
    expect(decide([allow(undefined, 101), deny(undefined, 102)])).toBe(false);
    expect(decide([deny(), allow(undefined, 100)])).toBe(true);
  });
  it('judges only rules whose conditions hold', () => {
    expect(decide([allow(), deny({ a: 2 })])).toBe(true);
    expect(decide([allow(), deny({ a: 1 })])).toBe(false);
  });
  it('tells which rule decided, and its reason', () => {
    const ability = createAbility([allow(), { ...deny({ a: 1 }), reason: 'Not on Sundays.' }], { user: {} });
    expect(ability.explain('read', 'pages', { a: 1 })).toMatchObject({
      allowed: false,
      reason: 'Not on Sundays.',
      rule: { inverted: true },
    });
    expect(ability.explain('delete', 'pages', { a: 1 })).toEqual({
      allowed: false,
      reason: "No rule allows 'delete' on pages.",
      considered: [],
    });
    expect(() => ability.assert('read', 'pages', { a: 1, id: 'p' })).toThrow(
      expect.objectContaining({
        type: 'ForbiddenError',
        message: 'Not on Sundays. p',
        data: { action: 'read', subjectType: 'pages', id: 'p' },
      }),
    );
  });
});

describe('placeholders', () => {
  const can = (rule: Partial<Rule>, object: object, variables: JsonObject = { id: 'u', sessionId: 's', topics: ['t1'] }) =>
    createAbility(
      [
        { action: 'read', subject: 'events' },
        { action: 'read', subject: 'events', ...rule },
      ].slice(rule.inverted ? 0 : 1) as Rule[],
      { user: variables },
    ).can('read', 'events', object);

  it('are filled in, a whole one keeps its type', () => {
    expect(can({ conditions: { a: '${user.id}' } }, { a: 'u' })).toBe(true);
    expect(can({ conditions: { a: '{{session.id}}' } }, { a: 's' })).toBe(true);
    expect(can({ conditions: { a: { $in: '${user.topics}' } } }, { a: 't1' })).toBe(true);
    expect(can({ conditions: { a: 'x-{{user.id}}' } }, { a: 'x-u' })).toBe(true);
    expect(can({ conditions: { a: { $in: ['{{user.id}}'] } } }, { a: 'u' })).toBe(true);
    expect(can({ conditions: { 'permissions.${user.id}.read': true } }, { permissions: { u: { read: true } } })).toBe(true);
  });
  it('37: a missing one makes an allowance vanish and a denial stricter; null is equal to null and breaks nothing', () => {
    expect(can({ conditions: { a: '${user.id}' } }, { a: undefined }, {})).toBe(false);
    expect(can({ inverted: true, conditions: { a: '${user.email}', b: 1 } }, { b: 1 }, {})).toBe(false);
    expect(can({ inverted: true, conditions: { a: '${user.email}', b: 1 } }, { b: 2 }, {})).toBe(true);
    expect(can({ conditions: { a: null } }, {})).toBe(true);
    expect(can({ conditions: { a: null } }, { a: 1 })).toBe(false);
  });
  it('never become operators, patterns or paths of prototypes', () => {
    const evil = { authData: { idp: { claim: { $ne: 'nothing' }, list: [{ $ne: 1 }], pattern: '.*', name: '__proto__' } } };
    expect(can({ conditions: { a: '{{user.authData.idp.claim}}' } }, { a: 'secret' }, evil)).toBe(false);
    expect(can({ conditions: { a: { $in: '{{user.authData.idp.list}}' } } }, { a: 'secret' }, evil)).toBe(false);
    expect(can({ conditions: { a: { $regex: '^{{user.authData.idp.pattern}}$' } } }, { a: 'secret' }, evil)).toBe(false);
    expect(can({ conditions: { a: { $regex: '^{{user.authData.idp.pattern}}$' } } }, { a: '.*' }, evil)).toBe(true);
    expect(can({ conditions: { '{{user.authData.idp.name}}': 1 } }, {}, evil)).toBe(false);
    expect(can({ conditions: { a: '{{user.constructor.name}}' } }, { a: 'Object' })).toBe(false);
  });
  it('a rule that cannot be judged gives nothing, or denies all, but breaks no access', () => {
    const broken = { a: { $regex: '(?=x)' } };
    expect(createAbility([{ action: 'read', subject: 'pages', conditions: broken }], { user: {} }).can('read', 'pages', { a: 'x' })).toBe(
      false,
    );
    const denied = createAbility(
      [
        { action: 'read', subject: 'pages' },
        { action: 'read', subject: 'pages', inverted: true, conditions: broken },
      ],
      { user: {} },
    );
    expect(denied.can('read', 'pages', { a: 'x' })).toBe(false);
    expect(() => denied.condition('read', 'pages')).not.toThrow();
  });
});

describe('the same right as a query, a condition and a judgement', () => {
  const value = fc.constantFrom('x', 'y', 1, 2, true, null);
  const field = fc.constantFrom('a', 'b', 'c.d');
  const operators = fc.oneof(
    value.map((v) => v),
    value.map((v) => ({ $ne: v })),
    fc.array(value, { maxLength: 3 }).map((v) => ({ $in: v })),
    fc.array(value, { maxLength: 3 }).map((v) => ({ $nin: v })),
    fc.boolean().map((v) => ({ $exists: v })),
    fc.constantFrom('x', 'y').map((v) => ({ $regex: `^${v}` })),
    fc.constantFrom('x', 'y').map((v) => ({ $not: { $eq: v } })),
  );
  const simple = fc.dictionary(field, operators, { maxKeys: 2 });
  const conditions = fc.oneof(
    simple,
    fc.array(simple, { minLength: 1, maxLength: 2 }).map(($or) => ({ $or })),
    fc.array(simple, { minLength: 1, maxLength: 2 }).map(($nor) => ({ $nor })),
  );
  const rule = fc.record({
    action: fc.constantFrom('read', 'update', 'manage'),
    subject: fc.constantFrom('events', 'all'),
    conditions: fc.option(conditions, { nil: undefined }),
    inverted: fc.boolean(),
    priority: fc.option(fc.integer({ min: 100, max: 103 }), { nil: undefined }),
  });
  const object = fc.record({ a: value, b: value, c: fc.record({ d: fc.constantFrom('x', 'y', 1, 2, true) }) }, { requiredKeys: ['a'] });

  it('agree on random rules and objects: a list is what one by one judgement leaves', () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 6 }), fc.array(object, { minLength: 5, maxLength: 10 }), (rules, objects) => {
        const ability = createAbility(rules as unknown as Rule[], { user: {} });
        const query = ability.query('read', 'events');
        const condition = ability.condition('read', 'events');
        const byQuery = query === null ? () => false : compileConditions(query);
        const byCondition = condition === null ? () => false : compile(condition);
        for (const item of objects) {
          const may = ability.can('read', 'events', item);
          expect(byQuery(item)).toBe(may);
          // The event history keeps no difference between null and nothing.
          const kept = Object.fromEntries(Object.entries(item).filter(([, one]) => one !== null)) as JsonObject;
          expect(byCondition(kept)).toBe(ability.can('read', 'events', kept));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('a right that covers a rule holds wherever the rule allows', () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 5 }), rule, fc.array(object, { minLength: 5, maxLength: 10 }), (rules, given, objects) => {
        const ability = createAbility(rules as unknown as Rule[], { user: {} });
        const offered = { ...given, inverted: false, subject: 'events' } as unknown as Rule;
        if (!ability.covers(offered)) return;
        const receiver = createAbility([offered], { user: {} });
        for (const item of objects)
          for (const action of ['read', 'update'])
            if (receiver.can(action, 'events', item)) expect(ability.can(action, 'events', item)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('who may do what: the positive matrix', () => {
  const subjects: Record<string, [type: string, object: object]> = {
    workspaces: ['workspaces', { id: 'w1', permissions: {} }],
    apps: ['apps', { id: 'app', workspaceId: 'w1' }],
    pages: ['pages', { id: 'p', workspaceId: 'w1', permissions: { pam: { policies: { read: true } } } }],
    publicPage: ['pages', { id: 'q', workspaceId: 'w1', permissions: { '*': { policies: { read: true } } } }],
    files: ['files', { id: 'f', workspaceId: 'w1', permissions: {} }],
    secrets: ['secrets', { workspaceId: 'w1', name: 'key' }],
    reserved: ['secrets', { workspaceId: 'w1', name: 'prismeai_x' }],
    roles: ['roles', { subjectId: 'w1', subjectType: 'workspaces' }],
    customEvent: ['events', event('order.paid')],
    ownEvent: ['events', event('order.paid', { sessionId: 's-vic' })],
    keyEvent: ['events', { ...event('apikeys.created'), source: { workspaceId: 'w1', serviceTopic: 'apikeys.created' } }],
    contexts: ['events', event('runtime.contexts.updated')],
    automation: ['automations', { runningWorkspaceId: 'w1' }],
    guarded: ['automations', { runningWorkspaceId: 'w1', authorizations: { action: 'audit' } }],
    foreign: ['pages', { id: 'x', workspaceId: 'w2', permissions: {} }],
  };
  const actions = ['create', 'read', 'update', 'delete', 'manage_permissions', 'execute', 'test'];
  const callers: Record<string, Caller> = {
    superadmin: user('sam', { role: 'superadmin' }),
    owner: user('ada'),
    editor: user('eve'),
    viewer: user('vic'),
    pageShared: user('pam'),
    stranger: user('stu'),
    anonymous: { ...user('ann'), kind: 'anonymous' },
    nobody: { kind: 'none', correlationId: 'c' },
    key: { kind: 'none', via: 'apiKey', apiKeyHash: 'h', correlationId: 'c' },
  };
  const key = { hash: 'h', name: 'k', rules: scopedRules([{ action: 'read', subject: ['pages', 'events'] }], 'w1') };
  const rights = (caller: Caller, access: WorkspaceAccess) =>
    Object.fromEntries(
      Object.entries(subjects).map(([name, [type, object]]) => [
        name,
        actions.filter((action) => buildAbility(caller, { access }).can(action, type as 'pages', object)).join(' '),
      ]),
    );
  const none = Object.fromEntries(Object.keys(subjects).map((name) => [name, '']));
  const everybody = { ...none, apps: 'read', publicPage: 'read', automation: 'execute' };
  const all = actions.join(' ');
  /** With an account one may found a workspace of one's own; a mere session may not. */
  const founds = (who: string) => (['stranger', 'viewer'].includes(who) ? { workspaces: 'create' } : {});

  it('with the default section', () => {
    const access = accessTo({ apiKeys: [key] });
    const open = { ...everybody, files: 'create', customEvent: 'create', ownEvent: 'create' };
    expect(rights(callers.superadmin as Caller, access)).toEqual({
      ...Object.fromEntries(Object.keys(subjects).map((name) => [name, all])),
      contexts: '',
    });
    expect(rights(callers.owner as Caller, access)).toEqual({
      ...none,
      workspaces: all,
      apps: all,
      pages: all,
      publicPage: all,
      files: all,
      secrets: all,
      roles: all,
      customEvent: 'create read delete',
      ownEvent: 'create read delete',
      keyEvent: 'read delete',
      automation: 'execute test',
      guarded: 'execute test',
    });
    expect(rights(callers.editor as Caller, access)).toEqual({
      ...open,
      workspaces: 'create read update',
      apps: 'read update',
      pages: 'read update',
      publicPage: 'read update',
      files: all,
      customEvent: 'create read',
      ownEvent: 'create read',
      automation: 'execute test',
      guarded: 'execute test',
    });
    expect(rights(callers.viewer as Caller, access)).toEqual({ ...open, workspaces: 'create', ownEvent: 'create read' });
    expect(rights(callers.pageShared as Caller, access)).toEqual({ ...open, workspaces: 'create', pages: 'read' });
    for (const who of ['stranger', 'anonymous', 'nobody'])
      expect([who, rights(callers[who] as Caller, access)]).toEqual([who, { ...open, ...founds(who) }]);
    expect(rights(callers.key as Caller, access)).toEqual({
      ...open,
      pages: 'read',
      publicPage: 'read',
      customEvent: 'create read',
      ownEvent: 'create read',
      keyEvent: 'read',
    });
  });

  it('with an empty section', () => {
    const access = accessTo({}, {});
    expect(rights(callers.editor as Caller, access)).toEqual({
      ...everybody,
      workspaces: 'create read update',
      apps: 'read update',
      pages: 'read update',
      publicPage: 'read update',
      files: all,
      customEvent: 'create read',
      ownEvent: 'create read',
      automation: 'execute test',
      guarded: 'execute test',
    });
    for (const who of ['viewer', 'stranger', 'anonymous', 'nobody'])
      expect([who, rights(callers[who] as Caller, access)]).toEqual([who, { ...everybody, ...founds(who) }]);
  });

  it('3.1 of nobody: an API key that is the only credential and not of this workspace is refused, beside another it is worth nothing', () => {
    expect(() => buildAbility(callers.key as Caller, { access: accessTo() })).toThrow(expect.objectContaining({ type: 'InvalidAPIKey' }));
    expect(rights(user('stu', { apiKeyHash: 'h' }), accessTo())).toEqual(rights(user('stu'), accessTo()));
  });
});

describe('rules of a workspace', () => {
  const as = (caller: Caller, security: JsonObject, more: Partial<WorkspaceAccess> = {}) =>
    buildAbility(caller, { access: accessTo(more, security) });

  it('35: stay inside it whatever their conditions, priority or placeholders say', () => {
    const hostile: Rule[] = [
      { action: 'manage', subject: 'pages', conditions: { workspaceId: 'w2' }, priority: 5000 },
      { action: 'manage', subject: 'files', conditions: { workspaceId: 'w1', '{{subject.name}}': { $exists: true } } },
      { action: 'manage', subject: 'events', conditions: { 'source.workspaceId': 'w2', 'source.serviceTopic': 'apikeys.created' } },
    ];
    const ability = as(user('stu'), securityOf({}, hostile), { name: 'workspaceId' });
    expect(ability.can('update', 'pages', { workspaceId: 'w2' })).toBe(false);
    expect(ability.can('update', 'pages', { workspaceId: 'w1' })).toBe(true);
    expect(ability.can('update', 'files', { workspaceId: 'w2' })).toBe(false);
    expect(ability.can('read', 'events', { source: { workspaceId: 'w2', serviceTopic: 'apikeys.created' } })).toBe(false);
    expect(ability.can('create', 'events', { source: { workspaceId: 'w1', serviceTopic: 'apikeys.created' } })).toBe(false);
    expect(rolesOf(securityOf({}, hostile), 'w1').flatMap(({ rules }) => rules.map(({ priority }) => priority))).toEqual([
      100, 101, 102, 102,
    ]);
  });

  it('5: roles bound to a provider are for its data alone, and an address that was not proven opens nothing', () => {
    const security = securityOf({ staff: { auth: { prismeai: { conditions: { 'authData.email': { $regex: '@example\\.org$' } } } } } }, [
      { role: 'staff', action: 'read', subject: 'pages' },
      { action: 'read', subject: 'files', conditions: { owner: '{{user.email}}' } },
    ]);
    const authData = { prismeai: { id: 'stu', email: 'stu@example.org' } };
    const page = { workspaceId: 'w1' };
    expect(as(user('stu', { authData, email: 'stu@example.org', emailVerified: true }), security).can('read', 'pages', page)).toBe(true);
    expect(as(user('stu', { authData, email: 'stu@example.org' }), security).can('read', 'pages', page)).toBe(false);
    expect(
      as(user('stu', { authData, email: 'stu@example.org' }), security).can('read', 'files', { ...page, owner: 'stu@example.org' }),
    ).toBe(false);
    expect(as(user('stu', { authData: { other: { email: 'x@example.org' } } }), security).can('read', 'pages', page)).toBe(false);
    expect(as(user('stu', { authData: { constructor: {} } as never }), security).can('read', 'pages', page)).toBe(false);
  });

  it('46: a run has the rights of its person in its own workspace only, and never those of a super admin', () => {
    const run = (sourceWorkspaceId: string): Caller => ({
      kind: 'delegated',
      userId: 'ada',
      sessionId: 's',
      role: 'superadmin',
      sourceWorkspaceId,
      correlationId: 'c',
    });
    const page = { workspaceId: 'w1', permissions: {} };
    expect(buildAbility(run('w1'), { access: accessTo() }).can('update', 'pages', page)).toBe(true);
    expect(buildAbility(run('w2'), { access: accessTo() }).can('read', 'pages', page)).toBe(false);
    expect(buildAbility(run('w2'), { access: accessTo() }).role).toBeUndefined();
    // Called by another workspace in his name, it calls on from its own one: what it was not given does not come back.
    const brought: Caller = { ...run('w1'), isAway: true };
    expect(buildAbility(brought, { access: accessTo() }).can('update', 'pages', page)).toBe(false);
    expect(buildAbility(brought, { access: accessTo() }).role).toBeUndefined();
    expect(buildAbility({ ...brought, authenticatedWorkspaceId: 'w1' }, { access: accessTo() }).can('update', 'pages', page)).toBe(true);
    expect(buildAbility(run('w1')).can('create', 'workspaces', {})).toBe(false);
    expect(buildAbility(run('w1')).can('read', 'secrets', { workspaceId: 'w3' })).toBe(false);
  });
});
