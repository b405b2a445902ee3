/** cache — an embedded cache in a folder of its own, which goes when the cache is closed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { sqliteCache } from '../../mixins/storage/cache/drivers/sqlite.ts';

export function temporaryCache(): CacheDriver {
  const dir = mkdtempSync(join(tmpdir(), 'prisme-cache-'));
  const cache = sqliteCache(join(dir, 'cache.db'));
  const close = cache.close.bind(cache);
  return Object.assign(cache, {
    async close() {
      await close();
      rmSync(dir, { recursive: true, force: true });
    },
  });
}
