/** tree — the files of a commit below one folder, and trees that differ from a commit's in some of them. */
import type { TreeEntry } from 'isomorphic-git';
import { fault } from '../../../mixins/shared/errors.ts';
import { git } from '../../../mixins/shared/packages.ts';
import type { ObjectStore } from './remote.ts';

/** Files below the folder of a workspace that are looked at. */
const MAX_FILES = 20_000;
const MAX_BLOB_BYTES = 5_000_000;
const FILE_MODE = '100644';

/** Path below `folder` → blob of each plain file (no links, no submodules) of a commit; empty when the folder is not there. */
export async function filesAt(store: ObjectStore, commit: string | undefined, folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  if (!commit) return files;
  const visit = async (oid: string, prefix: string): Promise<void> => {
    const { tree } = await git().readTree({ ...store, oid });
    for (const entry of tree) {
      const path = prefix + entry.path;
      if (entry.type === 'tree') await visit(entry.oid, `${path}/`);
      else if (entry.type === 'blob' && entry.mode !== '120000') files.set(path, entry.oid);
      if (files.size > MAX_FILES)
        throw fault('LimitExceededError', {
          message: `The repository holds more than ${MAX_FILES} files here.`,
          data: { limit: MAX_FILES },
        });
    }
  };
  const root = await folderOid(store, commit, folder);
  if (root) await visit(root, '');
  return files;
}

async function folderOid(store: ObjectStore, commit: string, folder: string): Promise<string | undefined> {
  let { tree: oid } = (await git().readCommit({ ...store, oid: commit })).commit;
  for (const name of folder.split('/').filter(Boolean)) {
    const { tree } = await git().readTree({ ...store, oid });
    const entry = tree.find(({ path, type }) => path === name && type === 'tree');
    if (!entry) return undefined;
    oid = entry.oid;
  }
  return oid;
}

/** @throws PayloadTooLarge · InvalidUploadError for what is not UTF-8 */
export async function textOf(store: ObjectStore, oid: string, path: string): Promise<string> {
  const { blob } = await git().readBlob({ ...store, oid });
  if (blob.length > MAX_BLOB_BYTES)
    throw fault('PayloadTooLarge', { message: `${path} is larger than ${MAX_BLOB_BYTES} bytes.`, data: { file: path } });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(blob);
  } catch {
    throw fault('InvalidUploadError', { message: `${path} is not UTF-8 text.`, data: { entry: path } });
  }
}

/** The tree of `commit` (none: an empty one) with files below `folder` written or, with `null`, removed. Everything else stays. */
export async function changedTree(
  store: ObjectStore,
  commit: string | undefined,
  folder: string,
  changes: ReadonlyMap<string, string | null>,
): Promise<string> {
  const root = commit ? (await git().readCommit({ ...store, oid: commit })).commit.tree : undefined;
  const prefix = folder.split('/').filter(Boolean).join('/');
  const full = [...changes].map(([path, text]) => [prefix ? `${prefix}/${path}` : path, text] as const);
  return (await edited(store, root, full)) ?? (await git().writeTree({ ...store, tree: [] }));
}

/** The oid of a tree with the changes, `undefined` when nothing is left in it. */
async function edited(
  store: ObjectStore,
  oid: string | undefined,
  changes: (readonly [path: string, text: string | null])[],
): Promise<string | undefined> {
  const entries = new Map<string, TreeEntry>(
    oid ? (await git().readTree({ ...store, oid })).tree.map((entry): [string, TreeEntry] => [entry.path, entry]) : [],
  );
  const folders = new Map<string, [string, string | null][]>();
  for (const [path, text] of changes) {
    const slash = path.indexOf('/');
    if (slash > 0) {
      const name = path.slice(0, slash);
      folders.set(name, [...(folders.get(name) ?? []), [path.slice(slash + 1), text]]);
    } else if (text === null) entries.delete(path);
    else
      entries.set(path, {
        mode: entries.get(path)?.type === 'blob' ? (entries.get(path)?.mode as string) : FILE_MODE,
        path,
        oid: await git().writeBlob({ ...store, blob: Buffer.from(text) }),
        type: 'blob',
      });
  }
  for (const [name, inside] of folders) {
    const known = entries.get(name);
    const tree = await edited(store, known?.type === 'tree' ? known.oid : undefined, inside);
    if (tree) entries.set(name, { mode: '040000', path: name, oid: tree, type: 'tree' });
    else if (known?.type === 'tree') entries.delete(name);
  }
  return entries.size === 0 ? undefined : git().writeTree({ ...store, tree: [...entries.values()] });
}
