/**
 * credentials — passwords and keys of a workspace's repositories: sealed as soon as they arrive, never shown again, opened where a repository
 * is reached. References such as `{{secret.gitToken}}` stay text: they name a secret and are none.
 */
import { isDeepStrictEqual } from 'node:util';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { KeyRing } from '../../../mixins/shared/keyring.ts';

/** Stands for a value that is not shown; sent back, it means "as before". */
export const HIDDEN = '********';
const SEALED = 'sealed:';
/** Fields of `config.auth` that are no secret. */
const OPEN_FIELDS = new Set(['user', 'username', 'type']);

const placeOf = (workspaceId: string, repositoryId: string): string => `repository/${workspaceId}/${repositoryId}`;
const isReference = (value: string): boolean => value.includes('{{');

type Change = (value: unknown, field: string, repositoryId: string) => unknown;

/** The repositories with each secret field of their `config.auth` changed; `undefined` removes the field. */
function mapAuth(repositories: unknown, change: Change): unknown {
  if (!isPlainObject(repositories)) return repositories;
  return Object.fromEntries(
    Object.entries(repositories).map(([id, repository]) => {
      const config = isPlainObject(repository) ? repository.config : undefined;
      if (!isPlainObject(repository) || !isPlainObject(config) || !isPlainObject(config.auth)) return [id, repository];
      const auth = Object.entries(config.auth).flatMap(([field, value]) => {
        const changed = OPEN_FIELDS.has(field) || value === '' ? value : change(value, field, id);
        return changed === undefined ? [] : [[field, changed]];
      });
      return [id, { ...repository, config: { ...config, auth: Object.fromEntries(auth) } }];
    }),
  );
}

const hasRepositories = (index: JsonObject): boolean => isPlainObject(index.repositories);

/** What a client or an event is given of an index. */
export const shownIndex = (index: JsonObject): JsonObject =>
  hasRepositories(index)
    ? { ...index, repositories: mapAuth(index.repositories, (value) => (isReference(String(value)) ? value : HIDDEN)) }
    : index;

/** What leaves the workspace (archives, copies, models): sealed and literal values would be of no use, or too much of it. */
export const withoutCredentials = (index: JsonObject): JsonObject =>
  hasRepositories(index)
    ? { ...index, repositories: mapAuth(index.repositories, (value) => (isReference(String(value)) ? value : undefined)) }
    : index;

/** Whether repositories sent by a client say what it was shown. */
export const isAsShown = (sent: unknown, index: JsonObject): boolean => isDeepStrictEqual(sent, shownIndex(index).repositories);

/**
 * Fields of an index as they are stored: new passwords and keys sealed, hidden ones as in `old`.
 * @throws RequestValidationError when a hidden value has nothing behind it
 */
export function sealedFields(ring: KeyRing, workspaceId: string, fields: JsonObject, old: JsonObject = {}): JsonObject {
  if (!hasRepositories(fields)) return fields;
  const stored = isPlainObject(old.repositories) ? old.repositories : {};
  const repositories = mapAuth(fields.repositories, (value, field, id) => {
    const path = `repositories.${id}.config.auth.${field}`;
    if (typeof value !== 'string')
      throw fault('RequestValidationError', {
        message: `${path} must be a text.`,
        data: { problems: [{ path, message: 'must be a text' }] },
      });
    if (isReference(value)) return value;
    if (value !== HIDDEN) return SEALED + ring.seal(value, placeOf(workspaceId, id));
    const config = isPlainObject(stored[id]) ? (stored[id] as JsonObject).config : undefined;
    const before = isPlainObject(config) && isPlainObject(config.auth) ? config.auth[field] : undefined;
    if (before === undefined)
      throw fault('RequestValidationError', {
        message: `${path} is hidden and there is no former value to keep: send it again.`,
        data: { problems: [{ path, message: 'has no former value' }] },
      });
    return before;
  });
  return { ...fields, repositories };
}

/** A field of `config.auth` as it is used; references are the caller's to resolve. @throws SecretsError */
export function openedCredential(ring: KeyRing, workspaceId: string, repositoryId: string, value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  return value.startsWith(SEALED) ? ring.open(value.slice(SEALED.length), placeOf(workspaceId, repositoryId)) : value;
}

/** Whether an index holds credentials that are sealed. */
export const isSealed = (index: JsonObject): boolean => JSON.stringify(index.repositories ?? null).includes(`"${SEALED}`);

/** The index with its credentials under the active key, `null` when they are. */
export function resealedIndex(ring: KeyRing, workspaceId: string, index: JsonObject): JsonObject | null {
  const repositories = mapAuth(index.repositories, (value, _field, id) => {
    const sealed = typeof value === 'string' && value.startsWith(SEALED) ? value.slice(SEALED.length) : undefined;
    return sealed && ring.isStale(sealed) ? SEALED + ring.reseal(sealed, placeOf(workspaceId, id)) : value;
  });
  return isDeepStrictEqual(repositories, index.repositories) ? null : { ...index, repositories };
}
