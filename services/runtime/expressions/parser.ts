/**
 * parser — text → tree, in one pass from left to right: precedence climbing over the table of operators.
 *
 *   expr     = operand { operator operand | 'exists' | 'not exists' }
 *   operand  = ( '!' | 'not' | '-' ) operand | primary { '.' word | '[' expr ']' }
 *   primary  = number | text | true false null undefined | word | '{{' path '}}' | '(' expr ')' | '{%' expr '%}' | word '(' args ')'
 *            | '[' items ']' | '{' pairs '}'
 *   path     : path-parser.ts
 *
 * The same class reads templates, whose holes are these expressions and paths (template.ts).
 */
import type { BinaryOperator, Node } from './ast.ts';
import { isDigit, isSpace, isWord } from './cursor.ts';
import { excerptOf } from './errors.ts';
import { LEVELS, NEGATED, SYMBOLS, WORDS } from './operators.ts';
import { PathParser } from './path-parser.ts';
import { readingsOf } from './printer.ts';
import { delimited } from './regex.ts';

const KEYWORD_VALUES: ReadonlyMap<string, boolean | null | undefined> = new Map<string, boolean | null | undefined>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['undefined', undefined],
]);
export class Parser extends PathParser {
  /** A whole expression up to the end of the text. */
  parseWhole(): Node {
    this.skipSpace();
    if (this.at >= this.text.length) this.fail('The expression is empty.', { start: 0, end: 1 });
    const node = this.expression();
    this.skipSpace();
    if (this.at < this.text.length) this.fail(`Unexpected '${this.peekText()}'.`);
    return node;
  }

  protected expressionWithin(at: number, end: number, depth: number): Node {
    const inner = new Parser(this.text.slice(0, end), this.limits, at);
    inner.depth = depth;
    const expression = inner.expression();
    inner.skipSpace();
    if (inner.at < end) this.fail('This key cannot be computed.', { start: inner.at, end });
    return expression;
  }

  expression(): Node {
    this.enter();
    const state = { sawAnd: -1, mixedAt: -1 };
    const node = this.climb(LEVELS.or, state);
    this.depth--;
    if (state.mixedAt >= 0) this.warnOfMix(node, state.mixedAt);
    return node;
  }

  /** Operator at the cursor, or null; the cursor does not move. */
  private peekOperator(): { operator: BinaryOperator | 'and' | 'or' | 'exists' | 'not exists'; level: number; end: number } | null {
    this.skipSpace();
    const code = this.text.charCodeAt(this.at);
    if (isWord(code)) {
      const word = this.wordAt(this.at);
      const lower = word.toLowerCase();
      const end = this.at + word.length;
      if (lower === 'exists') return { operator: 'exists', level: LEVELS.equality, end };
      const known = WORDS.get(lower);
      if (known) return { operator: known[0], level: known[1], end };
      if (lower !== 'not') return null;
      let next = end;
      while (isSpace(this.text.charCodeAt(next))) next++;
      const second = this.wordAt(next);
      const negated = NEGATED.get(second.toLowerCase());
      if (negated) return { operator: negated, level: LEVELS.equality, end: next + second.length };
      if (second.toLowerCase() === 'exists') return { operator: 'not exists', level: LEVELS.equality, end: next + second.length };
      return null;
    }
    if (this.startsWith('%}')) return null;
    for (const [symbol, operator, level] of SYMBOLS) if (this.startsWith(symbol)) return { operator, level, end: this.at + symbol.length };
    return null;
  }

  /** A tree of a chain is as deep as the chain is long: it must fit the stack wherever it is evaluated. */
  private assertChain(links: number): void {
    const { maxChain } = this.limits;
    if (links > maxChain) this.fail(`More than ${maxChain} operators or fields one after the other.`, undefined, 'LimitExceededError');
  }

  private climb(minimum: number, state: { sawAnd: number; mixedAt: number }): Node {
    const start = this.at;
    let left = this.operand();
    for (let links = 1; ; ) {
      const found = this.peekOperator();
      if (!found || found.level < minimum) return left;
      const operatorAt = this.at;
      this.at = found.end;
      if (found.operator !== 'and' && found.operator !== 'or') this.assertChain(links++);
      if (found.operator === 'exists' || found.operator === 'not exists') {
        left = this.node(start, { type: 'exists', operand: left, isNegated: found.operator === 'not exists' } as Omit<Node, 'range'>);
        continue;
      }
      if (found.operator === 'and' || found.operator === 'or') {
        this.noteMix(found.operator, operatorAt, state);
        const right = this.climb(found.level + 1, state);
        if (left.type === 'logical' && left.operator === found.operator && left.range.start === start && !left.isGrouped) {
          left.items.push(right);
          left.range.end = this.at;
        } else left = this.node(start, { type: 'logical', operator: found.operator, items: [left, right] } as Omit<Node, 'range'>);
        continue;
      }
      const isMatch = found.operator === 'matches' || found.operator === 'not matches';
      const right = isMatch ? (this.regexLiteral() ?? this.climb(found.level + 1, state)) : this.climb(found.level + 1, state);
      left = this.node(start, { type: 'binary', operator: found.operator, left, right } as Omit<Node, 'range'>);
    }
  }

