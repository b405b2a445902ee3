/**
 * pull — a workspace takes what a repository holds:
 *
 *   1 its own changes since the last synchronisation become a commit on top of the commit it had then
 *   2 that is merged with `prismeai/<slug>/<branch>` (where conflicts are resolved) and with the branch
 *   3 the result is pushed to `prismeai/<slug>/<branch>`, then imported in one change
 *
 * A first pull deletes nothing: objects the repository lacks stay. What a pull overwrites for good (a first one, or one that discards local
 * changes) is kept as a version of the platform before. A tag or a commit is taken as it is.
 */
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../mixins/shared/json.ts';
import { git } from '../../../mixins/shared/packages.ts';
import { parseArchive } from '../archive/import-archive.ts';
import { type Imported, importInto } from '../archive/import-workspace.ts';
import type { ArchivedFile } from '../archive/read-archive.ts';
import { classify, KINDS, versionFolder } from '../dsul/layout.ts';
import type { Call, Self } from '../editing.mixin.ts';
import type { WorkspaceRow, WriteLock } from '../store/rows.ts';
import { commitTree, exists, isAncestor, mergeCommits } from './merge.ts';
import { canonical, changesTo, ownFiles } from './own-files.ts';
import { repositoryOf } from './repositories.ts';
import { MERGE_CONFLICT, type Session, synchronising, tagOf } from './session.ts';
import { changedTree, filesAt, textOf } from './tree.ts';

export interface PullOptions {
  repositoryId: unknown;
  /** `latest` (the branch), a tag, or a commit of the branch. */
  version: string;
  discardLocalChanges: boolean;
}

export function pull(self: Self, ctx: Call<any>, workspaceId: string, options: PullOptions): Promise<Imported> {
  const repository = async (row: WorkspaceRow, snapshot: { index: Record<string, unknown> }) => {
    const found = await repositoryOf(self, { id: row.id, slug: row.slug, index: snapshot.index }, options.repositoryId);
    if (found.mode === 'write-only')
      throw fault('ForbiddenError', {
        message: `The repository '${found.id}' is write-only.`,
        data: { action: 'pull', subjectType: 'repositories', id: found.id },
      });
    return found;
  };
  return synchronising(self, ctx, workspaceId, 'pull', repository, (session) => run(session, options));
}

async function run(session: Session, { version, discardLocalChanges }: PullOptions): Promise<Imported> {
  const { self, ctx, row, repository, remote, known, tell } = session;
  tell('pull', `Reading ${repository.branch}`);
  const head = remote.refs.get(session.branchRef);
  if (!head)
    throw fault('ObjectNotFoundError', {
      message: `The repository has no branch '${repository.branch}'.`,
      data: { subjectType: 'repositories', id: repository.id, branch: repository.branch },
    });
  const wanted = version === 'latest' ? undefined : await commitNamed(session, version);
  await assertOwnFolder(session, wanted ?? head);
  const isWritable = repository.mode === 'read-write';
  const takesAll = discardLocalChanges || wanted !== undefined || known === undefined;
  const before = remote.refs.get(session.ownRef);

  let result: string;
  let hasLocalChanges = false;
  if (takesAll) {
    await keepLocalState(session);
    result = wanted ?? head;
  } else {
    const own = await ownCommit(session, known);
    hasLocalChanges = own !== known;
    tell('pull:merge', `Merging ${repository.branch}`);
    result = await merged(session, own, [isWritable ? before : undefined, head]);
  }
  const kept = isWritable ? await keepOwnBranch(session, result, before) : result;

  tell('pull:import', 'Importing');
  const files = await importable(session, result);
  if (!files.some(({ file }) => file.type === 'index') && known === undefined)
    throw fault('ObjectNotFoundError', {
      message: `There is no workspace (index.yml) in ${repository.folder ? `'${repository.folder}' of ` : ''}'${repository.branch}'.`,
      data: { subjectType: 'repositories', id: repository.id },
    });
  // A read-only repository never hears of our merge: local changes are told apart from its own head.
  const synced = isWritable || takesAll ? kept : head;
  const parsed = await parseArchive(files);
  const imported = await importInto(self, ctx, row.id, parsed, {
    prune: known !== undefined || discardLocalChanges || wanted !== undefined,
    isRollback: true,
    exclude: repository.exclude,
    version: version === 'latest' ? result.slice(0, 12) : version,
    lock: session.lock,
    record: (draft) => {
      const named = isPlainObject(parsed.origin?.version) ? parsed.origin.version.name : undefined;
      const pulled = version === 'latest' && typeof named === 'string' ? named : version;
      const lastPull = { createdAt: draft.now, ...by(draft.author.userId), version: pulled, commit: synced, repositoryId: repository.id };
      session.end(draft, synced, { lastPull, dirty: hasLocalChanges });
    },
  });
  tell('pull:import:done', `Imported ${imported.imported.length} files`);
  tell('pull:done', 'Done');
  return imported;
}

/**
 * A repository of the platform holds many workspaces by their slugs. A slug can be taken by anybody once it is free, also on another installation: what
 * another workspace pushed there is given to super admins only, who then have joined the two.
 */
