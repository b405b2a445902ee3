/**
 * ability — the rules of one caller, sorted, and the three questions asked of them: may he do this to that object, which objects may he do it to
 * (as a query or a condition), and why.
 *
 * Order   Ascending, the last rule that matches decides: rules without priority before those with one; allow before deny; then by the number of
 *         constraints. At equal priority a denial wins. Nothing matches: denied. The index by action and subject is CASL's.
 */
import { isDeepStrictEqual } from 'node:util';
import { Ability as RuleTable } from '@casl/ability';
import { fault } from '../../shared/errors.ts';
import type { JsonObject } from '../../shared/json.ts';
import type { Condition } from '../../storage/datalake/contract.ts';
import type { Ability, Explanation, Rule, SubjectType } from '../contract.ts';
import { ALWAYS, compileConditions, NEVER, type Test, toCondition } from './conditions.ts';
import { fillRule, type Variables } from './placeholders.ts';
import { PLATFORM_PRIORITY } from './rules.ts';

const MAX_CONSIDERED = 20;

const constraints = ({ subject, conditions }: Rule): number =>
  (subject === 'all' ? 0 : 1) + (conditions ? Object.keys(conditions).length : 0);

function compareRules(a: Rule, b: Rule): number {
  if (a.priority !== b.priority) return (a.priority ?? -1) - (b.priority ?? -1);
  const denial = Number(Boolean(a.inverted)) - Number(Boolean(b.inverted));
  return denial || constraints(a) - constraints(b);
}

/** What the platform denies (at its own priority) it denies to everybody: also to whom a right is given. */
const isOwnDenial = ({ inverted, priority }: Pick<Rule, 'inverted' | 'priority'>): boolean =>
  inverted === true && priority !== PLATFORM_PRIORITY;

const concerns = ({ subject }: Rule, type: string): boolean =>
  type === 'all' || [subject].flat().some((one) => one === type || one === 'all');

/** Conditions that cannot be judged (written before they were checked) give nothing, and deny all: they never close a workspace to its owner by an error. */
function testOf(conditions: JsonObject, isDenial: boolean): Test {
  try {
    return compileConditions(conditions);
  } catch {
    return () => isDenial;
  }
}

const idOf = (object: object | undefined): string | undefined => {
  const { id, slug } = (object ?? {}) as JsonObject;
  return typeof id === 'string' ? id : typeof slug === 'string' ? slug : undefined;
};

