/**
 * own-files — a workspace as files of a repository. What belongs to one installation only (ids, domains, repositories) stays out of the files,
 * or as the repository has it; a file that says the same is left exactly as it is there.
 */
import { isDeepStrictEqual } from 'node:util';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { parseArchive } from '../archive/import-archive.ts';
import { classify, INDEX_FILE, KINDS, objectFile, SECURITY_FILE, type TreeFile, versionFolder } from '../dsul/layout.ts';
import { editYaml, readYaml } from '../dsul/yaml.ts';
import type { Snapshot } from '../store/snapshot.ts';
import type { Store } from '../store/store.ts';
import { withoutCredentials } from './credentials.ts';

/** Fields of a file that are the installation's own. */
const LOCAL_FIELDS: Record<string, readonly string[]> = {
  index: ['id', 'customDomains', 'repositories', 'slug'],
  pages: ['workspaceId', 'workspaceSlug'],
};

export interface OwnFile {
  file: TreeFile;
  value: JsonObject;
  /** As written on disk, comments included. */
  text: string;
}

const localFields = (file: TreeFile): readonly string[] => LOCAL_FIELDS[file.type === 'object' ? file.kind : file.type] ?? [];

const omit = (value: JsonObject, fields: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([key]) => !fields.includes(key)));

/** One name for a file however its extension is spelled. */
export function canonical(path: string): string {
  const file = classify(path);
  if (file?.type === 'object') return objectFile(file.kind, file.slug);
  return file?.type === 'index' ? INDEX_FILE : file?.type === 'security' ? SECURITY_FILE : path;
}

/** The files of a workspace as it is edited, by canonical path. */
export async function ownFiles(store: Store, workspaceId: string, snapshot: Snapshot): Promise<Map<string, OwnFile>> {
  const values: [path: string, value: JsonObject][] = [
    [INDEX_FILE, withoutCredentials(snapshot.index)],
    ...(Object.keys(snapshot.security).length > 0 ? [[SECURITY_FILE, snapshot.security] as [string, JsonObject]] : []),
    ...KINDS.flatMap((kind) =>
      Object.entries(snapshot[kind]).map(([slug, value]): [string, JsonObject] => [objectFile(kind, slug), value]),
    ),
  ];
  const files = new Map<string, OwnFile>();
  for (const [path, value] of values) {
    const file = classify(path) as TreeFile;
    const stored = await store.files.read(`${versionFolder(workspaceId)}/${path}`);
    files.set(path, { file, value, text: stored?.body.toString('utf8') ?? '' });
  }
  return files;
}

/**
 * What must change in a repository (texts of its files of ours, by path as spelled there) so that it holds `own`.
 * Files that cannot be read are nobody's change: they stay.
 */
export async function changesTo(
  own: ReadonlyMap<string, OwnFile>,
  present: ReadonlyMap<string, string>,
  excluded: readonly string[] = [],
): Promise<Map<string, string | null>> {
  const changes = new Map<string, string | null>();
  const spelled = new Map([...present.keys()].map((path) => [canonical(path), path]));
  const isExcluded = (path: string) => excluded.includes(path.replace(/\.ya?ml$/, ''));
  for (const [path, { file, value, text }] of own) {
    if (isExcluded(path)) continue;
    const there = spelled.get(path);
    const before = there === undefined ? undefined : readable(present.get(there) as string, there);
    const local = localFields(file);
    const kept = Object.fromEntries(Object.entries(before ?? {}).filter(([key]) => local.includes(key)));
    // A first push says the slug: a platform that makes a workspace of these files gives it that name.
    const named = file.type === 'index' && before === undefined && value.slug ? { slug: value.slug } : {};
    const wanted = { ...omit(value, local), ...named, ...kept };
    if (before !== undefined && isDeepStrictEqual(before, wanted)) continue;
    changes.set(there ?? path, editYaml(text, wanted, path));
  }
  for (const [path, there] of spelled) {
    const file = classify(path);
    if (own.has(path) || isExcluded(path) || (file?.type !== 'object' && file?.type !== 'security')) continue;
    if (await isImportable(there, file, present.get(there) as string)) changes.set(there, null);
  }
  return changes;
}

function readable(text: string, path: string): JsonObject | undefined {
  try {
    const value = readYaml(text, path);
    return isPlainObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function isImportable(path: string, file: TreeFile, text: string): Promise<boolean> {
  return (await parseArchive([{ path, file, text }])).errors.length === 0;
}
