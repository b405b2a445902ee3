/**
 * check-arguments — what an instruction is given beside what its schema knows: missing, misspelt and mistyped arguments, as warnings.
 * Nothing here changes what runs: unknown keys are ignored, and a text with holes may become anything.
 */
import { isPlainObject } from '../../../mixins/shared/json.ts';
import { nearest, toKey } from '../expressions/index.ts';
import type { ArgumentSchema, CompileContext, InstructionDefinition } from './instruction.ts';
import { pathOf } from './positions.ts';

const isComputed = (value: unknown): boolean => typeof value === 'string' && (value.includes('{{') || value.includes('{%'));

const kindOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);

/** A number or flag may be written as text; everything is turned into text where text is wanted. */
function isOfType(value: unknown, type: string): boolean {
  const kind = kindOf(value);
  if (kind === type) return true;
  if (type === 'number') return typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value));
  if (type === 'boolean') return value === 'true' || value === 'false';
  return type === 'string' && (kind === 'number' || kind === 'boolean');
}

export function checkArguments(args: unknown, { name, schema }: InstructionDefinition, context: CompileContext): void {
  if (schema.type === 'object' && schema.properties) check(args, schema, name, [], context);
}

function check(value: unknown, schema: ArgumentSchema, owner: string, keys: (string | number)[], context: CompileContext): void {
  if (value === undefined || value === null || isComputed(value) || schema.$ref) return;
  const at = pathOf(keys).replace(/^\./, '');
  const { type, properties, items, additionalProperties } = schema;
  if (typeof type === 'string' && !isOfType(value, type)) {
    context.warn('WrongType', `${at ? `'${at}'` : `The argument of ${owner}`} should be of type ${type}, not ${kindOf(value)}.`, at);
    return;
  }
  if (schema.enum && !schema.enum.includes(value)) {
    const meant = nearest(toKey(value), schema.enum.map(String));
    const message = `'${toKey(value)}' is none of ${schema.enum.join(', ')}.`;
    context.warn('UnknownValue', message, at, meant && `Did you mean '${meant}'?`);
  }
  if (Array.isArray(value) && items) for (const [index, item] of value.entries()) check(item, items, owner, [...keys, index], context);
  if (!isPlainObject(value) || !properties) return;
  for (const required of schema.required ?? [])
    if (!Object.hasOwn(value, required) || value[required] === null) context.warn('MissingArgument', `'${required}' is missing.`, at);
  for (const key of Object.keys(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (known) check(value[key], known, owner, [...keys, key], context);
    else if (!additionalProperties && !isComputed(key)) {
      const meant = nearest(key, Object.keys(properties));
      const message = `'${key}' is no argument of ${[owner, ...keys].join('.')}: it is ignored.`;
      context.warn('UnknownArgument', message, pathOf([...keys, key]).replace(/^\./, ''), meant && `Did you mean '${meant}'?`);
    }
  }
}

/** Fields of an automation; any other is kept, and told only when it looks like one of these misspelt. */
const FIELDS = [
  'name',
  'description',
  'slug',
  'when',
  'do',
  'output',
  'arguments',
  'validateArguments',
  'schemas',
  'private',
  'disabled',
  'authorizations',
  'labels',
];
const TRIGGERS = ['events', 'endpoint', 'schedules'];

export function checkFields(automation: Record<string, unknown>, context: CompileContext): void {
  for (const key of Object.keys(automation)) {
    if (FIELDS.includes(key) || TRIGGERS.includes(key)) continue;
    const meant = nearest(key, FIELDS);
    if (meant) context.warn('UnknownField', `'${key}' is no field of an automation: it has no effect.`, key, `Did you mean '${meant}'?`);
  }
  const { when } = automation;
  if (!isPlainObject(when)) return;
  for (const key of Object.keys(when)) {
    if (TRIGGERS.includes(key)) continue;
    const meant = nearest(key, TRIGGERS);
    context.warn(
      'UnknownField',
      `'${key}' is no trigger: events, endpoint and schedules are.`,
      `when.${key}`,
      meant && `Did you mean '${meant}'?`,
    );
  }
}
