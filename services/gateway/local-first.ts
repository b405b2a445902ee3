/** local-first — an action that this node offers is asked of this node: a dead neighbour that is not missed yet must not cost a sign-in. */
import type { CallingOptions, ServiceBroker } from 'moleculer';

export function localFirst(broker: ServiceBroker, action: string): CallingOptions {
  // Without an endpoint when this node does not offer it, or its circuit is open: others may answer then.
  const here = broker.registry.getActionEndpointByNodeId(action, broker.nodeID);
  return here ? { nodeID: broker.nodeID } : {};
}
