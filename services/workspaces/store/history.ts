/**
 * history — what each of the last changes replaced or removed: `workspaces/<id>/history/<revision>.json`, written with the change itself. An edit
 * without precondition overwrites what it did not see; here it can be found again.
 */
import { type JsonObject, parseJson } from '../../../mixins/shared/json.ts';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { classify, type Kind, workspaceFolder } from '../dsul/layout.ts';
import type { Author, DraftResult } from './draft.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './steps.ts';

export interface HistoryChange {
  type: 'index' | 'security' | Kind;
  slug?: string;
  change: 'created' | 'updated' | 'deleted';
  /** As it was; absent for what was created, and when the entry is cut. */
  before?: JsonObject;
}

export interface HistoryEntry {
  /** The revision that the change made. */
  revision: number;
  at: string;
  by?: string;
  changes: HistoryChange[];
  /** The former values were too large to be kept: publish versions before imports of this size. */
  isCut?: boolean;
}

export const KEPT_REVISIONS = 100;
const MAX_ENTRY_CHARS = 20_000_000;
const PARALLEL = 16;

const folderOf = (workspaceId: string): string => `${workspaceFolder(workspaceId)}/history`;
const keyOf = (workspaceId: string, revision: number): string => `${folderOf(workspaceId)}/${String(revision).padStart(10, '0')}.json`;

/** Steps that keep what a change is about to replace, and drop the entry that is too old; none for the first revision. */
export function historySteps(workspaceId: string, before: Snapshot, { files, snapshot }: DraftResult, author: Author, at: string): Step[] {
  if (before.revision === 0) return [];
  const changes = [...files].flatMap(([path, written]): HistoryChange[] => {
    const file = classify(path);
    if (file?.type !== 'index' && file?.type !== 'security' && file?.type !== 'object') return [];
    const [type, slug] = file.type === 'object' ? [file.kind, file.slug] : [file.type, undefined];
    const old = file.type === 'object' ? before[file.kind][file.slug] : before[file.type];
    const change = written === null ? 'deleted' : old === undefined ? 'created' : 'updated';
    return [{ type, ...(slug === undefined ? {} : { slug }), change, ...(old === undefined ? {} : { before: old }) }];
  });
  if (changes.length === 0) return [];
  const entry: HistoryEntry = { revision: snapshot.revision, at, ...(author.userId ? { by: author.userId } : {}), changes };
  let text = JSON.stringify(entry);
  if (text.length > MAX_ENTRY_CHARS)
    text = JSON.stringify({ ...entry, changes: changes.map(({ before: _before, ...change }) => change), isCut: true });
  return [
    { do: 'write', key: keyOf(workspaceId, snapshot.revision), text },
    { do: 'remove', key: keyOf(workspaceId, snapshot.revision - KEPT_REVISIONS) },
  ];
}

export async function historyEntry(files: FilesDriver, workspaceId: string, revision: number): Promise<HistoryEntry | null> {
  const file = await files.read(keyOf(workspaceId, revision));
  return file ? parseJson<HistoryEntry>(file.body.toString('utf8')) : null;
}

/** Newest first, those that `wanted` accepts, at most `limit`. */
export async function historyOf(
  files: FilesDriver,
  workspaceId: string,
  limit: number,
  wanted: (change: HistoryChange) => boolean,
): Promise<HistoryEntry[]> {
  const folder = folderOf(workspaceId);
  const revisions: number[] = [];
  for await (const { key } of files.list(folder)) revisions.push(Number(/\/(\d+)\.json$/.exec(key)?.[1]));
  revisions.sort((a, b) => b - a);
  const found: HistoryEntry[] = [];
  for (let start = 0; start < revisions.length && found.length < limit; start += PARALLEL) {
    const entries = await Promise.all(
      revisions.slice(start, start + PARALLEL).map((revision) => historyEntry(files, workspaceId, revision)),
    );
    for (const entry of entries) if (entry?.changes.some(wanted)) found.push({ ...entry, changes: entry.changes.filter(wanted) });
  }
  return found.slice(0, limit);
}
