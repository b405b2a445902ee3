/** stores — how each kind of store is looked at: by a write where the service writes, since a full or read-only disk still reads. */
import type { EventBus } from '../bus/contract.ts';
import { MINUTE } from '../shared/clock.ts';
import type { Config } from '../shared/config.ts';
import type { CacheDriver } from '../storage/cache/contract.ts';
import type { DatalakeDriver } from '../storage/datalake/contract.ts';
import type { DocumentsDriver } from '../storage/documents/contract.ts';
import type { FilesDriver } from '../storage/files/contract.ts';
import type { Check } from './contract.ts';

const DRIVERS: Record<string, string> = { 'mongodb+srv': 'mongodb', rediss: 'redis', http: 'elasticsearch', https: 'elasticsearch' };

/** What a URL of the configuration chooses: its scheme alone. */
export function driverOf(url: string | undefined, embedded = 'sqlite'): string {
  const scheme = url ? (/^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase() ?? embedded) : embedded;
  return DRIVERS[scheme] ?? scheme;
}

export const databaseCheck = (
  { documentsUrl }: Config,
  documents: Pick<DocumentsDriver, 'get'>,
  collection: string,
  module = 'database',
): Check => ({
  module,
  driver: driverOf(documentsUrl),
  check: () => documents.get(collection, 'readiness'),
});

export const cacheCheck = ({ cacheUrl, nodeId }: Config, cache: CacheDriver, module = 'cache'): Check => ({
  module,
  driver: driverOf(cacheUrl),
  check: () => cache.set(`readiness:{${nodeId}}`, 1, { ttlMs: MINUTE }),
});

export const brokerCheck = ({ busUrl }: Config, bus: EventBus): Check => ({
  module: 'broker',
  driver: driverOf(busUrl),
  check: () => bus.size(),
});

/** One file per node, beside what the area holds. */
export const filesCheck = ({ filesUrl, nodeId }: Config, files: FilesDriver, module: string): Check => ({
  module,
  driver: driverOf(filesUrl, 'file'),
  async check() {
    const key = `readiness/${nodeId.replace(/[^A-Za-z0-9-]/g, '_').slice(0, 100)}`;
    await files.write(key, 'ready');
    await files.remove(key);
  },
});

export const datalakeCheck = ({ datalakeUrl }: Config, datalake: DatalakeDriver): Check => ({
  module: 'store',
  driver: driverOf(datalakeUrl),
  check: () => datalake.probe(),
});
