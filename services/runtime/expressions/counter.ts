/**
 * counter — `{% path + value %}` onto that very path. A counter that several runs change at once must become increments, not a value computed
 * from what one of them has seen.
 *
 *   counter  = operand | counter ( '+' | '-' ) term | term '+' counter | '(' counter ')'
 *   operand  : the path that is written, or `(path or 0)`
 *   term     : anything that cannot read that path: what it adds is known before
 *
 * Increments are exact: x + a is a + x, x - a is x + -a, and a chain is applied link by link, so an undisturbed counter has the value that the
 * expression has, to the last bit.
 */
import type { Node, Segment } from './ast.ts';
import { type Compilation, compileNode, type Evaluate, payForText, type Scope, sizeOf } from './compiler.ts';
import { ExpressionError } from './errors.ts';
import type { Env } from './function.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { BINARY } from './operators.ts';
import { Parser } from './parser.ts';
import { toNumber } from './values.ts';

export interface Counter {
  /**
   * `value`: of the expression where the path holds `before`. `by`: what leads there from `before`, one after the other; null when that is no
   * counting (a text is joined, a term is no number).
   */
  evaluate(before: unknown, scope: Scope, env: Env): { value: unknown; by: number[] | null };
}

/** A term as it was evaluated, and the operator before it. */
interface Term {
  value: unknown;
  operator: '+' | '-';
}

/** What the search for the operand has met. */
interface Found {
  orZero: boolean;
  /** A term may read the counter: what it adds depends on what others have counted. */
  readsItself: boolean;
}

type Sum = (before: unknown, scope: Scope, env: Env, terms: Term[]) => unknown;

/** They are told the name of a variable, which may be any. */
const TOLD_A_NAME = new Set(['isArray', 'isObject']);
const TEMPLATE = /^\{%[\s\S]*%\}$/;

/** `text` as a counter at the path `name`; null for anything else, faulty texts too: their fault is told by the template that they are. */
export function compileCounter(name: string, text: unknown): Counter | null {
  if (typeof text !== 'string' || !TEMPLATE.test(text)) return null;
  try {
    return compiled(name, text);
  } catch (error) {
    if (error instanceof ExpressionError) return null;
    throw error;
  }
}

function compiled(name: string, text: string): Counter | null {
  const parser = new Parser(text, DEFAULT_LIMITS, 2);
  const node = parser.expression();
  parser.skipSpace();
  if (parser.at !== text.length - 2 || node.type !== 'binary') return null;
  const target = new Parser(name, DEFAULT_LIMITS).path('');
  if (!target || target.length < 2) return null;
  const found: Found = { orZero: false, readsItself: false };
  const sum = sumOf(node, target, { text, roots: new Set() }, found);
  if (!sum) return null;
  const { orZero, readsItself } = found;
  // `{{global.n}} + 1` alone begins at nothing. Everywhere else a sum with undefined is no number, as it always was.
  const beginsAtNothing = node.left.type === 'variable' && isSame(node.left.path, target) && target.every(({ kind }) => kind === 'fixed');
  if (readsItself && !beginsAtNothing) return null;
  const cost = sizeOf(node);

  return {
    evaluate(given, scope, env) {
      if (cost >= 4) env.charge(cost);
      const before = orZero ? given || 0 : given;
      const terms: Term[] = [];
      const value = sum(before, scope, env, terms);
      if (before === undefined) {
        const [term] = terms as [Term];
        if (!beginsAtNothing || typeof term.value !== 'number' || !Number.isFinite(term.value)) return { value, by: null };
        const first = term.operator === '+' ? term.value : -term.value;
        return { value: first, by: [first] };
      }
      const isCounted = !readsItself && (typeof before === 'number' || before === null) && !Number.isNaN(given) && Number.isFinite(value);
      const by = isCounted ? terms.map(amountOf) : [];
      return { value, by: isCounted && by.every(Number.isFinite) ? by : null };
    },
  };
}

