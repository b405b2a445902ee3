/**
 * world — performs the effects of one run: the only way from the interpreter to contexts, events, HTTP, modules and limits.
 *
 * Of a durable run every result is recorded, and what was recorded is answered without being done again (journal.ts). Of any other run
 * nothing is kept. Once a run is suspended or was taken over, `perform` never answers again: what is left of it in memory can change nothing.
 */
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { type ActOptions, Acts, modelAt, secretArguments } from './acts.ts';
import { Branches } from './branches.ts';
import { isBeside } from './effect-keys.ts';
import { type EffectRequest, type Frame, isLiveStream, type World } from './interpreter/index.ts';
import { fromRecord, type Journal, type JournalEntry, recordedFault } from './journal.ts';
import type { Wait } from './waits.ts';

export interface WorldOptions extends ActOptions {
  /** Of durable runs only. */
  journal?: Journal | undefined;
  /** 32 hexadecimal characters. */
  seed: () => string;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** Told when the run cannot go on here: a store fails, another node has taken it. */
  onBroken: (error: unknown) => void;
}

export interface RunWorld extends World {
  /** Effects asked and not answered; equal to the number of waits when the run can only be woken. */
  readonly pending: number;
  readonly openWaits: readonly Wait[];
  /** Read a stream, which is not recorded: executed again, the run would ask for it again. */
  readonly hasStreamed: boolean;
  /** Milliseconds of the last question or answer. */
  readonly activeAt: number;
  /** From now on nothing is answered and nothing changes. */
  silence(): void;
  /** Resolves when the native events that are still on their way are durable; nothing when there are none. */
  settled(): Promise<void> | undefined;
  close(): void;
}

/** Never answers. One for each who asks: who waits for a promise that is known to all is kept in memory by it for ever. */
const never = () => new Promise<never>(() => {});
/** Effects that change nothing outside: recorded lazily, performed without writing first. */
const READS = new Set(['context.read', 'throttle', 'sleep', 'authorize', 'identity.switch', 'http', 'executed', 'error', 'auth']);
/** Not recorded: done again by a replay, with the same result or none. */
const UNRECORDED = new Set(['throttle', 'http', 'executed', 'error', 'auth']);
/** Recorded at once: nobody else can tell that they were done. */
const EAGER = new Set(['fetch', 'module', 'wait', 'rateLimit']);

const isInfrastructure = (error: unknown): boolean => !isFault(error) || error.retryable === true;

export const createWorld = (options: WorldOptions): RunWorld => new JournaledWorld(options);

/** A class, not closures: a node makes thousands of these a second. */
class JournaledWorld implements RunWorld {
  readonly signal: AbortSignal;
  pending = 0;
  activeAt = Date.now();
  hasStreamed = false;
  private readonly options: WorldOptions;
  private readonly acts: Acts;
  private time: number;
  private isSilent = false;
  /** Most runs ask for no randomness at all. */
  private source: (() => number) | undefined;
  /** Of durable runs that go on side by side. */
  private branches: Branches | undefined;

  constructor(options: WorldOptions) {
    this.options = options;
    this.signal = options.control.signal;
    this.time = options.startedAt;
    this.acts = new Acts(options);
  }

  get openWaits(): readonly Wait[] {
    return this.acts.openWaits;
  }

  now(): number {
    return this.time;
  }

  random(): number {
    this.source ??= generator(this.options.seed());
    return this.source();
  }

  uuid(): string {
    return Array.from({ length: 32 }, () => Math.floor(this.random() * 16).toString(16)).join('');
  }

  entered({ instance, automationSlug }: Frame, payload: JsonObject): void {
    const { redactor, loaded } = this.options;
    const model = modelAt(loaded, instance);
    if (!model) return;
    redactor.addAll(model.secretTexts);
    redactor.add(secretArguments(model, automationSlug, payload));
  }

  begins(): Promise<void> | undefined {
    const { journal } = this.options;
    return journal && this.branchesOf(journal).turnAtOnce();
  }

  pausing(pause: Promise<void>): Promise<void> {
    return this.branches ? this.branches.during(pause) : pause;
  }

  private branchesOf(journal: Journal): Branches {
    this.branches ??= new Branches(journal.besides());
    return this.branches;
  }

  perform({ key, effect, frame }: EffectRequest): unknown {
    if (this.isSilent) return never();
    if (this.signal.aborted) throw fault('RunCancelledError');
    if (effect.type === 'wait') return this.waiting(key, effect, frame);
    const { journal } = this.options;
    if (journal) return this.performing(this.recorded(journal, key, effect, frame));
    const done = this.acts.perform(key, effect, frame, this.time);
    if (done instanceof Promise) return this.performing(done);
    this.time = Date.now();
    return done;
  }

  /** Announced at once, before anything that a branch beside it asks for. */
  private waiting(key: string, effect: EffectRequest['effect'], frame: Frame): Promise<unknown> {
    const { journal } = this.options;
    this.acts.announce(key);
    const asked = journal
      ? this.recorded(journal, key, effect, frame)
      : (this.acts.perform(key, effect, frame, this.time) as Promise<unknown>);
    const over = () => this.acts.registered(key);
    asked.then(over, over);
    return this.performing(asked);
  }

