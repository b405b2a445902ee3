/**
 * store — the only code that reads and writes workspaces. Every change is all or nothing, on any file store and document store, and after
 * a crash the workspace is the old one or the new one (docs/decisions/040-atomic-changes.md):
 *
 *   1 stage    the whole change (files, rows, events) is written as one object `workspaces/<id>/journal/<ulid>.json`
 *   2 commit   the workspace's row is written over the revision that was read: new revision, and `journal` names the object
 *   3 apply    the steps are done: files, rows; each may be done twice
 *   4 tell     the events are sent, with ids chosen in 1, so that sending them twice is sending them once
 *   5 clear    `journal` leaves the row, then the object is removed
 *
 * Before 2 nothing happened; after it the change is done whoever finishes it: the next reader or writer of the workspace, on any node,
 * does 3 to 5 again first (`settle`). Writers of a workspace take turns (lease.ts).
 */

import type { Logger } from 'moleculer';
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { EventSource } from '../../../mixins/shared/event.ts';
import { ulid } from '../../../mixins/shared/ids.ts';
import { type JsonObject, parseJson } from '../../../mixins/shared/json.ts';
import { lru } from '../../../mixins/shared/lru.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { CURRENT, journalKey, META_FILE, versionFolder, workspaceFolder } from '../dsul/layout.ts';
import { editYaml, writeYaml } from '../dsul/yaml.ts';
import { adoptedRow } from './adopt.ts';
import { type Author, type Draft, type DraftResult, type OutEvent, openDraft } from './draft.ts';
import { historySteps } from './history.ts';
import { type Lease, leases } from './lease.ts';
import type { WorkspaceRow } from './rows.ts';
import { emptySnapshot, readFolder, type Snapshot } from './snapshot.ts';
import { applySteps, type Step } from './steps.ts';

/** An event as it waits in the journal. */
export interface StagedEvent extends OutEvent {
  id: string;
  source: Partial<EventSource>;
}

interface Journal {
  workspaceId: string;
  revision: number;
  steps: Step[];
  events: StagedEvent[];
  /** The change ends the workspace: its row goes last. */
  removesWorkspace?: boolean;
}

export interface StoreOptions {
  /** With the collections of rows.ts open. */
  documents: Documents;
  /** Trees of workspaces and apps. */
  files: FilesDriver;
  uploads: FilesDriver;
  /** Sends events, durable when it resolves. An event with a known id is not sent twice. */
  send(events: StagedEvent[]): Promise<void>;
  /** Told once a change is durable: hints for caches. */
  changed?(workspaceId: string): void;
  /** Name of this process; the same after a restart when no other process shares the stores. */
  owner: string;
  logger: Logger;
  now?: () => number;
}

export interface Store {
  documents: Documents;
  files: FilesDriver;
  uploads: FilesDriver;
  /** @throws ObjectNotFoundError */
  row(workspaceId: string): Promise<WorkspaceRow>;
  findRow(workspaceId: string): Promise<WorkspaceRow | null>;
  /** The workspace as edited. @throws ObjectNotFoundError */
  current(workspaceId: string): Promise<{ row: WorkspaceRow; snapshot: Snapshot }>;
  /** A published version. @throws InvalidVersionError */
  version(workspaceId: string, name: string): Promise<Snapshot>;
  /**
   * Makes one change. `work` prepares it and may be asked again when another node was faster; its answer is returned once the change is durable.
   * @throws whatever `work` throws, with nothing written · ObjectNotFoundError · VersionConflict
   */
  change<T>(workspaceId: string, author: Author, work: (draft: Draft) => Promise<T> | T): Promise<{ result: T; revision: number }>;
  /** Makes a workspace. @throws AlreadyUsedError for the slug */
  create<T>(
    row: Omit<WorkspaceRow, '_rev' | 'revision'>,
    author: Author,
    work: (draft: Draft) => Promise<T> | T,
  ): Promise<{ result: T; revision: number }>;
  /** Ends a workspace; `work` adds steps and events. */
  remove(workspaceId: string, author: Author, work: (draft: Draft) => Promise<void> | void): Promise<void>;
  /** Finishes changes that were committed and not applied when a process died; returns how many. */
  recover(): Promise<number>;
  idle(): Promise<void>;
}

