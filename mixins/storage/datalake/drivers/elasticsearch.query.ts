/** elasticsearch.query — Condition → Elasticsearch query, over the facts of elasticsearch.document.ts. */
import { isMoment, isNumeric, literalPrefix, momentOf, parseText, pathOf, type Scalar } from '../../../filters/condition.ts';
import { fault } from '../../../shared/errors.ts';
import type { Condition } from '../contract.ts';
import { sortableNumber, textFact } from './elasticsearch.document.ts';

export type Query = Record<string, unknown>;
type FieldCondition = Extract<Condition, { field: string }>;

const NOTHING: Query = { match_none: {} };
const not = (query: Query): Query => ({ bool: { must_not: [query] } });
const anyOf = (queries: Query[]): Query =>
  queries.length === 1 ? (queries[0] as Query) : { bool: { should: queries, minimum_should_match: 1 } };

/** Fields with a column of their own, cheaper than facts for what is asked most. */
const KEYWORDS = new Set([
  'id',
  'type',
  'source.correlationId',
  'source.workspaceId',
  'source.userId',
  'source.sessionId',
  'source.serviceTopic',
  'source.automationSlug',
  'source.appInstanceFullSlug',
  'target.userTopic',
  'target.userId',
  'target.sessionId',
]);

const escapeGlob = (text: string) => text.replace(/[\\*?]/g, '\\$&');

function equals(field: string, values: Scalar[]): Query {
  const texts = [...new Set(values.filter((value) => value !== null).map(String))];
  const queries: Query[] = [];
  if (values.includes(null)) queries.push(not({ term: { present: field } }));
  if (texts.length > 0) {
    if (KEYWORDS.has(field)) queries.push(texts.length === 1 ? { term: { [field]: texts[0] } } : { terms: { [field]: texts } });
    else
      queries.push({
        terms: { texts: texts.flatMap((text) => (['s', 'n', 'b', 'j'] as const).map((kind) => textFact(field, kind, text))) },
      });
  }
  return queries.length === 0 ? NOTHING : anyOf(queries);
}

function compares(field: string, op: 'gt' | 'gte' | 'lt' | 'lte', value: Scalar): Query {
  const queries: Query[] = [];
  const isUpper = op === 'gt' || op === 'gte';
  if (isNumeric(value)) {
    const edge = `${field}#${sortableNumber(Number(value))}`;
    queries.push({ range: { nums: isUpper ? { [op]: edge, lt: `${field}$` } : { [op]: edge, gt: `${field}#` } } });
  }
  if (typeof value === 'string') {
    const edge = textFact(field, 's', value);
    // `;` follows `:`, so these bounds keep to texts of this field.
    queries.push({ range: { texts: isUpper ? { [op]: edge, lt: `${field}=s;` } : { [op]: edge, gte: `${field}=s:` } } });
  }
  return queries.length === 0 ? NOTHING : anyOf(queries);
}

