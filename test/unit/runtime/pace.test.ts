import { describe, expect, it } from '@jest/globals';
import { createPace } from '../../../services/runtime/pace.ts';

describe('the pace of runs', () => {
  /** A clock that moves only when somebody computes. */
  function stage(sliceMs = 2) {
    let now = 0;
    const pace = createPace(sliceMs, () => now);
    const log: string[] = [];
    return {
      pace,
      log,
      compute(ms: number) {
        now += ms;
      },
      async run(workspaceId: string, slices: number, sliceLength = sliceMs) {
        const turn = pace.enter(workspaceId);
        if (turn) await turn;
        for (let n = 0; n < slices; n++) {
          log.push(workspaceId);
          now += sliceLength;
          if (n < slices - 1) await pace.pause(workspaceId);
        }
      },
    };
  }

  it('lets short runs through at once', () => {
    const { pace, compute } = stage();

    for (let n = 0; n < 10; n++) {
      expect(pace.enter('a')).toBeUndefined();
      compute(0.1);
    }
  });

  it('lets a run of another workspace compute after one slice, however many runs the first has', async () => {
    const { run, log } = stage();
    const noisy = Array.from({ length: 20 }, () => run('noisy', 10));
    const quiet = run('quiet', 3);

    await quiet;

    expect(log.filter((name) => name === 'noisy').length).toBeLessThanOrEqual(5);
    await Promise.all(noisy);
    expect(log.filter((name) => name === 'noisy')).toHaveLength(200);
  });

  it('does not keep a workspace waiting that has nobody waiting, as long as the turn is short', async () => {
    const { run, pace, compute } = stage();
    const noisy = Array.from({ length: 5 }, () => run('noisy', 1));
    expect(pace.waiting()).toBe(4);
    expect(pace.enter('early')).toBeInstanceOf(Promise); // this turn has taken its slice already
    await new Promise((done) => setImmediate(done));

    expect(pace.enter('quiet')).toBeUndefined();
    expect(pace.enter('noisy')).toBeInstanceOf(Promise);
    compute(2);
    expect(pace.enter('other')).toBeInstanceOf(Promise);
    await Promise.all(noisy);
  });

  it('leaves a turn of the loop between long runs to what the last one brought', async () => {
    const { run, log } = stage();
    const runs = Array.from({ length: 6 }, () => run('noisy', 1));
    const perTurn: number[] = [];
    while (log.length < 6) {
      const before = log.length;
      await new Promise((done) => setImmediate(done));
      perTurn.push(log.length - before);
    }
    await Promise.all(runs);

    // Once a slice has shown that one run takes all of it, each is followed by a turn in which nobody computes.
    expect(perTurn.join('')).toMatch(/^1(10){3}1$/);
  });

  it('lets the event loop turn between slices', async () => {
    const { run, log } = stage();
    const runs = Promise.all([run('a', 50), run('b', 50)]);
    let turns = 0;
    let isOver = false;
    const turning = (async () => {
      while (!isOver) {
        await new Promise((done) => setImmediate(done));
        turns++;
      }
    })();

    await runs;
    isOver = true;
    await turning;

    expect(turns).toBeGreaterThanOrEqual(log.length / 2);
  });

  it('forgets nobody', async () => {
    const { run, pace } = stage();

    await Promise.all(Array.from({ length: 300 }, (_, n) => run(`w${n % 7}`, 1 + (n % 4), (n % 3) + 0.5)));

    expect(pace.waiting()).toBe(0);
  });
});
