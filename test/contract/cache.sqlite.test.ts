import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sqliteCache } from '../../mixins/storage/cache/drivers/sqlite.ts';
import { cacheContract } from './cache.suite.ts';

const folder = mkdtempSync(join(tmpdir(), 'prisme-cache-'));

cacheContract(
  'SQLite',
  async () => sqliteCache(join(folder, 'cache.db'), { sweepEveryMs: 50 }),
  async () => rmSync(folder, { recursive: true, force: true }),
);
