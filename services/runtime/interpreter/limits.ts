/** limits — what one run may use. Each has a named error, and a test at the limit and one past it. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { RunLimits } from './index.ts';

export const DEFAULT_RUN_LIMITS: RunLimits = {
  maxDepth: 20,
  maxSteps: 20_000_000,
  maxBusyMs: 30_000,
  maxTurns: 1_000_000,
  maxOutputBytes: 10_000_000,
  maxTemplateChars: 10_000_000,
  sliceMs: 8,
};

/** How many instructions run between two looks at the clock. */
const STEPS_PER_LOOK = 32;

/** Counts what a run uses, and tells when it must let others run. */
export class Budget {
  readonly limits: RunLimits;
  private readonly signal: AbortSignal;
  private steps = 0;
  private looks = 0;
  private sliceStart = performance.now();
  private busyMs = 0;

  constructor(limits: Partial<RunLimits>, signal: AbortSignal) {
    this.limits = { ...DEFAULT_RUN_LIMITS, ...limits };
    this.signal = signal;
  }

  /** @throws LimitExceededError */
  charge = (steps: number): void => {
    this.steps += steps;
    if (this.steps > this.limits.maxSteps)
      throw fault('LimitExceededError', {
        message: `The run used more than ${this.limits.maxSteps} steps.`,
        data: { limit: 'maxSteps', max: this.limits.maxSteps },
      });
  };

  /** Before each instruction. True: the event loop must breathe first. @throws RunCancelledError · LimitExceededError */
  step(): boolean {
    this.charge(1);
    if (++this.looks % STEPS_PER_LOOK !== 0) return false;
    if (this.signal.aborted) throw fault('RunCancelledError');
    const spent = performance.now() - this.sliceStart;
    if (spent < this.limits.sliceMs) return false;
    if (this.busyMs + spent > this.limits.maxBusyMs)
      throw fault('LimitExceededError', {
        message: `The run computed for more than ${this.limits.maxBusyMs} ms without a pause.`,
        data: { limit: 'maxBusyMs', max: this.limits.maxBusyMs },
      });
    return true;
  }

  /** Lets timers, sockets and other runs have their turn. */
  async breathe(): Promise<void> {
    this.busyMs += performance.now() - this.sliceStart;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.signal.aborted) throw fault('RunCancelledError');
    this.sliceStart = performance.now();
  }

  /** An effect was awaited: a pause. */
  rested(): void {
    this.busyMs = 0;
    this.sliceStart = performance.now();
  }
}