const ATTEMPTS = 5;
const CACHED_WORKSPACES = 200;
/** Of one change, before it is staged: archives have smaller limits of their own. */
const MAX_CHANGE_BYTES = 100_000_000;

export function openStore(options: StoreOptions): Store {
  const { documents, files, logger, now = Date.now } = options;
  const turns = leases(documents, options.owner, now);
  const cache = lru<string, Snapshot>({ max: CACHED_WORKSPACES });
  const versions = lru<string, Snapshot>({ max: CACHED_WORKSPACES });
  const retries = new Set<NodeJS.Timeout>();

  const notFound = (workspaceId: string) =>
    fault('ObjectNotFoundError', {
      message: `There is no workspace '${workspaceId}'.`,
      data: { subjectType: 'workspaces', id: workspaceId },
    });

  /** The row as it stands, also when a committed change is still being applied. */
  async function rawRow(workspaceId: string): Promise<WorkspaceRow | null> {
    const row = await documents.get<WorkspaceRow>('workspaces', workspaceId);
    if (row) return row.deletedAt ? null : row;
    const adopted = await adoptedRow(files, workspaceId, new Date(now()).toISOString());
    if (!adopted) return null;
    return documents.insert<WorkspaceRow>('workspaces', adopted).catch(async (error) => {
      const known = await documents.get<WorkspaceRow>('workspaces', workspaceId);
      if (known || !isFault(error, 'AlreadyUsedError')) return known;
      // Another workspace has its slug already: it is found by its id.
      return documents.insert<WorkspaceRow>('workspaces', { ...adopted, slug: `${adopted.slug}-${workspaceId.toLowerCase()}` });
    });
  }

  const store: Store = {
    documents,
    files,
    uploads: options.uploads,
    findRow: rawRow,
    async row(workspaceId) {
      const row = await rawRow(workspaceId);
      if (!row) throw notFound(workspaceId);
      return row;
    },
    async current(workspaceId) {
      for (let attempt = 1; ; attempt++) {
        const row = await store.row(workspaceId);
        const cached = cache.get(workspaceId);
        if (cached?.revision === row.revision) return { row, snapshot: cached };
        if (row.journal) {
          await turns.alone(workspaceId, (lease) => settle(workspaceId, lease));
          if (attempt < ATTEMPTS) continue;
        }
        const snapshot = await readFolder(files, versionFolder(workspaceId), row.revision);
        // A writer may have come between the row and the last file: what was read is one revision only when the row did not move.
        const after = await documents.get<WorkspaceRow>('workspaces', workspaceId);
        if (after?.revision !== row.revision || after.journal) {
          if (attempt >= ATTEMPTS) throw fault('VersionConflict', { data: { workspaceId } });
          continue;
        }
        if (!snapshot) throw notFound(workspaceId);
        cache.set(workspaceId, snapshot);
        return { row, snapshot };
      }
    },
    async version(workspaceId, name) {
      if (name === CURRENT) return (await store.current(workspaceId)).snapshot;
      const row = await store.row(workspaceId);
      const unknown = () =>
        fault('InvalidVersionError', { message: `There is no version '${name}'.`, data: { workspaceId, version: name } });
      const listed = row.versions?.find((version) => version.name === name);
      if (!listed) throw unknown();
      if (listed.repository)
        throw fault('InvalidVersionError', {
          message: `The version '${name}' is kept in the repository '${listed.repository.id}': pull it to work with it.`,
          data: { workspaceId, version: name, repository: listed.repository.id },
        });
      if (row.journal) await turns.alone(workspaceId, (lease) => settle(workspaceId, lease));
      const known = versions.get(`${workspaceId}/${name}`);
      if (known) return known;
      const snapshot = await readFolder(files, versionFolder(workspaceId, name), row.revision);
      if (!snapshot) throw unknown();
      versions.set(`${workspaceId}/${name}`, snapshot);
      return snapshot;
    },
    change: (workspaceId, author, work) =>
      turns.alone(workspaceId, async (lease) => {
        for (let attempt = 1; ; attempt++) {
          await settle(workspaceId, lease);
          const { row, snapshot } = await store.current(workspaceId);
          const draft = openDraft(row, snapshot, author, new Date(now()).toISOString());
          const result = await work(draft);
          const done = draft.finish();
          if (!done.isChanged) return { result, revision: row.revision };
          try {
            await commit(workspaceId, done, author, lease, row);
            return { result, revision: done.snapshot.revision };
          } catch (error) {
            if (!isFault(error, 'VersionConflict') || attempt >= ATTEMPTS) throw error;
            cache.delete(workspaceId);
          }
        }
      }),
    create: (fresh, author, work) =>
      turns.alone(fresh.id, async (lease) => {
        const row = { ...fresh, _rev: 0, revision: 0 } as WorkspaceRow;
        const draft = openDraft(row, emptySnapshot(), author, new Date(now()).toISOString());
        const result = await work(draft);
        const done = draft.finish();
        await commit(fresh.id, done, author, lease, row);
        return { result, revision: done.snapshot.revision };
      }),
    remove: (workspaceId, author, work) =>
      turns.alone(workspaceId, async (lease) => {
        await settle(workspaceId, lease);
        const { row, snapshot } = await store.current(workspaceId);
        const draft = openDraft(row, snapshot, author, new Date(now()).toISOString());
        await work(draft);
        draft.setRow({ deletedAt: draft.now });
        draft.step({ do: 'removeAll', prefix: `${workspaceFolder(workspaceId)}/versions` });
        const done = draft.finish();
        await commit(workspaceId, done, author, lease, row, true);
      }),
    async recover() {
      const pending = await documents.find<WorkspaceRow>('workspaces', { journal: { $exists: true } });
      for (const { id } of pending)
        await turns
          .alone(id, (lease) => settle(id, lease))
          .catch((error) => logger.warn(`The pending change of workspace ${id} could not be finished yet: ${error.message}`));
      return pending.length;
    },
    async idle() {
      for (const timer of retries) clearTimeout(timer);
      await turns.idle();
    },
  };

  /** Stages and commits (steps 1 and 2), then applies. Throws only while nothing is committed. */
  async function commit(
    workspaceId: string,
    done: DraftResult,
    author: Author,
    lease: Lease,
    row: WorkspaceRow,
    removesWorkspace = false,
  ): Promise<void> {
    const { snapshot } = done;
    const id = ulid(now());
    const at = new Date(now()).toISOString();
    const steps = removesWorkspace
      ? []
      : [...(await fileSteps(workspaceId, done, row.revision > 0)), ...historySteps(workspaceId, done.before, done, author, at)];
    const events = done.events.map((event) => ({
      ...event,
      id: ulid(now()),
      payload: { ...event.payload, workspaceId, revision: snapshot.revision },
      source: { ...author.source, workspaceId, ...event.source },
    }));
    const journal: Journal = {
      workspaceId,
      revision: snapshot.revision,
      steps: [...steps, ...done.steps],
      events,
      ...(removesWorkspace ? { removesWorkspace } : {}),
    };
    const text = JSON.stringify(journal);
    if (Buffer.byteLength(text) > MAX_CHANGE_BYTES)
      throw fault('PayloadTooLarge', {
        message: `A change may not be larger than ${MAX_CHANGE_BYTES} bytes.`,
        data: { maxBytes: MAX_CHANGE_BYTES },
      });

    const key = journalKey(workspaceId, id);
    await files.write(key, text, { contentType: 'application/json' });
    const stamp = { updatedAt: at, ...(author.userId ? { updatedBy: author.userId } : {}) };
    const fields: Record<string, unknown> = { ...stamp, dirty: true, ...done.rowFields, revision: snapshot.revision, journal: key };
    try {
      lease.assertHeld();
      if (row.revision === 0 && row._rev === 0) {
        const { _rev, ...record } = { ...row, ...fields };
        await documents.insert<WorkspaceRow>('workspaces', withoutUndefined(record) as never);
      } else {
        const unset = Object.keys(fields).filter((field) => fields[field] === undefined);
        await documents.update('workspaces', workspaceId, { set: withoutUndefined(fields), unset }, row._rev);
      }
    } catch (error) {
      await files.remove(key).catch(() => {});
      throw error;
    }
    if (removesWorkspace) cache.delete(workspaceId);
    else cache.set(workspaceId, snapshot);
    options.changed?.(workspaceId);

    try {
      await finish(key, journal, lease);
    } catch (error) {
      // Committed: the caller is told so. Whoever comes next, or this timer, does the rest.
      logger.error(`A committed change of workspace ${workspaceId} is not finished yet: ${(error as Error).message}`);
      retryLater(workspaceId);
    }
  }

  /** The writes of a draft's files, and of the meta file when one changed. */
  async function fileSteps(
    workspaceId: string,
    { files: changed, snapshot, isMetaChanged }: DraftResult,
    exists: boolean,
  ): Promise<Step[]> {
    const folder = versionFolder(workspaceId);
    const steps: Step[] = [];
    for (const [path, content] of changed) {
      const key = `${folder}/${path}`;
      if (content === null) steps.push({ do: 'remove', key });
      else if (content.text !== undefined) steps.push({ do: 'write', key, text: content.text });
      else {
        const old = exists ? await files.read(key) : null;
        steps.push({ do: 'write', key, text: old ? editYaml(old.body.toString('utf8'), content.value, path) : writeYaml(content.value) });
      }
    }
    if (isMetaChanged) steps.push({ do: 'write', key: `${folder}/${META_FILE}`, text: `${JSON.stringify(snapshot.meta)}\n` });
    return steps;
  }

  /** Steps 3 to 5. */
  async function finish(key: string, journal: Journal, lease: Lease): Promise<void> {
    const { workspaceId, removesWorkspace, steps, events } = journal;
    await applySteps(steps, { files, uploads: options.uploads, documents, assertHeld: lease.assertHeld });
    if (events.length > 0) await options.send(events);
    if (removesWorkspace) {
      await documents.remove('workspaces', workspaceId);
      await files.removeAll(workspaceFolder(workspaceId));
      return;
    }
    await documents.update('workspaces', workspaceId, { unset: ['journal'] });
    await files.remove(key);
  }

  /** Finishes a change that is committed and not applied. Runs inside the workspace's turn. */
  async function settle(workspaceId: string, lease: Lease): Promise<void> {
    const row = await documents.get<WorkspaceRow>('workspaces', workspaceId);
    if (!row?.journal) return;
    const staged = await files.read(row.journal);
    if (!staged) throw fault('InternalServiceError', { message: `The journal of workspace ${workspaceId} is missing.` });
    await finish(row.journal, parseJson<Journal>(staged.body.toString('utf8')), lease);
    logger.info(`Finished the pending change of workspace ${workspaceId} (revision ${row.revision}).`);
  }

  function retryLater(workspaceId: string, attempt = 1): void {
    const timer = setTimeout(
      () => {
        retries.delete(timer);
        turns.alone(workspaceId, (lease) => settle(workspaceId, lease)).catch(() => attempt < 20 && retryLater(workspaceId, attempt + 1));
      },
      Math.min(attempt * SECOND, 30 * SECOND),
    );
    timer.unref?.();
    retries.add(timer);
  }

  return store;
}

const withoutUndefined = (fields: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
