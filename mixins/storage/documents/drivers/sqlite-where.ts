/**
 * sqlite-where — the part of a query that SQLite can decide with its indexes. The condition made here is *necessary*, never sufficient: it may let
 * a record through that does not match (arrays, booleans stored as 1 and 0), and the matcher decides in the end. So one meaning holds everywhere.
 */
import { isPlainObject } from '../../../shared/json.ts';
import type { SqlValue } from '../../sqlite.ts';
import type { FieldValue, Operators, Query } from '../contract.ts';

export interface Where {
  sql: string;
  values: SqlValue[];
}

const MAX_VALUES = 500;

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const jsonPath = (segments: string[]): string => literal(`$${segments.map((segment) => `."${segment}"`).join('')}`);

/**
 * SQL of the value at a dotted path: the same text in an index and in a query, so that SQLite sees they are one. Where an array is or lies on
 * the way the text starts with `[`, and such rows are always candidates. `null` for names that a JSON path of SQLite cannot spell.
 */
export function keyOf(path: string): string | null {
  if (path === 'id') return 'id';
  const segments = path.split('.');
  if (segments.some((segment) => /["\\]/.test(segment) || segment.includes("'"))) return null;
  const value = `json_extract(body, ${jsonPath(segments)})`;
  const above = segments.slice(0, -1).map((_, i) => `json_type(body, ${jsonPath(segments.slice(0, i + 1))}) = 'array'`);
  return above.length ? `CASE WHEN ${above.join(' OR ')} THEN '[' ELSE ${value} END` : value;
}

/** Necessary condition of a checked query, or `null` when nothing can be said. */
export function whereOf(query: Query): Where | null {
  const parts: Where[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || name === '$nor') continue;
    if (name === '$and') parts.push(...(value as Query[]).map(whereOf).filter((part) => part !== null));
    else if (name === '$or') {
      const any = (value as Query[]).map(whereOf);
      if (any.length === 0) parts.push({ sql: '0', values: [] });
      else if (any.every((part) => part !== null)) parts.push(joined(any as Where[], 'OR'));
    } else parts.push(...fieldConditions(name, value as FieldValue | Operators));
  }
  const total = parts.reduce((sum, part) => sum + part.values.length, 0);
  if (parts.length === 0 || total > MAX_VALUES * 10) return null;
  return joined(parts, 'AND');
}

const joined = (parts: Where[], word: 'AND' | 'OR'): Where =>
  parts.length === 1
    ? (parts[0] as Where)
    : { sql: parts.map((part) => `(${part.sql})`).join(` ${word} `), values: parts.flatMap((part) => part.values) };

const COMPARISONS: Record<string, string> = { $gt: '>', $gte: '>=', $lt: '<', $lte: '<=' };

function fieldConditions(path: string, condition: FieldValue | Operators): Where[] {
  const key = keyOf(path);
  if (key === null) return [];
  if (!isPlainObject(condition)) return [oneOf(key, [condition as FieldValue])];
  const operators = condition as Operators;
  const parts: Where[] = [];
  if (operators.$eq !== undefined) parts.push(oneOf(key, [operators.$eq]));
  if (operators.$in && operators.$in.length <= MAX_VALUES) parts.push(oneOf(key, operators.$in));
  if (operators.$all) for (const value of operators.$all.slice(0, 5)) parts.push(oneOf(key, [value]));
  for (const [operator, sign] of Object.entries(COMPARISONS)) {
    const value = operators[operator as keyof Operators];
    if (value !== undefined && value !== null) parts.push(orArray(key, `${key} ${sign} ?`, [sqlValue(value as FieldValue)]));
  }
  return parts;
}

function oneOf(key: string, values: FieldValue[]): Where {
  const present = values.filter((value) => value !== null).map(sqlValue);
  const parts: string[] = [];
  if (present.length === 1) parts.push(`${key} = ?`);
  if (present.length > 1) parts.push(`${key} IN (${present.map(() => '?').join(', ')})`);
  if (present.length < values.length) parts.push(`${key} IS NULL`);
  return parts.length ? orArray(key, parts.join(' OR '), present) : { sql: '0', values: [] };
}

// `\` follows `[`, so this is the range of all texts that start with `[`: arrays, and harmless texts that the matcher sorts out.
const orArray = (key: string, sql: string, values: SqlValue[]): Where =>
  key === 'id' ? { sql, values } : { sql: `${sql} OR (${key} >= '[' AND ${key} < '\\')`, values };

const sqlValue = (value: FieldValue): SqlValue => (typeof value === 'boolean' ? Number(value) : value);
