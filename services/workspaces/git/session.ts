/**
 * session — one synchronisation of a workspace with a repository: nobody edits while it lasts (write lock), its steps are told as events, and
 * the repository is open. A lock that a dead process left behind ends by its time-out, or by DELETE …/writeLock.
 */
import { fault, toPublicError } from '../../../mixins/shared/errors.ts';
import { createGuard, type Guard } from '../../../mixins/shared/guard.ts';
import type { Json } from '../../../mixins/shared/json.ts';
import type { UserProfile } from '../../gateway/contract.ts';
import { assertUnlocked, type Call, isSameLock, type Self } from '../editing.mixin.ts';
import type { Draft } from '../store/draft.ts';
import type { WorkspaceRow, WriteLock } from '../store/rows.ts';
import type { Snapshot } from '../store/snapshot.ts';
import type { Store } from '../store/store.ts';
import { gitHttp } from './http-client.ts';
import { exists } from './merge.ts';
import { openHttpRemote, openLocalRemote, type Remote } from './remote.ts';
import type { Repository } from './repositories.ts';

/** The tag of a version; in a repository that many workspaces share, each has its own. */
export const tagOf = ({ isPlatform }: Repository, slug: string, version: string): string =>
  `refs/tags/${isPlatform ? `${slug}/` : ''}${version}`;

/** Of commits whose author has no address we know. */
export const NO_EMAIL = 'hello@prisme.ai';
export const MERGE_CONFLICT = 'merge_conflict';

export interface Session {
  self: Self;
  ctx: Call<any>;
  row: WorkspaceRow;
  snapshot: Snapshot;
  repository: Repository;
  remote: Remote;
  lock: WriteLock;
  author: { name: string; email: string };
  branchRef: string;
  /** Where the state of this workspace is kept between pulls and pushes, and conflicts are resolved. */
  ownRef: string;
  /** The commit this workspace was last the same as. */
  known: string | undefined;
  /** Tells a step (`workspaces.versions.progress`). */
  tell(step: string, message: string): void;
  /** For the change that ends the session: gives the lock back and remembers the commit. */
  end(draft: Draft, commit: string, fields: Partial<WorkspaceRow>): void;
}

const guards = new WeakMap<object, Guard>();
const guardOf = (self: Self): Guard => {
  const guard = guards.get(self.broker) ?? createGuard(self.config);
  guards.set(self.broker, guard);
  return guard;
};

/** Runs `work` with the workspace locked and the repository open; the lock is gone when it ends, unless `work` put another one. */
export async function synchronising<T>(
  self: Self,
  ctx: Call<any>,
  workspaceId: string,
  operation: 'pull' | 'push',
  repositoryOf: (row: WorkspaceRow, snapshot: Snapshot) => Promise<Repository>,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { row, snapshot } = await self.store.current(workspaceId);
  const repository = await repositoryOf(row, snapshot);
  const author = self.author(ctx);
  const { result: lock } = await self.store.change(workspaceId, author, (draft) => {
    // After a conflict the next pull takes what was resolved.
    if (!(operation === 'pull' && draft.row.writeLock?.reason === MERGE_CONFLICT))
      assertUnlocked(draft.row.writeLock, self.config.writeLockTimeoutMinutes);
    const taken: WriteLock = {
      lockedAt: draft.now,
      ...(author.userId ? { lockedBy: author.userId } : {}),
      reason: `${operation}_in_progress`,
    };
    draft.setRow({ writeLock: taken, dirty: draft.row.dirty ?? false });
    return taken;
  });
  const former = row.writeLock?.reason === MERGE_CONFLICT ? row.writeLock : undefined;
  let startedAt = Date.now();
  const tell = (step: string, message: string): void => {
    const now = Date.now();
    const payload = {
      operation,
      step,
      message,
      startedAt: new Date(now).toISOString(),
      stepDuration: now - startedAt,
      repositoryId: repository.id,
      branch: repository.branch,
    };
    startedAt = now;
    const sent = self.bus.send('workspaces.versions.progress', payload as Json as never, { source: { ...author.source, workspaceId } });
    Promise.resolve(sent).catch((error) => self.logger.debug(`A step was not told: ${error.message}`));
  };

  let remote: Remote | undefined;
  try {
    // What was edited between the first look and the lock counts.
    const locked = await self.store.current(workspaceId);
    tell('checkout', `Opening ${repository.name}`);
    remote = await openRemote(self, repository);
    const branchRef = `refs/heads/${repository.branch}`;
    const ownRef = `refs/heads/prismeai/${row.slug}/${repository.branch}`;
    await remote.fetch([branchRef, ownRef]);
    const synced = locked.row.synced?.find(({ repositoryId }) => repositoryId === repository.id)?.commit;
    const session: Session = {
      self,
      ctx,
      row: locked.row,
      snapshot: locked.snapshot,
      repository,
      remote,
      lock,
      author: await authorOf(self, ctx),
      branchRef,
      ownRef,
      known: synced && (await exists(remote.store, synced)) ? synced : undefined,
      tell,
      end(draft, commit, fields) {
        const others = (draft.row.synced ?? []).filter(({ repositoryId }) => repositoryId !== repository.id);
        draft.setRow({
          ...fields,
          synced: [...others, { repositoryId: repository.id, commit }],
          writeLock: undefined,
        } as Partial<WorkspaceRow>);
      },
    };
    return await work(session);
  } catch (error) {
    tell('error', toPublicError(error).message);
    await unlock(self, ctx, workspaceId, lock, former);
    throw error;
  } finally {
    await remote?.close().catch((error) => self.logger.warn(`A temporary repository was left behind: ${error.message}`));
  }
}

