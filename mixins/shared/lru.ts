/**
 * lru — what was used last, up to so many entries. lru-cache with one difference: room is taken as entries come, where `max` would take it for all of them at
 * once (40 bytes each, empty or not), in every process and, for caches of a workspace, for every workspace.
 */
import { LRUCache } from 'lru-cache';

export interface LruOptions {
  /** Most entries kept. */
  max: number;
  /** Milliseconds an entry is believed; absent: for ever. */
  ttl?: number;
}

export type Lru<K extends {}, V extends {}> = LRUCache<K, V>;

const one = () => 1;

export const lru = <K extends {}, V extends {}>({ max, ttl }: LruOptions): Lru<K, V> =>
  new LRUCache<K, V>({ maxSize: max, sizeCalculation: one, ...(ttl === undefined ? {} : { ttl }) });
