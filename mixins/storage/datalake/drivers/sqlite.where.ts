/**
 * sqlite.where — Condition → SQL over the tables of sqlite.engine.ts. Fields with a column of their own use it; other fields are read from the
 * JSON body; what SQL cannot say exactly (lists, patterns inside the body) is answered by the same function that memory uses.
 */
import {
  compile,
  isMoment,
  isNumeric,
  literalPrefix,
  momentOf,
  parseText,
  pathOf,
  type Scalar,
  type Test,
} from '../../../filters/condition.ts';
import type { Condition } from '../contract.ts';

export type SqlValue = string | number | null;

export interface Column {
  name: string;
  kind: 'text' | 'number' | 'moment';
  path: string[];
  /** Payload fields may hold anything: rows where they do not fit their column have `odd = 1`. */
  loose?: boolean;
}

const column = (name: string, field: string, kind: Column['kind'] = 'text'): Column => ({
  name,
  kind,
  path: field.split('.'),
  loose: field.startsWith('payload.') || undefined,
});

/** Columns of `events`, in the order of its INSERT. */
export const COLUMNS: Column[] = [
  column('id', 'id'),
  column('ws', 'source.workspaceId'),
  column('type', 'type'),
  column('ts', 'createdAt', 'moment'),
  column('corr', 'source.correlationId'),
  column('usr', 'source.userId'),
  column('ses', 'source.sessionId'),
  column('topic', 'source.serviceTopic'),
  column('depth', 'source.appInstanceDepth', 'number'),
  column('app', 'source.appInstanceFullSlug'),
  column('auto', 'source.automationSlug'),
  column('tuser', 'target.userId'),
  column('tses', 'target.sessionId'),
  column('ttopic', 'target.userTopic'),
  column('duration', 'payload.duration', 'number'),
  column('trig', 'payload.trigger.type'),
  column('slug', 'payload.slug'),
  column('called', 'payload.automation'),
  column('err', 'payload.error'),
  column('bytes', 'size', 'number'),
];
const byField = new Map(COLUMNS.map((entry) => [entry.path.join('.'), entry]));

export const columnOf = (field: string): Column | undefined => byField.get(pathOf(field).join('.'));

