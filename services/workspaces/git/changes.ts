/** changes — what a push changed, in the shape clients know: files, those created and deleted, and lines added and removed by file. */
import { changedFiles } from './merge.ts';
import type { ObjectStore } from './remote.ts';
import { textOf } from './tree.ts';

export interface Changes {
  files: string[];
  created: string[];
  deleted: string[];
  /** Lines, by file. */
  insertions: Record<string, number>;
  deletions: Record<string, number>;
  summary: { changes: number; insertions: number; deletions: number };
}

const MAX_TOLD = 500;

export async function changesBetween(store: ObjectStore, from: string | undefined, to: string, folder: string): Promise<Changes> {
  const changed = await changedFiles(store, from, to, folder);
  const changes: Changes = {
    files: changed.slice(0, MAX_TOLD).map(({ path }) => path),
    created: changed
      .filter(({ before }) => before === undefined)
      .map(({ path }) => path)
      .slice(0, MAX_TOLD),
    deleted: changed
      .filter(({ after }) => after === undefined)
      .map(({ path }) => path)
      .slice(0, MAX_TOLD),
    insertions: {},
    deletions: {},
    summary: { changes: changed.length, insertions: 0, deletions: 0 },
  };
  for (const { path, before, after } of changed) {
    const [old, now] = await Promise.all([before, after].map((oid) => (oid ? textOf(store, oid, path).catch(() => '') : '')));
    const { added, removed } = lines(old ?? '', now ?? '');
    changes.summary.insertions += added;
    changes.summary.deletions += removed;
    if (Object.keys(changes.insertions).length >= MAX_TOLD) continue;
    changes.insertions[path] = added;
    changes.deletions[path] = removed;
  }
  return changes;
}

/** Lines that one text has more often than the other: a count, without looking at their order. */
function lines(old: string, now: string): { added: number; removed: number } {
  const count = new Map<string, number>();
  const split = (text: string) => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));
  for (const line of split(now)) count.set(line, (count.get(line) ?? 0) + 1);
  for (const line of split(old)) count.set(line, (count.get(line) ?? 0) - 1);
  let [added, removed] = [0, 0];
  for (const more of count.values()) {
    if (more > 0) added += more;
    else removed -= more;
  }
  return { added, removed };
}
