/** text-diff — differences of two texts as a unified patch, and patches applied by context rather than by line number. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { toKey, toNumber } from '../expressions/index.ts';

type Edit = { kind: ' ' | '-' | '+'; line: string };

/** Edits beyond which the middle of two texts is told as replaced as a whole: keeps the work linear for texts that share nothing. */
const MAX_EDITS = 2000;

/** Shortest edit script by lines. @see Myers, "An O(ND) Difference Algorithm", 1986 */
function editsOf(a: string[], b: string[]): Edit[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (lines: string[]): Edit[] => lines.map((line) => ({ kind: ' ', line }));
  const middle = myers(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [...same(a.slice(0, head)), ...middle, ...same(a.slice(a.length - tail))];
}

function myers(a: string[], b: string[]): Edit[] {
  const max = Math.min(a.length + b.length, MAX_EDITS);
  const origin = max + 1;
  /** Furthest x on each diagonal; -1: not reached. */
  const best = new Int32Array(2 * max + 3).fill(-1);
  best[origin + 1] = 0;
  /** Before each depth d, the diagonals -d-1 … d+1: whole copies of larger maps would take hundreds of megabytes. */
  const trace: Int32Array[] = [];
  for (let d = 0; d <= max; d++) {
    trace.push(best.slice(origin - d - 1, origin + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const left = best[origin + k - 1] as number;
      const right = best[origin + k + 1] as number;
      let x = k === -d || (k !== d && left < right) ? right : left + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      best[origin + k] = x;
      if (x >= a.length && x - k >= b.length) return backtrack(a, b, trace, d);
    }
  }
  return [...a.map((line): Edit => ({ kind: '-', line })), ...b.map((line): Edit => ({ kind: '+', line }))];
}

function backtrack(a: string[], b: string[], trace: Int32Array[], depth: number): Edit[] {
  const edits: Edit[] = [];
  let x = a.length;
  let y = b.length;
  for (let d = depth; d >= 0; d--) {
    const best = trace[d] as Int32Array;
    const k = x - y;
    const at = k + d + 1;
    const isDown = k === -d || (k !== d && (best[at - 1] as number) < (best[at + 1] as number));
    const fromK = isDown ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : (best[isDown ? at + 1 : at - 1] as number);
    const fromY = d === 0 ? 0 : fromX - fromK;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
      edits.push({ kind: ' ', line: a[--x] as string });
      y--;
    }
    if (d === 0) break;
    if (isDown) edits.push({ kind: '+', line: b[--y] as string });
    else edits.push({ kind: '-', line: a[--x] as string });
  }
  return edits.reverse();
}

/** `{ patch, changed, additions, deletions }`. */
export function unifiedDiff({ a, b, context = 3, labelA = 'a', labelB = 'b', noHeader }: JsonObject): JsonObject {
  const edits = editsOf(toKey(a ?? '').split('\n'), toKey(b ?? '').split('\n'));
  const around = Math.max(0, Math.floor(toNumber(context)) || 0);
  const changed = edits.flatMap(({ kind }, i) => (kind === ' ' ? [] : [i]));
  const ranges: [number, number][] = [];
  for (const i of changed) {
    const last = ranges.at(-1);
    if (last && i - around <= last[1] + 1) last[1] = Math.min(edits.length - 1, i + around);
    else ranges.push([Math.max(0, i - around), Math.min(edits.length - 1, i + around)]);
  }
  const hunks = ranges.map(([from, to]) => {
    const before = edits.slice(0, from);
    const lines = edits.slice(from, to + 1);
    const oldCount = lines.filter(({ kind }) => kind !== '+').length;
    const newCount = lines.filter(({ kind }) => kind !== '-').length;
    const oldStart = before.filter(({ kind }) => kind !== '+').length + (oldCount ? 1 : 0);
    const newStart = before.filter(({ kind }) => kind !== '-').length + (newCount ? 1 : 0);
    return [`@@ -${oldStart},${oldCount} +${newStart},${newCount} @@`, ...lines.map(({ kind, line }) => kind + line)].join('\n');
  });
  const header = noHeader === true || hunks.length === 0 ? [] : [`--- ${labelA}`, `+++ ${labelB}`];
  return {
    patch: hunks.length ? [...header, ...hunks, ''].join('\n') : '',
    changed: changed.length > 0,
    additions: edits.filter(({ kind }) => kind === '+').length,
    deletions: edits.filter(({ kind }) => kind === '-').length,
  };
}

interface Hunk {
  at: number;
  lines: Edit[];
}

function parsePatch(patch: string): Hunk[] {
  const hunks: Hunk[] = [];
  for (const line of patch.split('\n')) {
    const head = /^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@/.exec(line);
    if (head) {
      hunks.push({ at: Math.max(0, Number(head[1]) - 1), lines: [] });
      continue;
    }
    const hunk = hunks.at(-1);
    if (!hunk || line.startsWith('\\')) continue;
    if (/^[ +-]/.test(line)) hunk.lines.push({ kind: line[0] as Edit['kind'], line: line.slice(1) });
  }
  return hunks;
}

/** Where the old side of a hunk stands, nearest to `hint` first. */
function locate(lines: string[], old: string[], hint: number): number {
  if (old.length === 0) return Math.min(hint, lines.length);
  for (let distance = 0; distance <= lines.length; distance++)
    for (const at of distance ? [hint - distance, hint + distance] : [hint])
      if (at >= 0 && at + old.length <= lines.length && old.every((line, i) => lines[at + i] === line)) return at;
  return -1;
}

/** `{ content, hunksTotal, hunksApplied, hunksFailed }`; `atomic` keeps the text as it was unless all apply. */
export function applyPatch({ content, patch, fuzz = 1, atomic }: JsonObject): JsonObject {
  if (typeof content !== 'string' || typeof patch !== 'string')
    throw fault('InvalidInstructionError', { message: 'text.applyPatch: content and patch must be texts.' });
  const hunks = parsePatch(patch);
  const tolerance = Math.min(2, Math.max(0, Math.floor(toNumber(fuzz)) || 0));
  let lines = content.split('\n');
  let shift = 0;
  const failed: JsonObject[] = [];
  for (const [index, hunk] of hunks.entries()) {
    const spot = place(lines, hunk, hunk.at + shift, tolerance);
    if (!spot) {
      failed.push({
        index,
        reason: 'context not found',
        context: hunk.lines
          .filter(({ kind }) => kind !== '+')
          .map(({ line }) => line)
          .join('\n'),
      });
      continue;
    }
    lines = [...lines.slice(0, spot.at), ...spot.next, ...lines.slice(spot.at + spot.taken)];
    shift = spot.at - hunk.at + spot.next.length - spot.taken;
  }
  const isRefused = atomic === true && failed.length > 0;
  return {
    content: isRefused ? content : lines.join('\n'),
    hunksTotal: hunks.length,
    hunksApplied: isRefused ? 0 : hunks.length - failed.length,
    hunksFailed: failed,
  };
}

/** Tries the whole hunk, then without up to `fuzz` lines of its outer context. */
function place(lines: string[], hunk: Hunk, hint: number, fuzz: number): { at: number; taken: number; next: string[] } | null {
  for (let cut = 0; cut <= fuzz; cut++) {
    const head = Math.min(
      cut,
      hunk.lines.findIndex(({ kind }) => kind !== ' '),
    );
    const tailContext = [...hunk.lines].reverse().findIndex(({ kind }) => kind !== ' ');
    const edits = hunk.lines.slice(Math.max(0, head), hunk.lines.length - Math.min(cut, Math.max(0, tailContext)));
    const old = edits.filter(({ kind }) => kind !== '+').map(({ line }) => line);
    const at = locate(lines, old, Math.max(0, hint + Math.max(0, head)));
    if (at >= 0) return { at, taken: old.length, next: edits.filter(({ kind }) => kind !== '-').map(({ line }) => line) };
  }
  return null;
}
