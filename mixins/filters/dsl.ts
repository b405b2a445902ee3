/**
 * dsl — the subset of Elasticsearch's query language that POST …/search accepts → Condition. What is not listed is refused, so that every
 * store answers alike and no script reaches one.
 */
import { fault } from '../shared/errors.ts';
import { isHostileName, isPlainObject } from '../shared/json.ts';
import type { Condition } from '../storage/datalake/contract.ts';
import { ALWAYS, allOf, anyOf, isMoment, NEVER, pathOf } from './condition.ts';
import { isoMoment } from './dates.ts';

type Build = (body: unknown, depth: number) => Condition;

const MAX_DEPTH = 12;
const refused = (message: string) => fault('SearchError', { message: `Could not execute search request: ${message}` });

function checkedField(field: string): string {
  const name = field.endsWith('.keyword') ? field.slice(0, -8) : field;
  if (name.length > 300 || pathOf(name).length === 0 || pathOf(name).some(isHostileName))
    throw refused(`'${field.slice(0, 60)}' is not a field.`);
  return name;
}

function only(body: unknown, clause: string): [string, unknown] {
  const entries = isPlainObject(body) ? Object.entries(body).filter(([name]) => name !== 'boost') : [];
  if (entries.length !== 1) throw refused(`'${clause}' takes one field.`);
  const [field, value] = entries[0] as [string, unknown];
  return [checkedField(field), value];
}

const isScalar = (value: unknown): value is string | number | boolean | null =>
  value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

function scalar(value: unknown, clause: string): string | number | boolean | null {
  const found = isPlainObject(value) ? (value.value ?? value.query) : value;
  if (!isScalar(found)) throw refused(`'${clause}' takes a text, a number or a boolean.`);
  return found;
}

const at = (field: string, value: string | number | boolean | null) =>
  isMoment(pathOf(field)) && value !== null ? isoMoment(value, field) : value;

const clauses = (value: unknown): unknown[] => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

function bool(body: unknown, depth: number): Condition {
  if (!isPlainObject(body)) throw refused("'bool' takes an object.");
  const unknown = Object.keys(body).find((key) => !['must', 'filter', 'should', 'must_not', 'minimum_should_match', 'boost'].includes(key));
  if (unknown) throw refused(`'bool' has no '${unknown}'.`);
  const parts = [...clauses(body.must), ...clauses(body.filter)].map((clause) => convert(clause, depth));
  const should = clauses(body.should).map((clause) => convert(clause, depth));
  const minimum = body.minimum_should_match === undefined ? (parts.length === 0 ? 1 : 0) : Number(body.minimum_should_match);
  if (should.length > 0 && minimum === 1) parts.push(anyOf(should));
  else if (should.length > 0 && minimum >= should.length) parts.push(...should);
  else if (should.length > 0 && minimum > 1) throw refused("'minimum_should_match' is 0, 1 or the number of clauses.");
  for (const clause of clauses(body.must_not)) parts.push({ not: convert(clause, depth) });
  return allOf(...parts);
}

function range(body: unknown): Condition {
  const [field, bounds] = only(body, 'range');
  if (!isPlainObject(bounds)) throw refused("'range' takes bounds.");
  const parts: Condition[] = [];
  for (const [name, value] of Object.entries(bounds)) {
    const op = ({ gt: 'gt', gte: 'gte', lt: 'lt', lte: 'lte', from: 'gte', to: 'lte' } as const)[name as 'gt'];
    if (name === 'format' || name === 'time_zone' || name === 'boost' || value === null) continue;
    if (!op || !isScalar(value)) throw refused(`'range' has no '${name}'.`);
    parts.push({ field, op, value: at(field, value) });
  }
  return allOf(...parts);
}

function phrase(body: unknown, clause: string): Condition {
  const [field, value] = only(body, clause);
  return { field, op: 'eq', value: at(field, scalar(value, clause)) };
}

