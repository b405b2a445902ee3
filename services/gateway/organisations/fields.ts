/** fields — what clients may send to the routes of organisations. */

import { isPermissionList, isScopeList } from '../../../mixins/auth/permissions.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';

type Check = (value: unknown) => boolean;
const text =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value);
const texts =
  (pattern: RegExp, max = 100): Check =>
  (value) =>
    Array.isArray(value) && value.length <= max && value.every((item) => typeof item === 'string' && pattern.test(item));
const sized =
  (max: number): Check =>
  (value) =>
    typeof value === 'object' && value !== null && JSON.stringify(value).length <= max;

export const SLUG = /^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$/;
const DOMAIN = /^[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?$/i;
const OPERATORS = ['equals', 'startsWith', 'endsWith', 'matches'];
/** Only what was proven about somebody: his address and what outside sign-in providers say. */
const JOIN_FIELD = /^(?:email|domain|authData\.(?!prismeai\b)[\w-]{1,60}(?:\.[\w-]{1,60}){1,3})$/;

const isJoinRule = (rule: unknown): boolean =>
  isPlainObject(rule) &&
  text(SLUG)(rule.role) &&
  (rule.name === undefined || text(/^.{0,200}$/)(rule.name)) &&
  (rule.groups === undefined || texts(SLUG, 50)(rule.groups)) &&
  Array.isArray(rule.conditions) &&
  // A rule without conditions would take in everybody of the platform.
  rule.conditions.length > 0 &&
  rule.conditions.length <= 20 &&
  rule.conditions.every(
    (condition) =>
      isPlainObject(condition) &&
      text(JOIN_FIELD)(condition.field) &&
      OPERATORS.includes(condition.operator as string) &&
      text(/^.{1,200}$/)(condition.value),
  );

const isAuth: Check = (auth) => {
  if (!isPlainObject(auth)) return false;
  const { anonymous, ...others } = auth;
  if (Object.keys(others).length > 0) return false;
  if (anonymous === undefined) return true;
  if (!isPlainObject(anonymous) || typeof anonymous.enabled !== 'boolean') return false;
  return (
    (anonymous.role === undefined || text(SLUG)(anonymous.role)) &&
    (anonymous.allowedDomains === undefined || texts(DOMAIN)(anonymous.allowedDomains))
  );
};

export const CHECKS: Record<string, Check> = {
  slug: text(SLUG),
  name: text(/^.{1,200}$/),
  description: text(/^.{0,2000}$/s),
  status: text(/^(active|suspended|disabled)$/),
  domains: texts(DOMAIN),
  branding: sized(50_000),
  navigation: sized(100_000),
  settings: sized(100_000),
  joinRules: (value) => Array.isArray(value) && value.length <= 50 && value.every(isJoinRule),
  defaultRole: text(SLUG),
  auth: isAuth,
  subscriptionSlug: text(/^[\w-]{0,60}$/),
  role: text(SLUG),
  groups: texts(SLUG),
  permissions: isPermissionList,
  scopes: isScopeList,
  email: text(/^.{3,254}$/),
  emails: texts(/^.{3,254}$/),
  userId: text(/^[\w:-]{1,200}$/),
  userIds: texts(/^[\w:-]{1,200}$/, 500),
  ownerId: text(/^[\w:-]{1,200}$/),
  ownerEmail: text(/^.{3,254}$/),
  ownerType: text(/^(user|org)$/),
  code: text(/^.{1,200}$/),
  apiKey: text(/^.{1,300}$/),
  clientSecret: text(/^.{1,300}$/),
  orgSlug: text(SLUG),
  maxUses: (value) => Number.isInteger(value) && (value as number) > 0 && (value as number) <= 10_000,
  expiresIn: (value) => Number.isInteger(value) && (value as number) > 0,
  expiresAt: (value) => (typeof value === 'string' || typeof value === 'number') && new Date(value).getTime() > Date.now(),
};

/**
 * The known fields of a body; unknown ones are refused, so that nobody believes to have set what was ignored.
 * @throws RequestValidationError with details { problems }
 */
export function readFields(body: unknown, required: readonly string[], optional: readonly string[] = []): Record<string, any> {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be a JSON object.' });
  const problems: { path: string; message: string }[] = [];
  const found: JsonObject = {};
  const known = [...required, ...optional];
  for (const name of known) {
    const value = Object.hasOwn(body, name) ? body[name] : undefined;
    if (value === undefined || value === null) {
      if (required.includes(name)) problems.push({ path: name, message: 'is required' });
    } else if (CHECKS[name]?.(value)) found[name] = value;
    else problems.push({ path: name, message: 'is not valid' });
  }
  for (const name of Object.keys(body)) if (!known.includes(name)) problems.push({ path: name, message: 'is not a known field' });
  if (problems.length > 0)
    throw fault('RequestValidationError', { message: `Not valid: ${problems.map(({ path }) => path).join(', ')}.`, data: { problems } });
  return found;
}
