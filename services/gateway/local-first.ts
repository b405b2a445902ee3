/** local-first — an action that this node offers is asked of this node: a dead neighbour that is not missed yet must not cost a sign-in. */
import type { CallingOptions, ServiceBroker } from 'moleculer';

export function localFirst(broker: ServiceBroker, action: string): CallingOptions {
  const offers = broker.registry.actions.get(action) as { hasLocal(): boolean } | null;
  return offers?.hasLocal() ? { nodeID: broker.nodeID } : {};
}
