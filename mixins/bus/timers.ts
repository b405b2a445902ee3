/** timers — the passage of time as an argument: tests hold the clock, production uses the machine's monotonic one. */

export interface Timers {
  /** Monotonic milliseconds; only differences mean something. */
  now(): number;
  /** Calls `run` once after `ms`; the answer cancels. Never keeps a process alive. */
  after(ms: number, run: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
