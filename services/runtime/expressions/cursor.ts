/** cursor — where a parser stands in its text: characters, words, limits, and how a fault is told. */
import type { Node } from './ast.ts';
import { type Diagnostic, ExpressionError, type ExpressionErrorType, type Range, refusedName } from './errors.ts';
import type { Limits } from './limits.ts';
import { isHostile } from './values.ts';

export const isSpace = (code: number) => code === 32 || code === 9 || code === 10 || code === 13 || code === 160;
export const isDigit = (code: number) => code >= 48 && code <= 57;
/** Letters of any script, digits, `_`, `$`. */
export const isWord = (code: number) =>
  (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || isDigit(code) || code === 95 || code === 36 || code > 191;

export class Cursor {
  readonly text: string;
  readonly limits: Limits;
  readonly warnings: Diagnostic[] = [];
  at: number;
  protected depth = 0;
  protected nodes = 0;

  constructor(text: string, limits: Limits, at = 0) {
    this.text = text;
    this.limits = limits;
    this.at = at;
    if (text.length > limits.maxLength)
      this.fail(`This text has ${text.length} characters, the maximum is ${limits.maxLength}.`, { start: 0, end: 1 }, 'LimitExceededError');
  }

  fail(reason: string, range: Range = { start: this.at, end: this.at + 1 }, type: ExpressionErrorType = 'InvalidExpressionSyntax'): never {
    throw new ExpressionError(type, reason, this.text, range);
  }

  protected enter(): void {
    if (++this.depth > this.limits.maxDepth) this.fail(`More than ${this.limits.maxDepth} nested levels.`, undefined, 'LimitExceededError');
  }

  protected node<T extends Omit<Node, 'range'>>(start: number, node: T): Node {
    if (++this.nodes > this.limits.maxNodes) this.fail(`More than ${this.limits.maxNodes} parts.`, undefined, 'LimitExceededError');
    return { ...node, range: { start, end: this.at } } as unknown as Node;
  }

  skipSpace(): void {
    while (this.at < this.text.length && isSpace(this.text.charCodeAt(this.at))) this.at++;
  }

  protected startsWith(symbol: string): boolean {
    return this.text.startsWith(symbol, this.at);
  }

  protected peekText(): string {
    const word = this.wordAt(this.at);
    return word || (this.text[this.at] ?? 'end of the expression');
  }

  protected wordAt(at: number): string {
    let end = at;
    while (end < this.text.length && isWord(this.text.charCodeAt(end))) end++;
    return this.text.slice(at, end);
  }

  protected expect(symbol: string): void {
    this.skipSpace();
    if (!this.startsWith(symbol))
      this.fail(`'${symbol}' expected${this.at < this.text.length ? `, found '${this.peekText()}'` : ' before the end'}.`);
    this.at += symbol.length;
  }

  protected assertHarmless(key: string, start: number): void {
    if (isHostile(key)) throw refusedName(key, this.text, { start, end: start + key.length });
  }
}
