/** collections-aggregate — sums over records: stages `$group`, `$sort`, `$limit`, or the app's `opts.groupBy` with steps by field. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';

type Fold = (values: unknown[]) => unknown;
const numbers = (values: unknown[]) => values.map(Number).filter(Number.isFinite);

const FOLDS: Record<string, Fold> = {
  sum: (values) => numbers(values).reduce((a, b) => a + b, 0),
  avg: (values) => (numbers(values).length ? numbers(values).reduce((a, b) => a + b, 0) / numbers(values).length : null),
  min: (values) => (numbers(values).length ? numbers(values).reduce((a, b) => Math.min(a, b)) : null),
  max: (values) => (numbers(values).length ? numbers(values).reduce((a, b) => Math.max(a, b)) : null),
  count: (values) => values.length,
  first: (values) => values[0] ?? null,
  last: (values) => values.at(-1) ?? null,
  push: (values) => values,
  addToSet: (values) => [...new Map(values.map((value) => [JSON.stringify(value), value])).values()],
};

const bad = (message: string) => fault('InvalidInstructionError', { message: `collections.aggregate: ${message}` });
const foldOf = (name: string): Fold => {
  if (!Object.hasOwn(FOLDS, name)) throw bad(`${name} is not one of ${Object.keys(FOLDS).join(', ')}.`);
  return FOLDS[name] as Fold;
};

/** `$field` reads it, an object reads each of its fields, anything else is itself. */
function evaluate(record: JsonObject, expression: unknown): unknown {
  if (typeof expression === 'string' && expression.startsWith('$')) return readPath(record, expression.slice(1).split('.')) ?? null;
  if (!isPlainObject(expression)) return expression;
  return Object.fromEntries(Object.entries(expression).map(([name, inner]) => [name, evaluate(record, inner)]));
}

function groups(records: JsonObject[], keyOf: (record: JsonObject) => unknown): { key: unknown; records: JsonObject[] }[] {
  const found = new Map<string, { key: unknown; records: JsonObject[] }>();
  for (const record of records) {
    const key = keyOf(record);
    const text = JSON.stringify(key) ?? 'null';
    const group = found.get(text);
    if (group) group.records.push(record);
    else found.set(text, { key, records: [record] });
  }
  return [...found.values()];
}

const STAGES: Record<string, (records: JsonObject[], argument: any) => JsonObject[]> = {
  $group: (records, { _id, ...fields }: JsonObject) =>
    groups(records, (record) => evaluate(record, _id)).map((group) => {
      const row: JsonObject = { _id: group.key };
      for (const [name, spec] of Object.entries(fields)) {
        const [operator, operand] = Object.entries(spec as JsonObject)[0] ?? [];
        if (!operator) throw bad(`${name} has no operator.`);
        row[name] = foldOf(operator.slice(1))(group.records.map((record) => evaluate(record, operand)));
      }
      return row;
    }),
  $sort: (records, order: Record<string, number>) =>
    [...records].sort((a, b) => {
      for (const [field, direction] of Object.entries(order)) {
        const [x, y] = [readPath(a, field.split('.')), readPath(b, field.split('.'))] as [any, any];
        if (x !== y) return (x ?? '') < (y ?? '') ? -direction : direction;
      }
      return 0;
    }),
  $limit: (records, limit: number) => records.slice(0, Math.max(0, Number(limit) || 0)),
  $skip: (records, skip: number) => records.slice(Math.max(0, Number(skip) || 0)),
};

/** Records through the stages, or grouped by `opts.groupBy` with steps `{ inputField, type, outputField }`. */
export function aggregate(records: JsonObject[], { steps, opts }: JsonObject): JsonObject[] {
  const list = Array.isArray(steps) ? (steps as JsonObject[]) : [];
  const groupBy = isPlainObject(opts) ? opts.groupBy : undefined;
  const isByField = list.every((step) => typeof step?.type === 'string');
  if (groupBy !== undefined || (list.length > 0 && isByField)) {
    const fields = (Array.isArray(groupBy) ? groupBy : groupBy === undefined ? [] : [groupBy]).map(String);
    return groups(records, (record) => fields.map((field) => readPath(record, field.split('.')) ?? null)).map((group) => {
      const row: JsonObject = Object.fromEntries(fields.map((field, i) => [field, (group.key as unknown[])[i]]));
      for (const { inputField, type, outputField } of list as { inputField?: string; type: string; outputField?: string }[]) {
        const values = group.records.map((record) => (inputField ? readPath(record, inputField.split('.')) : record));
        row[outputField ?? inputField ?? type] = foldOf(type)(type === 'count' ? values : values.filter((value) => value !== undefined));
      }
      return row;
    });
  }
  return list.reduce((found, step) => {
    const [name, argument] = Object.entries(step)[0] ?? [];
    if (!name || !Object.hasOwn(STAGES, name)) throw bad(`${name ?? 'an empty step'} is not one of ${Object.keys(STAGES).join(', ')}.`);
    return (STAGES[name] as (records: JsonObject[], argument: unknown) => JsonObject[])(found, argument);
  }, records);
}
