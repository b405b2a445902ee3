/**
 * slot-map — a map for what comes and goes all the time: runs under way, calls that wait for an answer.
 *
 * A `Map` that is written and emptied continuously makes a new table every few dozen entries, and V8 lets each old table point to the next one. Once one
 * of them is old, the young generation's collector takes the whole chain for alive, with everything that was in the map when a table was replaced: all
 * of it is moved to the old generation and stays until a full collection. Here the map holds numbers, and the values lie in slots that are used again.
 */
export interface SlotMap<K, V> {
  readonly size: number;
  has(key: K): boolean;
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  /** Removes and returns what was there. */
  delete(key: K): V | undefined;
  /** In no particular order; what is added meanwhile may be left out. */
  values(): IterableIterator<V>;
  clear(): void;
}

export function slotMap<K, V extends object>(): SlotMap<K, V> {
  const places = new Map<K, number>();
  const slots: (V | undefined)[] = [];
  const free: number[] = [];
  return {
    get size() {
      return places.size;
    },
    has: (key) => places.has(key),
    get(key) {
      const at = places.get(key);
      return at === undefined ? undefined : slots[at];
    },
    set(key, value) {
      const at = places.get(key) ?? free.pop() ?? slots.length;
      places.set(key, at);
      slots[at] = value;
    },
    delete(key) {
      const at = places.get(key);
      if (at === undefined) return undefined;
      const value = slots[at];
      slots[at] = undefined;
      places.delete(key);
      free.push(at);
      return value;
    },
    *values() {
      for (const value of slots) if (value !== undefined) yield value;
    },
    clear() {
      places.clear();
      slots.length = 0;
      free.length = 0;
    },
  };
}
