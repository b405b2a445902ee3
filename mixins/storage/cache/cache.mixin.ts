/** cache — gives a service the fast shared state of the cluster as `this.cache`. One connection per node, shared by its services. */
import type { Service, ServiceSchema } from 'moleculer';
import { configOf } from '../../shared/config.ts';
import { acquire, release } from '../../shared/resources.ts';
import type { CacheDriver } from './contract.ts';
import { openCache } from './open.ts';

export { openCache } from './open.ts';

export interface CacheMethods {
  /** Ready from `started` on; closed by the mixin. Keys are shared by all services: begin them with what they are about. */
  cache: CacheDriver;
}

const KEY = 'cache';
type Self = Service & CacheMethods & { holdsCache?: boolean };

export function cache(): Partial<ServiceSchema<object, any>> {
  return {
    async started(this: Self) {
      this.cache = await acquire(
        this.broker,
        KEY,
        () => openCache(configOf(this.broker)),
        (opened) => opened.close(),
      );
      this.holdsCache = true;
    },
    async stopped(this: Self) {
      if (!this.holdsCache) return;
      this.holdsCache = false;
      await release(this.broker, KEY);
    },
  };
}
