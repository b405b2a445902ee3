/**
 * repositories — where a workspace may push to and pull from: its own (index field `repositories`) and those operators give to the whole
 * platform (`WORKSPACES_STORAGE_GIT_PLATFORM_<id>_…`), in which each workspace has a folder of its own.
 */

import type { Config } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { KeyRing } from '../../../mixins/shared/keyring.ts';
import { placeOf } from '../secret-place.ts';
import type { SecretRow } from '../store/rows.ts';
import type { Store } from '../store/store.ts';
import { openedCredential } from './credentials.ts';

export type Mode = 'read-write' | 'read-only' | 'write-only';

export interface Repository {
  id: string;
  name: string;
  isPlatform: boolean;
  /** `http(s)://…`; of a platform repository also a path of this disk. */
  url: string;
  branch: string;
  mode: Mode;
  /** Folder of the workspace in the repository; empty for its root. */
  folder: string;
  auth?: { username: string; password: string };
  /** Paths that pulls leave alone: `index`, `security`, `pages/<slug>`, … */
  exclude: string[];
}

const PREFIX = 'WORKSPACES_STORAGE_GIT_PLATFORM_';
const VARIABLE = new RegExp(`^${PREFIX}(.+?)_(AUTH_USER|AUTH_PASSWORD|AUTH_SSHKEY|TYPE|URL|NAME|BRANCH|MODE|DIRPATH)$`);
const isMode = (mode: unknown): mode is Mode => mode === 'read-write' || mode === 'read-only' || mode === 'write-only';

type Fields = Partial<Record<string, string>>;

function platformFields(config: Config): Map<string, Fields> {
  const found = new Map<string, Fields>();
  for (const [name, value] of Object.entries(config.open)) {
    const [, id, field] = VARIABLE.exec(name) ?? [];
    if (id && field && value !== '') found.set(id, { ...found.get(id), [field]: value });
  }
  return found;
}

/** As workspaces show them: without credentials. */
export function shownPlatformRepositories(config: Config): JsonObject {
  return Object.fromEntries(
    [...platformFields(config)].map(([id, { NAME, TYPE = 'git', MODE, URL: url, BRANCH = 'main', DIRPATH }]) => [
      id,
      {
        name: NAME ?? id,
        type: TYPE,
        mode: isMode(MODE) ? MODE : 'read-write',
        config: { url, branch: BRANCH, ...(DIRPATH ? { dirpath: DIRPATH } : {}) },
      },
    ]),
  );
}

/**
 * The repository `id` of a workspace, ready to be reached.
 * @throws ObjectNotFoundError · MissingFieldError for a reference to nothing · PrismeError for addresses that are not supported
 */
export async function repositoryOf(
  { store, keyRing, config }: { store: Store; keyRing: KeyRing; config: Config },
  workspace: { id: string; slug: string; index: JsonObject },
  id: unknown,
): Promise<Repository> {
  const own = isPlainObject(workspace.index.repositories) ? workspace.index.repositories : {};
  if (typeof id === 'string' && Object.hasOwn(own, id) && isPlainObject(own[id])) {
    const resolve = await resolver(store, keyRing, workspace.id);
    return ownRepository(id, own[id] as JsonObject, keyRing, workspace.id, resolve);
  }
  return platformRepository(config, String(id), workspace.slug);
}

/** A repository of the platform, at the folder of a workspace, or of all with an empty `slug`. @throws ObjectNotFoundError · PrismeError */
export function platformRepository(config: Config, id: string, slug: string): Repository {
  const fields = platformFields(config).get(id);
  if (!fields)
    throw fault('ObjectNotFoundError', { message: `There is no repository '${id}'.`, data: { subjectType: 'repositories', id } });
  const { URL: url, BRANCH: branch = 'main', MODE, DIRPATH, TYPE = 'git', AUTH_USER, AUTH_PASSWORD } = fields;
  if (!url || TYPE !== 'git')
    throw fault('PrismeError', {
      message: url ? `Platform repositories of type '${TYPE}' are not supported.` : `${PREFIX}${id}_URL is not set.`,
      data: { repository: id },
    });
  return {
    id,
    name: fields.NAME ?? id,
    isPlatform: true,
    url: url.replace(/^file:\/\//, ''),
    branch,
    mode: isMode(MODE) ? MODE : 'read-write',
    folder: [...folderNames(DIRPATH ?? '', id), ...slug.split('/').filter(Boolean)].join('/'),
    ...(AUTH_PASSWORD ? { auth: { username: AUTH_USER ?? 'git', password: AUTH_PASSWORD } } : {}),
    exclude: [],
  };
}

function ownRepository(
  id: string,
  repository: JsonObject,
  keyRing: KeyRing,
  workspaceId: string,
  resolve: (text: string) => string,
): Repository {
  const config = isPlainObject(repository.config) ? repository.config : {};
  if (repository.type === 'archive')
    throw fault('PrismeError', { message: `'${id}' only describes imports of archives.`, data: { repository: id } });
  const url = String(config.url ?? '');
  if (!/^https?:\/\//.test(url))
    throw fault('PrismeError', {
      message: `The address of '${id}' must start with https://: ssh is not supported, a user and an access token do the same over https.`,
      data: { repository: id },
    });
  const auth = isPlainObject(config.auth) ? config.auth : {};
  const opened = openedCredential(keyRing, workspaceId, id, auth.password);
  const pull = isPlainObject(repository.pull) && Array.isArray(repository.pull.exclude) ? repository.pull.exclude : [];
  return {
    id,
    name: String(repository.name ?? id),
    isPlatform: false,
    url,
    branch: String(config.branch ?? 'main'),
    mode: isMode(repository.mode) ? repository.mode : 'read-write',
    folder: folderNames(typeof config.dirpath === 'string' ? config.dirpath : '', id).join('/'),
    ...(opened ? { auth: { username: resolve(String(auth.user ?? auth.username ?? 'git')), password: resolve(opened) } } : {}),
    exclude: pull.flatMap((entry) => (isPlainObject(entry) && typeof entry.path === 'string' ? [entry.path] : [])),
  };
}

function folderNames(dirpath: string, id: string): string[] {
  const names = dirpath.split('/').filter((name) => name !== '' && name !== '.');
  if (names.some((name) => name === '..' || name === '.git' || name.includes('\\')))
    throw fault('PrismeError', { message: `dirpath of '${id}' leaves the repository.`, data: { repository: id } });
  return names;
}

/**
 * Replaces `{{secret.x}}` in credentials; nowhere else, so that whoever may change settings cannot lead a secret to another address.
 * @throws MissingFieldError
 */
async function resolver(store: Store, keyRing: KeyRing, workspaceId: string): Promise<(text: string) => string> {
  const rows = await store.documents.find<SecretRow>('secrets', { workspaceId });
  return (text) =>
    text.replace(/\{\{\s*secret\.([\w.-]+)\s*\}\}/g, (_all, name: string) => {
      const row = rows.find((secret) => secret.name === name && !name.startsWith('prismeai_'));
      if (row?.type !== 'string')
        throw fault('MissingFieldError', {
          message: `The repository refers to secret.${name}, which is not a text of this workspace.`,
          data: { field: `secret.${name}` },
        });
      return keyRing.open(row.sealed, placeOf(workspaceId, name));
    });
}
