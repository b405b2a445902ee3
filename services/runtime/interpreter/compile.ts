/**
 * compile — workspace files → model: every template, condition, name, trigger and validator, once per revision. Finds all problems at once.
 * What cannot be understood becomes a warning here and throws its named error when a run reaches it; only the structural faults of
 * `structureOf` are errors.
 */
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import {
  compileExpression,
  compilePath,
  compileTemplate,
  type Diagnostic,
  type Expression,
  ExpressionError,
  nearest,
  type PathTemplate,
  type Template,
} from '../expressions/index.ts';
import { assign, pathMask } from './assign.ts';
import { fromExpressionError } from './faults.ts';
import { type Frame, maskOf } from './frame.ts';
import type { Block, CompileContext, Engine, Executable } from './instruction.ts';
import { callInstruction } from './instructions/call.ts';
import { instructions } from './instructions/index.ts';
import type { AutomationTriggers, CompiledAutomation, CompiledWorkspace, Problem, WorkspaceSource } from './model.ts';
import { positionIn } from './positions.ts';
import { argumentsCheck, markedPaths } from './schemas.ts';

export interface CompileOptions {
  /** YAML text by file (`automations/hello.yml`): problems then carry line and column. */
  texts?: Record<string, string>;
}

/** What the interpreter finds in CompiledAutomation.body. */
export interface CompiledBody {
  block: Block;
  outputMask: number;
  check: ((payload: JsonObject) => void) | null;
}

interface Work {
  engine: Engine;
  problems: Problem[];
  calls: { slug: string; path: string }[];
}

const NOTHING: Expression = { text: '', roots: new Set(), warnings: [], evaluate: () => undefined };

const quietly = (error: unknown): ExpressionError => {
  if (error instanceof ExpressionError) return error;
  throw error;
};

class Context implements CompileContext {
  readonly engine: Engine;
  readonly path: string;
  readonly problems: Problem[];
  private readonly work: Work;

  constructor(work: Work, path: string) {
    this.work = work;
    this.engine = work.engine;
    this.problems = work.problems;
    this.path = path;
  }

  private at(suffix: string): string {
    if (!suffix) return this.path;
    return suffix.startsWith('[') ? `${this.path}${suffix}` : `${this.path}.${suffix}`;
  }

  warn(code: string, message: string, suffix = '', suggestion?: string): void {
    this.problems.push({ severity: 'warning', code, message, place: { path: this.at(suffix) }, ...(suggestion ? { suggestion } : {}) });
  }

  private note(diagnostics: Diagnostic[], suffix: string): void {
    for (const { code, message, excerpt } of diagnostics)
      this.problems.push({ severity: 'warning', code, message, place: { path: this.at(suffix) }, ...(excerpt ? { excerpt } : {}) });
  }

  private broken(error: unknown, suffix: string): Expression & { isConstant: false } {
    const found = quietly(error);
    const [, ...excerpt] = found.message.split('\n');
    this.problems.push({
      severity: 'warning',
      code: found.type,
      message: found.reason,
      place: { path: this.at(suffix) },
      ...(excerpt.length ? { excerpt: excerpt.join('\n') } : {}),
    });
    return {
      ...NOTHING,
      isConstant: false,
      evaluate() {
        throw fromExpressionError(found);
      },
    };
  }

  template(value: unknown, suffix = ''): Template {
    try {
      const template = compileTemplate(value);
      this.note(template.warnings, suffix);
      return template;
    } catch (error) {
      return this.broken(error, suffix);
    }
  }

  condition(text: string, suffix: string): Expression {
    try {
      const expression = compileExpression(text);
      this.note(expression.warnings, suffix);
      return expression;
    } catch (error) {
      return this.broken(error, suffix);
    }
  }