/** `$."a"."b"`, or `null` for a path SQL cannot follow exactly (list positions, odd characters). */
export function jsonPath(path: string[]): string | null {
  if (path.some((segment) => /^\d+$/.test(segment) || /["\\]/.test(segment))) return null;
  return `$${path.map((segment) => `."${segment}"`).join('')}`;
}

export interface Where {
  sql: string;
  params: SqlValue[];
  needsBody: boolean;
}

/** Collects parameters and the functions that answer for what SQL cannot. */
export interface Build {
  params: SqlValue[];
  needsBody: boolean;
  tests: Test[];
}

export const newBuild = (tests: Test[] = []): Build => ({ params: [], needsBody: false, tests });

function residual(build: Build, condition: Condition): string {
  build.needsBody = true;
  build.params.push(build.tests.push(compile(condition)) - 1);
  return 'event_matches(?, b.body)';
}

/** SQL of `condition`; parameters are appended to `build` in the order of their marks. */
export function sqlOf(condition: Condition, build: Build): string {
  if ('all' in condition)
    return condition.all.length === 0
      ? '1'
      : `(${cheapFirst(condition.all)
          .map((part) => sqlOf(part, build))
          .join(' AND ')})`;
  if ('any' in condition) return condition.any.length === 0 ? '0' : `(${condition.any.map((part) => sqlOf(part, build)).join(' OR ')})`;
  // NULL means "does not hold" everywhere but under NOT.
  if ('not' in condition) return `(NOT coalesce(${sqlOf(condition.not, build)}, 0))`;
  if ('text' in condition) return textSql(condition.text, build);
  if (condition.op === 'ne') return `(NOT coalesce(${sqlOf({ ...condition, op: 'eq' }, build)}, 0))`;
  const literal = condition.op === 'regex' ? literalPrefix(condition.field, condition.value) : null;
  if (literal !== null) return sqlOf({ field: condition.field, op: 'prefix', value: literal }, build);
  const own = columnOf(condition.field);
  if (!own) return bodySql(condition, build);
  if (!own.loose) return columnSql(own, condition, build);
  const exact = residual(build, condition);
  return `(CASE WHEN e.odd = 1 THEN ${exact} ELSE ${columnSql(own, condition, build)} END)`;
}

/** Column tests before those that open the body. */
const cost = (condition: Condition): number =>
  'field' in condition ? (columnOf(condition.field) ? 0 : 2) : 'text' in condition ? 1 : 'not' in condition ? cost(condition.not) : 1;
const cheapFirst = (conditions: Condition[]): Condition[] => [...conditions].sort((a, b) => cost(a) - cost(b));

function textSql(text: string, build: Build): string {
  const { words, prefixes, parts } = parseText(text);
  const pieces: string[] = [];
  const terms = [...words.map((word) => `"${word}"`), ...prefixes.map((prefix) => `"${prefix}"*`)];
  if (terms.length > 0) {
    build.params.push(terms.join(' AND '));
    pieces.push('e.seq IN (SELECT rowid FROM words WHERE words MATCH ?)');
  }
  for (const part of parts) {
    build.needsBody = true;
    build.params.push(part);
    pieces.push('instr(b.body, ?) > 0');
  }
  return pieces.length === 0 ? '1' : `(${pieces.join(' AND ')})`;
}

type FieldCondition = Extract<Condition, { field: string }>;
const ORDER = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

/** The value as a column of this kind holds it; `undefined`: no row can hold it. */
function stored(own: Column, value: Scalar): SqlValue | undefined {
  if (value === null) return null;
  if (own.kind === 'text') return String(value);
  if (own.kind === 'moment') return Number.isFinite(momentOf(value)) ? momentOf(value) : undefined;
  return typeof value !== 'boolean' && isNumeric(value) && String(Number(value)) === String(value) ? Number(value) : undefined;
}

function columnSql(own: Column, condition: FieldCondition, build: Build): string {
  const name = `e.${own.name}`;
  switch (condition.op) {
    case 'eq':
    case 'in': {
      const wanted: Scalar[] = 'values' in condition ? condition.values : [condition.value];
      const values = [...new Set(wanted.map((value) => stored(own, value)).filter((value) => value !== undefined))];
      const present = values.filter((value) => value !== null);
      const pieces: string[] = values.length > present.length ? [`${name} IS NULL`] : [];
      if (present.length === 1) pieces.push(`${name} = ?`);
      else if (present.length > 1) pieces.push(`${name} IN (${present.map(() => '?').join(',')})`);
      build.params.push(...present);
      return pieces.length === 0 ? '0' : pieces.length === 1 ? (pieces[0] as string) : `(${pieces.join(' OR ')})`;
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      const value = own.kind === 'moment' ? momentOf(condition.value) : own.kind === 'number' ? Number(condition.value) : condition.value;
      const isComparable =
        own.kind === 'text' ? typeof value === 'string' : Number.isFinite(value) && isNumericOrMoment(own, condition.value);
      if (!isComparable) return '0';
      build.params.push(value as SqlValue);
      return `${name} ${ORDER[condition.op]} ?`;
    }
    case 'prefix':
      if (own.kind !== 'text') return residual(build, condition);
      build.params.push(condition.value, `${condition.value}\u{10FFFF}`);
      return `(${name} >= ? AND ${name} < ?)`;
    case 'suffix':
      if (own.kind !== 'text') return residual(build, condition);
      build.params.push(condition.value, condition.value);
      return condition.value === '' ? `(${name} IS NOT NULL AND ? = ?)` : `(substr(${name}, -length(?)) = ?)`;
    case 'wildcard':
      if (own.kind !== 'text') return residual(build, condition);
      build.params.push(condition.value);
      return `text_globs(?, ${name})`;
    case 'regex':
      if (own.kind !== 'text') return residual(build, condition);
      build.params.push(build.tests.push(compile({ field: 'value', op: 'regex', value: condition.value })) - 1);
      return `text_matches(?, ${name})`;
    case 'exists':
    case 'empty': {
      const present =
        condition.truthy && own.kind !== 'moment'
          ? `(${name} IS NOT NULL AND ${name} ${own.kind === 'text' ? "<> ''" : '<> 0'})`
          : `${name} IS NOT NULL`;
      return condition.op === 'exists' ? present : `(NOT ${present})`;
    }
  }
  return '0';
}

const isNumericOrMoment = (own: Column, value: Scalar) => own.kind === 'moment' || isNumeric(value);

/** A field inside the body. Scalars are compared in SQL, everything else by the function memory uses. */
function bodySql(condition: FieldCondition, build: Build): string {
  const path = jsonPath(pathOf(condition.field));
  if (path === null || isMoment(pathOf(condition.field)) || !['eq', 'in', 'exists', 'empty'].includes(condition.op))
    return residual(build, condition);
  build.needsBody = true;
  if (condition.op === 'exists' || condition.op === 'empty') {
    const falsy = condition.truthy ? " OR (b.body ->> ?) IN ('', 0)" : '';
    build.params.push(path, ...(condition.truthy ? [path] : []));
    const empty = `(coalesce(json_type(b.body, ?), 'null') = 'null'${falsy})`;
    return condition.op === 'empty' ? empty : `(NOT ${empty})`;
  }
  const values = condition.op === 'eq' ? [condition.value] : condition.op === 'in' ? condition.values : [];
  const texts = values.filter((value) => value !== null).map(String);
  const numbers = texts.filter((text) => isNumeric(text) && String(Number(text)) === text).map(Number);
  build.params.push(path);
  const list = residual(build, condition);
  const pieces = ["'array' THEN ", list];
  const branch = (kinds: string, found: SqlValue[]) => {
    if (found.length === 0) return `WHEN ${kinds} THEN 0`;
    build.params.push(path, ...found);
    return `WHEN ${kinds} THEN (b.body ->> ?) IN (${found.map(() => '?').join(',')})`;
  };
  const text = branch("'text'", texts);
  const integer = branch("'integer'", numbers);
  const real = branch("'real'", numbers);
  const truths = `WHEN 'true' THEN ${texts.includes('true') ? 1 : 0} WHEN 'false' THEN ${texts.includes('false') ? 1 : 0}`;
  return `(CASE coalesce(json_type(b.body, ?), 'null') WHEN ${pieces.join('')} ${text} ${integer} ${real} ${truths} WHEN 'null' THEN ${values.includes(null) ? 1 : 0} ELSE 0 END)`;
}
