/**
 * sqlite.rows — the rows of a search as columns, for the aggregations. Each batch is one statement that packs its columns into JSON lists: far
 * cheaper than a JavaScript object per row. Batches are slices of time, so that memory stays bounded whatever the number of rows.
 */
import type { StatementSync } from 'node:sqlite';
import { compile, isMoment, pathOf, type Test } from '../../../filters/condition.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import type { Interval } from '../aggregations.time.ts';
import { type Batch, type Column, type RowSource, refusedAggregation } from '../aggregations.types.ts';
import type { Condition } from '../contract.ts';
import { columnOf, jsonPath, newBuild, type SqlValue, sqlOf } from './sqlite.where.ts';

const ROWS_PER_BATCH = 100_000;
const MAX_RANGES = 3_000;

/** Each step finds the next type by the index: as many look-ups as there are types. */
const TYPES_OF_WORKSPACE = `
  WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM events WHERE ws = ?
    UNION ALL
    SELECT (SELECT min(e.type) FROM events e WHERE e.ws = ? AND e.type > types.type) FROM types WHERE types.type IS NOT NULL
  )
  SELECT type FROM types WHERE type IS NOT NULL LIMIT ${MAX_RANGES}`;

function onlyType(condition: Condition): boolean {
  if ('all' in condition) return condition.all.every(onlyType);
  if ('any' in condition) return condition.any.every(onlyType);
  if ('not' in condition) return onlyType(condition.not);
  return 'field' in condition && condition.field === 'type';
}

const isTypeOrTime = (column: Column): boolean =>
  'where' in column ? onlyType(column.where) : 'field' in column && (column.field === 'type' || isMoment(pathOf(column.field)));

export interface RowsOptions {
  workspaceId?: string;
  prepare(sql: string): StatementSync;
  tests: Test[];
  base: { where: string; params: SqlValue[]; needsBody: boolean };
  from(needsBody: boolean): string;
}

export function sqliteRows({ workspaceId, prepare, tests, base, from }: RowsOptions): RowSource {
  /** Slices [from, to) of time holding about ROWS_PER_BATCH rows each. */
  function* slices(): Generator<[number, number]> {
    const table = from(base.needsBody);
    const all = prepare(`SELECT min(e.ts) AS first, max(e.ts) AS last, count(*) AS rows FROM ${table} WHERE ${base.where}`).get(
      ...base.params,
    ) as {
      first: number | null;
      last: number;
      rows: number;
    };
    if (all.first === null) return;
    const parts = Math.ceil(all.rows / ROWS_PER_BATCH);
    const width = Math.max(1, Math.ceil((all.last + 1 - all.first) / parts));
    for (let start = all.first; start <= all.last; start += width) yield [start, Math.min(start + width, all.last + 1)];
  }

  /**
   * Counts by type and interval straight from an index, which visits no row: one range per type and interval. `null` when the
   * columns need more than the type and the time, or the ranges would be too many.
   */
  function countsByType(columns: Column[], intervals: Interval[]): Batch | null {
    const [interval] = intervals;
    if (workspaceId === undefined || base.needsBody || intervals.length > 1 || !columns.every(isTypeOrTime)) return null;
    const edge = (order: 'ASC' | 'DESC') =>
      (
        prepare(`SELECT e.ts FROM ${from(false)} WHERE ${base.where} ORDER BY e.ts ${order} LIMIT 1`).get(...base.params) as
          | { ts: number }
          | undefined
      )?.ts;
    const first = edge('ASC');
    const last = edge('DESC');
    if (first === undefined || last === undefined) return { size: 0, batch: columns.map(() => []) };
    // Columns of time alone need no type: one range per interval, from the index (workspace, time).
    const isByType = columns.some((column) => 'where' in column || ('field' in column && column.field === 'type'));
    const types = isByType
      ? (prepare(TYPES_OF_WORKSPACE).all(workspaceId, workspaceId) as { type: string }[]).map(({ type }) => type)
      : [''];
    const starts: number[] = [];
    for (
      let start = interval ? interval.start(first) : first;
      start <= last && starts.length <= MAX_RANGES;
      start = interval ? interval.next(start) : last + 1
    )
      starts.push(start);
    if (types.length * starts.length > MAX_RANGES) return null;

    const count = prepare(
      `SELECT count(*) AS n FROM ${from(false)} WHERE ${base.where} ${isByType ? 'AND e.type = ?' : ''} AND e.ts >= ? AND e.ts < ?`,
    );
    const tests = columns.map((column) => ('where' in column ? compile(column.where) : null));
    const counted: Batch & { weights: number[] } = { size: 0, batch: columns.map(() => []), weights: [] };
    for (const start of starts) {
      const end = interval ? interval.next(start) : last + 1;
      for (const type of types) {
        const { n } = count.get(...base.params, ...(isByType ? [type] : []), start, end) as { n: number };
        if (n === 0) continue;
        counted.size++;
        counted.weights.push(n);
        for (const [i, column] of columns.entries()) {
          const test = tests[i];
          counted.batch[i]?.push(test ? Number(test({ type })) : 'field' in column && column.field === 'type' ? type : start);
        }
      }
    }
    return counted;
  }

  return {
    *batches(columns, intervals) {
      const counted = intervals && countsByType(columns, intervals);
      if (counted) {
        yield counted;
        return;
      }
      const build = newBuild(tests);
      const wanted = columns.map((column) => columnSql(column, build));
      const needsBody = base.needsBody || build.needsBody;
      // Directly around the expression: a subquery in between would make text of what `->` found.
      const lists = wanted.map((sql) => `json_group_array(${sql})`).join(', ');
      if (columns.length === 0) {
        const { rows } = prepare(`SELECT count(*) AS rows FROM ${from(base.needsBody)} WHERE ${base.where}`).get(...base.params) as {
          rows: number;
        };
        yield { size: rows, batch: [] };
        return;
      }
      const statement = prepare(`SELECT ${lists} FROM ${from(needsBody)} WHERE ${base.where} AND e.ts >= ? AND e.ts < ?`);
      statement.setReturnArrays(true);
      for (const [start, end] of slices()) {
        const row = statement.get(...build.params, ...base.params, start, end) as unknown as string[];
        const batch = row.map((text) => JSON.parse(text) as unknown[]);
        yield { size: batch[0]?.length ?? 0, batch };
      }
    },
    events(handles) {
      const body = prepare('SELECT body FROM bodies WHERE seq = ?');
      return handles.map((seq) => JSON.parse((body.get(seq as number) as { body: string }).body) as PrismeEvent);
    },
  };
}

function columnSql(column: Column, build: ReturnType<typeof newBuild>): string {
  if ('row' in column) return 'e.seq';
  if ('where' in column) return `coalesce(${sqlOf(column.where, build)}, 0)`;
  const own = columnOf(column.field);
  if (own) return `e.${own.name}`;
  const path = jsonPath(pathOf(column.field));
  if (path === null) throw refusedAggregation(`'${column.field}' cannot be aggregated.`);
  build.needsBody = true;
  build.params.push(path);
  // `->` keeps booleans and lists as they are; json_group_array embeds them.
  return 'json(b.body -> ?)';
}
