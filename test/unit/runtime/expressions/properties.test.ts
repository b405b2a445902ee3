/** Laws of the expression language, for any text and any tree. fast-check prints the seed of a counterexample. */
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Node } from '../../../../services/runtime/expressions/ast.ts';
import {
  compileExpression,
  compilePath,
  compileTemplate,
  DEFAULT_LIMITS,
  type Env,
  ExpressionError,
  printExpression,
  toText,
} from '../../../../services/runtime/expressions/index.ts';
import { Parser } from '../../../../services/runtime/expressions/parser.ts';
import { isPlain } from '../../../fuzz/grammar.ts';

function envOf(steps = Number.POSITIVE_INFINITY): Env & { used: number } {
  const env = {
    used: 0,
    now: () => 0,
    random: () => 0.5,
    uuid: () => 'f'.repeat(32),
    timezone: 'UTC',
    locale: 'en',
    charge(more: number) {
      env.used += more;
      if (env.used > steps) throw new ExpressionError('LimitExceededError', 'steps', '', { start: 0, end: 0 });
    },
  };
  return env;
}
const scopeOf = (variables: Record<string, unknown>) => ({
  get: (name: string) => (Object.hasOwn(variables, name) ? variables[name] : undefined),
});

// Trees

const range = { start: 0, end: 0 };
const node = (fields: object): Node => ({ range, ...fields }) as Node;
const hostile = new Set(['__proto__', 'constructor', 'prototype']);
const keyword = new Set(['and', 'or', 'in', 'not', 'matches', 'equals', 'exists', 'true', 'false', 'null', 'undefined', 'regex']);
const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,6}$/).filter((text) => !hostile.has(text) && !keyword.has(text));
const key = fc.oneof(
  word,
  fc.stringMatching(/^[a-z .\][{}|:/-]{1,8}$/).filter((text) => text.trim() === text && !text.includes('{{') && !text.includes('}}')),
);
const text = fc.string({ maxLength: 12 }).filter((value) => !(value.includes('"') && value.includes("'")));

const { tree } = fc.letrec<{ tree: Node; variable: Node; primary: Node }>((tie) => ({
  variable: fc
    .tuple(
      word,
      fc.array(
        fc.oneof(
          key.map((name) => ({ kind: 'fixed', key: name, range })),
          word.map((name) => ({
            kind: 'computed',
            parts: [node({ type: 'variable', path: [{ kind: 'fixed', key: name, range }] })],
            range,
          })),
        ),
        { maxLength: 3 },
      ),
    )
    .map(([first, rest]) => node({ type: 'variable', path: [{ kind: 'fixed', key: first, range }, ...rest] })),
  primary: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('variable'),
    fc
      .oneof(
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
        fc.boolean(),
        fc.constant(null),
        fc.constant(undefined),
        text,
      )
      .map((value) => node({ type: 'literal', value })),
    fc.tuple(word, fc.array(tie('tree'), { maxLength: 3 })).map(([name, args]) => node({ type: 'call', name, args })),
    fc.array(tie('tree'), { maxLength: 3 }).map((items) => node({ type: 'array', items })),
    fc
      .array(fc.tuple(word, tie('tree')), { maxLength: 3 })
      .map((entries) => node({ type: 'object', entries: entries.map(([name, value]) => ({ key: name, value })) })),
  ),
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('primary'),
    fc
      .tuple(fc.constantFrom('and', 'or'), fc.array(tie('tree'), { minLength: 2, maxLength: 4 }))
      .map(([operator, items]) => node({ type: 'logical', operator, items })),
    fc
      .tuple(
        fc.constantFrom('==', '===', '!=', 'not equals', 'in', 'not in', 'matches', '<', '<=', '>', '>=', '+', '-', '*', '/', '%'),
        tie('tree'),
        tie('tree'),
      )
      .map(([operator, left, right]) => node({ type: 'binary', operator, left, right })),
    tie('tree').map((operand) => node({ type: 'not', operand })),
    tie('tree')
      .filter((operand) => operand.type !== 'literal')
      .map((operand) => node({ type: 'negate', operand })),
    fc.tuple(tie('tree'), fc.boolean()).map(([operand, isNegated]) => node({ type: 'exists', operand, isNegated })),
    fc.tuple(tie('variable'), word).map(([object, name]) => node({ type: 'member', object, key: node({ type: 'literal', value: name }) })),
  ),
}));

/** Without ranges, and without what only tells how it was written. */
const bare = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(bare);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== 'range' && name !== 'isGrouped' && name !== 'isBare')
      .map(([name, item]) => [name, bare(item)]),
  );
};