  name(value: unknown, suffix: string): PathTemplate {
    try {
      if (typeof value !== 'string' || value === '')
        throw new ExpressionError('InvalidVariableNameError', 'The name of a variable is expected.', '', { start: 0, end: 0 });
      return compilePath(value);
    } catch (error) {
      const { evaluate } = this.broken(error, suffix);
      return { evaluate: evaluate as () => never, append: false, roots: new Set(), root: null, fixed: null };
    }
  }

  block(value: unknown, suffix: string): Block {
    if (value === undefined || value === null) return { items: [], deepMask: 0 };
    if (!Array.isArray(value)) {
      this.warn('InvalidBlock', `A list of instructions is expected, not ${typeof value}.`, suffix);
      return { items: [], deepMask: 0 };
    }
    const items = value.flatMap((item, index) => compileInstruction(item, `${this.at(suffix)}[${index}]`, this.work) ?? []);
    const end = value.findIndex((item) => isPlainObject(item) && Object.keys(item)[0] === 'break');
    if (end >= 0 && end < value.length - 1) this.warn('Unreachable', 'What follows a break is never reached.', `${suffix}[${end + 1}]`);
    return { items, deepMask: items.reduce((mask, { deepMask }) => mask | deepMask, 0) };
  }

  assign(output: unknown): ReturnType<CompileContext['assign']> {
    if (output === undefined || output === null || output === '') return Object.assign(() => {}, { mask: 0 });
    if (typeof output !== 'string') {
      const message = `The output must be the name of a variable, not ${typeof output}.`;
      this.warn('InvalidOutputError', message, 'output');
      return Object.assign(
        async (frame: Frame) => void (await frame.perform({ type: 'error', error: { error: 'InvalidOutputError', message } })),
        { mask: 0 },
      );
    }
    const path = this.name(output, 'output');
    return Object.assign(
      (frame: Frame, value: unknown) =>
        value === undefined ? undefined : assign(frame, path.evaluate(frame, frame.run.env), path.append, 'replace', value),
      { mask: pathMask(path) },
    );
  }

  calls(slug: string): void {
    this.work.calls.push({ slug, path: this.path });
  }
}

function compileInstruction(item: unknown, path: string, work: Work): Executable | null {
  if (!isPlainObject(item)) {
    if (item !== null && item !== undefined)
      work.problems.push({
        severity: 'warning',
        code: 'InvalidInstructionError',
        message: `An instruction is an object with one key, not ${Array.isArray(item) ? 'a list' : typeof item}.`,
        place: { path },
      });
    return null;
  }
  // The first key is the instruction; others beside it are ignored, as files of the product have them.
  const [name, ...others] = Object.keys(item);
  if (name === undefined) return null;
  const context = new Context(work, `${path}.${name}`);
  if (others.length) context.warn('IgnoredKeys', `Only '${name}' is executed here; '${others.join("', '")}' beside it is ignored.`);
  if (isHostileName(name)) {
    context.warn('InvalidInstructionError', `The name '${name}' may not be used.`);
    return null;
  }
  const definition = instructions.get(name);
  const compiled = definition ? definition.compile(item[name], context) : callInstruction(name, item[name], context);
  if (!definition) context.calls(name);
  const mask = compiled.mask ?? 0;
  return { mask, deepMask: mask | (compiled.deepMask ?? 0), path: context.path, run: compiled.run };
}

