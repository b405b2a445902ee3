/** escalation — nobody gives what he does not have: roles, rules and API keys are compared with the rights of who makes them. Owners give anything. */
import { isDeepStrictEqual } from 'node:util';
import { EDITOR, EDITOR_RUNS } from '../../mixins/auth/abilities/rules.ts';
import type { Ability, Rule } from '../../mixins/auth/contract.ts';
import type { Identity } from '../../mixins/auth/identity.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { rolesOf, scopedRules } from './dsul/security-file.ts';

export interface Giver {
  ability: Ability;
  identity: Identity;
  workspaceId: string;
}

/** Owners and super admins give anything. */
export const givesAnything = ({ ability, identity }: Giver): boolean => ability.role === 'owner' || identity.role === 'superadmin';

const refused = (what: string) =>
  fault('ForbiddenError', { message: `You cannot give ${what}, which you do not have.`, data: { action: 'manage_permissions' } });

/** @param rules as a user wrote them. @throws ForbiddenError naming the first right the giver lacks */
export function assertGivesOwnRules(giver: Giver, rules: Rule[]): void {
  if (givesAnything(giver)) return;
  for (const rule of scopedRules(rules, giver.workspaceId))
    if (!rule.inverted && !giver.ability.covers(rule))
      throw refused(`the right to ${[rule.action].flat().join(', ')} ${[rule.subject].flat().join(', ')}`);
}

/** @throws ForbiddenError when the role, as `security` defines it, can do what the giver cannot */
export function assertGivesOwnRole(giver: Giver, role: string, security: JsonObject): void {
  if (givesAnything(giver) || role === giver.ability.role) return;
  if (role === 'owner') throw refused("the role 'owner'");
  const { workspaceId, ability } = giver;
  const own = rolesOf(security, workspaceId).find(({ name }) => name === role)?.rules;
  const rules = role === 'editor' ? [...(own ?? EDITOR(workspaceId)), ...EDITOR_RUNS(workspaceId)] : (own ?? []);
  for (const rule of rules) if (!rule.inverted && !ability.covers(rule)) throw refused(`the role '${role}'`);
}

const sectionOf = (security: JsonObject) => {
  const { roles, rules } = isPlainObject(security.authorizations) ? security.authorizations : {};
  return { roles: isPlainObject(roles) ? roles : {}, rules: Array.isArray(rules) ? (rules as Rule[]) : [] };
};

/**
 * A change of the section by somebody who does not own the workspace: what it adds must be his own, and no denial may go or lose its place.
 * @throws ForbiddenError
 */
export function assertSecurityWithinRights(giver: Giver, before: JsonObject, after: JsonObject): void {
  if (givesAnything(giver)) return;
  const old = sectionOf(before);
  const next = sectionOf(after);
  const isOld = (rule: Rule) => old.rules.some((other) => isDeepStrictEqual(other, rule));
  assertGivesOwnRules(
    giver,
    next.rules.filter((rule) => !isOld(rule)),
  );
  const kept = next.rules.filter(isOld);
  const expected = old.rules.filter((rule) => rule.inverted || next.rules.some((other) => isDeepStrictEqual(other, rule)));
  if (!isDeepStrictEqual(kept, expected))
    throw fault('ForbiddenError', {
      message: 'Only an owner may lift a denial, or change the order of rules.',
      data: { action: 'manage_security' },
    });
  // Who a role is for is part of what it gives: binding one to everybody's sign-in would be a way into it.
  for (const [name, role] of Object.entries(next.roles))
    if (!isDeepStrictEqual(authOf(role), authOf(Object.hasOwn(old.roles, name) ? old.roles[name] : undefined)))
      assertGivesOwnRole(giver, name, after);
}

const authOf = (role: unknown): unknown => (isPlainObject(role) ? role.auth : undefined);
