import { describe, expect, it } from '@jest/globals';
import { hexId, ulid, ulidTime } from '../../../mixins/shared/ids.ts';

describe('ids', () => {
  it('of events are ULIDs that only grow, also within a millisecond and when the clock goes back', () => {
    const now = Date.now() + 60_000;
    const ids = [...Array.from({ length: 200_000 }, () => ulid(now)), ulid(now - 5_000), ulid(now + 1)];

    expect(ids.every((id) => /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id))).toBe(true);
    expect(ids.every((id, i) => i === 0 || (ids[i - 1] as string) < id)).toBe(true);
    expect([ulidTime(ids[0] as string), ulidTime(ids.at(-1) as string)]).toEqual([now, now + 1]);
  });

  it('go on after more of them than one millisecond has room for', () => {
    const now = Date.now() + 120_000;
    let last = ulid(now);
    for (let n = 0; n < 1_100_000; n++) {
      const next = ulid(now);
      if (next <= last) throw new Error(`${next} after ${last}`);
      last = next;
    }

    expect(ulidTime(last)).toBeGreaterThan(now);
    expect(ulidTime(last)).toBeLessThan(now + 5);
  });

  it('hold the time of their making, and nothing else is taken for one', () => {
    expect(ulidTime('01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe(1_469_922_850_259);
    expect(ulidTime('not a ulid')).toBeNaN();
  });

  it('of correlation are 32 hexadecimal characters, and differ', () => {
    const ids = Array.from({ length: 2_000 }, hexId);

    expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(2_000);
  });
});
