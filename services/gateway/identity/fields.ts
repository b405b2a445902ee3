/** fields — what clients may send to the identity routes, checked one field at a time so that an answer names all that is wrong. */
import { isIP } from 'node:net';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { isScope } from './scopes.ts';

type Check = (value: unknown) => boolean;

const text =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value);

/** Letters of any script, with what names hold besides. */
const NAME = /^[\p{L}\p{M}\d ,.'’-]{1,60}$/u;

/** Shown as a picture by browsers, never fetched by the platform; other schemes would run as script there. */
const isWebAddress = (value: string) => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);

export const CHECKS = {
  email: text(/^.{1,254}$/s),
  password: text(/^.{0,1000}$/s),
  currentPassword: text(/^.{0,1000}$/s),
  firstName: text(NAME),
  lastName: text(NAME),
  language: text(/^[A-Za-z-]{2,10}$/),
  photo: (value) => value === '' || (typeof value === 'string' && value.length <= 2000 && isWebAddress(value)),
  meta: (value) => isPlainObject(value) && JSON.stringify(value).length <= 50_000,
  status: text(/^(pending|validated|deactivated)$/),
  platformRole: text(/^.{0,60}$/),
  groups: (value) => Array.isArray(value) && value.length <= 1000 && value.every((item) => typeof item === 'string' && item.length <= 200),
  name: text(/^.{1,200}$/),
  expiresAt: (value) => (typeof value === 'string' || typeof value === 'number') && Number.isFinite(new Date(value).getTime()),
  expiresAfter: (value) => Number.isInteger(value) && (value as number) > 0,
  token: text(/^.{1,500}$/),
  totp: text(/^[\w-]{6,20}$/),
  method: text(/^(totp|none)$/),
  orgSlug: text(/^[a-z0-9-]{1,60}$/),
  scopes: (value) => Array.isArray(value) && value.length > 0 && value.length <= 50 && value.every(isScope),
} satisfies Record<string, Check>;

export type FieldName = keyof typeof CHECKS;

/**
 * The known fields of a body; others are refused unless `isOpen`.
 * @throws RequestValidationError with details { problems: { path, message }[] }
 */
export function fieldsOf<R extends FieldName, O extends FieldName = never>(
  body: unknown,
  required: readonly R[],
  optional: readonly O[] = [],
  { isOpen = true } = {},
): { [K in R]: any } & { [K in O]?: any } {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be a JSON object.' });
  const problems: { path: string; message: string }[] = [];
  const found: JsonObject = {};
  for (const name of [...required, ...optional] as FieldName[]) {
    const value = Object.hasOwn(body, name) ? body[name] : undefined;
    if (value === undefined || value === null) {
      if ((required as readonly string[]).includes(name)) problems.push({ path: name, message: 'is required' });
      continue;
    }
    if (!CHECKS[name](value)) problems.push({ path: name, message: 'is not valid' });
    else found[name] = value;
  }
  if (!isOpen)
    for (const name of Object.keys(body))
      if (![...required, ...optional].includes(name as never)) problems.push({ path: name, message: 'is not a known field' });
  if (problems.length > 0)
    throw fault('RequestValidationError', {
      message: `Not valid: ${problems.map(({ path }) => path).join(', ')}.`,
      data: { problems },
    });
  return found as never;
}

const EMAIL =
  /^[^\s@<>()[\],;:\\"]{1,64}@([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+)$/;

/** Lower case, trimmed. @throws InvalidEmail */
export function emailOf(value: string): string {
  const email = value.trim().toLowerCase();
  const [, host] = EMAIL.exec(email) ?? [];
  if (!host || isIP(host) || email.length > 254) throw fault('InvalidEmail');
  return email;
}
