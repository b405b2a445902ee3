/** What grows with a workspace, or with a text, grows in proportion: each of these once took minutes, or would. */
import { describe, expect, it } from '@jest/globals';
import { compileExpression, compilePath, compileTemplate, ExpressionError } from '../../../../services/runtime/expressions/index.ts';
import { compileWorkspace } from '../../../../services/runtime/interpreter/index.ts';

const quietly = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ExpressionError);
  }
};

describe('large texts are compiled or refused, and soon', () => {
  it.each<[string, () => unknown]>([
    ['openings without an end', () => compileTemplate(`${'{{a{ '.repeat(150_000)}}}`)],
    ['brackets without an end', () => compileTemplate(`${'{{a['.repeat(150_000)}}}`)],
    ['quotes in brackets', () => compileTemplate(`${'{{a["'.repeat(150_000)}}}`)],
    ['expressions in expressions', () => compileTemplate(`${'{% '.repeat(200_000)}%}`)],
    ['a raw pattern', () => compileExpression(`1 matches regex(${'{{a '.repeat(150_000)})`)],
    ['words of digits', () => compileExpression('1_'.repeat(400_000))],
    ['spaces', () => compileExpression(`1${' '.repeat(900_000)}+ 1`)],
    ['dots', () => compilePath(`${'a.'.repeat(100_000)}a`)],
    ['mixed operators', () => compileExpression(`${Array.from({ length: 2_000 }, (_, n) => `{{a}} ${n % 2 ? 'and' : 'or'} `).join('')}1`)],
  ])('%s', (_name, work) => {
    quietly(work);
  });
});

it('wrong calls by the thousand are told, with suggestions while they are cheap', () => {
  const automations = Object.fromEntries(
    Array.from({ length: 500 }, (_, n) => [
      `automation-number-${n}`,
      { name: 'A', do: Array.from({ length: 6 }, (_, m) => ({ [`automatoin-${n}-${m}`]: {} })) },
    ]),
  );

  const { problems } = compileWorkspace({
    id: 'w',
    revision: 1,
    imports: {},
    automations: { ...automations, 'create-order': { name: 'B', do: [{ 'creat-order': {} }] } },
  });

  expect(problems).toHaveLength(3_001);
  expect(problems[0]).toMatchObject({ code: 'UnknownAutomation' });
});

it('long names are not compared', () => {
  const name = 'x'.repeat(100_000);

  const { problems } = compileWorkspace({
    id: 'w',
    revision: 1,
    imports: {},
    automations: { [`${name}y`]: { name: 'A', do: [{ [`${name}z`]: {} }] } },
  });

  expect(problems.map(({ code, suggestion }) => [code, suggestion])).toEqual([['UnknownAutomation', undefined]]);
});
