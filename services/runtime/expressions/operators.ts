/** operators — the table of operators: spelling, level, meaning. A higher level binds tighter; all are left-associative. */
import type { BinaryOperator } from './ast.ts';
import { delimited, regexFrom } from './regex.ts';
import { hasOwn, looseEquals, toKey } from './values.ts';

export const LEVELS = { or: 1, and: 2, equality: 3, relational: 4, additive: 5, multiplicative: 6 } as const;

/** Spelling → [operator, level]. Words are matched whole and without regard to case; `not x` words are joined by the parser. */
export const SYMBOLS: readonly (readonly [string, BinaryOperator | 'and' | 'or', number])[] = [
  ['===', '===', LEVELS.equality],
  ['!==', '!=', LEVELS.equality],
  ['==', '==', LEVELS.equality],
  ['!=', '!=', LEVELS.equality],
  ['<=', '<=', LEVELS.relational],
  ['>=', '>=', LEVELS.relational],
  ['&&', 'and', LEVELS.and],
  ['||', 'or', LEVELS.or],
  ['=', '==', LEVELS.equality],
  ['<', '<', LEVELS.relational],
  ['>', '>', LEVELS.relational],
  ['+', '+', LEVELS.additive],
  ['-', '-', LEVELS.additive],
  ['*', '*', LEVELS.multiplicative],
  ['/', '/', LEVELS.multiplicative],
  ['%', '%', LEVELS.multiplicative],
];

export const WORDS: ReadonlyMap<string, readonly [BinaryOperator | 'and' | 'or', number]> = new Map([
  ['and', ['and', LEVELS.and]],
  ['or', ['or', LEVELS.or]],
  ['equals', ['==', LEVELS.equality]],
  ['in', ['in', LEVELS.equality]],
  ['matches', ['matches', LEVELS.equality]],
] as const);

/** Words that `not` may precede. */
export const NEGATED: ReadonlyMap<string, BinaryOperator> = new Map([
  ['equals', 'not equals'],
  ['in', 'not in'],
  ['matches', 'not matches'],
] as const);

/** The table for readers, loosest first. A test holds it to SYMBOLS and WORDS. */
export const OPERATORS: readonly { symbols: string[]; meaning: string }[] = [
  { symbols: ['or', '||'], meaning: 'the first operand that is true, else the last: `{{x}} or "none"`' },
  { symbols: ['and', '&&'], meaning: 'the first operand that is false, else the last' },
  { symbols: ['=', '==', 'equals', 'not equals'], meaning: 'loose equality: `1 == "1"`, `null == undefined`; objects by identity' },
  { symbols: ['===', '!=', '!=='], meaning: 'strict equality and inequality: `1 != "1"` is true' },
  {
    symbols: ['in', 'not in'],
    meaning: 'element of a list (strict), part of a comma separated text (numbers as integers), own key of an object; false for nothing',
  },
  {
    symbols: ['matches', 'not matches'],
    meaning:
      'a text is a pattern, of a list any; `regex(/source/flags)`, `regex("source")` and `regex(source)` are patterns, with variables inside',
  },
  { symbols: ['exists', 'not exists'], meaning: 'stands behind its operand: neither undefined nor null' },
  { symbols: ['<', '<=', '>', '>='], meaning: "JavaScript's; two texts are compared as texts" },
  { symbols: ['+', '-'], meaning: 'sum or joined texts, difference; undefined gives NaN' },
  { symbols: ['*', '/', '%'], meaning: 'product, quotient (by zero: Infinity), remainder' },
  { symbols: ['!', 'not', '-'], meaning: 'before its operand: negation' },
];

function isIn(left: unknown, right: unknown): boolean {
  if (Array.isArray(right)) return right.includes(left);
  if (typeof right === 'string') {
    const parts = right.split(',');
    if (typeof left === 'number') return parts.some((part) => Number.parseInt(part, 10) === left);
    // Parts that are numbers are numbers: the text "1" is not in "1,2", as 1 === "1" is false.
    return typeof left === 'string' && parts.includes(left) && (left.trim() === '' || Number.isNaN(Number(left)));
  }
  if (typeof right === 'object' && right !== null) return hasOwn(right, toKey(left));
  return false;
}

/** What a pattern is tried on: text as it is, nothing for nothing, JSON of objects. */
export const textToMatch = (value: unknown): string => {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
};

/** A text is a source, taken as it is; of a list any may match, and its items may be `/source/flags`. */
export function doesMatch(left: unknown, right: unknown, charge?: (steps: number) => void): boolean {
  const text = textToMatch(left);
  if (typeof right === 'string') return regexFrom(right).test(text, charge);
  if (!Array.isArray(right)) return false;
  return right.some((item) => {
    if (typeof item !== 'string' || item === '') return false;
    const { source, flags } = delimited(item);
    return regexFrom(source, flags).test(text, charge);
  });
}

// The language keeps JavaScript's loose comparisons and arithmetic on purpose: existing workspaces depend on them.
export const BINARY: Record<BinaryOperator, (left: any, right: any) => unknown> = {
  '==': looseEquals,
  '===': (left, right) => left === right,
  '!=': (left, right) => left !== right,
  'not equals': (left, right) => !looseEquals(left, right),
  in: isIn,
  'not in': (left, right) => !isIn(left, right),
  matches: (left, right) => doesMatch(left, right),
  'not matches': (left, right) => !doesMatch(left, right),
  '<': (left, right) => plain(left) < plain(right),
  '<=': (left, right) => plain(left) <= plain(right),
  '>': (left, right) => plain(left) > plain(right),
  '>=': (left, right) => plain(left) >= plain(right),
  '+': (left, right) => plain(left) + plain(right),
  '-': (left, right) => plain(left) - plain(right),
  '*': (left, right) => plain(left) * plain(right),
  '/': (left, right) => plain(left) / plain(right),
  '%': (left, right) => plain(left) % plain(right),
};

/** Objects in arithmetic become their JSON: JavaScript would call methods that the data itself may carry. */
function plain(value: any): any {
  return typeof value === 'object' && value !== null ? (JSON.stringify(value) ?? '') : value;
}