function triggersOf(slug: string, when: unknown): AutomationTriggers {
  const found = isPlainObject(when) ? when : {};
  const { events, endpoint, schedules } = found;
  return {
    events: Array.isArray(events) ? events.filter((event): event is string => typeof event === 'string' && event !== '') : [],
    endpoint: endpoint === true ? slug : typeof endpoint === 'string' && endpoint ? endpoint.replace(/^\/+/, '') : null,
    schedules: (Array.isArray(schedules) ? schedules : []).flatMap((schedule) => {
      if (typeof schedule === 'string') return [{ cron: schedule }];
      if (isPlainObject(schedule) && typeof schedule.cron === 'string')
        return [{ cron: schedule.cron, ...(typeof schedule.timezone === 'string' ? { timezone: schedule.timezone } : {}) }];
      return [];
    }),
  };
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

export function compileAutomation(
  slug: string,
  automation: JsonObject,
  engine: Engine,
  problems: Problem[],
  calls: Work['calls'] = [],
): CompiledAutomation {
  const work: Work = { engine, problems, calls };
  const context = new Context(work, `automations.${slug}`);
  problems.push(...structureOf(slug, automation));
  const block = Array.isArray(automation.do) ? context.block(automation.do, 'do') : { items: [], deepMask: 0 };
  const output = automation.output === undefined ? undefined : context.template(automation.output, 'output');
  const authorizations = automation.authorizations;
  const schemas = Array.isArray(automation.schemas) ? automation.schemas.filter(isPlainObject) : [];
  const payloads = [automation.arguments, ...schemas.map(({ payload }) => (payload as JsonObject | undefined)?.properties)];
  const outputs = schemas.map((branch) => (branch.output as JsonObject | undefined)?.properties);
  const body: CompiledBody = { block, outputMask: output ? maskOf(output.roots) : 0, check: argumentsCheck(automation) };
  return {
    slug,
    isPrivate: automation.private === true,
    isDisabled: automation.disabled === true,
    triggers: triggersOf(slug, automation.when),
    ...(isPlainObject(authorizations) && typeof authorizations.action === 'string' ? { authorization: authorizations.action } : {}),
    secretPaths: [...new Set(payloads.flatMap((properties) => markedPaths(properties, 'secret')))],
    redactPaths: {
      payload: [...new Set(payloads.flatMap((properties) => markedPaths(properties, 'redact')))],
      output: [...new Set(outputs.flatMap((properties) => markedPaths(properties, 'redact')))],
    },
    ...(output ? { output } : {}),
    body,
  };
}

/** Calls of automations that do not exist, with the name that was probably meant. */
function checkCalls(calls: Work['calls'], source: WorkspaceSource, problems: Problem[]): void {
  const slugs = Object.keys(source.automations);
  const known = new Set(slugs);
  for (const { slug, path } of calls) {
    if (known.has(slug) || slug.includes('{{')) continue;
    const dot = slug.indexOf('.');
    const instance = dot < 0 ? '' : slug.slice(0, dot);
    if (instance && Object.hasOwn(source.imports ?? {}, instance)) continue;
    const meant = instance ? nearest(instance, Object.keys(source.imports ?? {})) : nearest(slug, [...slugs, ...instructions.keys()]);
    problems.push({
      severity: 'warning',
      code: 'UnknownAutomation',
      message: instance ? `There is no app instance '${instance}'.` : `There is no instruction or automation '${slug}'.`,
      place: { path },
      ...(meant ? { suggestion: `Did you mean '${meant}'?` } : {}),
    });
  }
}

/** @param engine given by the interpreter: compiled instructions call back into it */
export function compileWith(engine: Engine, source: WorkspaceSource, { texts = {} }: CompileOptions = {}): CompiledWorkspace {
  const problems: Problem[] = [];
  const calls: Work['calls'] = [];
  const automations = new Map<string, CompiledAutomation>();
  for (const [slug, automation] of Object.entries(source.automations ?? {})) {
    if (isHostileName(slug)) continue;
    automations.set(slug, compileAutomation(slug, isPlainObject(automation) ? automation : {}, engine, problems, calls));
  }
  checkCalls(calls, source, problems);
  for (const problem of problems) {
    const slug = Object.keys(source.automations).find(
      (candidate) => problem.place.path === `automations.${candidate}` || problem.place.path.startsWith(`automations.${candidate}.`),
    );
    const file = slug && `automations/${slug}.yml`;
    const text = file && texts[file];
    if (file) problem.place.file = file;
    if (text) Object.assign(problem.place, positionIn(text, problem.place.path.slice(`automations.${slug}`.length)));
  }
  return { source, automations, problems };
}
