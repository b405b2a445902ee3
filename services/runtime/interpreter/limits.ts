/** limits — what one run may use. Each has a named error, and a test at the limit and one past it. */
import { type Fault, fault } from '../../../mixins/shared/errors.ts';
import type { RunLimits } from './index.ts';

export const DEFAULT_RUN_LIMITS: RunLimits = {
  maxDepth: 20,
  maxSteps: 20_000_000,
  maxBusyMs: 30_000,
  maxWallMs: 900_000,
  maxTurns: 1_000_000,
  // At the rate a workspace may loop this ends while a caller still listens.
  maxOpenTurns: 100_000,
  maxOutputBytes: 10_000_000,
  maxTemplateChars: 10_000_000,
  maxValueNodes: 2_000_000,
  sliceMs: 8,
};

/** How many instructions run between two looks at the clock. */
const STEPS_PER_LOOK = 32;

/** Counts what a run uses, and tells when it must let others run. */
export class Budget {
  readonly limits: RunLimits;
  /** The budget is used up: every further instruction throws this, and no `try` catches it. */
  exhausted: Fault | undefined;
  private readonly signal: AbortSignal;
  private readonly clock: () => number;
  private readonly startedAt: number;
  private steps = 0;
  private looks = 0;
  private sliceStart: number;
  private busyMs = 0;
  /** Whether the event loop has turned since it was last asked, and whether that is being watched. */
  private hasTurned = false;
  private isWatching = false;
  /** Waits under way, since when, and what they have taken so far: time that does not count. */
  private waits = 0;
  private waitStart = 0;
  private waitedMs = 0;

  private readonly pause: () => Promise<void>;

  /**
   * @param clock milliseconds, for measuring only
   * @param pause lets others have their turn
   */
  constructor(
    limits: Partial<RunLimits>,
    signal: AbortSignal,
    clock: () => number = () => performance.now(),
    pause: () => Promise<void> = () => new Promise((resolve) => setImmediate(resolve)),
  ) {
    this.limits = { ...DEFAULT_RUN_LIMITS, ...limits };
    this.signal = signal;
    this.clock = clock;
    this.pause = pause;
    this.startedAt = clock();
    this.sliceStart = this.startedAt;
  }

  private exhaust(limit: 'maxSteps' | 'maxBusyMs' | 'maxWallMs', message: string): never {
    this.exhausted ??= fault('LimitExceededError', { message, data: { limit, max: this.limits[limit] } });
    throw this.exhausted;
  }

  /** @throws LimitExceededError */
  charge = (steps: number): void => {
    this.steps += steps;
    if (this.steps > this.limits.maxSteps) this.exhaust('maxSteps', `The run used more than ${this.limits.maxSteps} steps.`);
  };

  /** Before each instruction. True: the event loop must breathe first. @throws RunCancelledError · LimitExceededError */
  step(): boolean {
    if (this.exhausted) throw this.exhausted;
    this.charge(1);
    if (++this.looks % STEPS_PER_LOOK !== 0) return false;
    if (this.signal.aborted) throw fault('RunCancelledError');
    const now = this.clock();
    const spent = now - this.sliceStart;
    if (spent < this.limits.sliceMs) return false;
    if (this.busyMs + spent > this.limits.maxBusyMs)
      this.exhaust('maxBusyMs', `The run computed for more than ${this.limits.maxBusyMs} ms without a pause.`);
    this.checkWall(now);
    return true;
  }

  private checkWall(now: number): void {
    const waited = this.waitedMs + (this.waits > 0 ? now - this.waitStart : 0);
    if (now - this.startedAt - waited > this.limits.maxWallMs)
      this.exhaust('maxWallMs', `The run took more than ${this.limits.maxWallMs} ms, waits not counted.`);
  }

  /** Lets timers, sockets and other runs have their turn. */
  async breathe(): Promise<void> {
    this.busyMs += this.clock() - this.sliceStart;
    await this.pause();
    if (this.signal.aborted) throw fault('RunCancelledError');
    this.hasTurned = false;
    this.sliceStart = this.clock();
  }

  /** Before an effect, or the next chunk of a stream. */
  asking(): void {
    if (this.isWatching) return;
    this.isWatching = true;
    setImmediate(() => {
      this.isWatching = false;
      this.hasTurned = true;
    });
  }

  /** Before an effect that only lets time pass. */
  beginWait(): void {
    if (this.waits++ === 0) this.waitStart = this.clock();
  }

  endWait(): void {
    if (--this.waits === 0) this.waitedMs += this.clock() - this.waitStart;
  }

  /**
   * An effect was awaited. A pause only when others had their turn meanwhile: an effect that is answered at once, over and over, must not
   * keep the event loop. @throws LimitExceededError
   */
  rested(): void {
    const now = this.clock();
    this.checkWall(now);
    if (!this.hasTurned) return;
    this.hasTurned = false;
    this.busyMs = 0;
    this.sliceStart = now;
  }
}