  private noteMix(operator: 'and' | 'or', at: number, state: { sawAnd: number; mixedAt: number }): void {
    if (operator === 'and') state.sawAnd = at;
    else if (state.sawAnd >= 0 && state.mixedAt < 0) state.mixedAt = at;
  }

  /** `a and b or c` means (a and b) or c here; the product's older runtime read a and (b or c). */
  private warnOfMix(node: Node, at: number): void {
    const range = { start: at, end: at + 2 };
    const { here, before } = readingsOf(node);
    const shown = here.length + before.length < 400 ? `\n  here:   ${here}\n  before: ${before}` : '';
    this.warnings.push({
      severity: 'warning',
      code: 'MixedAndOr',
      message: `'and' binds tighter than 'or' here; older runtimes read both from the right. Write the parentheses.${shown}`,
      range,
      excerpt: excerptOf(this.text, range),
    });
  }

  private operand(): Node {
    this.skipSpace();
    const start = this.at;
    if (this.text[start] === '!' && this.text[start + 1] !== '=') {
      this.at++;
      return this.prefixed(start, 'not');
    }
    if (this.text[start] === '-') {
      this.at++;
      const operand = this.prefixedOperand();
      if (operand.type === 'literal' && typeof operand.value === 'number' && !Object.is(operand.value, -0) && operand.value >= 0)
        return this.node(start, { type: 'literal', value: -operand.value } as Omit<Node, 'range'>);
      return this.node(start, { type: 'negate', operand } as Omit<Node, 'range'>);
    }
    const word = this.wordAt(start);
    if (word.length === 3 && word.toLowerCase() === 'not') {
      this.at += 3;
      return this.prefixed(start, 'not');
    }
    return this.postfix(start);
  }

  private prefixed(start: number, type: 'not'): Node {
    const operand = this.prefixedOperand();
    return this.node(start, { type, operand } as Omit<Node, 'range'>);
  }

  private prefixedOperand(): Node {
    this.enter();
    const operand = this.operand();
    this.depth--;
    return operand;
  }

  private postfix(start: number): Node {
    let node = this.primary();
    for (let links = 1; ; this.assertChain(links++)) {
      const code = this.text[this.at];
      if (code === '.' && isWord(this.text.charCodeAt(this.at + 1))) {
        this.at++;
        const keyStart = this.at;
        const word = this.wordAt(this.at);
        this.at += word.length;
        this.assertHarmless(word, keyStart);
        node = this.node(start, {
          type: 'member',
          object: node,
          key: { type: 'literal', value: word, range: { start: keyStart, end: this.at } },
        } as Omit<Node, 'range'>);
      } else if (code === '[' && node.type !== 'literal') {
        this.at++;
        const key = this.expression();
        this.expect(']');
        node = this.node(start, { type: 'member', object: node, key } as Omit<Node, 'range'>);
      } else return node;
    }
  }

  private primary(): Node {
    this.skipSpace();
    const start = this.at;
    const { text } = this;
    if (start >= text.length) this.fail('The expression ends too early.');
    if (text.startsWith('{{', start)) return this.variable();
    if (text.startsWith('{%', start)) {
      this.at += 2;
      const inner = this.expression();
      this.expect('%}');
      return inner;
    }
    const code = text.charCodeAt(start);
    if (code === 40) {
      this.at++;
      const inner = this.expression();
      this.expect(')');
      return { ...inner, isGrouped: true, range: { start, end: this.at } } as Node;
    }
    if (code === 34 || code === 39) return this.quoted();
    if (code === 91) return this.array();
    if (code === 123) return this.object();
    if (isDigit(code) || (code === 46 && isDigit(text.charCodeAt(start + 1)))) return this.number();
    if (isWord(code)) return this.word();
    if (text.startsWith('%}', start)) this.fail('The expression ends too early.', { start, end: start + 2 });
    return this.fail(`Unexpected '${this.peekText()}'.`);
  }

  private quoted(): Node {
    const start = this.at;
    const end = this.text.indexOf(this.text[start] as string, start + 1);
    if (end < 0) this.fail('This text has no closing quote.', { start, end: this.text.length });
    this.at = end + 1;
    return this.node(start, { type: 'literal', value: this.text.slice(start + 1, end) } as Omit<Node, 'range'>);
  }

  private number(): Node {
    const start = this.at;
    const pattern = /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
    pattern.lastIndex = start;
    const found = pattern.exec(this.text)?.[0] as string;
    const end = start + found.length;
    // `1_000`, `2nd`, `7a3f`: a word that begins with a digit.
    if (isWord(this.text.charCodeAt(end)) || /[a-zA-Z_$]/.test(this.wordAt(start))) {
      if (!/^\d+(\.\d+)?[eE][+-]?\d+$/.test(found)) return this.word();
    }
    this.at = end;
    return this.node(start, { type: 'literal', value: Number(found) } as Omit<Node, 'range'>);
  }

