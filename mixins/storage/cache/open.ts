/** open — the cache that CACHE_URL names, behind the policy of policy.ts. For use with or without Moleculer. */
import type { Config } from '../../shared/config.ts';
import { isFault } from '../../shared/errors.ts';
import { configurationFault, databaseFile, schemeOf } from '../locations.ts';
import type { CacheDriver } from './contract.ts';
import { guarded } from './policy.ts';

export const CACHE_VARIABLE = 'CACHE_URL';

/** A cache of its own; whoever opens it closes it. @throws ConfigurationError naming the variable */
export async function openCache(config: Config): Promise<CacheDriver> {
  const url = config.cacheUrl;
  const scheme = url ? schemeOf(url) : 'sqlite';
  if (scheme === 'redis' || scheme === 'rediss' || scheme === 'redis+cluster') {
    const { redisCache } = await import('./drivers/redis.ts');
    return guarded(await redisCache(url as string, { namespace: config.namespace }));
  }
  if (scheme !== 'sqlite') throw configurationFault(CACHE_VARIABLE, url ?? '', 'sqlite:<file>, redis://… or redis+cluster://… is expected');
  const { sqliteCache } = await import('./drivers/sqlite.ts');
  const file = databaseFile(CACHE_VARIABLE, url, config, 'cache.db');
  try {
    return guarded(sqliteCache(file));
  } catch (error) {
    if (isFault(error)) throw error;
    throw configurationFault(url ? CACHE_VARIABLE : 'DATA_DIR', file, `the database cannot be opened: ${(error as Error).message}`, error);
  }
}
