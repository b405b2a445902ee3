/**
 * editing — what every service of this folder shares: the store of workspaces, and the order of every change,
 * permission → lock → precondition → validation → atomic write → events.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods, SubjectType } from '../../mixins/auth/contract.ts';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { bus } from '../../mixins/bus/bus.mixin.ts';
import type { BusMethods } from '../../mixins/bus/contract.ts';
import { MINUTE } from '../../mixins/shared/clock.ts';
import { type Config, configOf } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { hexId, newCorrelationId } from '../../mixins/shared/ids.ts';
import { type KeyRing, openKeyRing } from '../../mixins/shared/keyring.ts';
import { acquire, release } from '../../mixins/shared/resources.ts';
import { type Documents, documents } from '../../mixins/storage/documents/documents.mixin.ts';
import type { FilesDriver } from '../../mixins/storage/files/contract.ts';
import { files, openFiles } from '../../mixins/storage/files/files.mixin.ts';
import { tellError } from './error-events.ts';
import type { Author, Draft } from './store/draft.ts';
import { sendStaged } from './store/outbox.ts';
import { COLLECTIONS, type WorkspaceRow, type WriteLock } from './store/rows.ts';
import { openStore, type Store } from './store/store.ts';

/** Parameters of a published action. */
export interface Params {
  workspaceId: string;
  slug: string;
  query?: Record<string, any>;
  body?: any;
}
export type Call<P = Params> = Context<P, CallMeta & { ifMatch?: string }>;

export interface EditRight {
  action: string;
  subject?: SubjectType;
  object?: object;
  /** The change is made by the holder of the write lock. */
  ignoreLock?: boolean;
}

export interface EditingMethods {
  documents: Documents;
  files: FilesDriver;
  uploads: FilesDriver;
  store: Store;
  keyRing: KeyRing;
  config: Config;
  /** Who a call is made for, and the source of the events it causes. */
  author(ctx: Context<any, any>): Author;
  /** Id of a workspace given by id or `slug:<slug>`. @throws ObjectNotFoundError */
  idOf(workspaceId: string): Promise<string>;
  /** The row, after the right was checked. @throws ForbiddenError · ObjectNotFoundError */
  allowed(ctx: Context<any, any>, workspaceId: string, action: string, subject?: SubjectType, object?: object): Promise<WorkspaceRow>;
  /** Checks the right and the lock, then makes one change (store.change). */
  edit<T>(ctx: Context<any, any>, workspaceId: string, right: EditRight, work: (draft: Draft) => Promise<T> | T): Promise<T>;
  /** Compares the ETag the caller expects, if any. @throws PreconditionFailed with both versions */
  assertMatch(ctx: Context<any, any>, checksum: string | undefined, current: unknown): void;
  setHeaders(ctx: Context<any, any>, headers: Record<string, string>): void;
}

export type Self = Service & EditingMethods & AuthMethods & BusMethods;

const STORE = 'workspaces.store';
const UPLOADS = 'files/uploads';
/** A precondition answer repeats the current object only when it is small. */
const MAX_ECHO_CHARS = 50_000;

export const etagOf = (checksum: string): string => `"${checksum}"`;

/** Throws while the workspace is locked. Locks end by themselves, except those of a merge conflict. @throws WorkspaceLocked */
export function assertUnlocked(lock: WriteLock | undefined, timeoutMinutes: number, now = Date.now()): void {
  if (!lock || (lock.reason !== 'merge_conflict' && now - Date.parse(lock.lockedAt) > timeoutMinutes * MINUTE)) return;
  throw fault('WorkspaceLocked', { message: `The workspace is locked (${lock.reason}).`, data: { ...lock } });
}

export const isSameLock = (a: WriteLock | undefined, b: WriteLock | undefined): boolean =>
  a !== undefined && b !== undefined && a.lockedAt === b.lockedAt && a.reason === b.reason;

