import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { keepMemoryLow } from '../../../mixins/shared/idle-memory.ts';

/** Collections after each look, the first being the one at the start. */
async function collections(shares: number[]): Promise<number[]> {
  const after: number[] = [];
  let count = 0;
  let at = -1;
  const stop = keepMemoryLow({
    collect: () => count++,
    // The first answer is for the time before: nobody looks at it.
    utilization: () => {
      after.push(count);
      return shares[at++] ?? 0;
    },
    everyMs: 1,
  });
  while (at < shares.length) await sleep(1);
  await sleep(5);
  stop();
  return after.slice(1, shares.length + 2);
}

describe('memory of an idle node', () => {
  it('is given back at the start and at the first rest, and once after each time of load', async () => {
    expect(await collections([0.9, 0.5, 0.01, 0, 0, 0.6, 0.02, 0])).toEqual([1, 1, 1, 2, 2, 2, 2, 3, 3]);
  });

  it('is not looked at while the node has something to do, nor again when it had next to nothing to do', async () => {
    expect(await collections([0.9, 0.1, 0.06, 0.1])).toEqual([1, 1, 1, 1, 1]);
    expect(await collections([0.01, 0.15, 0.01, 0])).toEqual([1, 2, 2, 2, 2]);
  });

  it('stays as it is where Node does not let it be collected', () => {
    let looks = 0;
    keepMemoryLow({ collect: null, utilization: () => looks++ })();

    expect(looks).toBe(0);
  });
});
