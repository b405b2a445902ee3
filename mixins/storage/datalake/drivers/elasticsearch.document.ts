/** elasticsearch.document — event → document, and back; the template that all indices of the history share. */
import { eventWords, textOf } from '../../../filters/condition.ts';
import type { PrismeEvent } from '../../../shared/event.ts';

/** Fields that are ours, not the event's. */
export const HELPERS = ['@timestamp', 'texts', 'nums', 'present', 'truthy', 'words', 'json', 'measures'];

const MAX_PATHS = 5_000;
const MAX_DEPTH = 20;
const MAX_TEXT = 8_000;
const MAX_MEASURES = 200;

/** Sixteen hexadecimal digits that sort as the number does. */
export function sortableNumber(value: number): string {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value === 0 ? 0 : value); // -0 is 0
  const raw = bits.getBigUint64(0);
  const isNegative = raw >> 63n === 1n;
  return (isNegative ? ~raw & 0xffff_ffff_ffff_ffffn : raw | 0x8000_0000_0000_0000n).toString(16).padStart(16, '0');
}

interface Facts {
  texts: string[];
  nums: string[];
  present: string[];
  truthy: string[];
  measures: Record<string, number>;
}

/** `s:` texts, `n:` numbers, `b:` booleans, `j:` lists joined. */
export const textFact = (path: string, kind: 's' | 'n' | 'b' | 'j', text: string) => `${path}=${kind}:${text}`;

function scalarFacts(path: string, value: unknown, facts: Facts): void {
  if (typeof value === 'string') facts.texts.push(textFact(path, 's', value.slice(0, MAX_TEXT)));
  else if (typeof value === 'boolean') facts.texts.push(textFact(path, 'b', String(value)));
  else if (typeof value === 'number') {
    facts.texts.push(textFact(path, 'n', String(value)));
    facts.nums.push(`${path}#${sortableNumber(value)}`);
  }
}

function walk(path: string, value: unknown, facts: Facts, depth: number): void {
  if (value === null || value === undefined || facts.present.length >= MAX_PATHS) return;
  if (path) {
    facts.present.push(path);
    if (value) facts.truthy.push(path);
  }
  if (typeof value !== 'object') {
    scalarFacts(path, value, facts);
    if (typeof value === 'number' && Object.keys(facts.measures).length < MAX_MEASURES && /^payload(\.[A-Za-z_][\w-]*){1,4}$/.test(path))
      facts.measures[path.slice(8)] = value;
    return;
  }
  if (depth >= MAX_DEPTH) return;
  if (Array.isArray(value)) {
    facts.texts.push(textFact(path, 'j', (textOf(value) ?? '').slice(0, MAX_TEXT)));
    for (const item of value) scalarFacts(path, item, facts);
  }
  for (const key of Object.keys(value)) walk(path ? `${path}.${key}` : key, (value as Record<string, unknown>)[key], facts, depth + 1);
}

/** @param options.isPlain leaves out what an index could refuse: numbers for aggregation and mapped copies */
export function documentOf(event: PrismeEvent, { isPlain = false } = {}): Record<string, unknown> {
  const facts: Facts = { texts: [], nums: [], present: [], truthy: [], measures: {} };
  walk('', event, facts, 0);
  const { measures, ...exact } = facts;
  const { aggPayload, ...plain } = event as PrismeEvent & { aggPayload?: unknown };
  return {
    ...plain,
    '@timestamp': event.createdAt,
    ...exact,
    words: [...eventWords(event)].join(' '),
    json: JSON.stringify(event),
    ...(!isPlain && { measures: nested(measures), ...(aggPayload !== undefined && { aggPayload }) }),
  };
}

function nested(flat: Record<string, number>): Record<string, unknown> {
  const tree: Record<string, any> = {};
  for (const [path, value] of Object.entries(flat)) {
    const segments = path.split('.');
    let into = tree;
    for (const segment of segments.slice(0, -1)) {
      if (typeof into[segment] !== 'object') into[segment] = {};
      into = into[segment];
    }
    into[segments.at(-1) as string] = value;
  }
  return tree;
}

/** The event of a document. */
export function eventOf(source: Record<string, unknown>): PrismeEvent {
  const event = { ...source };
  for (const helper of HELPERS) delete event[helper];
  return event as unknown as PrismeEvent;
}

const keyword = { type: 'keyword', ignore_above: 8_000 };

export function indexTemplate(prefix: string): Record<string, unknown> {
  return {
    name: prefix,
    index_patterns: [`${prefix}-*`],
    priority: 500,
    template: {
      settings: {
        'index.mapping.total_fields.limit': 1_000,
        'index.mapping.total_fields.ignore_dynamic_beyond_limit': true,
        analysis: { analyzer: { plain_words: { type: 'custom', tokenizer: 'whitespace' } } },
      },
      mappings: {
        dynamic: false,
        dynamic_templates: [
          { numbers: { path_match: 'measures.*', match_mapping_type: '*', mapping: { type: 'double', ignore_malformed: true } } },
          {
            mapped_numbers: {
              path_match: 'aggPayload.*',
              match_mapping_type: ['long', 'double'],
              mapping: { type: 'double', ignore_malformed: true },
            },
          },
          { mapped_texts: { path_match: 'aggPayload.*', match_mapping_type: 'string', mapping: keyword } },
        ],
        properties: {
          '@timestamp': { type: 'date' },
          createdAt: { type: 'date' },
          id: keyword,
          type: keyword,
          size: { type: 'long' },
          source: {
            dynamic: false,
            properties: {
              ...Object.fromEntries(
                [
                  'correlationId',
                  'workspaceId',
                  'userId',
                  'sessionId',
                  'socketId',
                  'appSlug',
                  'appInstanceFullSlug',
                  'automationSlug',
                  'serviceTopic',
                  'sourceWorkspaceId',
                ].map((name) => [name, keyword]),
              ),
              appInstanceDepth: { type: 'short', ignore_malformed: true },
              automationDepth: { type: 'short', ignore_malformed: true },
            },
          },
          target: { dynamic: false, properties: { userTopic: keyword, userId: keyword, sessionId: keyword } },
          payload: { type: 'flattened', ignore_above: 8_000, depth_limit: 30 },
          texts: keyword,
          nums: keyword,
          present: keyword,
          truthy: keyword,
          words: { type: 'text', analyzer: 'plain_words', norms: false, index_options: 'docs' },
          json: { type: 'wildcard' },
          measures: { type: 'object', dynamic: true },
          aggPayload: { type: 'object', dynamic: true },
        },
      },
    },
  };
}