  private async performing(asked: Promise<unknown>): Promise<unknown> {
    const { journal, onBroken } = this.options;
    this.pending++;
    this.activeAt = Date.now();
    try {
      const value = await asked;
      if (!journal) this.time = Date.now();
      return value;
    } catch (error) {
      if (this.signal.aborted && !isFault(error, 'RunCancelledError')) throw fault('RunCancelledError', { cause: error });
      // A store that fails is no error of the automation: a durable run stops here and is executed again.
      if (!journal || isFault(error, 'RunCancelledError') || !isInfrastructure(error)) throw error;
      this.isSilent = true;
      onBroken(error);
      return await never();
    } finally {
      this.pending--;
      this.activeAt = Date.now();
      if (this.isSilent) await never();
    }
  }

  private recorded(journal: Journal, key: string, effect: EffectRequest['effect'], frame: Frame): Promise<unknown> {
    return isBeside(key) ? this.beside(journal, key, effect, frame) : this.durably(journal, key, effect, frame);
  }

  private async durably(journal: Journal, key: string, effect: EffectRequest['effect'], frame: Frame): Promise<unknown> {
    const recorded = journal.find(key, effect.type);
    if (recorded) {
      if (effect.type === 'fetch') await this.acts.refetched(effect.request);
      this.time = recorded.t;
      return this.again(recorded);
    }
    // What the run knows so far is durable before it changes the world: a replay takes the same path.
    if (!READS.has(effect.type)) await journal.flush();
    let value: unknown;
    try {
      value = await this.acts.perform(key, effect, frame, this.time);
    } catch (error) {
      if (isFault(error, 'RunCancelledError') || isInfrastructure(error)) throw error;
      if (!UNRECORDED.has(effect.type)) this.remember(journal, key, effect, { error });
      throw error;
    }
    if (UNRECORDED.has(effect.type)) return value;
    if (holdsStream(value)) {
      this.hasStreamed = true;
      return value;
    }
    this.remember(journal, key, effect, { value });
    if (EAGER.has(effect.type)) await journal.flush();
    return value;
  }

  /** As `durably`, in a branch beside others: it goes on when it is its turn. */
  private async beside(journal: Journal, key: string, effect: EffectRequest['effect'], frame: Frame): Promise<unknown> {
    const branches = this.branchesOf(journal);
    const time = branches.timeAt(key, this.time);
    const recorded = journal.find(key, effect.type);
    if (recorded) {
      if (effect.type === 'wait') this.acts.registered(key); // decided: no other branch has to wait for it
      if (effect.type === 'fetch') await this.acts.refetched(effect.request);
      await branches.turnOf(key);
      this.moveTo(key, recorded.t);
      return this.again(recorded);
    }
    // Paid for, and slept for, by the execution that is repeated.
    if (effect.type === 'throttle' && branches.isReplay) {
      await (branches.knows(key) ? branches.turnOf(key) : branches.turnAtOnce());
      return 0;
    }
    // A wait may be for what another branch is about to do.
    branches.ask(key, effect.type !== 'wait');
    if (!READS.has(effect.type)) await journal.flush();
    let answer: { value?: unknown; error?: unknown };
    try {
      const value = this.acts.perform(key, effect, frame, time);
      if (UNRECORDED.has(effect.type) && !(value instanceof Promise)) {
        branches.answered(key);
        await branches.turnAtOnce();
        return value;
      }
      answer = { value: await value };
    } catch (error) {
      if (isFault(error, 'RunCancelledError') || isInfrastructure(error)) throw error;
      answer = { error };
    }
    const at = Date.now();
    const isStream = holdsStream(answer.value);
    if (isStream) this.hasStreamed = true;
    const isKept = !UNRECORDED.has(effect.type) && !isStream;
    // Of what is done again, the journal has the place.
    if (isKept) journal.record(key, effect.type, at, answer);
    else if (!branches.knows(key)) journal.recordPlace(key, effect.type, at);
    await branches.turnOf(key, isKept && EAGER.has(effect.type) && answer.error === undefined ? journal.flush() : undefined);
    if (isKept) this.moveTo(key, at);
    if (answer.error !== undefined) throw answer.error;
    return answer.value;
  }

  /** The time of the run is that of its latest branch: where they meet again, it depends on none being first. */
  private moveTo(key: string, time: number): void {
    this.branches?.moved(key, time);
    this.time = Math.max(this.time, time);
  }

  private again(recorded: JournalEntry): unknown {
    this.acts.replayed(recorded.k, recorded.y as EffectRequest['effect']['type'], recorded.v as { id?: string } | null | undefined);
    if (recorded.e) throw recordedFault(recorded);
    return fromRecord(recorded.v);
  }

  /** Time moves with what is remembered only: a replay must find it the same, for the ids of what the run sends begin with it. */
  private remember(journal: Journal, key: string, { type }: EffectRequest['effect'], result: { value?: unknown; error?: unknown }): void {
    this.time = Date.now();
    journal.record(key, type, this.time, result);
  }

  silence(): void {
    this.isSilent = true;
    this.acts.silence();
  }

  settled(): Promise<void> | undefined {
    return this.acts.settled();
  }

  close(): void {
    this.acts.close();
  }
}

const holdsStream = (value: unknown): boolean =>
  isLiveStream(value) || (typeof value === 'object' && value !== null && isLiveStream((value as { body?: unknown }).body));

/** sfc32 from a seed of 32 hexadecimal characters. @see https://pracrand.sourceforge.net */
export function generator(seed: string): () => number {
  let [a, b, c, d] = [0, 8, 16, 24].map((at) => Number.parseInt(seed.slice(at, at + 8), 16) | 0) as [number, number, number, number];
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}
