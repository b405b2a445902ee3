/**
 * sqlite.rows — the rows of a search as columns, for the aggregations. Each batch is one statement that packs its columns into JSON lists: far
 * cheaper than a JavaScript object per row. Batches are slices of time, so that memory stays bounded whatever the number of rows.
 */
import type { StatementSync } from 'node:sqlite';
import { pathOf, type Test } from '../../../filters/condition.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import { type Column, type RowSource, refusedAggregation } from '../aggregations.types.ts';
import { columnOf, jsonPath, newBuild, type SqlValue, sqlOf } from './sqlite.where.ts';

const ROWS_PER_BATCH = 100_000;

export interface RowsOptions {
  prepare(sql: string): StatementSync;
  tests: Test[];
  base: { where: string; params: SqlValue[]; needsBody: boolean };
  from(needsBody: boolean): string;
}

export function sqliteRows({ prepare, tests, base, from }: RowsOptions): RowSource {
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

  return {
    *batches(columns) {
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
