/**
 * rate-limit — fixed windows counted in the cache, so all gateways share them. Headers tell the client where he stands, refused or not.
 * When the cache does not answer, data routes go on and sign-in routes do not.
 */
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import type { GatewayResponse } from '../response.ts';
import type { RateLimit } from '../routes/route.ts';

export interface Bucket {
  userId?: string | undefined;
  ip?: string | undefined;
  workspaceId?: string | undefined;
}

export interface Limiter {
  /** @throws TooManyRequests with details { retryAfter } (seconds) */
  check(limits: readonly RateLimit[], bucket: Bucket, response?: Pick<GatewayResponse, 'headersSent' | 'tell'>): Promise<void>;
}

const keyOf = ({ key }: RateLimit, { userId, ip, workspaceId }: Bucket): string | undefined => {
  if (key === 'workspaceId') return workspaceId && `w:${workspaceId}`;
  if (key === 'userId' && userId) return `u:${userId}`;
  return `a:${ip ?? 'unknown'}`;
};

export function createLimiter({
  cache,
  disabled,
  settings,
  overrides = () => ({}),
  onFailure,
}: {
  cache: () => CacheDriver;
  disabled: boolean;
  /** Limits that are settings of their own. */
  settings: Record<NonNullable<RateLimit['setting']>, number>;
  /** Limits by name that the installation has changed. */
  overrides?: () => Record<string, { limit?: number; windowS?: number }>;
  onFailure: (error: Error) => void;
}): Limiter {
  return {
    async check(limits, bucket, response) {
      if (disabled || limits.length === 0) return;
      for (const declared of limits) {
        const limit = { ...declared, ...(declared.setting ? { limit: settings[declared.setting] } : {}), ...overrides()[declared.name] };
        const key = keyOf(limit, bucket);
        if (key === undefined || limit.limit <= 0) continue;
        let counted: { count: number; expiresInMs: number };
        try {
          counted = await cache().increment(`rate:{${limit.name}:${key}}`, 1, limit.windowS * SECOND);
        } catch (error) {
          onFailure(error as Error);
          if (limit.name.startsWith('login') || limit.name === 'signup') throw fault('ServiceUnavailable', { cause: error });
          continue;
        }
        const retryAfter = Math.max(1, Math.ceil(counted.expiresInMs / SECOND));
        if (response && !response.headersSent) {
          response.tell('x-ratelimit-limit', String(limit.limit));
          response.tell('x-ratelimit-remaining', String(Math.max(0, limit.limit - counted.count)));
          response.tell('x-ratelimit-reset', String(Math.ceil((Date.now() + counted.expiresInMs) / SECOND)));
        }
        if (counted.count <= limit.limit) continue;
        response?.tell('retry-after', String(retryAfter));
        throw fault('TooManyRequests', { data: { retryAfter } });
      }
    },
  };
}
