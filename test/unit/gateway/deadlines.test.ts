import { afterEach, describe, expect, it } from '@jest/globals';
import { sleep } from '../../../mixins/shared/clock.ts';
import { type Deadlines, openDeadlines } from '../../../services/gateway/deadlines.ts';
import { eventually } from '../../support/eventually.ts';

describe('deadlines', () => {
  let clock = 0;
  let deadlines: Deadlines;
  const open = () => {
    clock = 0;
    deadlines = openDeadlines(1_000, { everyMs: 2, now: () => clock });
    return deadlines;
  };
  afterEach(() => deadlines.close());

  it('call whoever is late, and nobody else', async () => {
    const late: string[] = [];
    const { set } = open();
    set(() => late.push('first'));
    clock = 500;
    set(() => late.push('second'));
    clock = 999;
    await sleep(20);
    expect(late).toEqual([]);

    clock = 1_000;
    await eventually(() => late.includes('first'));
    expect(late).not.toContain('second');
  });

  it('forget who was in time', async () => {
    const late: string[] = [];
    const { set, clear } = open();
    const ticket = set(() => late.push('in time'));
    set(() => late.push('late'));
    clear(ticket);
    clock = 5_000;
    await eventually(() => late.length > 0);
    expect(late).not.toContain('in time');
  });
});
