/**
 * limits — how much a workspace may do per second, over all nodes, and how many of its runs this node works on at once.
 *
 * Token buckets live in the cache; a node takes small handfuls in advance, so that most instructions cost no round trip. Exceeding a bucket
 * delays, it never fails. Turns are given workspace by workspace: one with a thousand waiting runs waits behind itself only.
 */
import { sleep } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';

export type Bucket = 'automations' | 'emits' | 'fetchs' | 'repeats';

interface Rate {
  perSecond: number;
  burst: number;
}

const TRUE = new Set(['true', 'yes', 'y', '1']);
/** Tokens taken in advance are given up after this long: they were counted, but the workspace went quiet. */
const HANDFUL_MS = 250;

function defaultRate(bucket: Bucket, config: Config): Rate {
  switch (bucket) {
    case 'automations':
      return { perSecond: config.rateAutomations, burst: config.rateAutomationsBurst };
    case 'emits':
      return { perSecond: config.rateEmits, burst: config.rateEmitsBurst };
    case 'fetchs':
      return { perSecond: config.rateFetchs, burst: config.rateFetchsBurst };
    case 'repeats':
      return { perSecond: config.rateRepeats, burst: config.rateRepeatsBurst };
  }
}

/** Rates of a workspace: its reserved secrets win over the configuration. `null`: no limit. */
export function rateOf(bucket: Bucket, config: Config, system: JsonObject): Rate | null {
  if (config.rateLimitDisabled || TRUE.has(String(system.ratelimit_disabled).toLowerCase())) return null;
  const fallback = defaultRate(bucket, config);
  const number = (value: unknown, otherwise: number) => {
    const found = Number(value);
    return value === undefined || value === '' || !Number.isFinite(found) ? otherwise : found;
  };
  const perSecond = number(system[`ratelimit_${bucket}`], fallback.perSecond);
  const burst = number(system[`ratelimit_${bucket}_burst`], fallback.burst);
  return perSecond > 0 && burst > 0 ? { perSecond, burst } : null;
}

export function createThrottle(cache: CacheDriver, config: Config, now: () => number = Date.now) {
  const handfuls = new Map<string, { left: number; until: number }>();
  /** Takes `tokens`; the milliseconds slept, at once when none had to be fetched. */
  function take(workspaceId: string, system: JsonObject, bucket: Bucket, tokens: number, signal?: AbortSignal): number | Promise<number> {
    const rate = rateOf(bucket, config, system);
    if (!rate || tokens <= 0) return 0;
    const key = `rate:{${workspaceId}}:${bucket}`;
    const inHand = handfuls.get(key);
    if (inHand && inHand.until > now() && inHand.left >= tokens) {
      inHand.left -= tokens;
      return 0;
    }
    return fetch(key, rate, tokens, signal);
  }

  async function fetch(key: string, rate: Rate, tokens: number, signal?: AbortSignal): Promise<number> {
    const limit = { perSecond: rate.perSecond, burst: rate.burst };
    const more = Math.min(20, Math.floor(rate.burst / 20)) * tokens;
    if (more > tokens && (await cache.takeTokens(key, more, { ...limit, wait: false })).ok) {
      if (handfuls.size > 10_000) handfuls.clear();
      handfuls.set(key, { left: more - tokens, until: now() + HANDFUL_MS });
      return 0;
    }
    // A loop may ask for more than the bucket holds: it waits in portions.
    let slept = 0;
    for (let left = tokens; left > 0; left -= rate.burst) {
      const { retryAfterMs } = await cache.takeTokens(key, Math.min(left, rate.burst), { ...limit, wait: true });
      if (retryAfterMs > 0) {
        slept += retryAfterMs;
        await sleep(retryAfterMs, signal);
      }
    }
    return slept;
  }
  return take;
}

export type Throttle = ReturnType<typeof createThrottle>;

/** At most `total` runs at work on this node and `perWorkspace` of one workspace; who waits is served round robin by workspace. */
export function createTurns({ total, perWorkspace }: { total: number; perWorkspace: number }) {
  const working = new Map<string, number>();
  const queues = new Map<string, (() => void)[]>();
  let busy = 0;

  const isFree = (workspaceId: string) => busy < total && (working.get(workspaceId) ?? 0) < perWorkspace;
  const enter = (workspaceId: string) => {
    busy++;
    working.set(workspaceId, (working.get(workspaceId) ?? 0) + 1);
  };
  const next = () => {
    for (const [workspaceId, queue] of queues) {
      if (busy >= total) return;
      if (!isFree(workspaceId)) continue;
      const start = queue.shift() as () => void;
      // Served: to the end of the round.
      queues.delete(workspaceId);
      if (queue.length) queues.set(workspaceId, queue);
      enter(workspaceId);
      start();
    }
  };
  const leaving = (workspaceId: string) => {
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      busy--;
      const left = (working.get(workspaceId) ?? 1) - 1;
      if (left > 0) working.set(workspaceId, left);
      else working.delete(workspaceId);
      next();
    };
  };
  return {
    /** A promise only when the workspace may not work at once; call the result when done. */
    take(workspaceId: string): (() => void) | Promise<() => void> {
      if (isFree(workspaceId) && !queues.has(workspaceId)) {
        enter(workspaceId);
        return leaving(workspaceId);
      }
      return new Promise((resolve) => {
        const start = () => resolve(leaving(workspaceId));
        const queue = queues.get(workspaceId);
        if (queue) queue.push(start);
        else queues.set(workspaceId, [start]);
      });
    },
    waiting: () => [...queues.values()].reduce((sum, queue) => sum + queue.length, 0),
    busy: () => busy,
  };
}

export type Turns = ReturnType<typeof createTurns>;

/** The turn of one run: given back while the run can only be woken, taken again before it goes on. */
export class RunTurn {
  private readonly turns: Turns;
  private readonly workspaceId: string;
  private leave: (() => void) | undefined;
  private taking: Promise<void> | undefined;
  private isOver = false;

  constructor(turns: Turns, workspaceId: string) {
    this.turns = turns;
    this.workspaceId = workspaceId;
  }

  /** A promise only when the workspace may not work at once. */
  take(): Promise<void> | undefined {
    if (this.leave || this.isOver) return undefined;
    if (this.taking) return this.taking;
    const taken = this.turns.take(this.workspaceId);
    if (typeof taken === 'function') {
      this.leave = taken;
      return undefined;
    }
    this.taking = taken.then((leave) => {
      this.taking = undefined;
      if (this.isOver) leave();
      else this.leave = leave;
    });
    return this.taking;
  }

  rest(): void {
    this.leave?.();
    this.leave = undefined;
  }

  /** For good: what is still being taken is given back at once. */
  end(): void {
    this.isOver = true;
    this.rest();
  }
}
