import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isHostileName } from '../../../mixins/shared/json.ts';
import { checkedAutomation } from '../../../services/workspaces/dsul/automation.ts';
import { checkedIndex } from '../../../services/workspaces/dsul/index-file.ts';
import { classify } from '../../../services/workspaces/dsul/layout.ts';
import { automationEvents } from '../../../services/workspaces/dsul/processed-events.ts';
import { checkedSecurity, defaultSecurity, rolesOf } from '../../../services/workspaces/dsul/security-file.ts';
import { assertSlug, slugFromName, slugProblem } from '../../../services/workspaces/dsul/slugs.ts';
import { editYaml, readYaml, writeYaml } from '../../../services/workspaces/dsul/yaml.ts';

const typeOf = (work: () => unknown): string => {
  try {
    work();
    return 'accepted';
  } catch (error) {
    return (error as { type: string }).type;
  }
};

describe('slugs', () => {
  it('come from names: without accents, at most 20 characters, numbered until free', () => {
    const taken = new Set(['Ping', 'A very long name of ', 'A very long name of']);
    const free = (slug: string) => taken.has(slug);

    expect(slugFromName('Été à Paris!', free)).toBe('Ete a Paris');
    expect(slugFromName('Ping', free)).toBe('Ping-1');
    expect(slugFromName({ fr: 'Bonjour', en: 'Hello' }, free)).toBe('Bonjour');
    expect(slugFromName('A very long name of an automation', free)).toBe('A very long name o-1');
    expect(slugFromName('日本', free)).toBe('automation');
    expect(slugFromName('constructor', free)).not.toBe('constructor');
  });

  it('may hold slashes and spaces, never what would leave a folder or reach a prototype', () => {
    for (const slug of ['hello', 'v1/status', 'My automation', 'a_b-c']) expect(slugProblem(slug)).toBeNull();
    for (const slug of [
      '',
      '/',
      'a//b',
      '/a',
      'a/',
      '../a',
      'a.b',
      'a\\b',
      '__proto__',
      'a/constructor',
      '__index__',
      ' a',
      'x'.repeat(201),
      12,
      null,
    ])
      expect(typeOf(() => assertSlug(slug))).toBe('InvalidSlugError');
    expect(slugProblem('Shop', 'workspace')).not.toBeNull();
    expect(slugProblem('a/b', 'instance')).not.toBeNull();
  });
});

describe('YAML files', () => {
  it('are read safely: duplicate keys, aliases, tags, hostile keys and lists are refused with their place', () => {
    for (const text of ['a: 1\na: 2\n', 'a: [', '- 1\n', '__proto__:\n  x: 1\n', 'a:\n  constructor: 1\n'])
      expect(typeOf(() => readYaml(text, 'f.yml'))).toBe('RequestValidationError');
    expect(readYaml('', 'f.yml')).toEqual({});
    expect(readYaml('a: !!js/function "x"\n', 'f.yml')).toEqual({ a: 'x' });
    expect(readYaml('base: &b { x: 1 }\nmore:\n  <<: *b\n  y: 2\n', 'f.yml')).toEqual({ base: { x: 1 }, more: { x: 1, y: 2 } });
  });

  it('keep untouched comments, order and quoting through an edit', () => {
    const text = "# top\nb: 'two' # why\na:\n  # inside\n  - x: 1\n  - y: 2 # last\n";

    expect(editYaml(text, { b: 'two', a: [{ x: 1 }, { y: 2 }] })).toBe(text);
    expect(editYaml(text, { b: 'two', a: [{ x: 1 }, { z: 0 }, { y: 2 }], c: true })).toBe(
      "# top\nb: 'two' # why\na:\n  # inside\n  - x: 1\n  - z: 0\n  - y: 2 # last\nc: true\n",
    );
    expect(editYaml(text, { a: [{ x: 1 }] })).toContain('# inside');
  });

  it('read back as what was asked for, whatever the edit', () => {
    const value = fc
      .dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.jsonValue({ maxDepth: 3, noUnicodeString: false } as never), { maxKeys: 5 })
      .map((item) => JSON.parse(JSON.stringify(item), (key, inner) => (isHostileName(key) ? undefined : inner)));
    fc.assert(
      fc.property(value, value, (before, after) => {
        expect(readYaml(editYaml(writeYaml(before), after), 'f')).toEqual(after);
      }),
      { numRuns: 150 },
    );
  });
});

describe('the tree', () => {
  it('knows its own files only', () => {
    expect(classify('automations/v1/status.yml')).toEqual({ type: 'object', kind: 'automations', slug: 'v1/status' });
    expect(classify('imports/Custom Code.yml')).toMatchObject({ slug: 'Custom Code' });
    for (const path of [
      'pages/x/src/App.tsx',
      'automations/__index__.yml',
      'automations/.x.yml',
      'automations//x.yml',
      'other/x.yml',
      'runtime.yml',
      'automations.yml',
    ])
      expect(classify(path)).toBeNull();
  });
});

