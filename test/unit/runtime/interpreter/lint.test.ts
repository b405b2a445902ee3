import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { OPERATORS } from '../../../../services/runtime/expressions/index.ts';
import { SYMBOLS, WORDS } from '../../../../services/runtime/expressions/operators.ts';
import { CODES } from '../../../../services/runtime/interpreter/index.ts';
import { lint, shownProblem } from '../../../../services/runtime/interpreter/lint.ts';

const root = resolve(import.meta.dirname, '../../../..');

/** [line:column, code, suggestion] of every problem of one automation. */
function findings(text: string, others: Record<string, string> = {}) {
  const { problems } = lint({ 'automations/main.yml': text, ...others });
  return problems.map(({ place, code, suggestion }) => [`${place.line}:${place.column}`, code, suggestion].filter(Boolean).join(' '));
}

const BROKEN = `name: Broken
when: { endpoint: true, event: [a] }
arguments: { s: { type: string, pattern: '(?=x)' } }
validateArguments: true
do:
  - set: { name: total, valeu: 1 }
  - set:
      name: a..b
      value: >-
        {% 1 + %}
  - fetch: { url: 'https://x.test', outputMode: bodi, body: { deep: ['{% nope({{x}}) %}'] } }
  - fetch: { url: 'https://x.test', headers: [1] }
  - conditions:
      ready: []
      '{{a}} == 1 and {{b}} or {{c}}': [{ brek: {} }]
      '{{a}} = ': []
  - all: { a: 1 }
  - emit:
  - emit: { event: e, output: [1] }
  - set: { name: x, value: 1 }
    emit: { event: e }
  - set: { name: t, value: '${'{{'.repeat(70)}x${'}}'.repeat(70)}' }
  - break: { scope: repeat }
  - comment: never
ouput: 1
`;