/** What a term adds to a number; NaN when it does not: a text behind `+` is joined. */
function amountOf({ value, operator }: Term): number {
  if (value === null) return 0;
  if (operator === '-') return -toNumber(value);
  return typeof value === 'string' ? Number.NaN : toNumber(value);
}

/** The sum with the operand left open, or null when `node` is no counter. */
function sumOf(node: Node, target: Segment[], into: Compilation, found: Found): Sum | null {
  if (isSame(pathOf(node), target)) return (before) => before;
  if (isOrZero(node, target)) {
    found.orZero = true;
    return (before) => before;
  }
  if (node.type !== 'binary' || (node.operator !== '+' && node.operator !== '-')) return null;
  const { operator, left, right, range } = node;
  const apply = BINARY[operator];
  const joined = (made: unknown, env: Env): unknown => {
    if (typeof made === 'string') payForText(made, env, into.text, range);
    return made;
  };
  const termOf = (term: Node): Evaluate => {
    found.readsItself ||= mayRead(term, target);
    return compileNode(term, into);
  };
  const first = sumOf(left, target, into, found);
  if (first) {
    const term = termOf(right);
    return (before, scope, env, terms) => {
      const sum = first(before, scope, env, terms);
      const value = term(scope, env);
      terms.push({ value, operator });
      return joined(apply(sum, value), env);
    };
  }
  const second = operator === '+' ? sumOf(right, target, into, found) : null;
  if (!second) return null;
  const term = termOf(left);
  return (before, scope, env, terms) => {
    const value = term(scope, env);
    const sum = second(before, scope, env, terms);
    terms.push({ value, operator });
    return joined(apply(value, sum), env);
  };
}

/** `path or 0` */
const isOrZero = (node: Node, target: Segment[]): boolean => {
  if (node.type !== 'logical' || node.operator !== 'or' || node.items.length !== 2) return false;
  const [first, last] = node.items as [Node, Node];
  return isSame(pathOf(first), target) && last.type === 'literal' && last.value === 0;
};

/** Path of a variable, also where the brackets stand behind it: `{{global.votes}}[{{choice}}]`. */
function pathOf(node: Node): Segment[] | null {
  if (node.type === 'variable') return node.path;
  if (node.type !== 'member') return null;
  const { key, range } = node;
  const before = pathOf(node.object);
  if (!before) return null;
  if (key.type === 'literal') return [...before, { kind: 'fixed', key: String(key.value), range }];
  return [...before, { kind: 'computed', parts: [key], range }];
}

/** The same text of the program: what is computed in them has the same value. */
function isSame(path: Segment[] | null, target: Segment[]): boolean {
  return path?.length === target.length && path.every((segment, index) => isAlike(segment, target[index]));
}

const PLACE = new Set(['range', 'isGrouped']);

/** Equal but for where it stands in the text. */
function isAlike(one: unknown, other: unknown): boolean {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) return Object.is(one, other);
  const keys = Object.keys(one).filter((key) => !PLACE.has(key));
  if (keys.length !== Object.keys(other).filter((key) => !PLACE.has(key)).length) return false;
  return keys.every((key) => isAlike((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]));
}

/** Whether `value`, a node or a part of one, may read the target, something in it or something around it. */
function mayRead(value: unknown, target: Segment[]): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const node = value as Node;
  if (node.type === 'call' && TOLD_A_NAME.has(node.name)) return true;
  if (node.type === 'variable' && isNear(node.path, target)) return true;
  return Object.entries(value).some(([key, part]) => !PLACE.has(key) && mayRead(part, target));
}

/** One may lie within the other: no fixed name tells them apart. */
const isNear = (path: Segment[], target: Segment[]): boolean =>
  path.every((segment, index) => {
    const aimed = target[index];
    return !aimed || segment.kind !== 'fixed' || aimed.kind !== 'fixed' || segment.key === aimed.key;
  });