describe('automations to store', () => {
  const base = { name: 'A', do: [] };

  it('are refused for structural faults only, all told at once', () => {
    expect(typeOf(() => checkedAutomation({ name: 'A' }))).toBe('RequestValidationError');
    expect(typeOf(() => checkedAutomation({ do: [] }))).toBe('RequestValidationError');
    expect(typeOf(() => checkedAutomation({ name: 'A', do: {} }))).toBe('RequestValidationError');
    expect(typeOf(() => checkedAutomation({ ...base, do: ['x'] }))).toBe('RequestValidationError');
    expect(typeOf(() => checkedAutomation({ ...base, constructor: 1 }))).toBe('RequestValidationError');
    expect(() => checkedAutomation({ when: 3, do: 'x' })).toThrow(/name is required.*do must be a list.*when must be/);
  });

  it('keep what is unknown, accept empty arguments, empty instructions and an empty `when`', () => {
    expect(checkedAutomation({ ...base, arguments: null, do: [{}], when: {}, schemas: [1], custom: { a: 1 } })).toEqual({
      ...base,
      arguments: {},
      do: [{}],
      when: {},
      schemas: [1],
      custom: { a: 1 },
    });
  });

  it('drop what the server computed, and check schedules', () => {
    expect(checkedAutomation({ ...base, events: {}, createdAt: 'x', checksum: 'y', warnings: [] })).toEqual(base);
    expect(typeOf(() => checkedAutomation({ ...base, when: { schedules: ['*/15 * * * *'] } }))).toBe('accepted');
    expect(typeOf(() => checkedAutomation({ ...base, when: { schedules: ['not a cron'] } }))).toBe('InvalidScheduleError');
  });

  it('tell the events they emit and listen to', () => {
    const automation = {
      when: { events: ['a'] },
      do: [
        { emit: { event: 'one' } },
        { conditions: { '{{x}}': [{ emit: { event: 'two' } }], default: [{ emit: { event: 'hidden', private: true } }] } },
        {
          repeat: { on: [], do: [{ emit: { event: '{{kind}}.done', autocomplete: { kind: { from: 'config', path: 'kinds[*].name' } } } }] },
        },
      ],
    };

    expect(automationEvents(automation, { kinds: [{ name: 'red' }, { name: 'blue' }] })).toMatchObject({
      listen: ['a'],
      emit: ['one', 'two', 'red.done', 'blue.done'],
    });
  });
});

describe('the index', () => {
  it('takes known fields and refuses others, all told at once', () => {
    expect(checkedIndex({ name: "L'été", labels: ['a:b'], config: { value: {} }, id: 'ignored', automations: {} })).toEqual({
      name: "L'été",
      labels: ['a:b'],
      config: { value: {} },
    });
    expect(() => checkedIndex({ nope: 1, labels: ['a b'], config: { other: 1 }, photo: 'javascript:x' })).toThrow(
      /nope.*photo.*labels.*config.other/,
    );
    expect(typeOf(() => checkedIndex({ slug: 'Bad Slug' }))).toBe('InvalidSlugError');
    expect(
      typeOf(() => checkedIndex({ name: 'x', repositories: { r: { name: 'R', config: { url: 'file:///etc', branch: 'main' } } } })),
    ).toBe('RequestValidationError');
  });
});

describe('security', () => {
  const withRule = (rule: object, roles: object = { editor: {}, helper: {} }) => ({ authorizations: { roles, rules: [rule] } });

  it('refuses what is not a rule, with its place', () => {
    const bad = [
      { role: 'owner', action: 'read', subject: 'pages' },
      { role: 'ghost', action: 'read', subject: 'pages' },
      { action: 'read', subject: 'platform' },
      { action: 'read' },
      { subject: 'pages' },
      { action: 'read', subject: 'pages', conditions: { $where: 'sleep()' } },
      { action: 'read', subject: 'pages', conditions: { a: { $regex: 'x'.repeat(201) } } },
    ];
    for (const rule of bad) expect(typeOf(() => checkedSecurity(withRule(rule)))).toBe('InvalidSecurity');
    expect(typeOf(() => checkedSecurity({ other: 1 }))).toBe('InvalidSecurity');
    expect(typeOf(() => checkedSecurity(defaultSecurity()))).toBe('accepted');
    expect(typeOf(() => checkedSecurity({}))).toBe('accepted');
  });

  it('confines every rule to the workspace, whatever its conditions say', () => {
    const rules = rolesOf(
      withRule({
        role: 'helper',
        action: 'read',
        subject: ['pages', 'workspaces', 'automations', 'secrets'],
        conditions: { workspaceId: 'other', id: 'other', runningWorkspaceId: 'other' },
      }),
      'w1',
    ).find(({ name }) => name === 'helper')?.rules;

    expect(rules?.map(({ subject, conditions }) => [subject, conditions])).toMatchObject([
      ['pages', { workspaceId: 'w1' }],
      ['workspaces', { id: 'w1' }],
      ['automations', { runningWorkspaceId: 'w1' }],
      ['secrets', { workspaceId: 'w1' }],
    ]);
  });

  it('never lets a rule forge native events, also through manage', () => {
    const rules = rolesOf(withRule({ role: 'helper', action: 'manage', subject: 'events' }), 'w1').find(
      ({ name }) => name === 'helper',
    )?.rules;

    expect(rules).toMatchObject([
      { action: ['read', 'update', 'delete'], conditions: { 'source.workspaceId': 'w1' } },
      { action: ['create'], conditions: { 'source.workspaceId': 'w1', 'source.serviceTopic': 'topic:runtime:emit' } },
    ]);
  });

  it('orders rules as they are written, and gives rules without role to everyone', () => {
    const roles = rolesOf(defaultSecurity(), 'w1');

    expect(roles.map(({ name }) => name).sort()).toEqual(['default', 'editor']);
    const priorities = roles.flatMap(({ rules }) => rules.map(({ priority }) => priority as number));
    expect(Math.min(...priorities)).toBe(100);
    const denied = roles.find(({ name }) => name === 'editor')?.rules.find(({ inverted }) => inverted);
    expect(new RegExp(String((denied?.conditions as any).type.$regex)).test('apikeys.created')).toBe(true);
  });
});