/** Ends the lock of a session that failed; one of a conflict that was there before stays. */
async function unlock(self: Self, ctx: Call<any>, workspaceId: string, lock: WriteLock, former: WriteLock | undefined): Promise<void> {
  await self.store
    .change(workspaceId, self.author(ctx), (draft) => {
      if (isSameLock(draft.row.writeLock, lock))
        draft.setRow({ writeLock: former, dirty: draft.row.dirty ?? false } as Partial<WorkspaceRow>);
    })
    .catch((error) => self.logger.warn(`The lock of workspace ${workspaceId} stays until its time-out: ${error.message}`));
}

/** Whoever opens it closes it. */
export function openRemote(self: Self, { url, auth, isPlatform }: Repository): Promise<Remote> {
  if (/^https?:\/\//.test(url)) return openHttpRemote(url, gitHttp(guardOf(self), { isPlatform }), auth);
  // Only operators can name a path: repositoryOf refuses it elsewhere.
  if (!isPlatform) throw fault('ForbiddenError', { message: 'A path of this machine cannot be a repository.' });
  return openLocalRemote(url);
}

async function authorOf(self: Self, ctx: Call<any>): Promise<{ name: string; email: string }> {
  const { userId, correlationId } = self.identityOf(ctx);
  const nobody = { name: userId ?? 'Prisme', email: NO_EMAIL };
  if (!userId) return nobody;
  try {
    const [user] = await ctx.call<(UserProfile & { email?: string })[], any>(
      'users.get',
      { ids: [userId] },
      { meta: self.systemMeta(correlationId) },
    );
    return {
      name: [user?.firstName, user?.lastName].filter(Boolean).join(' ') || nobody.name,
      email: user?.email ?? nobody.email,
    };
  } catch {
    return nobody;
  }
}

/** Frees workspaces whose synchronisation died with its process. */
export async function endSessionLocks(store: Store): Promise<void> {
  const reasons = ['pull_in_progress', 'push_in_progress'];
  const rows = await store.documents.find<WorkspaceRow>('workspaces', { 'writeLock.reason': { $in: reasons } });
  for (const { id } of rows)
    await store.change(id, { source: {} }, (draft) => {
      if (reasons.includes(draft.row.writeLock?.reason ?? ''))
        draft.setRow({ writeLock: undefined, dirty: draft.row.dirty ?? false } as unknown as Partial<WorkspaceRow>);
    });
}
