/**
 * steady-nodes — round robin over the nodes whose heartbeat is on time. A node that died is taken out of the registry after `heartbeatTimeout`; until then half
 * of the calls to a pair of nodes would go to the dead one and wait. A node that is merely late is left alone for a moment, and nothing else happens to it.
 */
import Moleculer from 'moleculer';

/** A beat comes each second, give or take half a second; times are whole seconds. */
const LATE_S = 2;

interface Endpoint {
  local: boolean;
  node: { lastHeartbeatTime: number | null };
}

export class SteadyNodes extends Moleculer.Strategies.Base {
  #next = 0;

  override select(list: any[]): any {
    const now = Math.round(process.uptime());
    for (let i = 0; i < list.length; i++) {
      const endpoint: Endpoint = list[this.#next++ % list.length];
      const last = endpoint.node.lastHeartbeatTime;
      if (endpoint.local || last === null || now - last <= LATE_S) return endpoint;
    }
    return list[this.#next++ % list.length];
  }
}
