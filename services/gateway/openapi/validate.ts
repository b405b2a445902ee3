/** validate — every request against the document that describes it, before its action is called. All problems are told at once, with their place. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Route } from '../routes/route.ts';
import { SCHEMAS } from './document.ts';
import { COMPONENTS, map } from './schema.ts';

export interface RequestParts {
  body: unknown;
  query: JsonObject;
  params: Record<string, string>;
}

export interface Validator {
  /** @throws RequestValidationError with details { problems: { path, message, errorCode }[] } */
  check(route: Route, parts: RequestParts): void;
}

const MAX_PROBLEMS = 20;
const ROOT = 'https://prisme.invalid/openapi';

function problemOf({ instancePath, message, keyword, params }: ErrorObject): JsonObject {
  const missing = keyword === 'required' ? `/${String((params as { missingProperty?: unknown }).missingProperty)}` : '';
  return {
    path: `${instancePath}${missing}`.slice(1).replaceAll('/', '.'),
    message: missing ? 'is required' : message,
    errorCode: `${keyword}.openapi.validation`,
  };
}

/** Compiled at the first request of an action: most nodes never see most of them. */
export function createValidator(): Validator {
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: true });
  // A CommonJS module: the function is the module, or its `default`, depending on who loads it.
  const addFormats = ((formats as { default?: unknown }).default ?? formats) as (ajv: Ajv2020) => void;
  addFormats(ajv);
  ajv.addSchema({ $id: ROOT, components: { schemas: COMPONENTS } });
  const compiled = new Map<string, ValidateFunction>();

  function schemaFor({ action, method, multipart, raw }: Route): JsonObject {
    const { body, query = {}, params = {} } = Object.hasOwn(SCHEMAS, action) ? (SCHEMAS[action] as (typeof SCHEMAS)[string]) : {};
    const hasBody = method !== 'GET' && method !== 'DELETE' && !multipart && !raw && body !== null;
    return {
      type: 'object',
      properties: {
        ...(hasBody ? { body: body ?? map } : {}),
        query: { type: 'object', properties: query },
        params: { type: 'object', properties: params },
      },
    };
  }

  return {
    check(route, parts) {
      let validate = compiled.get(route.action);
      if (!validate) {
        validate = ajv.compile(schemaFor(route));
        compiled.set(route.action, validate);
      }
      if (validate(parts)) return;
      const problems = (validate.errors ?? []).slice(0, MAX_PROBLEMS).map(problemOf);
      const [first] = problems;
      throw fault('RequestValidationError', {
        message: `Not valid: ${problems.map(({ path }) => String(path) || 'body').join(', ')} (${String(first?.message)}).`,
        data: { problems },
      });
    },
  };
}
