/**
 * placeholders — `${user.id}` and `{{user.id}}` in the conditions of rules, filled in for one caller. Roots: `user` and `subject` (the workspace);
 * `session.id` is the session of the user. A value that is one placeholder keeps its type; a missing variable makes an allow rule vanish, and a deny
 * rule stricter: it loses that condition only. What is filled in is data: never an operator, never part of a pattern.
 */

import { isHostileName, isPlainObject, type JsonObject, readPath } from '../../shared/json.ts';
import type { Rule } from '../contract.ts';

export interface Variables {
  user: JsonObject;
  subject?: JsonObject;
}

const ONE = /^(?:\$\{([a-zA-Z.]+)\}|\{\{\s*([a-zA-Z.]+)\s*\}\})$/;
const ANY = /\$\{([a-zA-Z.]+)\}|\{\{\s*([a-zA-Z.]+)\s*\}\}/g;

class Missing extends Error {}

function lookUp(path: string, variables: Variables): unknown {
  const segments = (path === 'session.id' ? 'user.sessionId' : path).split('.');
  const value = readPath(variables, segments);
  if (value === undefined || value === null) throw new Missing(path);
  // Sign-in providers choose these values: an object could be an operator, `{ $ne: null }`.
  if ([value].flat().some((item) => typeof item === 'object')) throw new Missing(path);
  return value;
}

function fillText(text: string, variables: Variables, isPattern = false): unknown {
  if (!text.includes('{')) return text;
  const one = isPattern ? null : ONE.exec(text);
  if (one) return lookUp((one[1] ?? one[2]) as string, variables);
  return text.replace(ANY, (_, a?: string, b?: string) => {
    const value = String(lookUp((a ?? b) as string, variables));
    return isPattern ? value.replace(/[^\w\s]/g, '\\$&') : value;
  });
}

function fillValue(value: unknown, variables: Variables): unknown {
  if (typeof value === 'string') return fillText(value, variables);
  if (Array.isArray(value)) return value.map((item) => fillValue(item, variables));
  if (!isPlainObject(value)) return value;
  const filled: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const name = String(fillText(key, variables));
    if (isHostileName(name)) throw new Missing(name);
    const made = name === '$regex' && typeof item === 'string' ? fillText(item, variables, true) : fillValue(item, variables);
    if ((name === '$in' || name === '$nin') && !Array.isArray(made)) throw new Missing(key);
    filled[name] = made;
  }
  return filled;
}

/** The rule for this caller, or `null` when it does not exist for him. */
export function fillRule(rule: Rule, variables: Variables): Rule | null {
  if (!rule.conditions) return rule;
  const conditions: JsonObject = {};
  for (const [key, value] of Object.entries(rule.conditions)) {
    try {
      Object.assign(conditions, fillValue({ [key]: value }, variables));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      if (!rule.inverted) return null;
    }
  }
  return { ...rule, conditions };
}
