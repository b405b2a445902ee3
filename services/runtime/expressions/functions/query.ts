/** query — Mongo-style conditions on plain data, for jsonmatch and wait filters */
import { ExpressionError } from '../errors.ts';
import { regexFrom } from '../regex.ts';
import { read, toKey } from '../values.ts';

const MAX_DEPTH = 10;
const same = (left: unknown, right: unknown): boolean =>
  left === right ||
  (typeof left === 'object' &&
    typeof right === 'object' &&
    left !== null &&
    right !== null &&
    JSON.stringify(left) === JSON.stringify(right));

/** Values at a dotted path; a list on the way stands for each of its elements. */
function valuesAt(value: unknown, keys: string[]): unknown[] {
  const [key, ...rest] = keys;
  if (key === undefined) return [value];
  if (Array.isArray(value) && !/^\d+$/.test(key)) return value.flatMap((item) => valuesAt(item, keys));
  return valuesAt(read(value, key), rest);
}

const compare = (operator: string, left: unknown, right: unknown): boolean => {
  if (typeof left !== typeof right || left === null || right === null) return false;
  const [a, b] = [left as number, right as number];
  return operator === '$gt' ? a > b : operator === '$gte' ? a >= b : operator === '$lt' ? a < b : a <= b;
};

function test(
  values: unknown[],
  operator: string,
  wanted: unknown,
  siblings: Record<string, unknown>,
  step: (steps?: number) => void,
  depth: number,
): boolean {
  const flat = values.flatMap((value) => (Array.isArray(value) ? [value, ...value] : [value]));
  const list = Array.isArray(wanted) ? wanted : [];
  step(flat.length);
  switch (operator) {
    case '$eq':
      return flat.some((value) => same(value, wanted) || (wanted === null && value === undefined));
    case '$ne':
      return !test(values, '$eq', wanted, siblings, step, depth);
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte':
      return flat.some((value) => compare(operator, value, wanted));
    case '$in':
      return list.some((item) => test(values, '$eq', item, siblings, step, depth));
    case '$nin':
      return !list.some((item) => test(values, '$eq', item, siblings, step, depth));
    case '$all':
      return list.every((item) => test(values, '$eq', item, siblings, step, depth));
    case '$exists':
      return values.some((value) => value !== undefined) === Boolean(wanted);
    case '$size':
      return values.some((value) => Array.isArray(value) && value.length === wanted);
    case '$regex':
      return flat.some(
        (value) =>
          typeof value === 'string' && regexFrom(toKey(wanted), toKey(siblings['$options'] ?? '')).test(value, (steps) => step(steps)),
      );
    case '$options':
      return true;
    case '$not':
      return !testAll(values, wanted, step, depth + 1);
    case '$elemMatch':
      return values.some(
        (value) => Array.isArray(value) && value.some((item) => matchesQuery(item, wanted as Record<string, unknown>, step, depth + 1)),
      );
    default:
      throw new ExpressionError('InvalidExpressionSyntax', `Unknown operator '${operator}'.`, '', { start: 0, end: 0 });
  }
}

function testAll(values: unknown[], wanted: unknown, step: (steps?: number) => void, depth: number): boolean {
  step();
  if (typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted) && Object.keys(wanted).some((key) => key.startsWith('$'))) {
    const operators = wanted as Record<string, unknown>;
    return Object.keys(operators).every((operator) => test(values, operator, operators[operator], operators, step, depth));
  }
  return test(values, '$eq', wanted, {}, step, depth);
}

/** Whether `subject` fulfils a Mongo-style condition. @throws ExpressionError on an unknown operator or more than 10 levels */
export function matchesQuery(
  subject: unknown,
  condition: Record<string, unknown>,
  step: (steps?: number) => void = () => {},
  depth = 0,
): boolean {
  if (depth > MAX_DEPTH)
    throw new ExpressionError('LimitExceededError', `A condition may have ${MAX_DEPTH} levels.`, '', { start: 0, end: 0 });
  return Object.entries(condition).every(([key, wanted]) => {
    step();
    const branches = Array.isArray(wanted) ? (wanted as Record<string, unknown>[]) : [];
    if (key === '$and') return branches.every((branch) => matchesQuery(subject, branch, step, depth + 1));
    if (key === '$or') return branches.some((branch) => matchesQuery(subject, branch, step, depth + 1));
    if (key === '$nor') return !branches.some((branch) => matchesQuery(subject, branch, step, depth + 1));
    if (key === '$not') return !matchesQuery(subject, wanted as Record<string, unknown>, step, depth + 1);
    return testAll(valuesAt(subject, key.split('.')), wanted, step, depth);
  });
}
