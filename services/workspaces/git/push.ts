/**
 * push — publishes a workspace to a branch of a repository, with a tag named as the version. Refused while the branch holds changes of the
 * workspace that it has not seen; what others changed elsewhere in the repository is joined. Only files of ours below the folder are touched.
 */
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { plainText } from '../dsul/slugs.ts';
import { editYaml, readYaml } from '../dsul/yaml.ts';
import type { Call, Self } from '../editing.mixin.ts';
import { appOfWorkspace } from '../publish-app.ts';
import type { VersionRow, WorkspaceRow } from '../store/rows.ts';
import { type Changes, changesBetween } from './changes.ts';
import { changedFiles, commitTree, isAncestor, mergeCommits } from './merge.ts';
import { changesTo, ownFiles } from './own-files.ts';
import { textsAt } from './pull.ts';
import { repositoryOf } from './repositories.ts';
import { NO_EMAIL, type Session, synchronising, tagOf } from './session.ts';
import { changedTree } from './tree.ts';

export interface PushOptions {
  repositoryId: unknown;
  name: string;
  description: unknown;
}

const ORIGIN_FILE = '.import.yml';

export function push(self: Self, ctx: Call<any>, workspaceId: string, options: PushOptions): Promise<VersionRow> {
  const repository = async (row: WorkspaceRow, { index }: { index: JsonObject }) => {
    const found = await repositoryOf(self, { id: row.id, slug: row.slug, index }, options.repositoryId);
    if (found.mode === 'read-only')
      throw fault('ForbiddenError', {
        message: `The repository '${found.id}' is read-only.`,
        data: { action: 'push', subjectType: 'repositories', id: found.id },
      });
    return found;
  };
  return synchronising(self, ctx, workspaceId, 'push', repository, (session) => run(session, options));
}

async function run(session: Session, { name, description }: PushOptions): Promise<VersionRow> {
  const { self, ctx, row, repository, remote, author, branchRef, ownRef, tell } = session;
  const head = remote.refs.get(branchRef);
  const before = remote.refs.get(ownRef);
  const tag = tagOf(repository, row.slug, name);
  if (remote.refs.has(tag))
    throw fault('AlreadyUsedError', { message: `The repository already has a tag '${name}'.`, data: { version: name } });
  if (!head && [...remote.refs.keys()].some((ref) => ref.startsWith('refs/heads/')))
    throw fault('ObjectNotFoundError', {
      message: `The repository has no branch '${repository.branch}'.`,
      data: { subjectType: 'repositories', id: repository.id, branch: repository.branch },
    });

  if (repository.mode === 'write-only') await assertFree(session, head);
  const parent = repository.mode === 'write-only' ? head : await seen(session, head);
  tell('write', 'Writing files');
  const who = author.email === NO_EMAIL ? author.name : author.email;
  const message = `${plainText(description)} | Author : ${who}`;
  const own = await published(session, parent, name, { message, author });
  tell('push:merge', `Joining ${repository.branch}`);
  const result = head ? await mergeCommits(remote.store, own, head, repository.folder, { message, author }) : own;
  const changes = await changesBetween(remote.store, head, result, repository.folder);

  tell('push', `Pushing to ${repository.branch}`);
  await orPullFirst(repository.branch, async () => {
    if (result !== head) await remote.move(branchRef, result, head ?? null);
    tell('push:tag', `Tagging ${name}`);
    await remote.move(tag, result, null);
  });
  if (repository.mode === 'read-write' && (!before || (before !== result && (await isAncestor(remote.store, before, result)))))
    await remote.move(ownRef, result, before ?? null);

  const { result: version } = await self.store.change(row.id, self.author(ctx), (draft) => {
    const by = draft.author.userId ? { createdBy: draft.author.userId } : {};
    const entry: VersionRow = { name, description, createdAt: draft.now, ...by, repository: { id: repository.id } };
    const versions = [entry, ...(draft.row.versions ?? []).filter((other) => other.name !== name)];
    const lastPush = { createdAt: draft.now, ...by, version: name, commit: result, repositoryId: repository.id };
    session.end(draft, result, { lastPush, dirty: false, versions: versions.slice(0, Math.max(1, self.config.maxWorkspaceVersions)) });
    draft.event('workspaces.versions.published', { version: entry, changes: changes as Changes & JsonObject });
    return entry;
  });
  tell('push:done', 'Done');
  return version;
}

/** What is never pulled is overwritten, but not what another workspace pushed there. @throws ForbiddenError */
async function assertFree({ remote, repository, row, known }: Session, head: string | undefined): Promise<void> {
  if (known || !head) return;
  const text = (await textsAt(remote.store, head, repository.folder)).get(ORIGIN_FILE);
  const owner = text === undefined ? undefined : safely(text).workspaceId;
  if (owner !== undefined && owner !== row.id)
    throw fault('ForbiddenError', {
      message: 'Another workspace is kept at this place of the repository.',
      data: { action: 'push', subjectType: 'repositories', id: repository.id },
    });
}

const pullFirst = (branch: string) =>
  fault('PrismeError', { message: `The workspace is not up-to-date with '${branch}': pull first.`, data: { branch } });

/** The commit to build upon. @throws PrismeError when the branch has changes of this workspace that were never pulled */
async function seen(session: Session, head: string | undefined): Promise<string | undefined> {
  const { remote, repository, known, ownRef } = session;
  const own = remote.refs.get(ownRef);
  for (const other of [head, own]) {
    if (!other || (known && (await isAncestor(remote.store, other, known)))) continue;
    // Files that changed outside of what is ours are no news of this workspace.
    const news = await changedFiles(remote.store, known, other, repository.folder);
    if (news.some(({ isOurs }) => isOurs)) throw pullFirst(repository.branch);
  }
  return known ?? head;
}

async function orPullFirst(branch: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw isFault(error, 'VersionConflict') ? pullFirst(branch) : error;
  }
}

/** A commit on `parent` whose folder says what the workspace says, and which version it is. */
async function published(
  { self, row, snapshot, remote, repository }: Session,
  parent: string | undefined,
  version: string,
  text: { message: string; author: { name: string; email: string } },
): Promise<string> {
  const present = await textsAt(remote.store, parent, repository.folder);
  const changes = await changesTo(await ownFiles(self.store, row.id, snapshot), present);
  const old = present.get(ORIGIN_FILE);
  const origin = old === undefined ? {} : safely(old);
  const app = await appOfWorkspace(self.store, row.id);
  changes.set(
    ORIGIN_FILE,
    editYaml(
      old ?? '',
      {
        workspaceId: row.id,
        ...origin,
        ...(app && app.versions.length > 0 ? { app: { slug: app.slug, ...(app.name ? { name: app.name } : {}) } } : {}),
        version: { ...(isPlainObject(origin.version) ? origin.version : {}), type: 'export', name: version },
      },
      ORIGIN_FILE,
    ),
  );
  const tree = await changedTree(remote.store, parent, repository.folder, changes);
  return commitTree(remote.store, tree, parent ? [parent] : [], text);
}

function safely(text: string): JsonObject {
  try {
    return readYaml(text, ORIGIN_FILE);
  } catch {
    return {};
  }
}
