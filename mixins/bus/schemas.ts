/**
 * schemas — payload schemas of native events: `schemas/<family>.json`, type → JSON schema of the payload. Tolerant readers: more
 * properties than declared are welcome, missing or mistyped ones are refused.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import { fault } from '../shared/errors.ts';

const FOLDER = new URL('./schemas/', import.meta.url);

let schemas: Map<string, object> | undefined;
const compiled = new Map<string, ValidateFunction>();
const ajv = new Ajv({ allErrors: true, strict: false });

function allSchemas(): Map<string, object> {
  if (schemas) return schemas;
  schemas = new Map();
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.json')))
    for (const [type, schema] of Object.entries(JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'))))
      schemas.set(type, schema as object);
  return schemas;
}

/** Every native type that has a schema, sorted. */
export const nativeTypes = (): string[] => [...allSchemas().keys()].sort();

/** Types anyone may send without a schema: those of the app store, and errors of apps. */
const isFree = (type: string) => type.startsWith('apps.') || type.endsWith('.error');

/** @throws EventValidationError for an unknown type, or with every problem of the payload in `details.errors` */
export function assertNativePayload(type: string, payload: unknown): void {
  let validate = compiled.get(type);
  if (!validate) {
    const schema = allSchemas().get(type);
    if (!schema) {
      if (isFree(type)) return;
      throw fault('EventValidationError', { message: `Unknown event '${type}'.`, data: { type } });
    }
    validate = ajv.compile(schema);
    compiled.set(type, validate);
  }
  if (validate(payload)) return;
  const errors = (validate.errors ?? []).map(({ instancePath, message }) => ({
    path: `payload${instancePath.replaceAll('/', '.')}`,
    message,
  }));
  throw fault('EventValidationError', {
    message: `The payload of '${type}' is not valid: ${errors.map(({ path, message }) => `${path} ${message}`).join('; ')}.`,
    data: { type, errors },
  });
}
