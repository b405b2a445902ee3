/** The bus on the SQLite log: each node opens the file with a connection of its own, as processes of one machine do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busContract } from './bus.suite.ts';

busContract('SQLite', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-bus-'));
  return { config: { dataDir }, remove: async () => rmSync(dataDir, { recursive: true, force: true }) };
});
