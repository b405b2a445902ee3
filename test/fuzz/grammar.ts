/**
 * grammar — `npm run fuzz [-- --inputs 1000000 --seed 1]`: random expressions, templates and names, most of them almost right, compiled and
 * evaluated. Whatever the text: an ExpressionError or a value, soon, made of plain data only, and no prototype changed. Prints the seed.
 */
import { pathToFileURL } from 'node:url';
import {
  compileExpression,
  compilePath,
  compileTemplate,
  type Env,
  ExpressionError,
  functions,
} from '../../services/runtime/expressions/index.ts';

/** mulberry32: small, fast and good enough to choose tokens. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const NAMES = [
  'a',
  'n',
  'list',
  'o',
  'o.k',
  'o.k.d',
  'list[0]',
  'o["x-y"]',
  'o[{{key}}]',
  'list[{{n}} - 1]',
  'missing.deep',
  'sly',
  'evil',
  'big',
  '{{where}}',
];
const HOSTILE = ['__proto__', 'constructor', 'prototype', 'toString', 'o.__proto__.x', 'a[constructor]', 'o[{{evil}}]', 'hasOwnProperty'];
const OPERATORS = [
  'and',
  'or',
  '&&',
  '||',
  '==',
  '=',
  '===',
  '!=',
  '!==',
  'equals',
  'not equals',
  'in',
  'not in',
  'matches',
  'not matches',
  '<',
  '<=',
  '>',
  '>=',
  '+',
  '-',
  '*',
  '/',
  '%',
];
const LITERALS = [
  '1',
  '0',
  '-3',
  '1.5',
  '1e3',
  '.5',
  '"text"',
  "'it'",
  '""',
  'true',
  'FALSE',
  'null',
  'undefined',
  'word',
  'order',
  '99999999999999999999',
];
const FUNCTIONS = [...functions.keys(), 'nope'];
const SPLINTERS = [
  '{{',
  '}}',
  '{%',
  '%}',
  '(',
  ')',
  '[',
  ']',
  '"',
  "'",
  '.',
  ',',
  '!',
  '\\',
  '$&',
  ' ',
  '\n',
  '\0',
  '😀',
  '\ud800',
  'é',
  'regex(',
  'not ',
  'exists',
  '__proto__',
  '${',
  '/',
  '|',
];

/** Texts that are almost expressions. */
export function generator(next: () => number) {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const variable = () => `{{${next() < 0.06 ? pick(HOSTILE) : pick(NAMES)}}}`;
  const many = (depth: number, make: (depth: number) => string) =>
    Array.from({ length: Math.floor(next() * 4) }, () => make(depth)).join(', ');

  function expression(depth: number): string {
    const chance = next();
    if (depth <= 0 || chance < 0.25) return next() < 0.5 ? variable() : pick(LITERALS);
    if (chance < 0.62)
      return `${expression(depth - 1)}${next() < 0.9 ? ' ' : ''}${pick(OPERATORS)}${next() < 0.9 ? ' ' : ''}${expression(depth - 1)}`;
    if (chance < 0.7) return `(${expression(depth - 1)})`;
    if (chance < 0.75) return `${pick(['!', 'not ', '-'])}${expression(depth - 1)}`;
    if (chance < 0.79) return `${expression(depth - 1)} ${pick(['exists', 'not exists'])}`;
    if (chance < 0.88)
      return `${pick(FUNCTIONS)}(${many(depth - 1, expression)})${next() < 0.2 ? `.${pick(['ts', 'iso', 'asString', 'length', 'constructor'])}` : ''}`;
    if (chance < 0.91) return `[${many(depth - 1, expression)}]`;
    if (chance < 0.94) return `{${many(depth - 1, (level) => `${pick(['a', '"b c"', 'n', 'constructor'])}: ${expression(level)}`)}}`;
    if (chance < 0.97) return `{% ${expression(depth - 1)} %}`;
    return `${expression(depth - 1)} matches regex(${pick(['/^a+$/i', '(a|b)*c', '"x"', '{{n}}-[0-9]+', '(?=a)', '['])})`;
  }

  const template = (): string =>
    Array.from({ length: 1 + Math.floor(next() * 3) }, () =>
      next() < 0.4 ? pick(['text ', '{', 'a}} b', '50% ', '']) : next() < 0.5 ? variable() : `{% ${expression(2)} %}`,
    ).join('');

  function damaged(text: string): string {
    const at = Math.floor(next() * (text.length + 1));
    const chance = next();
    if (chance < 0.4) return text.slice(0, at) + pick(SPLINTERS) + text.slice(at);
    if (chance < 0.7) return text.slice(0, at) + text.slice(at + 1 + Math.floor(next() * 3));
    if (chance < 0.85) return text.slice(0, at);
    return text.slice(0, at) + text.slice(Math.floor(next() * (at + 1)));
  }

  return (): { kind: 'expression' | 'template' | 'path'; text: string } => {
    const chance = next();
    const kind = chance < 0.6 ? 'expression' : chance < 0.85 ? 'template' : 'path';
    let text =
      kind === 'expression' ? expression(Math.floor(next() * 5)) : kind === 'template' ? template() : pick(next() < 0.2 ? HOSTILE : NAMES);
    while (next() < 0.45) text = damaged(text);
    return { kind, text };
  };
}

