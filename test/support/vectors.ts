/** vectors — the shared cases of the filter language: test/fixtures/filters. Memory and every store run the same ones. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { anyOf } from '../../mixins/filters/condition.ts';
import { parseFilters } from '../../mixins/filters/parse.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { Condition } from '../../mixins/storage/datalake/contract.ts';

const read = (name: string) => parse(readFileSync(new URL(`../fixtures/filters/${name}.yaml`, import.meta.url), 'utf8'));

/** Name → event, one second apart from 2026-01-01 on. */
export const vectorEvents: Record<string, PrismeEvent> = Object.fromEntries(
  Object.entries(read('events') as Record<string, object>).map(([name, event], i) => [
    name,
    { id: `vector-${name}`, createdAt: new Date(Date.UTC(2026, 0, 1, 0, 0, i)).toISOString(), size: 100, ...event } as PrismeEvent,
  ]),
);

export interface Vector {
  name: string;
  filter?: unknown;
  where?: Condition;
  matches: string[];
}

export const vectors: Vector[] = [...read('fields'), ...read('conditions')];

/** The condition of a vector, whichever way it is written. */
export const conditionOf = ({ filter, where }: Vector): Condition => where ?? anyOf(parseFilters(filter).map((term) => term.condition));
