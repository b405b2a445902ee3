/** api-keys — keys of a workspace for programs: random, kept as SHA-256 only, known to people by their id and first characters. */
import { createHash } from 'node:crypto';
import type { Rule } from '../../mixins/auth/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { shortId, uuid } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Draft } from './store/draft.ts';
import type { ApiKeyRow } from './store/rows.ts';
import type { Store } from './store/store.ts';

export const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex');

export function createApiKey(
  draft: Draft,
  name: string,
  rules: Rule[],
): { key: string; row: Omit<ApiKeyRow, '_rev'> & { [field: string]: unknown } } {
  const key = uuid();
  const by = draft.author.userId;
  const row = {
    id: shortId(12),
    workspaceId: draft.row.id,
    name,
    rules,
    hash: hashOf(key),
    hint: `${key.slice(0, 8)}…`,
    createdAt: draft.now,
    updatedAt: draft.now,
    ...(by ? { createdBy: by, updatedBy: by } : {}),
  };
  return { key, row };
}

/** By its id, or by the key itself, as older clients do. @throws ObjectNotFoundError */
export async function findApiKey(store: Store, workspaceId: string, idOrKey: string): Promise<ApiKeyRow> {
  const byId = await store.documents.get<ApiKeyRow>('apiKeys', idOrKey);
  const row = byId ?? (await store.documents.find<ApiKeyRow>('apiKeys', { workspaceId, hash: hashOf(idOrKey) }, { limit: 1 }))[0];
  if (!row || row.workspaceId !== workspaceId)
    throw fault('ObjectNotFoundError', { message: 'There is no such API key.', data: { subjectType: 'apiKeys' } });
  return row;
}

/** Without hash or key; `apiKey` is the id that other routes take. */
export const shownApiKey = ({ id, workspaceId, name, rules, hint, disabled, createdAt, createdBy, updatedAt }: ApiKeyRow): JsonObject => ({
  id,
  apiKey: id,
  hint,
  name,
  rules,
  subjectType: 'workspaces',
  subjectId: workspaceId,
  ...(disabled ? { disabled } : {}),
  createdAt,
  createdBy,
  updatedAt,
});