describe('expressions', () => {
  it('are read as they were printed', () => {
    fc.assert(
      fc.property(tree, (given) => {
        const printed = printExpression(given);

        expect(bare(new Parser(printed, DEFAULT_LIMITS).parseWhole())).toEqual(bare(given));
      }),
      { numRuns: 500 },
    );
  });

  it('give plain data or an ExpressionError, within their steps, whatever the text', () => {
    const variables = { a: 1, o: { k: [1, 'x'] }, t: 'text', evil: '__proto__' };
    const splinter = fc.constantFrom(
      '{{a}}',
      '{{o.k}}',
      '{{o[{{t}}]}}',
      ' and ',
      ' or ',
      '==',
      ' in ',
      '(',
      ')',
      '[',
      ']',
      '{',
      '}',
      ',',
      '"',
      'regex(',
      'date(',
      'split(',
      '{%',
      '%}',
      '-',
      '!',
      '.length',
      '1',
      't',
    );
    const anything = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.array(fc.oneof(splinter, fc.string({ maxLength: 3 })), { maxLength: 25 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(anything, (given) => {
        for (const compile of [compileExpression, compileTemplate, compilePath]) {
          const env = envOf(10_000);
          try {
            expect(isPlain(compile(given).evaluate(scopeOf(variables), env))).toBe(true);
          } catch (error) {
            if (!(error instanceof ExpressionError)) throw error;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('never reach a prototype by any path', () => {
    const segment = fc.oneof(
      fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', '__defineGetter__'),
      word,
    );
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.constantFrom('.', '[]', '["]', '[{{}}]'), (segments, style) => {
        const [first, ...rest] = segments as [string, ...string[]];
        const names = Object.fromEntries(rest.map((name, index) => [`n${index}`, name]));
        const path = rest.reduce(
          (made, name, index) =>
            made + (style === '.' ? `.${name}` : style === '[]' ? `[${name}]` : style === '["]' ? `["${name}"]` : `[{{n${index}}}]`),
          first,
        );
        for (const root of [{}, [], 'text', 5, true, null]) {
          try {
            expect(compileExpression(`{{${path}}}`).evaluate(scopeOf({ [first]: root, ...names }), envOf())).toBe(
              rest.length ? undefined : root,
            );
          } catch (error) {
            expect(error).toMatchObject({ type: 'InvalidVariableNameError' });
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('templates', () => {
  const json = fc.jsonValue({ maxDepth: 2 });
  const literal = fc.string({ maxLength: 10 }).filter((value) => !value.includes('{'));

  it('are the text of their parts, and what is inserted is never read again', () => {
    const inserted = fc.oneof(json, fc.constantFrom('{{b}}', '{% 1 + 1 %}', '$&', '{{', '}}', '$$', '{{a}}!'));
    fc.assert(
      fc.property(literal, inserted, literal, inserted, literal, (before, a, between, b, after) => {
        const made = compileTemplate(`x${before}{{a}}${between}{{b}}${after}`).evaluate(scopeOf({ a, b }), envOf());

        expect(made).toBe(`x${before}${toText(a)}${between}${toText(b)}${after}`);
      }),
    );
  });

  it('keep the value of a text that is one hole', () => {
    fc.assert(fc.property(json, (a) => expect(compileTemplate('{{a}}').evaluate(scopeOf({ a }), envOf())).toBe(a)));
  });

  it('leave texts without holes as they are', () => {
    fc.assert(
      fc.property(
        fc.string().filter((value) => !value.includes('{{') && !value.includes('{%')),
        (value) => expect(compileTemplate(value).evaluate(scopeOf({}), envOf())).toBe(value),
      ),
    );
  });

  it('cost steps in proportion to their size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), (count) => {
        const cost = (times: number) => {
          const env = envOf();
          compileTemplate({ list: Array.from({ length: times }, (_, n) => `v{{a}} ${n} {% {{a}} + ${n} %}`) }).evaluate(
            scopeOf({ a: 1 }),
            env,
          );
          return env.used;
        };

        expect(cost(count * 10)).toBeLessThanOrEqual(cost(count) * 10 + 10);
      }),
      { numRuns: 20 },
    );
  });
});

describe('the fuzzer', () => {
  it('finds no fault in a million inputs', () => {
    const root = resolve(import.meta.dirname, '../../../..');
    const seed = String(Math.floor(Math.random() * 2 ** 31));

    const { status, stdout } = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'test/fuzz/grammar.ts', '--inputs', '1000000', '--seed', seed],
      {
        cwd: root,
        encoding: 'utf8',
        timeout: 240_000,
      },
    );

    expect(`${status}\n${stdout}`).toMatch(/^0\nseed \d+: 1000000 inputs .* 0 faults\n$/);
  }, 300_000);
});
