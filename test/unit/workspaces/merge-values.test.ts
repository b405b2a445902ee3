import { describe, expect, it } from '@jest/globals';
import { mergeValues } from '../../../services/workspaces/git/merge-values.ts';

const merged = (base: unknown, ours: unknown, theirs: unknown) => {
  const { value, conflicts } = mergeValues(base, ours, theirs);
  return conflicts.length > 0 ? { conflicts } : value;
};

describe('three versions of a value', () => {
  it.each<[string, unknown, unknown, unknown, unknown]>([
    ['only ours', { a: 1 }, { a: 2 }, { a: 1 }, { a: 2 }],
    ['only theirs', { a: 1 }, { a: 1 }, { a: 2 }, { a: 2 }],
    ['both alike', { a: 1 }, { a: 2 }, { a: 2 }, { a: 2 }],
    ['different keys', { a: 1, b: 1 }, { a: 2, b: 1 }, { a: 1, b: 2 }, { a: 2, b: 2 }],
    ['a key added here, another there', {}, { a: 1 }, { b: 1 }, { b: 1, a: 1 }],
    ['a key removed here, another changed there', { a: 1, b: 1 }, { b: 1 }, { a: 1, b: 2 }, { b: 2 }],
    ['null is a value', { a: null }, { a: 1 }, { a: null }, { a: 1 }],
    ['the same list in two places', [1, 2, 3, 4], [0, 2, 3, 4], [1, 2, 3, 9], [0, 2, 3, 9]],
    ['an item inserted here, one removed there', [1, 2, 3, 4], [0, 1, 2, 3, 4], [1, 2, 4], [0, 1, 2, 4]],
    ['items of equal lists, by place', [{ a: 1 }, { a: 1 }], [{ a: 2 }, { a: 1 }], [{ a: 1 }, { a: 3 }], [{ a: 2 }, { a: 3 }]],
    ['deep maps', { a: { b: { c: 1 } } }, { a: { b: { c: 1, d: 1 } } }, { a: { b: { c: 2 } } }, { a: { b: { c: 2, d: 1 } } }],
  ])('%s', (_, base, ours, theirs, wanted) => expect(merged(base, ours, theirs)).toEqual(wanted));

  it.each<[string, unknown, unknown, unknown, string[]]>([
    ['one value', { a: 1 }, { a: 2 }, { a: 3 }, ['a']],
    ['a key removed here and changed there', { a: 1 }, {}, { a: 3 }, ['a']],
    ['an item', { do: [{ set: { v: 1 } }] }, { do: [{ set: { v: 2 } }] }, { do: [{ set: { v: 3 } }] }, ['do[0].set.v']],
    ['two insertions at one place', [1], [1, 2], [1, 3], ['']],
    ['a map here, a text there', { a: 1 }, { a: {} }, { a: 'x' }, ['a']],
    ['the same new key with two values', {}, { a: 1 }, { a: 2 }, ['a']],
  ])('conflict: %s', (_, base, ours, theirs, conflicts) => expect(merged(base, ours, theirs)).toEqual({ conflicts }));

  it('give what one side made of them when the other changed nothing, whatever they are', () => {
    const values = [{}, { a: [1, { b: null }] }, { do: [{ x: 1 }, { y: 2 }] }, { do: [{ y: 2 }] }, { a: { b: {} } }];
    for (const base of values)
      for (const changed of values) {
        expect(merged(base, changed, base)).toEqual(changed);
        expect(merged(base, base, changed)).toEqual(changed);
      }
  });
});