  private word(): Node {
    const start = this.at;
    const word = this.wordAt(start);
    this.at += word.length;
    const lower = word.toLowerCase();
    let next = this.at;
    while (isSpace(this.text.charCodeAt(next))) next++;
    if (this.text[next] === '(' && !WORDS.has(lower)) {
      if (lower === 'regex') {
        this.at = start;
        return this.regexLiteral() as Node;
      }
      this.at = next + 1;
      return this.call(start, word);
    }
    if (KEYWORD_VALUES.has(lower)) return this.node(start, { type: 'literal', value: KEYWORD_VALUES.get(lower) } as Omit<Node, 'range'>);
    if (WORDS.has(lower) || lower === 'exists')
      this.fail(`'${word}' stands where a value is expected; quote it to mean the text.`, { start, end: this.at });
    return this.node(start, { type: 'literal', value: word, isBare: true } as Omit<Node, 'range'>);
  }

  private call(start: number, name: string): Node {
    const args = this.list(')');
    return this.node(start, { type: 'call', name, args } as Omit<Node, 'range'>);
  }

  /** Items up to `close`; a comma may follow the last one. */
  private list(close: string): Node[] {
    const items: Node[] = [];
    for (;;) {
      this.skipSpace();
      if (this.startsWith(close)) break;
      items.push(this.expression());
      this.skipSpace();
      if (this.text[this.at] === ',') this.at++;
      else if (!this.startsWith(close))
        this.fail(this.at < this.text.length ? `',' or '${close}' expected, found '${this.peekText()}'.` : `'${close}' is missing.`);
    }
    this.at += close.length;
    return items;
  }

  private array(): Node {
    const start = this.at++;
    const items = this.list(']');
    return this.node(start, { type: 'array', items } as Omit<Node, 'range'>);
  }

  private object(): Node {
    const start = this.at++;
    const entries: { key: string; value: Node }[] = [];
    for (;;) {
      this.skipSpace();
      if (this.text[this.at] === '}') break;
      const keyStart = this.at;
      const quote = this.text[this.at];
      let key: string;
      if (quote === '"' || quote === "'") key = (this.quoted() as { value: string } & Node).value;
      else {
        key = this.wordAt(this.at);
        if (!key) this.fail(`A key is expected, found '${this.peekText()}'.`);
        this.at += key.length;
      }
      this.assertHarmless(key, keyStart);
      this.expect(':');
      entries.push({ key, value: this.expression() });
      this.skipSpace();
      if (this.text[this.at] === ',') this.at++;
      else if (this.text[this.at] !== '}') this.fail("',' or '}' expected.");
    }
    this.at++;
    return this.node(start, { type: 'object', entries } as Omit<Node, 'range'>);
  }

  /** `regex(/source/flags)`, `regex("source")`, `regex(raw (with) balanced parentheses)`; null when there is none at the cursor. */
  private regexLiteral(): Node | null {
    this.skipSpace();
    const start = this.at;
    const word = this.wordAt(start);
    if (word.toLowerCase() !== 'regex') return null;
    let open = start + word.length;
    while (isSpace(this.text.charCodeAt(open))) open++;
    if (this.text[open] !== '(') return null;
    this.at = open + 1;
    this.skipSpace();
    const quote = this.text[this.at];
    if (quote === '"' || quote === "'") {
      const source = (this.quoted() as { value: string } & Node).value;
      this.skipSpace();
      this.expect(')');
      const { source: part, flags } = delimited(source);
      return this.node(start, { type: 'regex', parts: [part], flags } as Omit<Node, 'range'>);
    }
    return this.rawRegex(start);
  }

  private rawRegex(start: number): Node {
    const parts: (string | Node)[] = [];
    let literal = '';
    let depth = 0;
    let inClass = false;
    for (;;) {
      if (this.at >= this.text.length) this.fail("This regex(…) has no closing ')'.", { start, end: this.text.length });
      const char = this.text[this.at] as string;
      if (char === '\\') {
        literal += this.text.slice(this.at, this.at + 2);
        this.at += 2;
        continue;
      }
      if (this.text.startsWith('{{', this.at)) {
        const path = this.tryPath();
        if (path) {
          if (literal) parts.push(literal);
          literal = '';
          parts.push(path);
          continue;
        }
      }
      if (inClass) inClass = char !== ']';
      else if (char === '[') inClass = true;
      else if (char === '(') depth++;
      else if (char === ')' && depth-- === 0) break;
      literal += char;
      this.at++;
    }
    this.at++;
    if (literal || parts.length === 0) parts.push(literal.replace(/\s+$/, ''));
    let flags = '';
    const first = parts[0];
    const last = parts.at(-1);
    if (typeof first === 'string' && first.startsWith('/') && typeof last === 'string') {
      const closing = /\/([gimsuy]*)$/.exec(parts.length === 1 ? last.slice(1) : last);
      if (closing) {
        flags = closing[1] as string;
        parts[parts.length - 1] = last.slice(0, last.length - flags.length - 1);
        parts[0] = (parts[0] as string).slice(1);
      }
    }
    return this.node(start, { type: 'regex', parts, flags } as Omit<Node, 'range'>);
  }
}
