import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { QUERY_CLAUSES } from '../../../mixins/filters/dsl.ts';
import { AGGREGATIONS } from '../../../mixins/storage/datalake/aggregations.ts';
import { routes } from '../../../services/gateway/routes/events.ts';

const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');
const namesAfter = (head: string) => {
  const line = page.split('\n').find((text) => text.startsWith(head)) as string;
  return [...line.slice(head.length).matchAll(/`([a-z_]+)`/g)].map(([, name]) => name as string);
};

it('docs/events.md lists the queries and aggregations that are accepted, no more and no less', () => {
  expect(namesAfter('Queries:').sort()).toEqual([...QUERY_CLAUSES].sort());
  expect([...namesAfter('Buckets:'), ...namesAfter('Measures:')].sort()).toEqual([...AGGREGATIONS].sort());
});

it('docs/events.md names every route', () => {
  const missing = routes
    .map(({ path }) => path.replace('/workspaces/:workspaceId', '').replace(/\/:\w+.*/, ''))
    .filter((path) => !page.includes(path));

  expect(missing).toEqual([]);
});
