/**
 * automation-schema — JSON Schema (draft-07) of an automation file, made from the definitions of the instructions: editors complete and
 * check with it. It says what helps while writing; what is refused is decided by the compiler alone (problems.ts).
 */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { ArgumentSchema } from './instruction.ts';
import { instructions } from './instructions/index.ts';

const BLOCK = { $ref: '#/definitions/block' };
/** A text with holes may become any value. */
const TEMPLATE = { type: 'string', pattern: '\\{\\{|\\{%' };
const ANYTHING = {};

function toSchema(argument: ArgumentSchema): JsonObject {
  const { $ref, type, description, default: standard, enum: values, properties, items, required, additionalProperties } = argument;
  const about = { ...(description ? { description } : {}), ...(standard === undefined ? {} : { default: standard }) };
  if ($ref) return description ? { allOf: [BLOCK], description } : BLOCK;
  if (values) return { ...about, anyOf: [{ enum: values }, TEMPLATE] };
  if (type === 'string') return { ...about, type: ['string', 'number', 'boolean'] };
  if (type === 'number' || type === 'boolean') return { ...about, type: [type, 'string'] };
  const made: JsonObject = { ...about };
  if (type) made.type = [...(Array.isArray(type) ? type : [type]), 'string'];
  if (properties) made.properties = mapped(properties);
  if (items) made.items = toSchema(items);
  if (required?.length) made.required = required;
  if (typeof additionalProperties === 'object') made.additionalProperties = toSchema(additionalProperties);
  return made;
}

const mapped = (properties: Record<string, ArgumentSchema>): JsonObject =>
  Object.fromEntries(Object.entries(properties).map(([name, argument]) => [name, toSchema(argument)]));

const LOCALIZED = { type: ['string', 'object'], description: 'A text, or texts by language.' };

const ARGUMENT: JsonObject = {
  type: 'object',
  description: 'Typed argument: JSON Schema, and what forms and redaction need.',
  properties: {
    type: {
      description: 'What it must be when arguments are validated.',
      anyOf: [
        {
          enum: ['string', 'number', 'integer', 'object', 'array', 'boolean', 'localized:string', 'localized:number', 'localized:boolean'],
        },
        { type: 'array' },
      ],
    },
    properties: { type: 'object', additionalProperties: { $ref: '#/definitions/argument' } },
    items: { $ref: '#/definitions/argument' },
    title: LOCALIZED,
    description: LOCALIZED,
    required: { description: 'Names of required properties.' },
    additionalProperties: ANYTHING,
    format: { type: 'string' },
    pattern: { type: 'string', description: 'RE2 syntax.' },
    enum: { type: 'array' },
    secret: { type: 'boolean', description: 'Its text is masked wherever it surfaces.' },
    redact: { type: 'boolean', description: 'Left out of the event that tells of the execution.' },
    event: ANYTHING,
    'ui:widget': ANYTHING,
    'ui:options': { type: 'object' },
  },
};

const TOP: JsonObject = {
  name: LOCALIZED,
  description: LOCALIZED,
  slug: { type: 'string', description: 'Defaults to the name of the file.' },
  private: { type: 'boolean', default: false, description: 'Not callable from a parent workspace; its own triggers still fire.' },
  disabled: { type: 'boolean', default: false, description: 'No triggers, not callable.' },
  labels: { type: 'array', items: { type: 'string' } },
  when: {
    type: ['object', 'null'],
    description: 'What starts it.',
    properties: {
      events: { type: ['array', 'null'], items: { type: 'string' }, description: 'Names of events.' },
      endpoint: {
        type: ['boolean', 'string', 'null'],
        description: '`true`: its slug is the path; a text is the path, with `:name` for one segment and `*name` for the rest.',
      },
      schedules: {
        type: ['array', 'null'],
        description: 'Cron expressions, in UTC unless `timezone` says otherwise.',
        items: {
          anyOf: [
            { type: 'string' },
            { type: 'object', properties: { cron: { type: 'string' }, timezone: { type: 'string' } }, required: ['cron'] },
          ],
        },
      },
    },
  },
  arguments: { type: ['object', 'null'], additionalProperties: { $ref: '#/definitions/argument' } },
  validateArguments: { type: 'boolean', default: false, description: 'Refuse a payload that does not fit.' },
  schemas: {
    type: 'array',
    description: 'Payload and output by condition; the first branch whose conditions hold is meant.',
    items: {
      type: 'object',
      properties: {
        conditions: { type: 'object', description: 'Dotted path of the payload → scalar; all must hold.' },
        payload: { type: 'object' },
        output: { type: 'object', description: 'Never enforced; tells what is `secret` or `redact`.' },
      },
    },
  },
  do: { anyOf: [BLOCK, { type: 'null' }], description: 'Instructions, one after the other.' },
  output: { description: 'Evaluated at the end, also after a break; nothing: an empty object.' },
  authorizations: {
    type: 'object',
    properties: { action: { type: 'string', description: 'Who executes it needs a role that grants this action.' } },
  },
};

export function automationSchema(): JsonObject {
  const known = [...instructions.values()].map(({ name, summary, schema, takesNothing }) => {
    const made = toSchema(schema);
    if (takesNothing && Array.isArray(made.type)) made.type = [...made.type, 'null'];
    else if (takesNothing && made.type) made.type = [made.type, 'null'];
    return [name, { description: summary, ...made, ...(made.$ref ? { allOf: [BLOCK], $ref: undefined } : {}) }];
  });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $comment: 'Generated by `npm run docs`; edit the code it comes from.',
    title: 'Automation',
    type: 'object',
    properties: TOP,
    required: ['name', 'do'],
    definitions: {
      block: { type: ['array', 'null'], items: { $ref: '#/definitions/instruction' } },
      instruction: {
        type: ['object', 'null'],
        description: 'One step: the name of an instruction, of an automation, or Instance.automation of an app, and its arguments.',
        properties: Object.fromEntries(known),
        additionalProperties: {
          type: ['object', 'string'],
          description: 'Call of an automation: its arguments, and `output` for its answer.',
        },
      },
      argument: ARGUMENT,
    },
  };
}