const VARIABLES: Record<string, unknown> = {
  a: 1,
  n: 3,
  list: [1, 'two', null, { x: 1 }],
  o: { k: { d: 'deep' }, 'x-y': 5 },
  key: 'k',
  evil: '__proto__',
  where: 'o.k',
  sly: { toString: 1, valueOf: 'x', toJSON: 2, length: -1, then: 3 },
  big: 'x'.repeat(500),
};

/** Only data: what JSON has, undefined and bytes. */
export function isPlain(value: unknown, depth = 0): boolean {
  if (depth > 300) return true;
  if (value === null || value === undefined || ['string', 'number', 'boolean'].includes(typeof value)) return true;
  if (typeof value !== 'object') return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  return Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every((item) => isPlain(item, depth + 1));
}

const BUDGET = 200_000;

export interface Fault {
  kind: string;
  text: string;
  why: string;
}

export interface FuzzReport {
  inputs: number;
  /** How many gave a value. */
  values: number;
  slowestMs: number;
  slowest: string;
  faults: Fault[];
}

export function fuzz({ inputs, seed }: { inputs: number; seed: number }): FuzzReport {
  const next = random(seed);
  const make = generator(next);
  let left = BUDGET;
  const env: Env = {
    now: () => 1_767_225_600_000,
    random: next,
    uuid: () => 'f'.repeat(32),
    timezone: 'UTC',
    locale: 'en',
    charge(steps) {
      left -= steps;
      if (left < 0) throw new ExpressionError('LimitExceededError', 'budget', '', { start: 0, end: 0 });
    },
  };
  const scope = { get: (name: string) => (Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined) };
  const before = JSON.stringify(VARIABLES);
  const names = () =>
    [Object.prototype, Array.prototype, String.prototype, Function.prototype].flatMap((proto) => Object.getOwnPropertyNames(proto)).length;
  const inherited = names();
  const report: FuzzReport = { inputs, values: 0, slowestMs: 0, slowest: '', faults: [] };
  for (let n = 0; n < inputs; n++) {
    const { kind, text } = make();
    left = BUDGET;
    const started = performance.now();
    try {
      const compiled =
        kind === 'expression' ? compileExpression(text) : kind === 'template' ? compileTemplate({ k: [text] }) : compilePath(text);
      const value = compiled.evaluate(scope, env);
      report.values++;
      if (!isPlain(value)) report.faults.push({ kind, text, why: 'a value that is no plain data' });
    } catch (error) {
      if (!(error instanceof ExpressionError)) report.faults.push({ kind, text, why: String((error as Error)?.stack ?? error) });
    }
    const ms = performance.now() - started;
    if (ms > report.slowestMs) [report.slowestMs, report.slowest] = [ms, text];
  }
  if (names() !== inherited || ({} as { x?: unknown }).x !== undefined)
    report.faults.push({ kind: '', text: '', why: 'a prototype was changed' });
  if (JSON.stringify(VARIABLES) !== before) report.faults.push({ kind: '', text: '', why: 'a variable was changed' });
  return report;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const option = (name: string, fallback: number) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? fallback : Number(process.argv[at + 1]);
  };
  const inputs = option('inputs', 1_000_000);
  const seed = option('seed', Math.floor(Math.random() * 2 ** 31));
  const started = performance.now();
  const { values, slowestMs, slowest, faults } = fuzz({ inputs, seed });
  const seconds = (performance.now() - started) / 1000;
  // The shortest text of each kind of fault is enough to begin with.
  const byWhy = new Map<string, Fault>();
  for (const fault of faults)
    if (fault.text.length < (byWhy.get(fault.why)?.text.length ?? Number.POSITIVE_INFINITY)) byWhy.set(fault.why, fault);
  for (const { kind, text, why } of [...byWhy.values()].slice(0, 10)) console.log(`${kind} ${JSON.stringify(text)}\n  ${why}`);
  console.log(
    `seed ${seed}: ${inputs} inputs in ${seconds.toFixed(1)} s, ${values} gave a value, slowest ${slowestMs.toFixed(1)} ms (${JSON.stringify(slowest.slice(0, 100))}), ${faults.length} faults`,
  );
  process.exitCode = faults.length ? 1 : 0;
}
