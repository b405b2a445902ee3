/**
 * lanes — path operations on documents in Redis: read, compute here, compare-and-set. Operations of this process on one key wait for each other in
 * a lane and are written together, so processes race once per round trip and not once per operation. Why not in Lua: docs/decisions/020.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { HOUR } from '../../../../shared/clock.ts';
import { type Fault, fault, isFault } from '../../../../shared/errors.ts';
import { hexId } from '../../../../shared/ids.ts';
import { parseJson } from '../../../../shared/json.ts';
import type { Applied, ApplyOptions, PathOperation, Versioned } from '../../contract.ts';
import { applyOperations, checkSize, toText } from '../../document.ts';
import type { Commands } from './commands.ts';
import type { Keys } from './keys.ts';

interface Job {
  operations: PathOperation[];
  options: ApplyOptions;
  resolve: (result: Applied) => void;
  reject: (error: unknown) => void;
}

/** A document as it is in Redis; `text` null: absent. */
interface State {
  text: string | null;
  version: number;
  token: string;
  seen: boolean[];
}

type Answer = [written: number, value?: string | null, version?: string | null, token?: string | null, ...seen: number[]];

/** Jobs written together: bounds the size of one script call. */
const BATCH_MAX = 200;
/** Lost races before giving up. With pauses of up to 100 ms this is several seconds of never winning. */
const ATTEMPTS_MAX = 100;
const OPERATION_LIFE_MS = HOUR;

export function lanes(
  { run }: Commands,
  keys: Keys,
): (key: string, operations: PathOperation[], options: ApplyOptions) => Promise<Versioned> {
  const waiting = new Map<string, Job[]>();

  async function work(key: string): Promise<void> {
    // Let the calls of this turn gather before the first round trip.
    await undefined;
    for (;;) {
      const jobs = waiting.get(key)?.splice(0, BATCH_MAX) ?? [];
      if (jobs.length === 0) return void waiting.delete(key);
      try {
        await write(key, jobs);
      } catch (error) {
        for (const job of jobs) job.reject(error);
      }
    }
  }

  async function write(key: string, jobs: Job[]): Promise<void> {
    const withId = jobs.filter((job) => job.options.operationId !== undefined);
    const names = [keys.of(key), ...withId.map((job) => keys.operation(key, job.options.operationId as string))];
    let state = toState(await run<Answer>('read-state', names, []));
    for (let attempt = 1; ; attempt++) {
      const plan = compute(key, state, jobs, withId);
      if (!plan.isChanged) return plan.settle();
      const doneNames = plan.applied.flatMap((job) => {
        const index = withId.indexOf(job);
        return index < 0 ? [] : [names[index + 1] as string];
      });
      const answer = await run<Answer>(
        'compare-and-set',
        [names[0] as string, ...doneNames],
        [state.token, plan.text ?? '', plan.version, hexId(), plan.ttlMs, OPERATION_LIFE_MS],
      );
      if (answer[0] === 1) return plan.settle();
      if (attempt >= ATTEMPTS_MAX)
        throw fault('ServiceUnavailable', { message: `'${key}' is written by too many at once; retry later.`, data: { key } });
      if (attempt > 1) await delay(Math.random() * Math.min(2 ** Math.min(attempt, 7), 100));
      // The answer tells only of the ids that were sent; a repetition of another may have happened meanwhile, so all are read again.
      state = withId.length === doneNames.length ? toState(answer) : toState(await run<Answer>('read-state', names, []));
    }
  }

  return (key, operations, options) =>
    new Promise((resolve, reject) => {
      const job: Job = { operations, options, resolve, reject };
      const lane = waiting.get(key);
      if (lane) return void lane.push(job);
      waiting.set(key, [job]);
      void work(key);
    });
}

function toState([, text, version, token, ...seen]: Answer): State {
  return { text: text ?? null, version: Number(version ?? 0), token: token ?? '', seen: seen.map(Boolean) };
}

interface Plan {
  isChanged: boolean;
  /** null: the document is removed. */
  text: string | null;
  version: number;
  ttlMs: number;
  applied: Job[];
  settle(): void;
}

/** The jobs one after the other on `state`, as if each were alone; nothing is answered before `settle`. */
function compute(key: string, state: State, jobs: Job[], withId: Job[]): Plan {
  let text = state.text;
  let version = state.version;
  let ttlMs = 0;
  const applied: Job[] = [];
  const answers: (() => void)[] = [];
  const done = new Set<string>(withId.filter((_, i) => state.seen[i]).map((job) => job.options.operationId as string));
  for (const job of jobs) {
    const { operationId, ifVersion } = job.options;
    if (operationId !== undefined && done.has(operationId)) {
      const present = { value: text === null ? null : parseJson(text), version };
      answers.push(() => job.resolve(present));
      continue;
    }
    try {
      if (ifVersion !== undefined && ifVersion !== version)
        throw fault('VersionConflict', { data: { key, expected: ifVersion, actual: version } });
      const value = applyOperations(text === null ? undefined : parseJson(text), job.operations, job.options.lives);
      const next = value === undefined ? null : toText(value);
      const size = next === null ? {} : checkSize(next, job.options, key);
      // A document made anew has a life of its own.
      if (text === null) ttlMs = -1;
      if (job.options.ttlMs !== undefined) ttlMs = Math.ceil(job.options.ttlMs);
      version = next === null ? 0 : version + 1;
      text = next;
      if (operationId !== undefined) done.add(operationId);
      applied.push(job);
      const result = { value: value ?? null, version, ...size };
      answers.push(() => job.resolve(result));
    } catch (error) {
      answers.push(() => job.reject(asFault(error)));
    }
  }
  const settle = () => {
    for (const answer of answers) answer();
  };
  return { isChanged: applied.length > 0, text, version, ttlMs, applied, settle };
}

const asFault = (error: unknown): Fault | unknown => (isFault(error) ? error : fault('InternalServiceError', { cause: error }));
