/** lists — `{ results, total }` of a collection, with page (from 0), limit and sort. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Query, Stored } from '../../../mixins/storage/documents/contract.ts';
import type { Self } from '../identity/core.mixin.ts';

export interface Listed {
  results: JsonObject[];
  total: number;
}

const MAX = 500;

export interface Paging {
  skip: number;
  limit: number;
  sort: Record<string, 1 | -1>;
}

/** `sort` is a field, `-field` for the other way. @throws BadParametersError */
export function pagingOf(query: JsonObject | undefined, sortable: readonly string[]): Paging {
  const limit = Math.min(Math.max(Number(query?.limit) || 50, 1), MAX);
  const page = Math.max(Number(query?.page) || 0, 0);
  const wanted = typeof query?.sort === 'string' && query.sort !== '' ? query.sort : 'createdAt';
  const field = wanted.replace(/^[-+]/, '');
  if (!sortable.includes(field))
    throw fault('BadParametersError', { message: `Sort by one of: ${sortable.join(', ')}.`, data: { sort: wanted } });
  return { skip: page * limit, limit, sort: { [field]: wanted.startsWith('-') ? -1 : 1, id: 1 } };
}

export const literal = (text: unknown): string =>
  String(text)
    .slice(0, 90)
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

export async function listOf<T extends Stored>(
  self: Self,
  collection: string,
  query: Query,
  paging: Paging,
  show: (row: T) => JsonObject,
): Promise<Listed> {
  const rows = await self.documents.find<T>(collection, query, paging);
  return { results: rows.map(show), total: await self.documents.count(collection, query) };
}
