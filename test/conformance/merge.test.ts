/** The merge table of set: previous value × type × new value, on a local variable and on a path of a context. */
import { describe, expect, it } from '@jest/globals';
import { run } from '../support/run-automation.ts';

const ABSENT = Symbol('absent');
const show = (value: unknown): string => (value === ABSENT ? 'nothing' : JSON.stringify(value));

/** [type, previous, value, result]; `[]` is the name with brackets. */
const TABLE: [string, unknown, unknown, unknown][] = [
  ['replace', ABSENT, 1, 1],
  ['replace', [1], { a: 1 }, { a: 1 }],
  ['replace', { a: 1 }, null, null],
  ['push', ABSENT, 1, [1]],
  ['push', [1], 2, [1, 2]],
  ['push', [1], [2], [1, [2]]],
  ['push', [1], null, [1, null]],
  ['push', 'text', 1, [1]],
  ['push', { a: 1 }, 1, [1]],
  ['push', null, 1, [1]],
  ['[]', ABSENT, 1, [1]],
  ['[]', [1], 2, [1, 2]],
  ['[]', [1], [2], [1, [2]]],
  ['[]', 5, 1, [1]],
  ['[]', { a: 1 }, 1, [1]],
  ['[]', null, 1, [1]],
  ['merge', [1], [2, 3], [1, 2, 3]],
  ['merge', [1], [], [1]],
  ['merge', [1], 2, [1, 2]],
  ['merge', [1], { a: 1 }, [1, { a: 1 }]],
  ['merge', [1], null, [1, null]],
  ['merge', [1], 'text', [1, 'text']],
  ['merge []', [1], [2, 3], [1, 2, 3]],
  ['merge []', ABSENT, [2, 3], [2, 3]],
  ['merge []', { a: 1 }, [2], [2]],
  ['merge []', 'text', [2], [2]],
  ['merge []', [1], 2, [1, 2]],
  ['merge', { a: 1, b: 1 }, { b: 2, c: 3 }, { a: 1, b: 2, c: 3 }],
  ['merge', { a: { x: 1 } }, { a: { y: 2 } }, { a: { y: 2 } }],
  ['merge', null, { a: 1 }, { a: 1 }],
  ['merge', { a: 1 }, [1], { a: 1 }],
  ['merge', { a: 1 }, 5, { a: 1 }],
  ['merge', { a: 1 }, 'text', { a: 1 }],
  ['merge', { a: 1 }, true, { a: 1 }],
  ['merge', { a: 1 }, null, { a: 1 }],
  ['merge', null, [1], null],
  ['merge', null, 5, null],
  ['merge', null, null, null],
  ['merge', ABSENT, { a: 1 }, { a: 1 }],
  ['merge', ABSENT, [1], [1]],
  ['merge', ABSENT, 5, 5],
  ['merge', ABSENT, null, null],
  ['merge', 5, { a: 1 }, { a: 1 }],
  ['merge', 'text', [1], [1]],
  ['merge', false, 7, 7],
];

describe.each([
  ['a local variable', 'v.x'],
  ['a path of a context', 'global.x'],
])('set on %s', (_kind, name) => {
  it.each(
    TABLE.map((row) => [row[0], show(row[1]), show(row[2]), row] as const),
  )('%s on %s of %s', async (_type, _previous, _value, row) => {
    const [type, previous, value, result] = row;
    const held = previous === ABSENT ? {} : { x: previous };
    const set = {
      name: type.endsWith('[]') ? `${name}[]` : name,
      value,
      ...(type === '[]' ? {} : { type: type.replace(' []', '') }),
    };

    const ran = await run(
      { automations: { main: { name: 'Main', do: [{ set }], output: `{{${name}}}` } } },
      { payload: { v: held }, contexts: { global: held } },
    );

    expect(ran.output).toEqual(result);
  });
});