describe('lint', () => {
  it('finds everything at once, with line, column and what was meant', () => {
    expect(findings(BROKEN)).toEqual([
      "2:25 UnknownField Did you mean 'events'?",
      '3:12 InvalidSchema',
      '6:10 MissingArgument',
      "6:25 UnknownArgument Did you mean 'value'?",
      '8:13 InvalidVariableNameError',
      '9:14 InvalidExpressionSyntax',
      "11:49 UnknownValue Did you mean 'body'?",
      '11:74 InvalidExpressionSyntax',
      '12:46 WrongType',
      "14:7 ConstantCondition Did you mean '{{ready}}'?",
      '15:29 MixedAndOr',
      "15:43 UnknownAutomation Did you mean 'break'?",
      '16:16 InvalidExpressionSyntax',
      '17:10 InvalidBlock',
      '18:10 InvalidInstructionError',
      '19:31 WrongType',
      '19:31 InvalidOutputError',
      '20:10 IgnoredKeys',
      expect.stringMatching(/^22:\d+ LimitExceededError$/),
      '23:21 BreakOutsideLoop',
      '24:5 Unreachable',
      "25:1 UnknownField Did you mean 'output'?",
    ]);
  });

  it('names the structural faults that refuse a save as errors', () => {
    const report = lint({
      'automations/a.yml': 'do: []',
      'automations/b.yml': 'name: B',
      'automations/c.yml': 'name: C\ndo: { set: {} }',
      'automations/d.yml': 'name: D\ndo: [',
      'automations/e.yml': '- a list',
      'automations/f.yml': 'name: F\ndo: []\nwhen: { endpoint: same }',
      'automations/g.yml': 'name: G\ndo: []\nwhen: { endpoint: same }',
    });

    expect(report).toMatchObject({ automations: 7, errors: 5, warnings: 1 });
    expect(report.problems.map(({ place, code }) => `${place.file} ${code}`)).toEqual([
      'automations/a.yml MissingName',
      'automations/b.yml MissingDo',
      'automations/c.yml InvalidDo',
      'automations/d.yml InvalidYaml',
      'automations/e.yml InvalidYaml',
      'automations/g.yml SharedEndpoint',
    ]);
  });

  it('shows the caret under the fault', () => {
    const { problems } = lint({ 'automations/main.yml': 'name: M\ndo:\n  - set: { name: x, value: "{% {{a}} + %}" }' });

    expect(shownProblem(problems[0] as never)).toBe(
      [
        'automations/main.yml:3:40  warning  InvalidExpressionSyntax  The expression ends too early.',
        '    at automations.main.do[0].set.value',
        '    {% {{a}} + %}',
        '               ^^',
      ].join('\n'),
    );
  });

  it('points into literal blocks and quoted keys', () => {
    expect(findings('name: M\ndo:\n  - set:\n      name: x\n      value: |\n        first\n        then {% foo() %}\n')).toEqual([
      '7:17 InvalidExpressionSyntax',
    ]);
    expect(findings(`name: M\ndo:\n  - conditions:\n      '{{a["x"]}} == foo(1)': []\n`)).toEqual(['4:22 InvalidExpressionSyntax']);
  });

  it('knows the neighbours of an automation, also those that cannot be read', () => {
    const others = { 'automations/broken.yml': 'name: [', 'imports/Mail.yml': 'appSlug: Mailer', 'imports/Bad.yml': 'a: [' };

    const found = findings('name: M\ndo: [{ broken: {} }, { Mail.send: {} }, { Bad.x: {} }, { Mial.send: {} }]', others);

    expect(found).toContain("2:58 UnknownAutomation Did you mean 'Mail'?");
    expect(found.filter((finding) => finding.includes('UnknownAutomation'))).toHaveLength(1);
  });

  it('refuses hostile names of files', () => {
    expect(lint({ 'automations/__proto__.yml': 'name: P\ndo: []' })).toMatchObject({ errors: 1 });
  });

  it('raises no code that the documents do not have, and each of theirs', () => {
    const found = new Set([
      ...lint({
        'automations/broken.yml': BROKEN,
        'automations/a.yml': 'do: []\nwhen: { endpoint: broken }',
        'automations/b.yml': 'name: B',
        'automations/c.yml': 'name: C\ndo: 5',
        'automations/d.yml': '{',
      }).problems.map(({ code }) => code),
      // Not a file, but a program that holds no object: an API client can send it.
      'InvalidAutomation',
    ]);

    expect([...found].sort()).toEqual(Object.keys(CODES).sort());
  });

  it('prints every operator of the grammar in the documents', () => {
    const documented = OPERATORS.flatMap(({ symbols }) => symbols);

    for (const [symbol] of SYMBOLS) expect(documented).toContain(symbol);
    for (const word of WORDS.keys()) expect(documented).toContain(word);
  });
});

describe('real workspaces', () => {
  it.each([
    'examples/hello-world',
    'test/fixtures/workspaces/salesforce-next',
    'test/fixtures/workspaces/custom-code-standin',
  ])('%s has no error', (folder) => {
    const files: Record<string, string> = {};
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && entry.name.endsWith('.yml')) files[relative(join(root, folder), path)] = readFileSync(path, 'utf8');
    }

    const report = lint(files);

    expect(report.errors).toBe(0);
    expect(report.problems.filter(({ code }) => !['UnknownArgument', 'UnknownAutomation', 'MissingArgument'].includes(code))).toEqual([]);
  });
});

describe('npm run lint:workspace', () => {
  const tool = (...args: string[]) =>
    spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', 'services/runtime/interpreter/lint-workspace.ts', ...args], {
      cwd: root,
      encoding: 'utf8',
    });

  it('prints JSON, and ends with 1 on findings when it is strict', () => {
    const { status, stdout } = tool('test/fixtures/workspaces/salesforce-next', '--json', '--strict');

    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ automations: 31, errors: 0 });
  });

  it('tells what it cannot read', () => {
    const empty = mkdtempSync(join(tmpdir(), 'lint-'));
    const { status, stderr } = tool(empty);
    rmSync(empty, { recursive: true });

    expect(status).toBe(2);
    expect(stderr).toContain('neither index.yml');
  });
});
