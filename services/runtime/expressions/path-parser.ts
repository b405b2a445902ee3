/**
 * path-parser — `{{ path }}`: segments, brackets, and paths within paths.
 *
 *   path     = segment { '.' segment | '[' key ']' }
 */
import type { Node, Segment } from './ast.ts';
import { Cursor, isSpace } from './cursor.ts';

export abstract class PathParser extends Cursor {
  private closing = { from: Number.POSITIVE_INFINITY, at: -1 };

  /** The expression that stands between `at` and `end`, `depth` levels down; a fault when it ends earlier. */
  protected abstract expressionWithin(at: number, end: number, depth: number): Node;

  /** `{{ path }}` at the cursor. */
  protected variable(): Node {
    const node = this.tryPath();
    if (!node)
      this.fail("This '{{' is not the start of a variable: '}}' is missing, or a brace stands inside.", {
        start: this.at,
        end: this.at + 2,
      });
    return node as Node;
  }

  /** Whether `}}` follows; remembered, so that a text full of `{{` is not searched to its end for each. */
  protected closesAfter(at: number): boolean {
    if (this.closing.at >= at) return true;
    if (this.closing.at < 0 && at >= this.closing.from) return false;
    this.closing = { from: at, at: this.text.indexOf('}}', at) };
    return this.closing.at >= 0;
  }

  /** `{{ path }}` at the cursor, or null (and the cursor where it was) when the braces do not enclose a path. */
  tryPath(): Node | null {
    const start = this.at;
    if (!this.closesAfter(start)) return null;
    this.at += 2;
    this.enter();
    const path = this.path('}}');
    this.depth--;
    if (!path) {
      this.at = start;
      return null;
    }
    this.at += 2;
    return this.node(start, { type: 'variable', path } as Omit<Node, 'range'>);
  }

  /**
   * Segments up to `close` ('' means the end of the text). Spaces around the whole are ignored, inside they belong to the name.
   * `a.b`, `a[0]`, `a["x.y"]`, `a[b.c]` (one key), `a[{{i}}]`, `a[{{i}} + 1]`, `bag.{{id}}`, `{{name}}` alone (the path it holds).
   * Null when a single brace stands inside: then it is text, not a variable.
   */
  path(close: '}}' | ''): Segment[] | null {
    const segments: Segment[] = [];
    const start = this.at;
    this.skipSpace();
    let expectsKey = true;
    for (;;) {
      if (close ? this.startsWith(close) : this.at >= this.text.length) break;
      const char = this.text[this.at];
      if (char === undefined) return null;
      if (char === '[') {
        if (segments.length === 0)
          this.fail('A variable cannot start with an opening bracket.', { start, end: this.at + 1 }, 'InvalidVariableNameError');
        segments.push(this.bracket());
        expectsKey = false;
        continue;
      }
      if (char === '.') {
        if (expectsKey)
          this.fail(
            segments.length ? 'A key is missing between two dots.' : 'A variable cannot start with a dot.',
            { start, end: this.at + 1 },
            'InvalidVariableNameError',
          );
        this.at++;
        expectsKey = true;
        continue;
      }
      const segment = this.plainSegment(close);
      if (!segment) return null;
      if (segment.length) segments.push(...segment);
      expectsKey = false;
    }
    if (segments.length === 0)
      this.fail('The variable name is empty.', { start: Math.max(0, start - 2), end: this.at }, 'InvalidVariableNameError');
    if (expectsKey) this.fail('The variable name ends with a dot.', { start, end: this.at }, 'InvalidVariableNameError');
    return segments;
  }

  protected plainSegment(close: '}}' | ''): Segment[] | null {
    const start = this.at;
    const parts: (string | Node)[] = [];
    let literal = '';
    while (this.at < this.text.length) {
      const char = this.text[this.at] as string;
      if (char === '.' || char === '[') break;
      if (close && this.startsWith(close)) break;
      if (this.startsWith('{{')) {
        const nested = this.tryPath();
        if (!nested) return null;
        if (literal) parts.push(literal);
        literal = '';
        parts.push(nested);
        continue;
      }
      if (close && (char === '{' || char === '}')) return null;
      literal += char;
      this.at++;
    }
    const range = { start, end: this.at };
    if (parts.length === 0) {
      // Spaces at the end of the whole path are not part of the name.
      const isEnd = close ? this.startsWith(close) : this.at >= this.text.length;
      const key = isEnd ? literal.trimEnd() : literal;
      if (key === '') return isEnd && literal ? [] : this.fail('A key is missing.', range, 'InvalidVariableNameError');
      this.assertHarmless(key, start);
      return [{ kind: 'fixed', key, range }];
    }
    if (literal.trim()) parts.push(literal);
    return [{ kind: 'computed', parts, range }];
  }

  protected bracket(): Segment {
    const start = this.at++;
    this.enter();
    const quote = this.text[this.at];
    if (quote === '"' || quote === "'") {
      const end = this.text.indexOf(quote, this.at + 1);
      if (end > 0 && this.text[end + 1] === ']') {
        const key = this.text.slice(this.at + 1, end);
        this.assertHarmless(key, this.at + 1);
        this.at = end + 2;
        this.depth--;
        return { kind: 'fixed', key, range: { start, end: this.at } };
      }
    }
    const parts: (string | Node)[] = [];
    let literal = '';
    let isArithmetic = false;
    const contentStart = this.at;
    for (;;) {
      if (this.at >= this.text.length)
        this.fail("This '[' has no closing ']'.", { start, end: this.text.length }, 'InvalidVariableNameError');
      if (this.text[this.at] === ']') break;
      if (this.startsWith('{{')) {
        const nested = this.tryPath();
        if (nested) {
          if (literal) parts.push(literal);
          literal = '';
          parts.push(nested);
          continue;
        }
      }
      // `[{{i}} + 1]`: an operator between spaces, beside a variable, is computed; otherwise the text is the key.
      if (
        /[+\-*/%]/.test(this.text[this.at] as string) &&
        isSpace(this.text.charCodeAt(this.at - 1)) &&
        isSpace(this.text.charCodeAt(this.at + 1))
      )
        isArithmetic = true;
      literal += this.text[this.at++];
    }
    const contentEnd = this.at;
    this.at++;
    this.depth--;
    const range = { start, end: this.at };
    if (parts.length === 0) {
      if (literal === '') this.fail('A key is missing between the brackets.', range, 'InvalidVariableNameError');
      this.assertHarmless(literal, contentStart);
      return { kind: 'fixed', key: literal, range };
    }
    if (literal) parts.push(literal);
    if (isArithmetic && parts.length > 1) {
      const expression = this.expressionWithin(contentStart, contentEnd, this.depth + 1);
      return { kind: 'computed', parts: [expression], range };
    }
    return { kind: 'computed', parts, range };
  }
}
