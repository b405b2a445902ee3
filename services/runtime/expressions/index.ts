/** expressions — the expression language: texts are compiled once into closures, and evaluated against a scope. What other rooms use. */
import { type Compilation, compileNode, type Scope, sizeOf } from './compiler.ts';
import type { Diagnostic } from './errors.ts';
import type { Env } from './function.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { Parser } from './parser.ts';

export type { Scope } from './compiler.ts';
export { type Counter, compileCounter } from './counter.ts';
export { type Diagnostic, ExpressionError, excerptOf, lineOf, type Range } from './errors.ts';
export type { Env, FunctionDefinition } from './function.ts';
export { functions, nearest } from './functions/index.ts';
export { matchesQuery } from './functions/query.ts';
export { DEFAULT_LIMITS, type Limits } from './limits.ts';
export { OPERATORS } from './operators.ts';
export { compilePath, type PathTemplate } from './path.ts';
export { printExpression } from './printer.ts';
export { MAX_MATCH_WORK, MAX_PATTERN, regexFrom } from './regex.ts';
export { compileTemplate, type Template, type TemplateOptions } from './template.ts';
export { read as readProperty, toKey, toNumber, toText } from './values.ts';

export interface Expression {
  readonly text: string;
  readonly roots: ReadonlySet<string>;
  readonly warnings: Diagnostic[];
  /** The expression is one literal: always the same value. */
  readonly literal?: { value: unknown };
  evaluate(scope: Scope, env: Env): unknown;
}

/** @throws ExpressionError */
export function compileExpression(text: string, options: Partial<Limits> = {}): Expression {
  const parser = new Parser(text, { ...DEFAULT_LIMITS, ...options });
  const node = parser.parseWhole();
  const compilation: Compilation = { text, roots: new Set() };
  const inner = compileNode(node, compilation);
  const cost = sizeOf(node);
  return {
    text,
    roots: compilation.roots,
    warnings: parser.warnings,
    ...(node.type === 'literal' ? { literal: { value: node.value } } : {}),
    evaluate(scope, env) {
      env.charge(cost);
      return inner(scope, env);
    },
  };
}
