/** problems — what is wrong with a workspace as a whole: structural faults, calls of nothing, and where in the files it is. */
import { isPlainObject } from '../../../mixins/shared/json.ts';
import { nearest } from '../expressions/index.ts';
import { instructions } from './instructions/index.ts';
import type { Problem, WorkspaceSource } from './model.ts';
import { positionIn } from './positions.ts';

/** A call found in the program. */
export interface Call {
  slug: string;
  path: string;
}

/** What a workspace has beside the automations that are compiled: calls of it are no problem. No imports: they are not known. */
export interface KnownNames {
  automations: Iterable<string>;
  imports?: Iterable<string>;
}

/** The faults that refuse a save (newer.md 2.12). */
export function structureOf(slug: string, automation: unknown): Problem[] {
  const error = (code: string, message: string, at = ''): Problem => ({
    severity: 'error',
    code,
    message,
    place: { path: `automations.${slug}${at}` },
  });
  if (!isPlainObject(automation)) return [error('InvalidAutomation', 'An automation is an object.')];
  const problems: Problem[] = [];
  if (automation.name === undefined || automation.name === null || automation.name === '')
    problems.push(error('MissingName', "'name' is required."));
  if (automation.do === undefined) problems.push(error('MissingDo', "'do' is required; it may be an empty list."));
  else if (automation.do !== null && !Array.isArray(automation.do))
    problems.push(error('InvalidDo', "'do' must be a list of instructions.", '.do'));
  return problems;
}

/** Comparisons of names that one compile may spend on suggestions: a thousand wrong calls of a thousand names must not take a minute. */
const MAX_COMPARISONS = 20_000;

/** What was meant by a name, as long as that is cheap; the same name is looked for once. */
function suggester(): (name: string, names: string[]) => string | undefined {
  const known = new Map<string, string | undefined>();
  let comparisons = 0;
  return (name, names) => {
    if (!known.has(name)) {
      comparisons += names.length;
      known.set(name, comparisons > MAX_COMPARISONS ? undefined : nearest(name, names));
    }
    return known.get(name);
  };
}

/** Calls of automations that do not exist, with the name that was probably meant. */
export function checkCalls(calls: Call[], source: WorkspaceSource, problems: Problem[], beside?: KnownNames): void {
  const slugs = new Set([...Object.keys(source.automations ?? {}), ...(beside?.automations ?? [])]);
  const imports = new Set([...Object.keys(source.imports ?? {}), ...(beside?.imports ?? [])]);
  const callable = [...slugs, ...instructions.keys()];
  const meantBy = suggester();
  for (const { slug, path } of calls) {
    if (slugs.has(slug)) continue;
    const dot = slug.indexOf('.');
    const instance = dot < 0 ? '' : slug.slice(0, dot);
    if (instance && (imports.has(instance) || (beside && !beside.imports))) continue;
    const meant = meantBy(instance || slug, instance ? [...imports] : callable);
    problems.push({
      severity: 'warning',
      code: 'UnknownAutomation',
      message: instance ? `There is no app instance '${instance}'.` : `There is no instruction or automation '${slug}'.`,
      place: { path },
      ...(meant ? { suggestion: `Did you mean '${meant}'?` } : {}),
    });
  }
}

/** Problems of a name, not of what stands behind it. */
const OF_KEYS = new Set(['UnknownAutomation', 'UnknownArgument', 'UnknownField']);

/** File, line and column of what was found. */
export function placeProblems(problems: Problem[], source: WorkspaceSource, texts: Record<string, string>): void {
  const slugs = Object.keys(source.automations ?? {});
  for (const problem of problems) {
    const { path } = problem.place;
    const slug = slugs.find((candidate) => path === `automations.${candidate}` || path.startsWith(`automations.${candidate}.`));
    if (slug === undefined) continue;
    const file = `automations/${slug}.yml`;
    problem.place.file = file;
    const text = texts[file];
    if (text)
      Object.assign(
        problem.place,
        positionIn(text, path.slice(`automations.${slug}`.length), { offset: problem.range?.start, isKey: OF_KEYS.has(problem.code) }),
      );
  }
}
