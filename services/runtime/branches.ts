/**
 * branches — the branches of `all` and `repeat.batch` of one durable run: in which order they are answered, and what time it is in each.
 *
 * They share variables, so what a run does depends on who goes on first. One branch goes on at a time: the next answer is given when the one before has
 * asked again or ended, in the order of arrival, which is the order of the journal; a replay gives its answers in that order
 * (docs/decisions/030-crash-proof-runs.md). Runs without branches never come here.
 */
import { isBefore } from './effect-keys.ts';

/** Prefix of the branch an effect belongs to: `7.2.` of `7.2.1`. */
const branchOf = (key: string): string => key.slice(0, key.lastIndexOf('.') + 1);
/** The branch in which `prefix` was opened: of `7.2.5.0.` it is `7.2.`, of `7.2.` the run itself, ''. */
const parentOf = (prefix: string): string => branchOf(forkOf(prefix));
/** The effect that opened `prefix`: `7` of `7.2.`. */
const forkOf = (prefix: string): string => prefix.slice(0, prefix.lastIndexOf('.', prefix.length - 2));

export class Branches {
  /** Keys whose answers are in the journal, in its order, and the place of each. */
  private readonly recorded: readonly string[];
  private readonly placeOf: Map<string, number>;
  private given = 0;
  private readonly isGiven = new Set<string>();
  /** Who may go on at once: new branches, effects that take no time. */
  private readonly instant: (() => void)[] = [];
  /** Recorded answers that were asked for. */
  private readonly replayed = new Map<string, () => void>();
  /** Answers of the world, as they came. */
  private readonly arrived: { key: string; isReady: boolean; go: () => void }[] = [];
  /** Asked from the world, with an answer to come whatever the other branches do. */
  private readonly asked = new Set<string>();
  private pauses = 0;
  private isArmed = false;
  /** Latest answer in each branch or below it, and by the number of a fork the time it was made; milliseconds. */
  private readonly times = new Map<string, number>();

  /** @param recorded keys of the answers in the journal that were given beside others, in its order */
  constructor(recorded: readonly string[]) {
    this.recorded = recorded;
    this.placeOf = new Map(recorded.map((key, place) => [key, place]));
  }

  /** Whether there are recorded answers to come. */
  get isReplay(): boolean {
    return this.given < this.recorded.length;
  }

  /** Whether the journal has the place of this answer. */
  knows(key: string): boolean {
    return this.placeOf.has(key);
  }

  /** Resolves when a branch that need not be answered by anybody may go on. */
  turnAtOnce(): Promise<void> {
    return new Promise((go) => {
      this.instant.push(go);
      this.arm();
    });
  }

  /** The world is asked. `isSure`: it answers by itself, also when no other branch goes on. */
  ask(key: string, isSure: boolean): void {
    if (isSure) this.asked.add(key);
  }

  answered(key: string): void {
    this.asked.delete(key);
  }

  /**
   * The answer is here: resolves when its branch may go on. One that the journal knows takes its place there, others that of their arrival.
   * @param written when it may be given: those that came later wait for it too
   */
  async turnOf(key: string, written?: Promise<void>): Promise<void> {
    this.answered(key);
    await new Promise<void>((go, fail) => {
      if (this.placeOf.has(key)) this.replayed.set(key, go);
      else {
        const answer = { key, isReady: !written, go };
        this.arrived.push(answer);
        written?.then(() => {
          answer.isReady = true;
          this.arm();
        }, fail);
      }
      this.arm();
    });
  }

  /** Nobody goes on while a branch pauses in the middle of its computing: a replay need not pause there. */
  async during(pause: Promise<void>): Promise<void> {
    this.pauses++;
    try {
      await pause;
    } finally {
      this.pauses--;
      this.arm();
    }
  }

  /** When the effect was asked, by its own branch: ids begin with it, and must not depend on the others. @param time of the run */
  timeAt(key: string, time: number): number {
    return this.timeIn(branchOf(key), time);
  }

  /** An answer of this time was given. */
  moved(key: string, time: number): void {
    for (let prefix = branchOf(key); prefix; prefix = parentOf(prefix))
      this.times.set(prefix, Math.max(time, this.times.get(prefix) ?? time));
  }

  private timeIn(prefix: string, time: number): number {
    if (!prefix) return time;
    const own = this.times.get(prefix);
    if (own !== undefined) return own;
    // No branch of this fork has got anything yet when the first one asks: all begin at the time of whoever has opened them.
    const fork = forkOf(prefix);
    const begun = this.times.get(fork) ?? this.timeIn(parentOf(prefix), time);
    this.times.set(fork, begun);
    this.times.set(prefix, begun);
    return begun;
  }

  /** Looks who is next once nothing more happens by itself: ticks come after all that promises have made ready. */
  private arm(): void {
    if (this.isArmed) return;
    this.isArmed = true;
    queueMicrotask(() =>
      process.nextTick(() => {
        this.isArmed = false;
        this.next()?.();
      }),
    );
  }

  private next(): (() => void) | undefined {
    if (this.pauses > 0) return undefined;
    const go = this.instant.shift() ?? (this.isReplay ? this.nextRecorded() : this.nextArrived());
    if (go) this.arm();
    return go;
  }

  private nextRecorded(): (() => void) | undefined {
    const key = this.recorded[this.given] as string;
    if (this.replayed.has(key)) return this.give(key);
    // Not asked for. In a journal from which results were taken, to do them again, something before it is to be answered first.
    const isFirst = (other: string) => other === key || isBefore(other, key);
    const at = this.arrived.findIndex((answer) => isFirst(answer.key));
    if (at >= 0) return this.nextArrived(at);
    if ([...this.asked].some(isFirst)) return undefined;
    // It cannot come to this in a journal of this version. Nobody shall wait for ever: the order is given up, the results are not.
    let first = Number.POSITIVE_INFINITY;
    for (const asked of this.replayed.keys()) first = Math.min(first, this.placeOf.get(asked) as number);
    return first < this.recorded.length ? this.give(this.recorded[first] as string) : this.nextArrived();
  }

  private nextArrived(at = 0): (() => void) | undefined {
    return this.arrived[at]?.isReady ? this.arrived.splice(at, 1)[0]?.go : undefined;
  }

  private give(key: string): (() => void) | undefined {
    const go = this.replayed.get(key);
    this.replayed.delete(key);
    this.isGiven.add(key);
    while (this.isGiven.delete(this.recorded[this.given] as string)) this.given++;
    return go;
  }
}
