import { describe, expect, it } from '@jest/globals';
import type { PathOperation } from '../../../mixins/storage/cache/contract.ts';
import { applyOperations } from '../../../mixins/storage/cache/document.ts';
import { alive } from '../../../mixins/storage/cache/lives.ts';

const COUNT = 50_000;
const at = (now: number) => ({ field: '$lives', now });
const nothing: PathOperation = { type: 'replace', path: ['d'], value: 1 };

describe('lives of paths', () => {
  it('cost nothing where there are none: a document is shown as it is', () => {
    const document = { a: { b: 1 } };

    expect(alive(document, '$lives', 1)).toBe(document);
    expect(applyOperations(document, [nothing], at(1))).toBe(document);
    expect(document).toEqual({ a: { b: 1 }, d: 1 });
  });

  it('hide what is over from a reader, in lists too', () => {
    const document = { l: [1, 2, 3, 4], o: { x: 1 }, $lives: { '["l",0]': 5, '["l",2]': 5, '["l",3]': 6, '["o","x"]': 5 } };

    expect(alive(document, '$lives', 5)).toEqual({ l: [2, 4], o: {} });
  });

  it.each<[string, unknown, (n: number) => (string | number)[], unknown]>([
    ['fields', Object.fromEntries(Array.from({ length: COUNT }, (_, n) => [`k${n}`, n])), (n) => ['all', `k${n}`], {}],
    ['elements of one list', Array.from({ length: COUNT }, (_, n) => n), (n) => ['all', n], []],
  ])('of very many %s end in one pass', (_kind, all, pathOf, left) => {
    const entries = Array.from({ length: COUNT }, (_, n) => [JSON.stringify(pathOf(n)), n % 2 ? 10 : 20]);
    const document = { all, $lives: Object.fromEntries(entries) };
    const began = performance.now();

    const half = applyOperations(document, [nothing], at(10)) as { all: object; $lives: object };
    expect(Object.keys(half.all)).toHaveLength(COUNT / 2);
    expect(Object.keys(half.$lives)).toHaveLength(COUNT / 2);
    expect(applyOperations(half, [nothing], at(20))).toEqual({ all: left, d: 1 });
    // Element by element it takes minutes.
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});
