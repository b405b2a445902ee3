/**
 * lint — everything the compiler finds in the files of a workspace, with file, line and column. The same compiler checks a save and loads
 * a model: what is clean here is saved without a warning and runs without a fault of the language.
 */
import { type Document, LineCounter, parseDocument } from 'yaml';
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { compileWorkspace, type Problem } from './index.ts';

export interface LintReport {
  automations: number;
  errors: number;
  warnings: number;
  /** In the order of files and lines. */
  problems: Problem[];
}

const AUTOMATION = /^automations\/(.+)\.ya?ml$/;
const IMPORT = /^imports\/(.+)\.ya?ml$/;

/** Two lines: the line of the fault and a caret under it. */
function excerptAt(text: string, line: number, column: number): string {
  const whole = (text.split('\n')[line - 1] ?? '').slice(0, 200);
  return `${whole}\n${' '.repeat(Math.min(column - 1, whole.length))}^`;
}

function faultOf(file: string, text: string, message: string, line = 1, column = 1): Problem {
  const place = { file, path: file, line, column };
  return { severity: 'error', code: 'InvalidYaml', message, place, excerpt: excerptAt(text, line, column) };
}

/** The object a file holds; what is no YAML, or no object, is told. */
function parse(file: string, text: string, problems: Problem[]): JsonObject | null {
  const lineCounter = new LineCounter();
  const document: Document = parseDocument(text, { lineCounter, prettyErrors: false });
  for (const { message, pos } of document.errors) {
    const { line, col } = lineCounter.linePos(pos[0]);
    problems.push(faultOf(file, text, message, line, col));
  }
  if (document.errors.length) return null;
  try {
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (isPlainObject(value)) return value;
    problems.push(
      faultOf(file, text, `An object is expected, not ${value === null ? 'nothing' : Array.isArray(value) ? 'a list' : typeof value}.`),
    );
  } catch (error) {
    problems.push(faultOf(file, text, (error as Error).message));
  }
  return null;
}

/** Two automations that answer at the same path: only one is reached. */
function sharedEndpoints(endpoints: [slug: string, path: string][], fileOf: Map<string, string>): Problem[] {
  const first = new Map<string, string>();
  return endpoints.flatMap(([slug, path]): Problem[] => {
    const other = first.get(path);
    if (other === undefined) {
      first.set(path, slug);
      return [];
    }
    const place = { path: `automations.${slug}.when.endpoint`, ...(fileOf.has(slug) ? { file: fileOf.get(slug) as string } : {}) };
    return [{ severity: 'warning', code: 'SharedEndpoint', message: `The endpoint '${path}' is also that of '${other}'.`, place }];
  });
}

/** @param files text by path in the workspace: index.yml, automations/…, imports/…; others are ignored */
export function lint(files: Record<string, string>): LintReport {
  const problems: Problem[] = [];
  const automations: Record<string, JsonObject> = {};
  const imports: Record<string, JsonObject> = {};
  const texts: Record<string, string> = {};
  const fileOf = new Map<string, string>();
  let count = 0;
  for (const [file, text] of Object.entries(files)) {
    const slug = AUTOMATION.exec(file)?.[1];
    const instance = IMPORT.exec(file)?.[1];
    if (slug === undefined && instance === undefined && !/^index\.ya?ml$/.test(file)) continue;
    const value = parse(file, text, problems);
    if (slug !== undefined) count++;
    if (isHostileName(slug) || isHostileName(instance) || isHostileName(value?.slug)) {
      problems.push(faultOf(file, text, 'An automation or app instance may not have this name.'));
      continue;
    }
    if (slug === undefined) {
      // A file that cannot be read still is an instance: calls of it are not to be blamed.
      if (instance !== undefined) imports[instance] = value ?? {};
    } else if (value) {
      const named = typeof value.slug === 'string' && value.slug ? value.slug : slug;
      automations[named] = value;
      texts[`automations/${named}.yml`] = text;
      fileOf.set(named, file);
    }
  }
  const workspace = compileWorkspace(
    { id: 'lint', revision: 0, automations, imports },
    { texts, known: { automations: brokenOnes(problems), imports: [] } },
  );
  for (const problem of workspace.problems) {
    const named = /^automations\/(.+)\.yml$/.exec(problem.place.file ?? '')?.[1];
    if (named !== undefined && fileOf.has(named)) problem.place.file = fileOf.get(named) as string;
    problems.push(problem);
  }
  const endpoints = [...workspace.automations.values()].flatMap(({ slug, triggers, isDisabled }): [string, string][] =>
    triggers.endpoint !== null && !isDisabled ? [[slug, triggers.endpoint]] : [],
  );
  problems.push(...sharedEndpoints(endpoints, fileOf));
  const order = Object.keys(files);
  const rank = ({ place }: Problem) => order.indexOf(place.file ?? '');
  problems.sort((a, b) => rank(a) - rank(b) || (a.place.line ?? 0) - (b.place.line ?? 0) || (a.place.column ?? 0) - (b.place.column ?? 0));
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  return { automations: count, errors, warnings: problems.length - errors, problems };
}

/** Automations whose file cannot be read: they exist nevertheless. */
const brokenOnes = (problems: Problem[]): string[] => problems.flatMap(({ place }) => AUTOMATION.exec(place.file ?? '')?.[1] ?? []);

/** One problem as lines for people: `file:line:column  severity  code  message`, the excerpt under it. */
export function shownProblem({ severity, code, message, place, excerpt, suggestion }: Problem): string {
  const at = [place.file ?? place.path, place.line, place.column].filter((part) => part !== undefined).join(':');
  const [first, ...more] = message.split('\n');
  const lines = [`${at}  ${severity}  ${code}  ${first}${suggestion ? ` ${suggestion}` : ''}`, ...more];
  if (place.file && place.path !== place.file) lines.push(`    at ${place.path}`);
  if (excerpt) lines.push(...excerpt.split('\n').map((line) => `    ${line}`));
  return lines.join('\n');
}