export function editing(): Partial<ServiceSchema<any, any>> {
  return {
    mixins: [documents({ collections: COLLECTIONS }), files({ area: 'models' }), bus(), auth()],
    hooks: { error: { '*': tellError as never } },
    methods: {
      author(this: Self, ctx: Context<any, any>): Author {
        const { userId, sessionId, correlationId, ip, sourceWorkspaceId, isAway, depth } = this.identityOf(ctx);
        return {
          ...(userId ? { userId } : {}),
          source: {
            correlationId: correlationId ?? newCorrelationId(),
            ...(userId ? { userId } : {}),
            ...(sessionId ? { sessionId } : {}),
            ...(ip ? { ip } : {}),
            ...(sourceWorkspaceId ? { sourceWorkspaceId } : {}),
            ...(isAway ? { isPosed: isAway } : {}),
            // An automation that changes what it listens to must come to an end.
            ...(depth ? { automationDepth: depth } : {}),
          },
        };
      },
      async idOf(this: Self, workspaceId: string): Promise<string> {
        if (!workspaceId.startsWith('slug:')) return workspaceId;
        const [row] = await this.store.documents.find<WorkspaceRow>(
          'workspaces',
          { slug: workspaceId.slice('slug:'.length) },
          { limit: 1 },
        );
        if (!row || row.deletedAt)
          throw fault('ObjectNotFoundError', {
            message: `There is no workspace '${workspaceId}'.`,
            data: { subjectType: 'workspaces', id: workspaceId },
          });
        return row.id;
      },
      async allowed(
        this: Self,
        ctx,
        workspaceId: string,
        action: string,
        subject: SubjectType = 'workspaces',
        object?: object,
      ): Promise<WorkspaceRow> {
        const row = await this.store.row(await this.idOf(workspaceId));
        await this.authorize(ctx, row.id, action, subject, object ?? (subject === 'workspaces' ? row : { workspaceId: row.id }));
        return row;
      },
      async edit(
        this: Self,
        ctx,
        workspaceId: string,
        { action, subject, object, ignoreLock }: EditRight,
        work: (draft: Draft) => unknown,
      ): Promise<unknown> {
        const row = await this.allowed(ctx, workspaceId, action, subject, object);
        const { result } = await this.store.change(row.id, this.author(ctx), (draft) => {
          if (!ignoreLock) assertUnlocked(draft.row.writeLock, this.config.writeLockTimeoutMinutes);
          return work(draft);
        });
        return result;
      },
      assertMatch(this: Self, ctx, checksum: string | undefined, current: unknown): void {
        const expected = (ctx.meta as { ifMatch?: unknown }).ifMatch;
        if (typeof expected !== 'string' || expected.trim() === '') return;
        const wanted = expected.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
        if (checksum !== undefined && (wanted.includes('*') || wanted.includes(etagOf(checksum)) || wanted.includes(checksum))) return;
        const text = JSON.stringify(current) ?? 'null';
        throw fault('PreconditionFailed', {
          data: {
            expected,
            actual: checksum === undefined ? null : etagOf(checksum),
            ...(text.length <= MAX_ECHO_CHARS ? { current } : {}),
          },
        });
      },
      setHeaders(this: Self, ctx, headers: Record<string, string>): void {
        ctx.meta.$responseHeaders = { ...ctx.meta.$responseHeaders, ...headers };
      },
    },
    created(this: Self) {
      this.config = configOf(this.broker);
    },
    async started(this: Self) {
      this.keyRing = openKeyRing(this.config);
      this.uploads = await acquire(
        this.broker,
        UPLOADS,
        () => openFiles(this.config, 'uploads'),
        (driver) => driver.close(),
      );
      this.store = await acquire(
        this.broker,
        STORE,
        () =>
          openStore({
            documents: this.documents,
            files: this.files,
            uploads: this.uploads,
            send: (events) => sendStaged(this.bus, events, this.logger),
            changed: (workspaceId) => this.accessChanged(workspaceId),
            // Alone on its stores a process that restarts takes over what its former self held.
            owner: this.config.transporterUrl ? `${this.broker.nodeID}-${hexId()}` : 'embedded',
            logger: this.logger,
          }),
        (store) => store.idle(),
      );
    },
    async stopped(this: Self) {
      if (this.store) await release(this.broker, STORE);
      if (this.uploads) await release(this.broker, UPLOADS);
    },
  };
}
