/**
 * watch-nodes — notices a node that died without a word. Moleculer looks for silent nodes only once per `heartbeatTimeout`, so a death is noticed after one
 * to two of them; looked at each second, after one.
 * @see https://github.com/moleculerjs/moleculer/blob/master/src/registry/discoverers/base.js (startHeartbeatTimers)
 */
import type { Middleware, ServiceBroker } from 'moleculer';
import { SECOND } from './clock.ts';

export function watchNodesMiddleware(everyMs = SECOND): Middleware {
  let timer: NodeJS.Timeout | undefined;
  return {
    name: 'WatchNodes',
    async started(broker: ServiceBroker) {
      if (!broker.transit) return;
      const { discoverer } = broker.registry as unknown as { discoverer: { checkRemoteNodes(): void } };
      let lookedAt = performance.now();
      timer = setInterval(() => {
        const now = performance.now();
        // When it was this node that stood still, the beats of the others wait to be read: they are looked at the next time.
        if (now - lookedAt < 2 * everyMs) discoverer.checkRemoteNodes();
        lookedAt = now;
      }, everyMs).unref();
    },
    async stopping() {
      clearInterval(timer);
    },
  };
}
