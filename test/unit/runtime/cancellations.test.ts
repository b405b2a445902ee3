import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Cancellations, createCancellations } from '../../../services/runtime/cancellations.ts';
import { testCache } from '../../support/runtime-node.ts';

const MINUTE = 60_000;

describe('a correlation id that was cancelled', () => {
  let cache: Awaited<ReturnType<typeof testCache>>;
  let cancellations: Cancellations;
  let now: number;
  beforeEach(async () => {
    cache = await testCache();
    now = 1_000_000;
    cancellations = createCancellations(cache, () => now);
  });
  afterEach(() => cache.drop());

  const begun = (acceptedAt: number, again?: number) =>
    ({ workspaceId: 'w', correlationId: 'c', request: { acceptedAt }, ...(again ? { kept: { at: again } } : {}) }) as never;

  it('starts nothing for ten minutes', async () => {
    expect(await cancellations.coversEvents('w', 'c')).toBe(false);

    await cancellations.mark('w', 'c', []);

    expect(await cancellations.coversEvents('w', 'c')).toBe(true);
    expect(await cancellations.coversEvents('w', 'other')).toBe(false);
    now += 10 * MINUTE;
    expect(await cancellations.coversEvents('w', 'c')).toBe(false);
  });

  it('ends the runs that had begun, also an hour later, and none that began afterwards', async () => {
    await cancellations.mark('w', 'c', []);
    now += 60 * MINUTE;

    expect(await cancellations.covers(begun(now - 61 * MINUTE))).toBe(true);
    expect(await cancellations.covers(begun(now))).toBe(false);
  });

  it('means the runs that were open, whatever the clock of the node that began them', async () => {
    await cancellations.mark('w', 'c', [now + 500]);

    expect(await cancellations.covers(begun(now + 500))).toBe(true);
  });

  it('starts automations again once one of its runs was begun again, and only that run is let go', async () => {
    await cancellations.mark('w', 'c', [now + 500]);

    const at = await cancellations.nextBegin('w', 'c');
    await cancellations.lift('w', 'c', at);

    expect(await cancellations.coversEvents('w', 'c')).toBe(false);
    expect(await cancellations.covers(begun(now, at))).toBe(false);
    expect(await cancellations.covers(begun(now))).toBe(true);
  });

  it('stays so when it was cancelled once more in between', async () => {
    await cancellations.mark('w', 'c', []);
    const at = await cancellations.nextBegin('w', 'c');
    await cancellations.mark('w', 'c', [at]);

    await cancellations.lift('w', 'c', at);

    expect(await cancellations.coversEvents('w', 'c')).toBe(true);
    expect(await cancellations.covers(begun(now, at))).toBe(true);
  });
});
