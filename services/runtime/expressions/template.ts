/**
 * template — any JSON whose texts may hold `{{ path }}` and `{% expression %}`. A text that is one hole keeps the value's type; in a
 * mixed text every hole becomes text. One pass: what is substituted is never read again, whatever it contains.
 */
import type { Node } from './ast.ts';
import { type Compilation, compileNode, type Evaluate, type Scope, sizeOf } from './compiler.ts';
import { type Diagnostic, ExpressionError, refusedName, underKey } from './errors.ts';
import type { Env } from './function.ts';
import { CHARS_PER_STEP, DEFAULT_LIMITS, type Limits } from './limits.ts';
import { Parser } from './parser.ts';
import { isHostile, toText } from './values.ts';

export interface Template {
  /** Nothing to evaluate: `evaluate` returns the same value each time, which must not be changed. */
  readonly isConstant: boolean;
  readonly roots: ReadonlySet<string>;
  readonly warnings: Diagnostic[];
  evaluate(scope: Scope, env: Env): unknown;
}

export interface TemplateOptions extends Partial<Limits> {
  /** `{{x}}` stays as written when x is undefined. */
  leaveUndefined?: boolean;
  /** `{% %}` stays as written. */
  noExpressions?: boolean;
  /**
   * Told of every faulty text instead of throwing the first: the text then throws when it is evaluated.
   * @param keys where it stands in the value
   */
  onFault?(error: ExpressionError, keys: (string | number)[]): void;
}

interface Work extends Compilation {
  warnings: Diagnostic[];
  limits: Limits;
  options: TemplateOptions;
  /** Where compilation stands in the value. */
  keys: (string | number)[];
}

/** null: constant. */
type Part = Evaluate | null;

/** @throws ExpressionError; `range` is within the text that holds the fault */
export function compileTemplate(value: unknown, options: TemplateOptions = {}): Template {
  const work: Work = { text: '', roots: new Set(), warnings: [], limits: { ...DEFAULT_LIMITS, ...options }, options, keys: [] };
  let evaluate: Part;
  try {
    evaluate = compileValue(value, work, 0);
  } catch (error) {
    evaluate = failing(error, work);
  }
  return { isConstant: evaluate === null, roots: work.roots, warnings: work.warnings, evaluate: evaluate ?? (() => value) };
}

/** Runs `compile` for the part of the value at `key`; a fault there is told or thrown. */
function within(work: Work, key: string | number, compile: () => Part): Part {
  work.keys.push(key);
  try {
    return compile();
  } catch (error) {
    return failing(error, work);
  } finally {
    work.keys.pop();
  }
}

function failing(error: unknown, work: Work): Part {
  if (!(error instanceof ExpressionError) || !work.options.onFault) throw error;
  work.options.onFault(error, [...work.keys]);
  return () => {
    throw error;
  };
}

function compileValue(value: unknown, work: Work, depth: number): Part {
  if (typeof value === 'string') return compileText(value, work);
  if (typeof value !== 'object' || value === null) return null;
  if (depth > work.limits.maxDepth * 4)
    throw new ExpressionError('LimitExceededError', `More than ${work.limits.maxDepth * 4} nested values.`, '', { start: 0, end: 0 });
  if (Array.isArray(value)) {
    const items = value.map((item, index) => within(work, index, () => compileValue(item, work, depth + 1)));
    if (items.every((item) => item === null)) return null;
    return (scope, env) => {
      env.charge(items.length);
      const made: unknown[] = [];
      try {
        for (const [index, item] of items.entries()) made.push(item === null ? value[index] : item(scope, env));
      } catch (error) {
        throw underKey(error, made.length);
      }
      return made;
    };
  }
  return compileObject(value as Record<string, unknown>, work, depth);
}

function compileKey(key: string, work: Work): Part {
  if (isHostile(key)) throw refusedName(key, key, { start: 0, end: key.length });
  return compileText(key, work);
}

