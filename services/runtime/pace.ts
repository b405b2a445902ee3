/**
 * pace — how runs share the one thread of a node. Whoever computes goes through here: before a run begins, and each time it has computed for a slice.
 *
 * While a turn of the event loop has been short, nobody waits. Once it has taken a slice, runs queue up by workspace and are let through one at a
 * time, workspace by workspace, and between slices the loop turns: sockets, timers and what other tenants wait for come to their right however
 * many runs one tenant has. A workspace with nobody in the queue does not join it while the turn is short.
 */

export interface Pace {
  /** Before a run computes: `undefined` when it may at once. */
  enter(workspaceId: string): Promise<void> | undefined;
  /** A run has used its slice: lets the event loop turn, and the other workspaces have theirs. */
  pause(workspaceId: string): Promise<void>;
  waiting(): number;
}

/** So few runs in a slice are long enough for another turn of the loop to cost nothing beside them. */
const FEW = 4;
/** Runs let through in one turn, as long as it is short. */
const MOST_PER_TURN = 64;

export function createPace(sliceMs = 2, clock: () => number = () => performance.now()): Pace {
  const queues = new Map<string, (() => void)[]>();
  let count = 0;
  /** Few runs took the whole of the last slice. */
  let isSlow = false;
  let isArmed = false;
  /** When this turn of the loop first let somebody compute; undefined before that. */
  let turnBegan: number | undefined;

  function watchTurn(): void {
    if (turnBegan !== undefined) return;
    turnBegan = clock();
    setImmediate(() => {
      turnBegan = undefined;
    });
  }

  function next(): void {
    const first = queues.entries().next().value;
    if (!first) return;
    const [workspaceId, queue] = first;
    const start = queue.shift() as () => void;
    count--;
    // Served: to the end of the round.
    queues.delete(workspaceId);
    if (queue.length) queues.set(workspaceId, queue);
    start();
  }

  /** One callback for each that may be let through in the next turn: what a run does at once happens before the next callback looks at the clock. */
  function arm(): void {
    if (isArmed || count === 0) return;
    isArmed = true;
    let began: number | undefined;
    const most = Math.min(count, MOST_PER_TURN);
    let served = 0;
    const turn = (n: number) => {
      began ??= clock();
      if (n === 1 || clock() - began < sliceMs) {
        served++;
        next();
      }
      if (n < most) return;
      isArmed = false;
      isSlow = served <= FEW && served < most;
      arm();
    };
    const letThrough = () => {
      for (let n = 1; n <= most; n++) setImmediate(turn, n);
    };
    // Among long runs, after one more turn of the loop: what it reads and does at once is committed and answered before the next slice.
    if (isSlow) setImmediate(letThrough);
    else letThrough();
  }

  const queued = (workspaceId: string): Promise<void> =>
    new Promise((resolve) => {
      const queue = queues.get(workspaceId);
      if (queue) queue.push(resolve);
      else queues.set(workspaceId, [resolve]);
      count++;
      arm();
    });

  return {
    enter(workspaceId) {
      watchTurn();
      // Of a workspace that has nobody waiting, whoever else waits: it has not had its slice of this turn.
      if (!queues.has(workspaceId) && clock() - (turnBegan as number) < sliceMs) return undefined;
      return queued(workspaceId);
    },
    pause: queued,
    waiting: () => count,
  };
}
