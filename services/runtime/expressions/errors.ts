/** errors — where a text goes wrong: a range, and an excerpt with a caret under it. */

/** Offsets in the text, end exclusive. */
export interface Range {
  start: number;
  end: number;
}

export interface Diagnostic {
  severity: 'error' | 'warning';
  code: string;
  message: string;
  range: Range;
  excerpt?: string;
  /** Where the text stands in the value that was compiled. */
  keys?: (string | number)[];
}

export type ExpressionErrorType = 'InvalidExpressionSyntax' | 'InvalidVariableNameError' | 'LimitExceededError';

/** Two lines: the part of the text around the range, and carets under it. */
export function excerptOf(text: string, { start, end }: Range): string {
  // A position below 0 would mean 0 to lastIndexOf.
  const lineStart = start === 0 ? 0 : text.lastIndexOf('\n', start - 1) + 1;
  const newline = text.indexOf('\n', start);
  const lineEnd = newline < 0 ? text.length : newline;
  const from = Math.max(lineStart, start - 40);
  const to = Math.min(lineEnd, Math.max(start + 40, Math.min(end, start + 60)));
  const before = from > lineStart ? '…' : '';
  const after = to < lineEnd ? '…' : '';
  const carets = '^'.repeat(Math.max(1, Math.min(end, to) - start));
  return `${before}${text.slice(from, to)}${after}\n${' '.repeat(before.length + start - from)}${carets}`;
}

export class ExpressionError extends Error {
  readonly type: ExpressionErrorType;
  readonly range: Range;
  readonly text: string;
  /** Without the excerpt. */
  readonly reason: string;
  /** The name would reach a prototype. */
  readonly isHostile: boolean;
  /** Where the text stands in the value that was evaluated, as far as it is known. */
  keys: (string | number)[] = [];
  /** Where that value stands in the program; then `keys` are part of it. */
  place: string | undefined;

  constructor(type: ExpressionErrorType, reason: string, text: string, range: Range, { isHostile = false } = {}) {
    super(text ? `${reason}\n${excerptOf(text, range)}` : reason);
    this.name = type;
    this.type = type;
    this.reason = reason;
    this.range = range;
    this.text = text;
    this.isHostile = isHostile;
  }
}

/** Adds the key under which the value that failed stands; a fault known before the run has its place already. */
export function underKey(error: unknown, key: string | number | undefined): unknown {
  if (error instanceof ExpressionError && error.place === undefined && key !== undefined) error.keys.unshift(key);
  return error;
}

/** 1-based line and column of a position in a text. */
export function lineOf(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at);
  return { line: before.split('\n').length, column: at - (before.lastIndexOf('\n') + 1) + 1 };
}

/** A name that no path, key or argument may use. */
export const refusedName = (name: string, text: string, range: Range): ExpressionError =>
  new ExpressionError('InvalidVariableNameError', `The name '${name}' may not be used.`, text, range, { isHostile: true });
