import { describe, expect, it } from '@jest/globals';
import {
  compileExpression,
  compilePath,
  compileTemplate,
  DEFAULT_LIMITS,
  type Env,
  ExpressionError,
} from '../../../../services/runtime/expressions/index.ts';
import { MAX_MATCH_WORK, MAX_PATTERN, regexFrom } from '../../../../services/runtime/expressions/regex.ts';
import { run } from '../../../support/run-automation.ts';

const { maxLength, maxDepth, maxNodes, maxChain, maxItems, maxOutputChars } = DEFAULT_LIMITS;
const env: Env = { now: () => 0, random: () => 0.5, uuid: () => '', timezone: 'UTC', locale: 'en', charge() {} };
const evaluate = (text: string, variables: Record<string, unknown> = {}) =>
  compileExpression(text).evaluate({ get: (name) => variables[name] }, env);
const limit = expect.objectContaining({ type: 'LimitExceededError' });
const chain = (links: number) => `1${' + 1'.repeat(links)}`;

describe('limits of an expression', () => {
  it.each<[string, () => unknown, () => unknown]>([
    ['characters', () => evaluate(`"${'x'.repeat(maxLength - 2)}"`), () => evaluate(`"${'x'.repeat(maxLength - 1)}"`)],
    [
      'nested parentheses',
      () => evaluate(`${'('.repeat(maxDepth - 1)}1${')'.repeat(maxDepth - 1)}`),
      () => evaluate(`${'('.repeat(maxDepth)}1${')'.repeat(maxDepth)}`),
    ],
    ['negations', () => evaluate(`${'!'.repeat(maxDepth - 1)}1`), () => evaluate(`${'!'.repeat(maxDepth)}1`)],
    [
      'nested lists',
      () => evaluate(`${'['.repeat(maxDepth - 1)}1${']'.repeat(maxDepth - 1)}`),
      () => evaluate(`${'['.repeat(maxDepth)}1${']'.repeat(maxDepth)}`),
    ],
    ['parts', () => evaluate(`[${'1,'.repeat(maxNodes - 1)}]`), () => evaluate(`[${'1,'.repeat(maxNodes)}]`)],
    ['operators one after the other', () => evaluate(chain(maxChain)), () => evaluate(chain(maxChain + 1))],
    ['exists one after the other', () => evaluate(`1${' exists'.repeat(maxChain)}`), () => evaluate(`1${' exists'.repeat(maxChain + 1)}`)],
    [
      'fields one after the other',
      () => evaluate(`json("{}")${'.a'.repeat(maxChain)}`),
      () => evaluate(`json("{}")${'.a'.repeat(maxChain + 1)}`),
    ],
    [
      'items of a split',
      () => evaluate('split({{t}}, "")', { t: 'x'.repeat(maxItems) }),
      () => evaluate('split({{t}}, "")', { t: 'x'.repeat(maxItems + 1) }),
    ],
    [
      'items of a deepmerge',
      () => evaluate('deepmerge({l: {{l}}}, {l: [1]})', { l: Array(maxItems - 1).fill(0) }),
      () => evaluate('deepmerge({l: {{l}}}, {l: [1]})', { l: Array(maxItems).fill(0) }),
    ],
    [
      'characters of a sum',
      () => evaluate('{{t}} + "x"', { t: 'x'.repeat(maxOutputChars - 1) }),
      () => evaluate('{{t}} + "x"', { t: 'x'.repeat(maxOutputChars) }),
    ],
    [
      'characters of a join',
      () => evaluate('join([{{t}}, "x"], "")', { t: 'x'.repeat(maxOutputChars - 1) }),
      () => evaluate('join([{{t}}, "xx"], "")', { t: 'x'.repeat(maxOutputChars - 1) }),
    ],
    [
      'characters of a replacement',
      () => evaluate('replace("a", "a", {{t}})', { t: 'x'.repeat(maxOutputChars - 1) }),
      () => evaluate('replace("a", "a", {{t}})', { t: 'x'.repeat(maxOutputChars) }),
    ],
    ['characters of a pattern', () => regexFrom('a'.repeat(MAX_PATTERN)), () => regexFrom('a'.repeat(MAX_PATTERN + 1))],
    [
      'values in values',
      () => compileTemplate(JSON.parse(`${'['.repeat(256)}"{{a}}"${']'.repeat(256)}`)),
      () => compileTemplate(JSON.parse(`${'['.repeat(257)}["{{a}}"]${']'.repeat(257)}`)),
    ],
  ])('%s: at the limit and past it', (_name, at, past) => {
    expect(at).not.toThrow();
    expect(past).toThrow(limit);
  });

  it('the work of a match is bounded, and says how much is possible', () => {
    const pattern = regexFrom('(?:x{0,30}){30}[yz]');

    expect(() => pattern.test('x'.repeat(MAX_MATCH_WORK))).toThrow(/characters are possible/);
    expect(pattern.test('xy')).toBe(true);
  });

  it('a match is paid for by its size', () => {
    const paid: number[] = [];
    for (const length of [1_000, 10_000]) regexFrom('[a-z]+[0-9]').test('x'.repeat(length), (steps) => paid.push(steps));

    expect((paid[1] as number) / (paid[0] as number)).toBeCloseTo(10, 0);
  });

  it('two hundred and thousands of terms are read alike', () => {
    const terms = (count: number) => Array.from({ length: count }, (_, n) => `{{a}} == ${n}`).join(' or ');

    expect(evaluate(terms(200), { a: 199 })).toBe(true);
    expect(evaluate(terms(2_400), { a: 2_399 })).toBe(true);
  });

  it('texts full of openings are read once', () => {
    // Quadratic reading of these would take minutes.
    for (const text of ['{{} '.repeat(200_000), '{{a} '.repeat(100_000), `${'{ '.repeat(300_000)}}}`])
      expect(compileTemplate(text).isConstant).toBe(true);
  });

  it('a value too deep for the stack is a limit of the run, not a crash', async () => {
    let deep: unknown = 1;
    for (let n = 0; n < 900; n++) deep = { a: deep };
    const steps = [{ set: { name: 'x', value: '{% json(json({{deep}})) %}' } }];
    let parsed = '1';
    for (let n = 0; n < 6_000; n++) parsed = `[${parsed}]`;

    await expect(run({ automations: { main: { name: 'M', do: steps } } }, { payload: { deep } })).resolves.toBeDefined();
    await expect(
      run({ automations: { main: { name: 'M', do: [{ set: { name: 'x', value: '{% json({{t}}) %}' } }] } } }, { payload: { t: parsed } }),
    ).rejects.toMatchObject({ type: 'LimitExceededError' });
  });

  it('names have the same limits', () => {
    expect(() => compilePath(`a${'[{{a}}]'.repeat(5_000)}`)).not.toThrow(RangeError);
    expect(() => compilePath('a'.repeat(maxLength + 1))).toThrow(ExpressionError);
  });
});