function compileObject(value: Record<string, unknown>, work: Work, depth: number): Part {
  const entries: { key: string; computedKey: Part; fixed: unknown; computed: Part }[] = [];
  let isConstant = true;
  for (const key of Object.keys(value)) {
    const isComputed = key.includes('{{') || key.includes('{%');
    const computedKey = isComputed || isHostile(key) ? within(work, key, () => compileKey(key, work)) : null;
    const computed = within(work, key, () => compileValue(value[key], work, depth + 1));
    if (computedKey || computed) isConstant = false;
    entries.push({ key, computedKey, fixed: value[key], computed });
  }
  if (isConstant) return null;
  return (scope, env) => {
    env.charge(entries.length);
    const made: Record<string, unknown> = {};
    let present: string | undefined;
    try {
      for (const { key, computedKey, fixed, computed } of entries) {
        present = key;
        const name = computedKey ? toText(computedKey(scope, env)) : key;
        if (computedKey && isHostile(name)) throw refusedName(name, key, { start: 0, end: key.length });
        made[name] = computed === null ? fixed : computed(scope, env);
      }
    } catch (error) {
      throw underKey(error, present);
    }
    return made;
  };
}

interface Hole {
  /** As written. */
  source: string;
  evaluate: Evaluate;
  isVariable: boolean;
}

/** Text → its fixed parts and holes, from left to right. */
function scan(text: string, work: Work): (string | Hole)[] {
  const parts: (string | Hole)[] = [];
  const parser = new Parser(text, work.limits);
  const compilation: Compilation = { text, roots: work.roots };
  let literalStart = 0;
  let at = text.indexOf('{');
  const lastPercent = text.lastIndexOf('%}');
  const lastClose = Math.max(text.lastIndexOf('}}'), lastPercent);
  while (at >= 0 && at < lastClose) {
    const next = text[at + 1];
    let node: Node | null = null;
    if (next === '{') {
      parser.at = at;
      node = parser.tryPath();
    } else if (next === '%' && !work.options.noExpressions && at < lastPercent) {
      parser.at = at + 2;
      node = parser.expression();
      parser.skipSpace();
      if (!text.startsWith('%}', parser.at)) parser.fail(`'%}' expected.`);
      parser.at += 2;
    }
    if (!node) {
      at = text.indexOf('{', at + 1);
      continue;
    }
    if (at > literalStart) parts.push(text.slice(literalStart, at));
    const cost = sizeOf(node);
    const inner = compileNode(node, compilation);
    const evaluate: Evaluate =
      cost < 4
        ? inner
        : (scope, env) => {
            env.charge(cost);
            return inner(scope, env);
          };
    parts.push({ source: text.slice(at, parser.at), evaluate, isVariable: next === '{' });
    literalStart = parser.at;
    at = text.indexOf('{', parser.at);
  }
  if (literalStart < text.length) parts.push(text.slice(literalStart));
  for (const warning of parser.warnings) work.warnings.push({ ...warning, keys: [...work.keys] });
  return parts;
}

function compileText(text: string, work: Work): Part {
  if (!text.includes('{')) return null;
  const parts = scan(text, work);
  if (parts.every((part) => typeof part === 'string')) return null;
  const { leaveUndefined } = work.options;
  if (parts.length === 1) {
    const { evaluate, source, isVariable } = parts[0] as Hole;
    if (!leaveUndefined || !isVariable) return evaluate;
    return (scope, env) => {
      const value = evaluate(scope, env);
      return value === undefined ? source : value;
    };
  }
  const { maxOutputChars } = work.limits;
  return (scope, env) => {
    const max = env.maxTextChars ?? maxOutputChars;
    let made = '';
    for (const part of parts) {
      if (typeof part === 'string') made += part;
      else {
        const value = part.evaluate(scope, env);
        made += value === undefined && leaveUndefined && part.isVariable ? part.source : toText(value);
      }
      if (made.length > max)
        throw new ExpressionError('LimitExceededError', `This text would be longer than ${max} characters.`, text.slice(0, 200), {
          start: 0,
          end: 1,
        });
    }
    env.charge(1 + Math.floor(made.length / CHARS_PER_STEP));
    return made;
  };
}