const FIELD_TERM = /^([\w@.-]+):(?:"((?:[^"\\]|\\.)*)"|(\S+))$/;
const TOKEN = /\(|\)|"(?:[^"\\]|\\.)*"|[\w@.-]+:"(?:[^"\\]|\\.)*"|[^\s()]+/g;

/**
 * `query_string`, restricted: words, "verbatim parts", `field:value`, `field:"value"`, `field:pre*`, `field:*`, AND, OR, NOT, `-`, parentheses.
 * Words without operator between them must all hold when `and`.
 */
function queryString(text: string, isAnd: boolean): Condition {
  if (text.length > 2000) throw refused('the query string is longer than 2000 characters.');
  const tokens = text.match(TOKEN) ?? [];
  let position = 0;
  const unary = (depth: number): Condition => {
    if (depth > MAX_DEPTH * 4) throw refused('the query string is nested too deeply.');
    const token = tokens[position++] as string;
    if (token === 'NOT' || token === '!') return position < tokens.length ? { not: unary(depth + 1) } : ALWAYS;
    if (token === '(') {
      const inner = either(depth + 1);
      if (tokens[position] === ')') position++;
      return inner;
    }
    if (token.startsWith('-') && token.length > 1) return { not: word(token.slice(1)) };
    return word(token.startsWith('+') ? token.slice(1) : token);
  };
  const both = (depth: number): Condition => {
    const parts: Condition[] = [];
    const loose: Condition[] = [];
    let joined = false;
    while (position < tokens.length && tokens[position] !== ')' && tokens[position] !== 'OR' && tokens[position] !== '||') {
      if (tokens[position] === 'AND' || tokens[position] === '&&') {
        position++;
        joined = true;
        continue;
      }
      const part = unary(depth);
      if (isAnd || joined || 'not' in part) parts.push(part);
      else loose.push(part);
      joined = false;
      // `a AND b`: the left side was taken as loose before its operator was seen.
      const next = tokens[position];
      if ((next === 'AND' || next === '&&') && loose.length > 0 && loose.at(-1) === part) parts.push(loose.pop() as Condition);
    }
    return loose.length > 0 ? allOf(...parts, anyOf(loose)) : allOf(...parts);
  };
  const either = (depth: number): Condition => {
    const parts = [both(depth)];
    while (tokens[position] === 'OR' || tokens[position] === '||') {
      position++;
      parts.push(both(depth));
    }
    return anyOf(parts);
  };
  return tokens.length === 0 ? ALWAYS : either(0);
}

function word(token: string): Condition {
  const found = FIELD_TERM.exec(token);
  if (!found) return { text: token };
  const field = checkedField(found[1] as string);
  const value = (found[2] ?? found[3] ?? '').replace(/\\(.)/g, '$1');
  if (found[2] === undefined && value === '*') return { field, op: 'exists' };
  if (found[2] === undefined && value.includes('*')) return { field, op: 'wildcard', value };
  if (found[1] === '_exists_') return { field: checkedField(value), op: 'exists' };
  const bound = found[2] === undefined ? /^(>=|<=|>|<)(.+)$/.exec(value) : null;
  if (bound) {
    const op = ({ '>': 'gt', '>=': 'gte', '<': 'lt', '<=': 'lte' } as const)[bound[1] as '>'];
    return { field, op, value: at(field, bound[2] as string) };
  }
  return { field, op: 'eq', value: at(field, value) };
}

function stringClause(body: unknown, clause: string): Condition {
  const query = isPlainObject(body) ? body.query : body;
  if (typeof query !== 'string') throw refused(`'${clause}' takes a text.`);
  const operator = isPlainObject(body) ? String(body.default_operator ?? 'or').toLowerCase() : 'or';
  const fields =
    isPlainObject(body) && Array.isArray(body.fields)
      ? body.fields.filter((field) => typeof field === 'string' && !field.includes('*'))
      : [];
  // Simple syntax writes its operators as signs.
  const text = clause === 'simple_query_string' ? query.replace(/\s\|\s/g, ' OR ').replace(/\s\+\s/g, ' AND ') : query;
  if (fields.length === 0) return queryString(text, operator === 'and');
  return anyOf(
    fields.map(
      (field: string): Condition => ({ field: checkedField(field), op: 'wildcard', value: `*${text.replace(/[\\?]/g, '\\$&')}*` }),
    ),
  );
}

const CLAUSES: Record<string, Build> = {
  match_all: () => ALWAYS,
  match_none: () => NEVER,
  bool,
  range,
  term: (body) => phrase(body, 'term'),
  match: (body) => phrase(body, 'match'),
  match_phrase: (body) => phrase(body, 'match_phrase'),
  terms: (body) => {
    const [field, values] = only(body, 'terms');
    if (!Array.isArray(values) || !values.every(isScalar) || values.length > 10_000) throw refused("'terms' takes a list of values.");
    return { field, op: 'in', values: values.map((value) => at(field, value)) };
  },
  ids: (body) => {
    const values = isPlainObject(body) ? body.values : undefined;
    if (!Array.isArray(values) || !values.every(isScalar)) throw refused("'ids' takes a list of values.");
    return { field: 'id', op: 'in', values };
  },
  exists: (body) => {
    if (!isPlainObject(body) || typeof body.field !== 'string') throw refused("'exists' takes a field.");
    return { field: checkedField(body.field), op: 'exists' };
  },
  prefix: (body) => {
    const [field, value] = only(body, 'prefix');
    return { field, op: 'prefix', value: String(scalar(value, 'prefix')) };
  },
  wildcard: (body) => {
    const [field, value] = only(body, 'wildcard');
    return { field, op: 'wildcard', value: String(isPlainObject(value) ? (value.value ?? value.wildcard) : value) };
  },
  query_string: (body) => stringClause(body, 'query_string'),
  simple_query_string: (body) => stringClause(body, 'simple_query_string'),
  constant_score: (body, depth) => convert(isPlainObject(body) ? body.filter : undefined, depth),
};

/** What a query may be made of. */
export const QUERY_CLAUSES = Object.keys(CLAUSES);

function convert(clause: unknown, depth: number): Condition {
  if (depth > MAX_DEPTH) throw refused(`clauses are nested deeper than ${MAX_DEPTH}.`);
  if (!isPlainObject(clause)) throw refused('a clause is an object.');
  const names = Object.keys(clause);
  if (names.length === 0) return ALWAYS;
  if (names.length > 1) throw refused(`a clause has one name, not '${names.join("', '")}'.`);
  const name = names[0] as string;
  if (!Object.hasOwn(CLAUSES, name)) throw refused(`the clause '${name}' is not supported.`);
  return (CLAUSES[name] as Build)(clause[name], depth + 1);
}

/** @throws SearchError (400) saying what is not accepted */
export const parseDsl = (query: unknown): Condition => (query === undefined || query === null ? ALWAYS : convert(query, 0));