/** RE2 text → Lucene's, which is anchored at both ends; what only RE2 knows is refused. @see https://www.elastic.co/docs/reference/query-languages/query-dsl/regexp-syntax */
function luceneRegex(pattern: string): string {
  if (/\(\?|\\[bBAzpPQE]|[*+?}]\?/.test(pattern))
    throw fault('SearchError', { message: `The event history cannot search by the expression '${pattern.slice(0, 80)}'.` });
  const starts = pattern.startsWith('^');
  const ends = /(^|[^\\])(\\\\)*\$$/.test(pattern);
  const body = pattern.slice(starts ? 1 : 0, ends ? -1 : undefined).replace(/(?<!\\)[#@&<>~"]/g, '\\$&');
  if (hasOpenAlternatives(body)) throw fault('SearchError', { message: 'Alternatives of a regular expression need parentheses.' });
  return `${starts ? '' : '.*'}${body}${ends ? '' : '.*'}`;
}

/** Whether a `|` stands outside parentheses, where the added `.*` would bind to one side only. */
function hasOpenAlternatives(body: string): boolean {
  let depth = 0;
  for (const symbol of body.replace(/\\./g, '').replace(/\[[^\]]*\]/g, '')) {
    if (symbol === '(') depth++;
    else if (symbol === ')') depth--;
    else if (symbol === '|' && depth === 0) return true;
  }
  return false;
}

const escapeRegex = (text: string) => text.replace(/[.?+*|{}[\]()"\\#@&<>~^$]/g, '\\$&');

function fieldQuery(condition: FieldCondition): Query {
  const literal = condition.op === 'regex' ? literalPrefix(condition.field, condition.value) : null;
  if (literal !== null) return fieldQuery({ field: condition.field, op: 'prefix', value: literal });
  const path = pathOf(condition.field);
  const field = path.join('.');
  const isTime = isMoment(path);
  switch (condition.op) {
    case 'eq':
    case 'in': {
      const values: Scalar[] = 'values' in condition ? condition.values : [condition.value];
      if (!isTime) return equals(field, values);
      const moments = values.map(momentOf).filter(Number.isFinite);
      return moments.length === 0 ? NOTHING : { terms: { createdAt: moments.map((moment) => new Date(moment).toISOString()) } };
    }
    case 'ne':
      return not(fieldQuery({ ...condition, op: 'eq' }));
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      if (!isTime) return compares(field, condition.op, condition.value);
      const moment = momentOf(condition.value);
      return Number.isFinite(moment) ? { range: { createdAt: { [condition.op]: new Date(moment).toISOString() } } } : NOTHING;
    }
    case 'prefix':
      return KEYWORDS.has(field) ? { prefix: { [field]: condition.value } } : { prefix: { texts: textFact(field, 's', condition.value) } };
    case 'suffix':
      return KEYWORDS.has(field)
        ? { wildcard: { [field]: `*${escapeGlob(condition.value)}` } }
        : { wildcard: { texts: `${escapeGlob(textFact(field, 's', ''))}*${escapeGlob(condition.value)}` } };
    case 'wildcard':
      return KEYWORDS.has(field)
        ? { wildcard: { [field]: condition.value } }
        : { wildcard: { texts: `${escapeGlob(textFact(field, 's', ''))}${condition.value}` } };
    case 'regex':
      return KEYWORDS.has(field)
        ? { regexp: { [field]: luceneRegex(condition.value) } }
        : { regexp: { texts: `${escapeRegex(textFact(field, 's', ''))}${luceneRegex(condition.value)}` } };
    case 'exists':
      return { term: { [condition.truthy ? 'truthy' : 'present']: field } };
    case 'empty':
      return not({ term: { [condition.truthy ? 'truthy' : 'present']: field } });
  }
}

function textQuery(text: string): Query {
  const { words, prefixes, parts } = parseText(text);
  const filter: Query[] = [
    ...words.map((word) => ({ term: { words: word } })),
    ...prefixes.map((prefix) => ({ prefix: { words: prefix } })),
    ...parts.map((part) => ({ wildcard: { json: `*${escapeGlob(part)}*` } })),
  ];
  return filter.length === 0 ? { match_all: {} } : { bool: { filter } };
}

export function queryOf(condition: Condition): Query {
  if ('all' in condition) return condition.all.length === 0 ? { match_all: {} } : { bool: { filter: condition.all.map(queryOf) } };
  if ('any' in condition) return condition.any.length === 0 ? NOTHING : anyOf(condition.any.map(queryOf));
  if ('not' in condition) return not(queryOf(condition.not));
  return 'text' in condition ? textQuery(condition.text) : fieldQuery(condition);
}

/** A sort key: numbers of the payload before its texts. */
export function sortField(name: string, order: 'asc' | 'desc'): Query[] {
  const field = pathOf(name).join('.');
  if (!field.startsWith('payload.')) return [{ [field]: { order, missing: '_last', unmapped_type: 'keyword' } }];
  return [
    { [`measures.${field.slice(8)}`]: { order, missing: '_last', unmapped_type: 'double' } },
    { [field]: { order, missing: '_last' } },
  ];
}
