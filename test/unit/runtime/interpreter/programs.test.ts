/** Any program, however wrong: it compiles, and a run ends with an output or a named error, inside its limits, with no prototype changed. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isFault } from '../../../../mixins/shared/errors.ts';
import { compileWorkspace, instructions } from '../../../../services/runtime/interpreter/index.ts';
import { run } from '../../../support/run-automation.ts';

const TEXTS = [
  'x',
  'l[]',
  'global.n',
  'user.id',
  'session.id',
  '{{o}}',
  '{{l}}',
  '{{n}} > 1',
  '{% {{n}} + 1 %}',
  '{% 1 + %}',
  '{% {{global.n}} + %}',
  '{% {{global.n}} - nope() %}',
  '__proto__.x',
  '{{o.__proto__}}',
  'a..b',
  '',
  '3',
  'repeat',
  'all',
  '$http',
  'config.a',
  'run.x',
  'item',
  '{{item}}',
];
const KEYS = [
  'name',
  'value',
  'type',
  'on',
  'until',
  'do',
  'catch',
  'finally',
  'batch',
  'size',
  'scope',
  'payload',
  'event',
  'oneOf',
  'timeout',
  'output',
  'url',
  'module',
  'function',
  'workflow',
  'window',
  'limit',
  'topic',
  'default',
  '{{n}} > 1',
  'a',
  'constructor',
  'toString',
  'valueOf',
];
const NAMES = [...instructions.keys(), 'other', 'nowhere', 'Inst.x'];

const { step, value } = fc.letrec<{ step: unknown; value: unknown; block: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<unknown>(null, true, 0, 2, -1, 1.5, ...TEXTS),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('value'), { maxKeys: 5, noNullPrototype: true }),
    tie('block'),
  ),
  step: fc.tuple(fc.constantFrom(...NAMES), tie('value')).map(([name, args]) => ({ [name]: args })),
  block: fc.array(tie('step'), { maxLength: 3 }),
}));

/** Programs that are mostly right: each instruction with the arguments it knows. */
const likely = fc.constantFrom(...instructions.values()).chain(({ name, schema }) => {
  const keys = Object.keys(schema.properties ?? {});
  const args = keys.length
    ? fc.record(Object.fromEntries(keys.map((key) => [key, schema.properties?.[key]?.$ref ? fc.array(step, { maxLength: 2 }) : value])), {
        requiredKeys: (schema.required ?? []) as never[],
        noNullPrototype: true,
      })
    : fc.array(step, { maxLength: 2 });
  return args.map((given) => ({ [name]: given }));
});

const inherited = () =>
  [Object.prototype, Array.prototype, Function.prototype].map((proto) => Object.getOwnPropertyNames(proto).length).join();

/** Each name that is written to beside each value: faults of a pair are not left to chance. */
describe('any pair of a name and a value', () => {
  it('compiles, and ends with an output or a named error', async () => {
    for (const name of TEXTS)
      for (const value of TEXTS)
        for (const type of ['replace', 'merge', 'push'])
          await run(
            { automations: { main: { name: 'Main', do: [{ set: { name, value, type } }], output: value } } },
            { payload: { n: 2, o: { a: 1 }, l: [1, 2], $http: {} }, contexts: { global: { n: 1 } } },
          ).catch((error) => {
            if (!isFault(error)) throw error;
            expect(error.type).not.toBe('InternalServiceError');
          });
  });
});

describe('any file', () => {
  const fields = [
    'name',
    'do',
    'when',
    'events',
    'endpoint',
    'schedules',
    'arguments',
    'schemas',
    'payload',
    'output',
    'conditions',
    'properties',
    'items',
    'type',
    'required',
    'pattern',
    'format',
    'enum',
    'multipleOf',
    'oneOf',
    'not',
    'authorizations',
    'action',
    'secret',
    '__proto__',
  ];
  const scalar = fc.constantFrom<unknown>(null, true, 0, -1, 'x', '{{a}}', '{% 1 + %}', 'string', 'object', '(', 'email', '');
  const { file } = fc.letrec<{ file: unknown }>((tie) => ({
    file: fc.oneof(
      { depthSize: 'small' },
      scalar,
      fc.array(tie('file'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...fields), tie('file'), { maxKeys: 6, noNullPrototype: true }),
    ),
  }));
  const compile = (automation: unknown, imports: unknown = {}) =>
    compileWorkspace({ id: 'w', revision: 1, automations: { main: automation as never }, imports: imports as never });

  it('compiles, with what is wrong as problems', () => {
    fc.assert(
      fc.property(file, (given) => {
        const automation =
          typeof given === 'object' && given !== null && !Array.isArray(given) ? { ...given, validateArguments: true } : given;
        expect(Array.isArray(compile(automation, given).problems)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each<[string, (inner: unknown) => unknown]>([
    ['arguments', (inner) => ({ type: 'object', properties: { a: inner } })],
    ['a payload', (inner) => ({ not: inner })],
    ['an output', (inner) => ({ a: inner })],
    ['blocks', (inner) => [{ repeat: { do: inner } }]],
  ])('nested without end compiles: %s', (name, wrap) => {
    let deep: unknown = [];
    for (let n = 0; n < 5_000; n++) deep = wrap(deep);
    const field = { arguments: { a: deep }, 'a payload': [{ payload: deep }], 'an output': deep, blocks: deep }[name];
    const key = { arguments: 'arguments', 'a payload': 'schemas', 'an output': 'output', blocks: 'do' }[name] as string;

    const { problems } = compile({ name: 'Main', do: [], validateArguments: true, [key]: field });

    expect(problems.map(({ code }) => code)).toEqual([name === 'blocks' || name === 'an output' ? 'LimitExceededError' : 'InvalidSchema']);
  });
});

describe('any program', () => {
  it.each([
    ['of rubbish', fc.array(step, { maxLength: 4 })],
    ['that is almost right', fc.array(likely, { maxLength: 4 })],
  ])(
    '%s ends with an output or a named error',
    async (_name, programs) => {
      const before = inherited();
      await fc.assert(
        fc.asyncProperty(programs, value, async (program, output) => {
          const automations = { main: { name: 'Main', do: program, output }, other: { name: 'Other', do: [], output: '{{n}}' } };
          const { problems } = compileWorkspace({ id: 'w', revision: 1, automations: automations as never, imports: {} });
          for (const { place } of problems) expect(place.path.startsWith('automations.')).toBe(true);

          try {
            await run(
              { automations },
              {
                payload: { n: 2, o: { a: 1 }, l: [1, 2], $http: {} },
                contexts: { global: { n: 1 } },
                limits: { maxSteps: 20_000, maxTurns: 200, maxOpenTurns: 50 },
                fetch: () => ({ status: 200 }),
              },
            );
          } catch (error) {
            if (!isFault(error)) throw error;
            expect(error.type).not.toBe('InternalServiceError');
            expect(error.data).toHaveProperty('place');
          }
        }),
        { numRuns: 300 },
      );
      expect(inherited()).toBe(before);
    },
    60_000,
  );
});
