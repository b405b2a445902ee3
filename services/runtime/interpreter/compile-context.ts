/**
 * compile-context — what an instruction is handed while it is compiled: its templates, conditions, names and blocks. A fault is noted with
 * its place, and becomes something that throws it when it is evaluated.
 */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../mixins/shared/json.ts';
import {
  type Counter,
  compileCounter,
  compileExpression,
  compilePath,
  compileTemplate,
  type Diagnostic,
  type Env,
  type Expression,
  ExpressionError,
  type PathTemplate,
  type Scope,
  type Template,
} from '../expressions/index.ts';
import { assign, pathMask } from './assign.ts';
import { fromExpressionError } from './faults.ts';
import type { Frame } from './frame.ts';
import type { Block, CompileContext, Engine, Executable } from './instruction.ts';
import { ANY_AUTOMATION, type Problem } from './model.ts';
import { pathOf } from './positions.ts';
import type { Call } from './problems.ts';

/** What the compile of one automation keeps. */
export interface Work {
  engine: Engine;
  problems: Problem[];
  calls: Call[];
  /** Names this automation calls. */
  names: Set<string>;
  /** Blocks within blocks. */
  depth: number;
  /** Compiles one item of a block. */
  instruction(item: unknown, path: string, work: Work): Executable | null;
}

/** Blocks within blocks; what runs recurses as deep. */
const MAX_BLOCK_DEPTH = 100;

const NO_SCOPE: Scope = { get: () => undefined };
const NO_ENV = {} as Env;

/** Last key of an instruction's place: its name. */
const nameOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

const NOTHING: Expression = { text: '', roots: new Set(), warnings: [], evaluate: () => undefined };

const quietly = (error: unknown): ExpressionError => {
  if (error instanceof ExpressionError) return error;
  if ((error as Error).name !== 'RangeError') throw error;
  return new ExpressionError('LimitExceededError', 'This is nested too deeply.', '', { start: 0, end: 0 });
};

/** Tells in which argument an evaluation fails. */
const placed =
  <Args extends unknown[], Made>(at: string, evaluate: (...args: Args) => Made) =>
  (...args: Args): Made => {
    try {
      return evaluate(...args);
    } catch (error) {
      if (error instanceof ExpressionError) error.place ??= `${at}${pathOf(error.keys)}`;
      throw error;
    }
  };

