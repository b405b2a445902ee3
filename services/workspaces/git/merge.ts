/** merge — two commits into one, as far as the folder of a workspace goes: foreign files as whole files, ours by their values. */
import { fault } from '../../../mixins/shared/errors.ts';
import { git } from '../../../mixins/shared/packages.ts';
import { classify } from '../dsul/layout.ts';
import { editYaml, readYaml } from '../dsul/yaml.ts';
import { mergeValues } from './merge-values.ts';
import { canonical } from './own-files.ts';
import type { ObjectStore } from './remote.ts';
import { changedTree, filesAt, textOf } from './tree.ts';

export interface Conflict {
  path: string;
  /** Places within the file; none when one side deleted it or it is not ours. */
  places?: string[];
}

export interface CommitText {
  message: string;
  author: { name: string; email: string };
}

export async function commitTree(store: ObjectStore, tree: string, parent: string[], { message, author }: CommitText): Promise<string> {
  const by = { ...author, timestamp: Math.floor(Date.now() / 1000), timezoneOffset: 0 };
  return git().writeCommit({ ...store, commit: { tree, parent, message: `${message}\n`, author: by, committer: by } });
}

export const isAncestor = async (store: ObjectStore, ancestor: string, oid: string): Promise<boolean> =>
  ancestor === oid || (await git().isDescendent({ ...store, oid, ancestor, depth: -1 }));

export const exists = (store: ObjectStore, oid: string): Promise<boolean> =>
  git()
    .readCommit({ ...store, oid })
    .then(
      () => true,
      () => false,
    );

/** @throws MergeConflictError with the places both changed */
export async function mergeCommits(store: ObjectStore, ours: string, theirs: string, folder: string, text: CommitText): Promise<string> {
  if (await isAncestor(store, theirs, ours)) return ours;
  if (await isAncestor(store, ours, theirs)) return theirs;
  const [base] = (await git().findMergeBase({ ...store, oids: [ours, theirs] })) as string[];
  const { changes, conflicts } = await mergeFolders(store, base, ours, theirs, folder);
  if (conflicts.length > 0)
    throw fault('MergeConflictError', {
      message: `Both sides changed ${conflicts.map(({ path, places = [] }) => [path, ...places.slice(0, 3)].join(' ')).join(', ')}.`,
      data: { conflicts },
    });
  // Outside of our folder the other side is right: we never write there.
  return commitTree(store, await changedTree(store, theirs, folder, changes), [ours, theirs], text);
}

async function mergeFolders(store: ObjectStore, base: string | undefined, ours: string, theirs: string, folder: string) {
  const [before, mine, other] = await Promise.all([base, ours, theirs].map((commit) => filesAt(store, commit, folder)));
  const changes = new Map<string, string | null>();
  const conflicts: Conflict[] = [];
  const read = (oid: string, path: string) => textOf(store, oid, path);
  for (const path of new Set([...(mine?.keys() ?? []), ...(other?.keys() ?? []), ...(before?.keys() ?? [])])) {
    const [was, my, their] = [before?.get(path), mine?.get(path), other?.get(path)];
    if (my === their || my === was) continue;
    if (their === was) {
      changes.set(path, my === undefined ? null : await read(my, path));
      continue;
    }
    const file = classify(path);
    // Each installation writes there what it pushed last; it says nothing of the workspace.
    if (file?.type === 'import' && their !== undefined) continue;
    if (!file || my === undefined || their === undefined) {
      conflicts.push({ path });
      continue;
    }
    const theirText = await read(their, path);
    try {
      const { value, conflicts: places } = mergeValues(
        was === undefined ? {} : readYaml(await read(was, path), path),
        readYaml(await read(my, path), path),
        readYaml(theirText, path),
      );
      if (places.length > 0) conflicts.push({ path, places });
      else changes.set(path, editYaml(theirText, value as Record<string, unknown>, path));
    } catch {
      conflicts.push({ path });
    }
  }
  return { changes, conflicts };
}

/** Files of the workspace that differ between two commits, by path. */
export async function changedFiles(store: ObjectStore, from: string | undefined, to: string, folder: string) {
  const [before, after] = await Promise.all([filesAt(store, from, folder), filesAt(store, to, folder)]);
  const paths = [...new Set([...before.keys(), ...after.keys()])].filter((path) => before.get(path) !== after.get(path)).sort();
  return paths.map((path) => ({ path, before: before.get(path), after: after.get(path), isOurs: classify(canonical(path)) !== null }));
}