async function assertOwnFolder({ self, ctx, row, repository, remote, known }: Session, commit: string): Promise<void> {
  if (!repository.isPlatform || known || self.identityOf(ctx).role === 'superadmin') return;
  const { origin } = await parseArchive(await importable({ remote, repository }, commit));
  if (origin?.workspaceId === row.id) return;
  throw fault('ForbiddenError', {
    message: `The folder '${repository.folder}' was not pushed by this workspace: a super admin makes the first pull.`,
    data: { action: 'pull', subjectType: 'repositories', id: repository.id },
  });
}

const by = (userId: string | undefined) => (userId ? { createdBy: userId } : {});

async function commitNamed({ remote, repository, row }: Session, name: string): Promise<string> {
  const ref = tagOf(repository, row.slug, name);
  const tagged = remote.refs.get(ref);
  if (tagged) {
    await remote.fetch([ref]);
    return tagged;
  }
  if (/^[0-9a-f]{40}$/.test(name) && (await exists(remote.store, name))) return name;
  throw fault('ObjectNotFoundError', {
    message: `The repository has no tag or commit '${name}' (a commit is named by its 40 digits).`,
    data: { subjectType: 'repositories', id: repository.id, version: name },
  });
}

/** The state of the workspace as a commit on `known`; `known` itself when nothing was changed since. */
async function ownCommit({ self, row, snapshot, repository, remote, author }: Session, known: string): Promise<string> {
  const own = await ownFiles(self.store, row.id, snapshot);
  const present = await textsAt(remote.store, known, repository.folder);
  const changes = await changesTo(own, present, repository.exclude);
  if (changes.size === 0) return known;
  const tree = await changedTree(remote.store, known, repository.folder, changes);
  return commitTree(remote.store, tree, [known], { message: `Changes made in ${row.name}`, author });
}

export async function textsAt(store: Session['remote']['store'], commit: string | undefined, folder: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const [path, oid] of await filesAt(store, commit, folder)) if (classify(path)) texts.set(path, await textOf(store, oid, path));
  return texts;
}

/** @throws MergeConflictError, with the workspace locked and its own state pushed for a person to resolve */
async function merged(session: Session, own: string, heads: (string | undefined)[]): Promise<string> {
  const { remote, repository, author, row } = session;
  let result = own;
  try {
    for (const head of heads)
      if (head)
        result = await mergeCommits(remote.store, result, head, repository.folder, {
          message: `Merge ${repository.branch} into ${row.name}`,
          author,
        });
    return result;
  } catch (error) {
    if (isFault(error, 'MergeConflictError')) await askForResolution(session, own);
    throw error;
  }
}

async function askForResolution(session: Session, own: string): Promise<void> {
  const { self, ctx, row, remote, repository, ownRef } = session;
  const before = remote.refs.get(ownRef);
  const canAsk = repository.mode === 'read-write' && (!before || (await isAncestor(remote.store, before, own)));
  if (!canAsk) return;
  if (before !== own) await remote.move(ownRef, own, before ?? null);
  await self.store.change(row.id, self.author(ctx), (draft) => {
    const writeLock: WriteLock = { ...session.lock, lockedAt: draft.now, reason: MERGE_CONFLICT };
    session.end(draft, own, { dirty: true });
    draft.setRow({ writeLock });
  });
}

/** Moves `prismeai/<slug>/<branch>` to the result, joined with what it held when everything was taken from elsewhere: that stays in the history. */
async function keepOwnBranch({ remote, ownRef, author, row }: Session, result: string, before: string | undefined): Promise<string> {
  if (result === before) return result;
  let to = result;
  if (before && !(await isAncestor(remote.store, before, result))) {
    const { commit } = await git().readCommit({ ...remote.store, oid: result });
    to = await commitTree(remote.store, commit.tree, [before, result], { message: `Take ${result.slice(0, 12)} into ${row.name}`, author });
  }
  await remote.move(ownRef, to, before ?? null);
  return to;
}

async function importable({ remote, repository }: Pick<Session, 'remote' | 'repository'>, commit: string): Promise<ArchivedFile[]> {
  const files: ArchivedFile[] = [];
  for (const [path, text] of await textsAt(remote.store, commit, repository.folder)) {
    const file = classify(path);
    if (!file || file.type === 'meta') continue;
    files.push({ path: canonical(path), file, text });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** A version of the platform with the state that is about to be replaced, unless there is nothing in it or a repository has it. */
async function keepLocalState({ self, ctx, row, snapshot, remote, repository, known }: Session): Promise<void> {
  if (KINDS.every((kind) => Object.keys(snapshot[kind]).length === 0)) return;
  if (known) {
    const changes = await changesTo(
      await ownFiles(self.store, row.id, snapshot),
      await textsAt(remote.store, known, repository.folder),
      repository.exclude,
    );
    if (changes.size === 0) return;
  }
  await self.store.change(row.id, self.author(ctx), (draft) => {
    const versions = draft.row.versions ?? [];
    const taken = new Set(versions.map(({ name }) => name));
    let n = 1;
    while (taken.has(`before-pull-${n}`)) n++;
    const version = {
      name: `before-pull-${n}`,
      description: `Kept before a pull from ${repository.name}`,
      createdAt: draft.now,
      ...by(draft.author.userId),
    };
    draft.setRow({ versions: [version, ...versions], dirty: draft.row.dirty ?? false });
    draft.step({ do: 'copyAll', from: versionFolder(row.id), to: versionFolder(row.id, version.name) });
    draft.event('workspaces.versions.published', { version });
  });
}
