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

/** A value for a whole context without what is not the program's. Silently: a body that is merged may hold anything, and the rest of it is welcome. */
export function withoutReserved(value: JsonObject): JsonObject {
  if (!Object.hasOwn(value, LIFESPANS)) return value;
  const { [LIFESPANS]: _, ...own } = value;
  return own;
}
