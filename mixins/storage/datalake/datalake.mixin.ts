/**
 * datalake — gives a service the event history: `this.datalake`. DATALAKE_URL chooses the driver; one connection per node, shared.
 *
 * `sqlite:<file>` (default: `datalake.db` under DATA_DIR) or `http(s)://[user:password@]host:port` of Elasticsearch.
 */
import { join, resolve } from 'node:path';
import type { Service, ServiceBroker, ServiceSchema } from 'moleculer';
import { type Config, configOf, ensureDataDir } from '../../shared/config.ts';
import { fault } from '../../shared/errors.ts';
import { acquire, release } from '../../shared/resources.ts';
import type { DatalakeDriver } from './contract.ts';

export interface DatalakeMethods {
  datalake: DatalakeDriver;
}

const KEY = 'datalake';

/** @throws ConfigurationError naming DATALAKE_URL */
export async function openDatalake(config: Config): Promise<DatalakeDriver> {
  const url = config.datalakeUrl;
  if (!url || url.startsWith('sqlite:')) {
    const { sqliteDatalake } = await import('./drivers/sqlite.ts');
    const file = url ? url.slice('sqlite:'.length) : '';
    if (file === ':memory:') return sqliteDatalake(file);
    return sqliteDatalake(file ? resolve(file) : join(ensureDataDir(config), 'datalake.db'));
  }
  if (/^https?:\/\//.test(url)) {
    const { elasticsearchDatalake } = await import('./drivers/elasticsearch.ts');
    return elasticsearchDatalake({ url, namespace: config.namespace });
  }
  throw fault('ConfigurationError', {
    message: `DATALAKE_URL '${url}' is neither sqlite:<file> nor http(s)://…`,
    data: { variable: 'DATALAKE_URL' },
  });
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
