/** bucket — the arithmetic of a token bucket. The Lua script of the Redis driver (drivers/redis/take-tokens.lua) does the same sums. */
import type { BucketResult } from './contract.ts';

export interface BucketState {
  tokens: number;
  /** Milliseconds since the epoch of the last refill. */
  at: number;
}

export interface BucketLimit {
  perSecond: number;
  burst: number;
  wait: boolean;
}

/** What taking `count` tokens at `now` gives, and the state to keep. @param before undefined: a new bucket, full */
export function takeFrom(
  before: BucketState | undefined,
  count: number,
  limit: BucketLimit,
  now: number,
): { state: BucketState; result: BucketResult } {
  const elapsedMs = before ? Math.max(0, now - before.at) : 0;
  const available = before ? Math.min(limit.burst, before.tokens + (elapsedMs * limit.perSecond) / 1000) : limit.burst;
  const at = Math.max(now, before?.at ?? now);
  const left = available - count;
  const retryAfterMs = left >= 0 ? 0 : Math.ceil((-left * 1000) / limit.perSecond);
  const isTaken = limit.wait || left >= 0;
  const tokens = isTaken ? left : available;
  return { state: { tokens, at }, result: { ok: isTaken && retryAfterMs === 0, remaining: Math.max(0, Math.floor(tokens)), retryAfterMs } };
}

/** Until the bucket is full again, when it can be forgotten. */
export const bucketLifeMs = ({ tokens }: BucketState, { perSecond, burst }: BucketLimit): number =>
  Math.ceil(((burst - tokens) * 1000) / perSecond) + 1000;
