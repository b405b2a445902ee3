/**
 * schemas — arguments of automations: validation (`validateArguments`, conditional `schemas`), and the paths marked `secret` or `redact`.
 * Annotations that are not JSON Schema (`ui:*`, `secret`, `localized:*`, a boolean `required`) are taken out, never a reason to fail.
 */
import { Ajv } from 'ajv';
import formatsPlugin from 'ajv-formats';
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';
import { regexFrom } from '../expressions/index.ts';

// Patterns come from users: they run in linear time.
const linear = Object.assign(
  (source: string) => {
    const pattern = regexFrom(source);
    return { test: (text: string) => pattern.test(text) };
  },
  { code: 'linear' },
);
const ajv = new Ajv({ strict: false, logger: false, allErrors: false, validateFormats: true, code: { regExp: linear as never } });
(formatsPlugin as unknown as (instance: Ajv) => void)(ajv);
ajv.addFormat('workspaceId', /^[A-Za-z0-9_-]{7}$/);
ajv.addFormat('objectId', /^[a-f0-9]{24}$/i);
ajv.addFormat('identifier', /^[A-Za-z0-9_ -]{12,48}$/);
ajv.addFormat('name', /^[\p{L} ,.'-]{2,60}$/u);

const TYPES = new Set(['string', 'number', 'integer', 'object', 'array', 'boolean', 'null']);
const KEEP = new Set([
  'enum',
  'const',
  'format',
  'pattern',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'uniqueItems',
  'multipleOf',
  'minProperties',
  'maxProperties',
]);
const LISTS = ['oneOf', 'anyOf', 'allOf'];

const MAX_SCHEMA_DEPTH = 50;

/** JSON Schema of a typed argument. @throws Error when it is nested too deeply */
export function toJsonSchema(argument: unknown, depth = 0): JsonObject {
  if (!isPlainObject(argument)) return {};
  if (depth > MAX_SCHEMA_DEPTH) throw new Error(`more than ${MAX_SCHEMA_DEPTH} nested levels`);
  const below = (value: unknown) => toJsonSchema(value, depth + 1);
  const made: JsonObject = {};
  const { type } = argument;
  if (typeof type === 'string') {
    if (type.startsWith('localized:')) return {};
    if (TYPES.has(type)) made.type = type;
  } else if (Array.isArray(type)) made.type = type.filter((name) => TYPES.has(name as string));
  for (const key of Object.keys(argument)) if (KEEP.has(key)) made[key] = argument[key];
  if (isPlainObject(argument.properties)) made.properties = mapValues(argument.properties, below);
  if (isPlainObject(argument.items)) made.items = below(argument.items);
  if (Array.isArray(argument.required)) made.required = argument.required;
  if (typeof argument.additionalProperties === 'boolean') made.additionalProperties = argument.additionalProperties;
  else if (isPlainObject(argument.additionalProperties)) made.additionalProperties = below(argument.additionalProperties);
  for (const list of LISTS) if (Array.isArray(argument[list])) made[list] = (argument[list] as unknown[]).map(below);
  if (isPlainObject(argument.not)) made.not = below(argument.not);
  return made;
}

const mapValues = (map: JsonObject, change: (value: unknown) => unknown): JsonObject =>
  Object.fromEntries(Object.entries(map).flatMap(([key, value]) => (isHostileName(key) ? [] : [[key, change(value)]])));

/** Dotted paths of properties marked `mark: true`, through `properties` only. */
export function markedPaths(properties: unknown, mark: 'secret' | 'redact', prefix = '', depth = 0): string[] {
  if (!isPlainObject(properties) || depth > 20) return [];
  return Object.entries(properties).flatMap(([name, argument]) => {
    if (!isPlainObject(argument)) return [];
    const path = prefix ? `${prefix}.${name}` : name;
    return argument[mark] === true ? [path] : markedPaths(argument.properties, mark, path, depth + 1);
  });
}

type Check = (payload: JsonObject) => void;

/** Schemas that ajv holds: none, once they are compiled. For tests. */
export const heldSchemas = (): number => (ajv as unknown as { _cache: Map<unknown, unknown> })._cache.size;

/** Compiled once; ajv's own errors, plus the older `dataPath`. */
function checker(build: () => JsonObject, onFault: (message: string) => void): Check {
  let validate: ReturnType<typeof ajv.compile>;
  let schema: JsonObject = {};
  try {
    schema = build();
    validate = ajv.compile(schema);
    // Otherwise it is kept for ever by its schema object: a leak with every revision of a workspace.
    ajv.removeSchema(schema);
  } catch (error) {
    ajv.removeSchema(schema);
    onFault((error as Error).message);
    return () => {
      throw fault('InvalidArgumentsError', { message: `Invalid arguments schema: ${(error as Error).message}`, cause: error });
    };
  }
  return (payload) => {
    if (validate(payload)) return;
    const errors = (validate.errors ?? []).map(({ keyword, instancePath, message, params }) => ({
      keyword,
      instancePath,
      dataPath: instancePath.replaceAll('/', '.'),
      message,
      params,
    }));
    throw fault('InvalidArgumentsError', {
      message: `Invalid arguments: ${errors.map(({ instancePath, message }) => `${instancePath || 'payload'} ${message}`).join('; ')}`,
      data: { errors },
    });
  };
}

interface Branch {
  conditions: JsonObject;
  check: Check | null;
}

function holds(conditions: JsonObject, payload: JsonObject): boolean {
  return Object.entries(conditions).every(([path, wanted]) => {
    if (typeof wanted === 'object') return false;
    const found = readPath(payload, path.split('.'));
    if (found === undefined || found === null || typeof found === 'object') return false;
    return path === 'method' ? String(found).toLowerCase() === String(wanted).toLowerCase() : String(found) === String(wanted);
  });
}

/**
 * What refuses a payload, or null when the automation does not validate.
 * @param onFault told where a schema cannot be compiled
 */
export function argumentsCheck(automation: JsonObject, onFault: (message: string, at: string) => void): Check | null {
  if (automation.validateArguments !== true) return null;
  if (Array.isArray(automation.schemas)) {
    const branches: Branch[] = automation.schemas.filter(isPlainObject).map((branch, index) => ({
      conditions: isPlainObject(branch.conditions) ? branch.conditions : {},
      check: isPlainObject(branch.payload)
        ? checker(
            () => toJsonSchema(branch.payload),
            (message) => onFault(message, `schemas[${index}].payload`),
          )
        : null,
    }));
    return (payload) => {
      const branch = branches.find(({ conditions }) => holds(conditions, payload));
      if (!branch)
        throw fault('InvalidArgumentsError', { message: 'Invalid arguments: no schema is meant for this payload', data: { errors: [] } });
      branch.check?.(payload);
    };
  }
  const { arguments: given } = automation;
  if (!isPlainObject(given)) return null;
  return checker(
    () => ({ type: 'object', properties: mapValues(given, (argument) => toJsonSchema(argument)) }),
    (message) => onFault(message, 'arguments'),
  );
}