export class Context implements CompileContext {
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
    for (const { code, message, excerpt, keys = [], range } of diagnostics)
      this.problems.push({
        severity: 'warning',
        code,
        message,
        place: { path: `${this.at(suffix)}${pathOf(keys)}` },
        ...(excerpt ? { excerpt } : {}),
        range,
      });
  }

  private noteFault(found: ExpressionError, suffix: string, keys: (string | number)[] = []): void {
    const [, ...excerpt] = found.message.split('\n');
    this.note(
      [
        {
          severity: 'warning',
          code: found.type,
          message: found.reason,
          keys,
          range: found.range,
          ...(excerpt.length ? { excerpt: excerpt.join('\n') } : {}),
        },
      ],
      suffix,
    );
  }

  private broken(error: unknown, suffix: string): Expression & { isConstant: false } {
    const found = quietly(error);
    found.place = this.at(suffix);
    this.noteFault(found, suffix);
    return {
      ...NOTHING,
      isConstant: false,
      evaluate() {
        throw fromExpressionError(found);
      },
    };
  }

  /** What an instruction does that could not be compiled: fails with the reason. @throws anything but faults of the language */
  fails(error: unknown): () => never {
    const { evaluate } = this.broken(error, '');
    return () => evaluate(NO_SCOPE, NO_ENV) as never;
  }

  template(value: unknown, suffix = ''): Template {
    const at = this.at(suffix);
    const template = compileTemplate(value, {
      onFault: (error, keys) => {
        this.noteFault(error, suffix, keys);
        error.place = `${at}${pathOf(keys)}`;
      },
    });
    this.note(template.warnings, suffix);
    return template.isConstant ? template : { ...template, evaluate: placed(at, template.evaluate) };
  }

  condition(text: string, suffix: string): Expression {
    try {
      const expression = compileExpression(text);
      this.note(expression.warnings, suffix);
      return { ...expression, evaluate: placed(this.at(suffix), expression.evaluate) };
    } catch (error) {
      return this.broken(error, suffix);
    }
  }

  name(value: unknown, suffix: string): PathTemplate {
    const refusing = (evaluate: () => never): PathTemplate => ({ evaluate, append: false, roots: new Set(), root: null, fixed: null });
    if (typeof value !== 'string' || value === '') {
      const found = value === null ? 'null' : value === '' ? 'an empty text' : typeof value;
      const message = `The name of a variable is expected, not ${found}.`;
      this.warn('InvalidInstructionError', message, suffix);
      return refusing(() => {
        throw fault('InvalidInstructionError', { message: `Invalid ${nameOf(this.path)} instruction: ${message}` });
      });
    }
    try {
      const path = compilePath(value);
      return path.fixed ? path : { ...path, evaluate: (scope, env) => this.harmless(() => path.evaluate(scope, env)) };
    } catch (error) {
      const { evaluate } = this.broken(error, suffix);
      return refusing(() => this.harmless(() => evaluate(NO_SCOPE, NO_ENV) as never));
    }
  }

  counter(name: string, value: unknown, suffix: string): Counter | null {
    const counter = compileCounter(name, value);
    return counter && { evaluate: placed(this.at(suffix), counter.evaluate) };
  }

  /** A hostile name is no place to write to: the instruction is at fault, not the spelling of the name. */
  private harmless<T>(evaluate: () => T): T {
    try {
      return evaluate();
    } catch (error) {
      const found = error instanceof ExpressionError ? error : (error as { cause?: unknown }).cause;
      if (!(found instanceof ExpressionError) || !found.isHostile) throw error;
      throw fault('InvalidInstructionError', {
        message: `Invalid ${nameOf(this.path)} instruction: ${found.reason}`,
        data: { variable: found.text.slice(0, 1000) },
        cause: error,
      });
    }
  }

  block(value: unknown, suffix: string): Block {
    if (value === undefined || value === null) return { items: [], deepMask: 0 };
    if (!Array.isArray(value)) {
      this.warn('InvalidBlock', `A list of instructions is expected, not ${typeof value}.`, suffix);
      return { items: [], deepMask: 0 };
    }
    if (this.work.depth >= MAX_BLOCK_DEPTH) return this.tooDeep(suffix);
    this.work.depth++;
    const items = value.flatMap((item, index) => this.work.instruction(item, `${this.at(suffix)}[${index}]`, this.work) ?? []);
    this.work.depth--;
    if (!suffix && nameOf(this.path) === 'all') return { items, deepMask: items.reduce((mask, { deepMask }) => mask | deepMask, 0) };
    const end = value.findIndex((item) => isPlainObject(item) && Object.keys(item)[0] === 'break');
    if (end >= 0 && end < value.length - 1) this.warn('Unreachable', 'What follows a break is never reached.', `${suffix}[${end + 1}]`);
    return { items, deepMask: items.reduce((mask, { deepMask }) => mask | deepMask, 0) };
  }

  private tooDeep(suffix: string): Block {
    const message = `Blocks may be nested ${MAX_BLOCK_DEPTH} times.`;
    this.warn('LimitExceededError', message, suffix);
    const run = () => {
      throw fault('LimitExceededError', { message, data: { limit: 'maxBlockDepth', max: MAX_BLOCK_DEPTH } });
    };
    return { items: [{ mask: 0, deepMask: 0, path: this.at(suffix), run }], deepMask: 0 };
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

  /** A call of an automation by its name, to be looked up when all are known. */
  calls(slug: string): void {
    this.work.calls.push({ slug, path: this.path });
    this.work.names.add(slug);
  }

  callsAny(): void {
    this.work.names.add(ANY_AUTOMATION);
  }
}
