/** The expression language as data: each file of expressions/ holds groups of `[text, value]` or `[text, { error: type }]`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { compileExpression, compilePath, compileTemplate, type Env, functions } from '../../services/runtime/expressions/index.ts';

const env: Env = {
  now: () => Date.parse('2026-01-01T00:00:00Z'),
  random: () => 0.5,
  uuid: () => '0123456789abcdef0123456789abcdef',
  timezone: 'UTC',
  locale: 'en',
  charge() {},
};
const folder = join(import.meta.dirname, 'expressions');

type Case = [text: unknown, expected: unknown];
interface Group {
  group: string;
  kind?: 'expression' | 'template' | 'path';
  scope?: Record<string, unknown>;
  cases: Case[];
}

const SPECIAL: Record<string, unknown> = { $undefined: undefined, $NaN: Number.NaN, $Infinity: Number.POSITIVE_INFINITY };
const expectedOf = (value: unknown): unknown => (typeof value === 'string' && value in SPECIAL ? SPECIAL[value] : value);

function evaluate({ kind = 'expression', scope: variables = {} }: Group, text: unknown): unknown {
  const scope = { get: (name: string) => (Object.hasOwn(variables, name) ? variables[name] : undefined) };
  if (kind === 'template') return compileTemplate(text).evaluate(scope, env);
  if (kind === 'path') return compilePath(text as string).evaluate(scope, env);
  return compileExpression(text as string).evaluate(scope, env);
}

for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
  describe(file.replace('.yaml', ''), () => {
    for (const group of parse(readFileSync(join(folder, file), 'utf8')) as Group[]) {
      describe(group.group, () => {
        for (const [text, expected] of group.cases) {
          const isError = typeof expected === 'object' && expected !== null && Object.hasOwn(expected, 'error');
          it(`${typeof text === 'string' ? text : JSON.stringify(text)} → ${isError ? (expected as { error: string }).error : JSON.stringify(expected)}`, () => {
            if (isError)
              expect(() => evaluate(group, text)).toThrow(expect.objectContaining({ type: (expected as { error: string }).error }));
            else expect(evaluate(group, text)).toEqual(expectedOf(expected));
          });
        }
      });
    }
  });
}

describe('examples of the functions', () => {
  const scope = { get: () => undefined };
  for (const definition of functions.values()) {
    it(`${definition.name} has a signature, a summary and examples`, () => {
      expect(definition.signature.startsWith(definition.name)).toBe(true);
      expect(definition.summary.length).toBeGreaterThan(10);
      expect(definition.examples.length).toBeGreaterThan(0);
    });
    for (const [text, expected] of definition.examples) {
      it(text, () => {
        if (expected === Error)
          expect(() => compileExpression(text).evaluate(scope, env)).toThrow(expect.objectContaining({ type: 'InvalidExpressionSyntax' }));
        else expect(compileExpression(text).evaluate(scope, env)).toEqual(expected);
      });
    }
  }
});
