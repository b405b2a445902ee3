/**
 * effect-keys — what the key of an effect tells of its place in the run. A key is the path of a branch and a number there: `7`, `7.2.1` (interpreter/effects.ts);
 * numbers and branches take turns, so that `7.2.1` is the effect 1 of the branch 2 that effect number 7 has opened.
 */

/** Whether others may be asked and answered at the same time: an effect of a branch of `all` or `repeat.batch`. */
export const isBeside = (key: string): boolean => key.includes('.');

/** Whether effect `a` was answered before `b` was asked, however fast the branches are. Neither is before the other in branches side by side. */
export function isBefore(a: string, b: string): boolean {
  if (!isBeside(a) && !isBeside(b)) return Number(a) < Number(b);
  const [one, other] = [a.split('.'), b.split('.')];
  const at = one.findIndex((part, i) => part !== other[i]);
  return at >= 0 && at < other.length && at % 2 === 0 && Number(one[at]) < Number(other[at]);
}