/** @param rules of this caller in any order, with placeholders */
export function createAbility(rules: Rule[], variables: Variables, role?: string): Ability {
  const filled = rules
    .map((rule) => fillRule(rule, variables))
    .filter((rule) => rule !== null)
    .sort(compareRules);
  const sources = new Map<unknown, Rule>();
  const denials = new WeakSet<object>();
  const raw = filled.map((rule) => {
    const made = { ...rule, ...(rule.conditions && Object.keys(rule.conditions).length === 0 ? { conditions: undefined } : {}) };
    sources.set(made, rule);
    if (made.inverted && made.conditions) denials.add(made.conditions);
    return made;
  });
  const casl = new RuleTable<[string, string], JsonObject>(raw as never, {
    conditionsMatcher: (conditions: JsonObject) => testOf(conditions, denials.has(conditions)) as never,
  });

  /** Strongest first. */
  const relevant = (action: string, subject: string) => casl.rulesFor(action, subject as never);

  function deciding(action: string, subject: SubjectType, object: object | undefined) {
    const found = relevant(action, subject).find((rule) =>
      object === undefined ? !rule.conditions || !rule.inverted : rule.matchesConditions(object as never),
    );
    return found && { inverted: found.inverted, rule: sources.get(found.origin) };
  }

  const ability: Ability = {
    ...(role === undefined ? {} : { role }),

    can(action, subject, object) {
      const decision = deciding(action, subject, object);
      return decision !== undefined && !decision.inverted;
    },

    explain(action, subject, object): Explanation {
      const decision = deciding(action, subject, object);
      const considered = relevant(action, subject)
        .slice(0, MAX_CONSIDERED)
        .map((rule): Explanation['considered'][number] => ({
          origin: sources.get(rule.origin)?.origin ?? 'rule',
          effect: rule.inverted ? 'denies' : 'allows',
          matches: object === undefined ? !rule.conditions : rule.matchesConditions(object as never),
          ...(rule.conditions ? { conditions: rule.conditions as JsonObject } : {}),
        }));
      if (!decision) return { allowed: false, reason: `No rule allows '${action}' on ${subject}.`, considered };
      const { rule, inverted } = decision;
      return {
        allowed: !inverted,
        reason:
          rule?.reason ??
          `${inverted ? 'Denied' : 'Allowed'} by ${rule?.origin ?? 'a rule'} for '${[rule?.action].flat().join(', ')}' on ${[rule?.subject].flat().join(', ')}.`,
        ...(rule ? { rule } : {}),
        considered,
      };
    },

    assert(action, subject, object) {
      const decision = deciding(action, subject, object);
      if (decision && !decision.inverted) return;
      const id = idOf(object);
      const reason = decision?.rule?.reason ?? `Cannot ${action} ${subject}`;
      throw fault('ForbiddenError', {
        message: id ? `${reason} ${id}` : reason,
        data: { action, subjectType: subject, ...(id ? { id } : {}) },
      });
    },

    covers({ action, subject, conditions = {} }) {
      const holds = (name: string, value: unknown) => Object.hasOwn(conditions, name) && isDeepStrictEqual(conditions[name], value);
      return [action].flat().every((one) =>
        [subject].flat().every((type) => {
          // The right to everything is also that to what is denied by name.
          if (one === 'manage' && filled.some((rule) => isOwnDenial(rule) && concerns(rule, type))) return false;
          for (const rule of relevant(one, type)) {
            if (isOwnDenial(rule)) return false;
            if (rule.inverted) continue;
            if (Object.entries(rule.conditions ?? {}).every(([name, value]) => holds(name, value))) return true;
          }
          return false;
        }),
      );
    },

    condition(action, subject) {
      let decided: Condition = NEVER;
      // From the weakest to the strongest: each allow adds, each denial takes away.
      for (const rule of relevant(action, subject).toReversed()) {
        let part: Condition = ALWAYS;
        try {
          if (rule.conditions) part = toCondition(rule.conditions as JsonObject);
        } catch {
          part = rule.inverted ? ALWAYS : NEVER;
        }
        decided = rule.inverted ? without(decided, part) : union(decided, part);
      }
      return decided === NEVER ? null : decided;
    },

    query(action, subject) {
      let decided: JsonObject | null = null;
      for (const rule of relevant(action, subject).toReversed()) {
        const conditions = rule.conditions as JsonObject | undefined;
        if (!conditions) decided = rule.inverted ? null : {};
        else if (rule.inverted) decided = decided && { $and: [decided, { $nor: [conditions] }] };
        else if (decided === null) decided = conditions;
        else if (Object.keys(decided).length > 0)
          decided =
            Object.keys(decided).length === 1 && Array.isArray(decided.$or)
              ? { $or: [...decided.$or, conditions] }
              : { $or: [decided, conditions] };
      }
      if (decided && Object.keys(decided).length > 1 && Array.isArray(decided.$and)) return { $and: [decided] };
      return decided;
    },
  };
  return ability;
}

const isAlways = (condition: Condition) => condition === ALWAYS;

function union(a: Condition, b: Condition): Condition {
  if (a === NEVER || isAlways(b)) return b;
  if (b === NEVER || isAlways(a)) return a;
  return 'any' in a ? { any: [...a.any, b] } : { any: [a, b] };
}

function without(a: Condition, b: Condition): Condition {
  if (a === NEVER || isAlways(b)) return NEVER;
  if (b === NEVER) return a;
  return { all: [a, { not: b }] };
}
