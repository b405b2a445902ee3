/** reserved — names at the top of contexts that are not the program's to write. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type ContextName, LIFESPANS } from './effects.ts';

/**
 * Refuses to touch what the platform keeps in a context. Told and not ignored: nobody names it by mistake, and a name that comes with a request is
 * answered like any other that is refused. @throws InvalidInstructionError
 */
export function assertOwn(instruction: 'set' | 'delete', context: ContextName, path: (string | number)[]): void {
  if (path[0] !== LIFESPANS) return;
  const variable = [context, ...path].join('.');
  throw fault('InvalidInstructionError', {
    message: `Invalid ${instruction} instruction: '${context}.${LIFESPANS}' is kept by the platform.`,
    data: { variable },
  });
}

/** Fields of `run`. */
export const RUN_FIELDS: readonly string[] = [
  'correlationId',
  'depth',
  'date',
  'automationSlug',
  'trigger',
  'socketId',
  'ip',
  'sourceWorkspaceId',
  'authenticatedWorkspaceId',
  'permissions',
  'scopes',
];

/** Fields of `run` that only an app instance has. */
export const APP_FIELDS: readonly string[] = ['appSlug', 'appInstanceSlug', 'appInstanceFullSlug', 'parentAppSlug', 'parentAppSlugs'];

/**
 * Fields that the platform knows of the run and of who it acts as. Programs decide by them whom to trust, so they are never what a program has stored:
 * not even where the platform knows nothing, as of a role that the caller does not have.
 */
export const KNOWN_FIELDS: Record<ContextName, readonly string[]> = {
  global: [],
  user: ['id', 'email', 'authData', 'role', 'platformRole', 'orgSlugs'],
  session: ['id', 'org'],
  socket: [],
  // The last is of the product's apps: nothing here knows it, and nobody may make it up.
  run: [...RUN_FIELDS, ...APP_FIELDS, 'runningWorkspaceId'],
};

/**
 * Whether `path` is of a known field. A write there changes nothing, as it always did where the platform knows the field: refused, it would end programs
 * that run today.
 */
export const isKnown = (context: ContextName, path: (string | number)[]): boolean => KNOWN_FIELDS[context].includes(path[0] as string);

/** A stored context without known fields: earlier versions, and other programs, may have put some there. The same object when there are none. */
export function withoutKnown(context: ContextName, document: JsonObject): JsonObject {
  const known = KNOWN_FIELDS[context];
  // One by one: a context is kept with every write of a run, and nearly never holds any.
  for (const name of known) if (Object.hasOwn(document, name)) return without(document, known);
  return document;
}

/** A value for a whole context without what is not the program's. Silently: a body that is merged may hold anything, and the rest of it is welcome. */
export function withoutReserved(context: ContextName, value: JsonObject): JsonObject {
  const own = withoutKnown(context, value);
  return Object.hasOwn(own, LIFESPANS) ? without(own, [LIFESPANS]) : own;
}

const without = (value: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
