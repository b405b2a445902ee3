/** joining — the ways into an organisation end here: a membership that was not there before, and the fact told. */
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { re2js } from '../../../mixins/shared/packages.ts';
import type { Call, Self } from '../identity/core.mixin.ts';
import { USERS, type UserRow } from '../identity/rows.ts';
import { tellChange } from './acting.ts';
import { roleOf } from './membership.ts';
import {
  GROUPS,
  type GroupRow,
  type JoinedVia,
  type JoinRule,
  MEMBERS,
  type MemberRow,
  ORGANISATIONS,
  type OrganisationRow,
  rowId,
  shown,
  stamp,
} from './rows.ts';

/** @throws BadParametersError naming the groups the organisation does not have */
export async function assertGroups(self: Self, orgSlug: string, groups: string[]): Promise<void> {
  if (groups.length === 0) return;
  const rows = await self.documents.find<GroupRow>(GROUPS.name, { id: { $in: groups.map((slug) => rowId(orgSlug, slug)) } });
  const missing = groups.filter((slug) => !rows.some((row) => row.slug === slug));
  if (missing.length > 0)
    throw fault('BadParametersError', { message: `The organisation has no group '${missing[0]}'.`, data: { groups: missing } });
}

/** `null` for somebody who belongs to it already, suspended members included: no invitation lifts a suspension. */
export async function addMember(
  self: Self,
  ctx: Call<any>,
  { id: orgSlug }: OrganisationRow,
  user: UserRow,
  { role, groups, joinedVia, by }: { role: string; groups: string[]; joinedVia: JoinedVia; by: string },
): Promise<MemberRow | null> {
  const now = stamp();
  let member: MemberRow;
  try {
    member = await self.documents.insert<MemberRow>(MEMBERS.name, {
      id: rowId(orgSlug, user.id),
      orgSlug,
      userId: user.id,
      ...(user.email ? { email: user.email } : {}),
      role,
      status: 'active',
      groups,
      joinedVia,
      createdAt: now,
      updatedAt: now,
      createdBy: by,
      updatedBy: by,
    });
  } catch (error) {
    if (isFault(error, 'AlreadyUsedError')) return null;
    throw error;
  }
  await tellChange(self, ctx, {
    orgSlug,
    category: 'members',
    action: 'created',
    target: user.id,
    after: shown(member),
    metadata: { joinedVia },
  });
  return member;
}

/** Linear in the text, whatever somebody wrote as a pattern; one that is none matches nobody. */
function matches(value: string, pattern: string): boolean {
  try {
    return re2js().RE2JS.compile(pattern).matches(value);
  } catch {
    return false;
  }
}

const OPERATORS: Record<JoinRule['conditions'][number]['operator'], (value: string, wanted: string) => boolean> = {
  equals: (value, wanted) => value === wanted,
  startsWith: (value, wanted) => value.startsWith(wanted),
  endsWith: (value, wanted) => value.endsWith(wanted),
  matches,
};

/** What rules may ask about somebody: only what was proven. */
export function provenValues(user: Pick<UserRow, 'email' | 'emailVerified' | 'authData'>, field: string): string[] {
  if (field === 'email' || field === 'domain') {
    if (!user.email || !user.emailVerified) return [];
    return [field === 'email' ? user.email : (user.email.split('@').at(-1) as string)];
  }
  const [, provider = '', ...path] = field.split('.');
  if (provider === 'prismeai' || provider === 'anonymous') return [];
  let value: unknown = user.authData;
  for (const name of [provider, ...path]) value = isPlainObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return [value].flat().filter((one): one is string => typeof one === 'string');
}

/** The first rule whose conditions all hold. */
export const ruleFor = (rules: JoinRule[], user: Pick<UserRow, 'email' | 'emailVerified' | 'authData'>): JoinRule | undefined =>
  rules.find(({ conditions }) =>
    conditions.every(({ field, operator, value }) => provenValues(user, field).some((one) => OPERATORS[operator](one, value))),
  );

/**
 * Lets a person in wherever a rule says so. Each version of an organisation's rules is applied to a person once: who was shown out is not let in
 * again by the rules he came in by.
 */
export async function joinByRules(self: Self, ctx: Call<any>, user: UserRow): Promise<void> {
  if (!user.email) return;
  const organisations = await self.documents.find<OrganisationRow>(ORGANISATIONS.name, {
    status: 'active',
    'joinRules.role': { $exists: true },
  });
  const seen = user.joinRulesSeen ?? {};
  const due = organisations.filter(({ id, joinRules, joinRulesVersion }) => joinRules.length > 0 && seen[id] !== joinRulesVersion);
  if (due.length === 0) return;
  for (const organisation of due) {
    const rule = ruleFor(organisation.joinRules, user);
    const role = rule ? await roleOf(self.documents, organisation.id, rule.role) : null;
    if (!rule || !role || role.slug === 'owner') continue;
    const groups = rule.groups ?? [];
    await addMember(self, ctx, organisation, user, { role: role.slug, groups, joinedVia: 'join-rule', by: user.id });
  }
  const set: JsonObject = Object.fromEntries(due.map(({ id, joinRulesVersion }) => [`joinRulesSeen.${id}`, joinRulesVersion]));
  await self.documents.update<UserRow>(USERS.name, user.id, { set });
}
