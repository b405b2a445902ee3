/** Counters: an undisturbed one has the value of its expression, to the last bit; disturbed ones add up. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileCounter, compileTemplate, type Env, type Scope } from '../../../../services/runtime/expressions/index.ts';

const NAME = 'global.v[{{k}}]';
const TARGET = '{{global.v[{{k}}]}}';
const env = { charge() {} } as unknown as Env;
const scopeOf = (variables: Record<string, unknown>): Scope => ({ get: (name) => variables[name] });

const value = fc.oneof(
  fc.double(),
  fc.integer({ min: -1000, max: 1000 }),
  fc.constantFrom(0.1, 0.2, 0.3, 2 ** 53, 1e308, '', '0', '2', 'a', null, undefined, true, false, {}, [], [3], { toString: 1 }),
);
const term = fc.constantFrom(
  '{{a}}',
  '{{b}}',
  '{{c}}',
  '1',
  '0.1',
  '"t"',
  '({{a}} * 2)',
  '({{a}} + {{b}})',
  'upper({{c}})',
  '-{{a}}',
  '{{global.w}}',
);
/** Sums with the counter in them once. */
const sum: fc.Arbitrary<string> = fc.letrec<{ sum: string }>((tie) => ({
  sum: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom(TARGET, `(${TARGET} or 0)`),
    fc.tuple(tie('sum'), fc.constantFrom('+', '-'), term).map(([left, operator, right]) => `${left} ${operator} ${right}`),
    fc.tuple(term, tie('sum')).map(([left, right]) => `${left} + ${right}`),
    tie('sum').map((inner) => `(${inner})`),
  ),
})).sum;

/** As the stores apply increments. */
const counted = (before: unknown, by: number[]): number => by.reduce((now, one) => now + one, typeof before === 'number' ? before : 0);

/** What is made, or the text of the fault. */
function outcome(make: () => unknown): unknown {
  try {
    return make();
  } catch (error) {
    return String(error);
  }
}

describe('counters', () => {
  it('that nobody disturbs have the value of the expression', () => {
    let increments = 0;
    fc.assert(
      fc.property(sum, value, value, value, value, (expression, before, a, b, c) => {
        const text = `{% ${expression} %}`;
        const scope = scopeOf({ k: 'x', a, b, c, global: { v: { x: before }, w: 7 } });
        const expected = outcome(() => compileTemplate(text).evaluate(scope, env));
        const counter = compileCounter(NAME, text);

        const made = outcome(() => counter?.evaluate(before, scope, env)) as { value: unknown; by: number[] | null } | string | undefined;

        if (made === undefined) return;
        if (typeof made === 'string') return expect(made).toBe(expected);
        expect(made.value).toEqual(expected);
        if (!made.by) return;
        increments++;
        // 0 and -0 are one number as JSON.
        expect(counted(before, made.by) + 0).toBe((expected as number) + 0);
      }),
      { numRuns: 3000 },
    );
    expect(increments).toBeGreaterThan(300);
  });

  it('add up whatever others have added meanwhile', () => {
    fc.assert(
      fc.property(
        sum,
        fc.integer({ min: 0, max: 1000 }),
        fc.array(fc.integer({ min: -50, max: 50 }), { maxLength: 5 }),
        (expression, seen, others) => {
          const scope = scopeOf({ k: 'x', a: 2, b: 3, c: 5, global: { w: 7 } });
          const by = compileCounter(NAME, `{% ${expression.replace(/"t"|upper\(\{\{c\}\}\)/g, '1')} %}`)?.evaluate(seen, scope, env).by;
          if (!by) return;

          const alone = counted(seen, by) - seen;

          expect(counted(counted(seen, others), by)).toBeCloseTo(counted(seen, others) + alone, 6);
        },
      ),
    );
  });

  it.each([
    `{% ${TARGET} %}`,
    `{% 1 - ${TARGET} %}`,
    `{% ${TARGET} * 2 %}`,
    `{% (${TARGET} + 1) * 2 %}`,
    `{% ${TARGET} + ${TARGET} %}`,
    `{% ${TARGET} + 1 or 5 %}`,
    `{% (${TARGET} or 5) + 1 %}`,
    `{% (${TARGET} or "0") + 1 %}`,
    `{% (${TARGET} and 0) + 1 %}`,
    `{% ${TARGET} + {{global.v.x}} %}`,
    `{% ${TARGET} + {{global}} %}`,
    `{% ${TARGET} + {{global.v[{{k}}].y}} %}`,
    `{% ${TARGET} + {{l[{{global.v.x}}]}} %}`,
    `{% ${TARGET} + {{ {{where}} }} %}`,
    `{% ${TARGET} + isArray("global.v.x") %}`,
    '{% {{global.v[{{other}}]}} + 1 %}',
    '{% {{global.v}} + 1 %}',
    '{% {{session.v[{{k}}]}} + 1 %}',
    `{{global.v[{{k}}]}} + 1`,
    ` {% ${TARGET} + 1 %}`,
    `{% ${TARGET} + 1 %}{% 1 %}`,
    `{% ${TARGET} + %}`,
    `{% ${TARGET} + nope() %}`,
    5,
    null,
  ])('%p is none', (text) => {
    expect(compileCounter(NAME, text)).toBeNull();
  });

  it('evaluate every term once', () => {
    let asked = 0;
    const scope: Scope = { get: (name) => (name === 'a' ? ++asked : { x: 1 }) };

    const made = compileCounter(NAME, `{% {{a}} + ${TARGET} - {{a}} %}`)?.evaluate(10, scope, env);

    expect(made).toEqual({ value: 9, by: [1, -2] });
    expect(asked).toBe(2);
  });

  it('pay for what they evaluate', () => {
    let paid = 0;

    compileCounter(NAME, `{% ${TARGET} + 1 + 1 + 1 %}`)?.evaluate(1, scopeOf({ k: 'x' }), {
      charge: (steps: number) => (paid += steps),
    } as unknown as Env);

    expect(paid).toBe(7);
  });
});
