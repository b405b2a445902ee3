import { describe, expect, it } from '@jest/globals';
import { slotMap } from '../../../mixins/shared/slot-map.ts';

describe('a slot map', () => {
  it('finds, replaces and removes by key', () => {
    const map = slotMap<string, { n: number }>();
    map.set('a', { n: 1 });
    map.set('b', { n: 2 });
    map.set('a', { n: 3 });

    expect([map.size, map.get('a'), map.has('b'), map.has('c'), map.get('c')]).toEqual([2, { n: 3 }, true, false, undefined]);
    expect(map.delete('a')).toEqual({ n: 3 });
    expect(map.delete('a')).toBeUndefined();
    expect([map.size, [...map.values()]]).toEqual([1, [{ n: 2 }]]);
  });

  it('keeps its values apart while keys come and go', () => {
    const map = slotMap<number, { n: number }>();
    for (let n = 0; n < 10_000; n++) {
      map.set(n, { n });
      if (n >= 50) expect(map.delete(n - 50)).toEqual({ n: n - 50 });
    }

    expect(map.size).toBe(50);
    expect([...map.values()].map(({ n }) => n).sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => 9_950 + i));
  });

  it('lets values be removed while it is walked, and is empty when cleared', () => {
    const map = slotMap<number, { n: number }>();
    for (let n = 0; n < 10; n++) map.set(n, { n });
    const seen: number[] = [];
    for (const { n } of map.values()) {
      seen.push(n);
      map.delete(n);
      map.delete(n + 1);
    }

    expect(seen).toEqual([0, 2, 4, 6, 8]);
    map.set(1, { n: 1 });
    map.clear();
    expect([map.size, [...map.values()], map.has(1)]).toEqual([0, [], false]);
  });
});
