/** listing — lists of workspaces: the caller's filter and the caller's rights in one query of the document store. */
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Query } from '../../mixins/storage/documents/contract.ts';
import type { Call, Self } from './editing.mixin.ts';
import type { WorkspaceRow } from './store/rows.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 2000;
/** Escaped it is at most twice as long, which is what patterns may have. */
const MAX_TEXT_CHARS = 100;
const SORTABLE = new Set(['id', 'name', 'slug', 'createdAt', 'updatedAt']);

/** Page, limit and sort of a query string. @throws BadParametersError */
export function paging(
  query: Record<string, any>,
  { sortable = SORTABLE, defaultSort = '-createdAt' }: { sortable?: Set<string>; defaultSort?: string } = {},
) {
  const number = (name: string, fallback: number, max: number): number => {
    if (query[name] === undefined || query[name] === '') return fallback;
    const value = Number(query[name]);
    if (!Number.isInteger(value) || value < 0)
      throw fault('BadParametersError', { message: `${name} must be a whole number from 0.`, data: { parameter: name } });
    return Math.min(value, max);
  };
  const limit = number('limit', DEFAULT_LIMIT, MAX_LIMIT);
  const sort: Record<string, 1 | -1> = {};
  for (const field of String(query.sort ?? defaultSort)
    .split(/[ ,]+/)
    .filter(Boolean)) {
    const name = field.replace(/^[-+]/, '');
    if (!sortable.has(name)) throw fault('BadParametersError', { message: `'${name}' cannot be sorted by.`, data: { parameter: 'sort' } });
    sort[name] = field.startsWith('-') ? -1 : 1;
  }
  return { limit, skip: number('page', 0, 1_000_000) * limit, sort };
}

const escaped = (text: unknown): string =>
  String(text)
    .slice(0, MAX_TEXT_CHARS)
    .replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
const words = (text: unknown): string[] =>
  (Array.isArray(text) ? text : String(text).split(',')).map((item) => String(item).trim()).filter(Boolean);
const isTrue = (value: unknown): boolean => value === true || value === 'true';

function filterOf(query: Record<string, any>, userId: string | undefined): Query {
  const like = (text: unknown) => ({ $regex: escaped(text), $options: 'i' as const });
  const filters: Query[] = [{ deletedAt: { $exists: false } }];
  if (query.labels) filters.push({ labels: { $in: words(query.labels) } });
  if (query.name) filters.push({ name: like(query.name) });
  if (query.slug) filters.push({ slug: String(query.slug) });
  if (query.ids) filters.push({ id: { $in: words(query.ids) } });
  if (query.search)
    filters.push({ $or: [{ name: like(query.search) }, { slug: like(query.search) }, { description: like(query.search) }] });
  if (isTrue(query.owned)) filters.push({ [`permissions.${userId ?? ''}.role`]: 'owner' });
  if (isTrue(query.dirty)) filters.push({ dirty: true });
  return { $and: filters };
}

async function userIdOfEmail(self: Self, ctx: Call<any>, email: unknown): Promise<string | undefined> {
  const found = await ctx.call<any, any>('contacts.search', { query: {}, body: { email: String(email) } });
  const list: { id?: string }[] = found?.contacts ?? found?.results ?? (Array.isArray(found) ? found : []);
  self.logger.debug(`contacts found for a list filter: ${list.length}`);
  return list[0]?.id;
}

export async function listWorkspaces(self: Self, ctx: Call<any>, query: Record<string, any>): Promise<JsonObject[]> {
  const { limit, skip, sort } = paging(query);
  const { userId, role } = self.identityOf(ctx);
  const isSuperAdmin = role === 'superadmin';
  const filter = filterOf(query, userId);
  if (query.email) {
    const wanted = await userIdOfEmail(self, ctx, query.email);
    if (!wanted) return [];
    (filter.$and as Query[]).push({ [`permissions.${wanted}`]: { $exists: true } });
    // Who works on what is for those who may see it: one's own workspaces, or all for a super admin.
    if (wanted !== userId && !isSuperAdmin) (filter.$and as Query[]).push({ [`permissions.${userId ?? ''}.role`]: 'owner' });
  }
  const ability = await self.abilityOf(ctx);
  const rule = ability.query('read', 'workspaces') as Query | null;
  // Members through a custom role are found by their entry; whether the role may read is judged one by one.
  const rights: Query[] = [...(rule ? [rule] : []), ...(userId ? [{ [`permissions.${userId}.role`]: { $exists: true } }] : [])];
  if (rights.length === 0) return [];
  const readable: Query = { $and: [filter, rights.length === 1 ? (rights[0] as Query) : { $or: rights }] };

  const rows = await self.store.documents.find<WorkspaceRow>('workspaces', readable, { sort, limit, skip });
  // The last page tells the total by itself.
  const isLast = rows.length < limit && (rows.length > 0 || skip === 0);
  const total = isLast ? skip + rows.length : await self.store.documents.count('workspaces', readable);
  self.setHeaders(ctx, { 'x-total-count': String(total) });
  const shown = await Promise.all(
    rows.map(async (row) => {
      const own = ability.can('read', 'workspaces', row) ? ability : await self.abilityOf(ctx, row.id);
      if (own !== ability && !own.can('read', 'workspaces', row)) return null;
      const seesPermissions = row.permissions?.[userId ?? '']?.role === 'owner' || own.can('manage_permissions', 'workspaces', row);
      return shownRow(row, seesPermissions);
    }),
  );
  return shown.filter((row) => row !== null);
}

/** A row as clients see it. */
export function shownRow(row: WorkspaceRow, withPermissions: boolean): JsonObject {
  const { _rev, journal: _journal, synced: _synced, hasSealedRepositories: _sealed, permissions, ...shown } = row;
  return { ...shown, ...(withPermissions ? { permissions } : {}) };
}

export async function listLabels(self: Self, ctx: Call<any>, query: Record<string, any>): Promise<string[]> {
  const { limit } = paging({ limit: query.limit ?? MAX_LIMIT });
  const rows = await listWorkspaces(self, ctx, { limit: MAX_LIMIT });
  const labels = new Set(rows.flatMap((row) => (Array.isArray(row.labels) ? row.labels.map(String) : [])));
  return [...labels].sort().slice(0, limit);
}
