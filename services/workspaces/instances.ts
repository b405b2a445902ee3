/** instances — installed apps: what an instance may hold, and what its configuration lacks or mistypes. */
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { assertPlain } from './dsul/yaml.ts';

const COMPUTED = new Set([
  'events',
  'createdAt',
  'createdBy',
  'updatedAt',
  'updatedBy',
  'checksum',
  'revision',
  'warnings',
  'automations',
  'blocks',
  'photo',
  'broken',
  'documentation',
  'oldConfig',
]);
const MAX_BYTES = 1_000_000;

/** @throws RequestValidationError · PayloadTooLarge */
export function checkedInstance(body: unknown): JsonObject {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'An app instance must be an object.' });
  assertPlain(body, 'app instance');
  const instance = Object.fromEntries(
    Object.entries(body).filter(([key, value]) => !COMPUTED.has(key) && value !== undefined && value !== null),
  );
  const problems: { path: string; message: string }[] = [];
  if (typeof instance.appSlug !== 'string' || instance.appSlug === '') problems.push({ path: 'appSlug', message: 'is required' });
  if (instance.appVersion !== undefined && typeof instance.appVersion !== 'string')
    problems.push({ path: 'appVersion', message: 'must be a text' });
  if (instance.disabled !== undefined && typeof instance.disabled !== 'boolean')
    problems.push({ path: 'disabled', message: 'must be true or false' });
  if (instance.labels !== undefined && !(Array.isArray(instance.labels) && instance.labels.every((label) => typeof label === 'string')))
    problems.push({ path: 'labels', message: 'must be a list of texts' });
  if (instance.config !== undefined && !isPlainObject(instance.config)) problems.push({ path: 'config', message: 'must be an object' });
  if (problems.length > 0)
    throw fault('RequestValidationError', {
      message: `The app instance is not valid: ${problems.map(({ path, message }) => `${path} ${message}`).join('; ')}.`,
      data: { problems },
    });
  const bytes = Buffer.byteLength(JSON.stringify(instance));
  if (bytes > MAX_BYTES)
    throw fault('PayloadTooLarge', {
      message: `An app instance may not be larger than ${MAX_BYTES} bytes.`,
      data: { bytes, maxBytes: MAX_BYTES },
    });
  return instance;
}

const TYPES: Record<string, (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  object: isPlainObject,
  array: Array.isArray,
};

/**
 * Values that do not have the type the app's form declares. Warnings only: expressions give their value at run time, and forms of the
 * reference product never refused one.
 */
export function configWarnings(
  schema: unknown,
  config: unknown,
): { severity: 'warning'; code: string; message: string; place: { path: string } }[] {
  if (!isPlainObject(schema) || !isPlainObject(config)) return [];
  return Object.entries(config).flatMap(([name, value]) => {
    const declared = Object.hasOwn(schema, name) && isPlainObject(schema[name]) ? schema[name].type : undefined;
    const isOk = typeof declared === 'string' && Object.hasOwn(TYPES, declared) ? TYPES[declared] : undefined;
    if (!isOk || value === null || value === undefined || isOk(value) || (typeof value === 'string' && /\{\{|\{%/.test(value))) return [];
    return [
      {
        severity: 'warning' as const,
        code: 'config-type',
        message: `config.${name} should be of type ${declared}.`,
        place: { path: `config.${name}` },
      },
    ];
  });
}
