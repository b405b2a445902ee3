/**
 * resources — what a node opens once and its services share: connections, databases, carriers.
 * Opened by the first that asks, closed when the last has released it.
 */
import type { ServiceBroker } from 'moleculer';

interface Held<T> {
  value: Promise<T>;
  holders: number;
  close: (value: T) => Promise<void> | void;
}

const held = new WeakMap<ServiceBroker, Map<string, Held<any>>>();

/** The shared resource `key` of this broker, opened when nobody holds it. A failed opening is forgotten, so that a later call can try again. */
export async function acquire<T>(
  broker: ServiceBroker,
  key: string,
  open: () => Promise<T> | T,
  close: (value: T) => Promise<void> | void,
): Promise<T> {
  let resources = held.get(broker);
  if (!resources) {
    resources = new Map();
    held.set(broker, resources);
  }
  let entry = resources.get(key) as Held<T> | undefined;
  if (!entry) {
    entry = { value: Promise.resolve().then(open), holders: 0, close };
    resources.set(key, entry);
  }
  entry.holders++;
  try {
    return await entry.value;
  } catch (error) {
    resources.delete(key);
    throw error;
  }
}

/** Gives `key` back; the last holder closes it and waits for that. */
export async function release(broker: ServiceBroker, key: string): Promise<void> {
  const resources = held.get(broker);
  const entry = resources?.get(key);
  if (!resources || !entry || --entry.holders > 0) return;
  resources.delete(key);
  await entry.close(await entry.value);
}
