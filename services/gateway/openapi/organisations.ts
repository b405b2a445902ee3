/** organisations — shapes of organisations, who belongs to them, and their credentials. */
import { type ActionSchema, anything, date, flag, integer, listOf, map, object, paging, success, text, texts } from './schema.ts';

const slug = { type: 'string', pattern: '^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$' };
const query = { ...paging, sort: text, search: text };
const dates = { createdAt: date, updatedAt: date };
const results = (item: Record<string, unknown>) => object({ results: listOf(item), total: integer }, ['results', 'total']);

const joinRule = object(
  {
    name: text,
    role: slug,
    groups: texts,
    conditions: {
      ...listOf(
        object({ field: text, operator: { enum: ['equals', 'startsWith', 'endsWith', 'matches'] }, value: text }, [
          'field',
          'operator',
          'value',
        ]),
      ),
      minItems: 1,
    },
  },
  ['role', 'conditions'],
);
const settings = {
  name: text,
  domains: texts,
  branding: map,
  navigation: anything,
  joinRules: listOf(joinRule),
  defaultRole: slug,
  auth: object({ anonymous: object({ enabled: flag, role: slug, allowedDomains: texts }, ['enabled']) }),
  settings: map,
  subscriptionSlug: text,
};
const organisation = object({ ...settings, ...dates, slug, status: { enum: ['active', 'suspended'] }, joinRulesVersion: integer }, [
  'slug',
  'name',
  'status',
]);
const member = object(
  {
    id: text,
    userId: text,
    email: text,
    firstName: text,
    lastName: text,
    photo: text,
    role: slug,
    groups: texts,
    joinedVia: text,
    ...dates,
  },
  ['id', 'userId', 'role'],
);
const role = object({ slug, name: text, description: text, permissions: texts, scopes: texts, builtIn: flag, overridden: flag }, [
  'slug',
  'name',
  'permissions',
  'scopes',
]);
const group = object({ slug, name: text, description: text, ...dates }, ['slug', 'name']);
const invite = object(
  { id: text, kind: { enum: ['email', 'code'] }, email: text, role: slug, groups: texts, expiresAt: date, code: text },
  ['id', 'kind', 'role', 'expiresAt'],
);
const key = object({ id: text, slug, name: text, hint: text, permissions: texts, scopes: texts, expiresAt: date, ownerType: text }, [
  'slug',
  'name',
  'permissions',
]);
const withKey = { allOf: [key, object({ apiKey: text }, ['apiKey'])] };
const account = object(
  { id: text, slug, name: text, description: text, role: slug, status: { enum: ['active', 'disabled'] }, hint: text },
  ['slug', 'name', 'role', 'status'],
);
const withSecret = { allOf: [account, object({ clientSecret: text }, ['clientSecret'])] };
const privileges = {
  serviceAccounts: object({ defaultRoleSlug: slug, allowedRoleSlugs: texts }),
  apiKeys: object({ allowedPermissions: texts, allowedScopes: texts }),
};

export const organisations: Record<string, ActionSchema> = {
  'orgs.choose': { body: object({ orgSlug: slug }, ['orgSlug']), answer: object({ org: map, orgSlugs: texts }, ['org', 'orgSlugs']) },
  'orgs.list': { query, answer: results(organisation) },
  'orgs.create': { body: object({ ...settings, slug, ownerId: text, ownerEmail: text }, ['slug', 'name']), answer: organisation },
  'orgs.get': { answer: organisation },
  'orgs.update': { body: object({ ...settings, status: { enum: ['active', 'suspended'] } }), answer: organisation },
  'orgs.remove': { answer: success },
  'orgMembers.list': { query: { ...query, role: text, status: text, group: text }, answer: results(member) },
  'orgMembers.create': { body: object({ userId: text, email: text, role: slug, groups: texts }), answer: member },
  'orgMembers.export': { query: { role: text, status: text, group: text }, answerType: 'text/csv' },
  'orgMembers.get': { answer: member },
  'orgMembers.update': { body: object({ role: slug, status: { enum: ['active', 'suspended'] }, groups: texts }), answer: member },
  'orgMembers.remove': { answer: success },
  'orgRoles.list': { query, answer: results(role) },
  'orgRoles.create': {
    body: object({ slug, name: text, description: text, permissions: texts, scopes: texts }, ['slug', 'name', 'permissions']),
    answer: role,
  },
  'orgRoles.get': { answer: role },
  'orgRoles.update': { body: object({ name: text, description: text, permissions: texts, scopes: texts }), answer: role },
  'orgRoles.remove': { answer: success },
  'orgGroups.list': { query, answer: results(group) },
  'orgGroups.create': { body: object({ slug, name: text, description: text }, ['slug', 'name']), answer: group },
  'orgGroups.get': { answer: group },
  'orgGroups.update': { body: object({ name: text, description: text }), answer: group },
  'orgGroups.remove': { answer: success },
  'orgGroups.members': { query, answer: results(object({ id: text, userId: text, email: text, role: slug }, ['id', 'role'])) },
  'orgGroups.addMembers': { body: object({ userIds: texts }, ['userIds']), answer: object({ success: flag, added: integer }, ['success']) },
  'orgGroups.removeMember': { answer: success },
  'orgInvites.list': { query, answer: results(invite) },
  'orgInvites.create': { body: object({ email: text, role: slug, groups: texts, maxUses: integer, expiresAt: anything }), answer: invite },
  'orgInvites.remove': { answer: success },
  'orgInvites.look': {
    query: { code: text },
    answer: object({ org: map, role: slug, kind: text, expiresAt: date, isForYou: flag }, ['org', 'role']),
  },
  'orgInvites.join': { body: object({ code: text }, ['code']), answer: object({ org: map, role: slug, joinedVia: text }, ['org', 'role']) },
  'orgApiKeys.list': { query, answer: results(key) },
  'orgApiKeys.create': {
    body: object(
      { slug, name: text, permissions: texts, scopes: texts, ownerType: { enum: ['user', 'org'] }, ownerId: text, expiresAt: anything },
      ['slug', 'name', 'permissions'],
    ),
    answer: withKey,
  },
  'orgApiKeys.rotate': { answer: withKey },
  'orgApiKeys.remove': { answer: success },
  'orgApiKeys.validate': {
    body: object({ apiKey: text }, ['apiKey']),
    answer: object({ valid: flag, permissions: texts, scopes: texts }, ['valid']),
  },
  'serviceAccounts.list': { query, answer: results(account) },
  'serviceAccounts.create': {
    body: object({ slug, name: text, description: text, role: slug }, ['slug', 'name', 'role']),
    answer: withSecret,
  },
  'serviceAccounts.get': { answer: account },
  'serviceAccounts.update': {
    body: object({ name: text, description: text, role: slug, status: { enum: ['active', 'disabled'] } }),
    answer: account,
  },
  'serviceAccounts.remove': { answer: success },
  'serviceAccounts.rotate': { answer: withSecret },
  'serviceAccounts.token': {
    body: object({ clientSecret: text, expiresIn: { type: 'integer', minimum: 1 } }, ['clientSecret']),
    answer: object({ accessToken: text, tokenType: text, expiresIn: integer, expiresAt: date, permissions: texts, scopes: texts }, [
      'accessToken',
      'tokenType',
      'expiresAt',
    ]),
  },
  'orgPrivileges.put': {
    body: object(privileges),
    answer: object({ workspaceId: text, orgSlug: slug, ...privileges }, ['workspaceId', 'orgSlug']),
  },
};
