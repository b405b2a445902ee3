/**
 * datalake — gives a service the event history: `this.datalake`. DATALAKE_URL chooses the driver; one connection per node, shared.
 *
 * `sqlite:<file>` (default: `datalake.db` under DATA_DIR) or `http(s)://[user:password@]host:port` of Elasticsearch.
 */
import type { Service, ServiceBroker, ServiceSchema } from 'moleculer';
import { type Config, configOf } from '../../shared/config.ts';
import { acquire, release } from '../../shared/resources.ts';
import { configurationFault, databaseFile, schemeOf } from '../locations.ts';
import type { DatalakeDriver } from './contract.ts';

export interface DatalakeMethods {
  datalake: DatalakeDriver;
}

const KEY = 'datalake';
const VARIABLE = 'DATALAKE_URL';

/** @throws ConfigurationError naming DATALAKE_URL */
export async function openDatalake(config: Config): Promise<DatalakeDriver> {
  const url = config.datalakeUrl;
  const scheme = url ? schemeOf(url) : 'sqlite';
  if (scheme === 'sqlite') {
    const { sqliteDatalake } = await import('./drivers/sqlite.ts');
    return sqliteDatalake(url === 'sqlite::memory:' ? ':memory:' : databaseFile(VARIABLE, url, config, 'datalake.db'));
  }
  if (scheme !== 'http' && scheme !== 'https') throw configurationFault(VARIABLE, url ?? '', 'sqlite:<file> or http(s)://… is expected');
  const { elasticsearchDatalake } = await import('./drivers/elasticsearch.ts');
  return elasticsearchDatalake({ url: url as string, namespace: config.namespace });
}

/** The node's event history. Whoever acquires it calls `releaseDatalake`. */
export const acquireDatalake = (broker: ServiceBroker): Promise<DatalakeDriver> =>
  acquire(
    broker,
    KEY,
    () => openDatalake(configOf(broker)),
    (driver) => driver.close(),
  );

export const releaseDatalake = (broker: ServiceBroker): Promise<void> => release(broker, KEY);

export function datalake(): Partial<ServiceSchema<object, any>> {
  return {
    async started(this: Service & DatalakeMethods) {
      this.datalake = await acquireDatalake(this.broker);
    },
    async stopped(this: Service & DatalakeMethods) {
      if (this.datalake) await releaseDatalake(this.broker);
    },
  };
}
