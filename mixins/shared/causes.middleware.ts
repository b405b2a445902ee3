/**
 * causes middleware — logs why a store or another part failed, on the node where it happened: a cause does not cross nodes, and clients are told only
 * that something does not answer. Each failure is logged once, however many actions of this node it passes.
 */
import type { ActionSchema, Context, Middleware, ServiceBroker } from 'moleculer';
import { isFault } from './errors.ts';

export function causesMiddleware(): Middleware {
  const told = new WeakSet<object>();
  let logger: ReturnType<ServiceBroker['getLogger']>;

  return {
    name: 'causes',

    created(broker: ServiceBroker) {
      logger = broker.getLogger('causes');
    },

    localAction(next: (ctx: Context) => Promise<unknown>, action: ActionSchema & { name: string }) {
      const tell = (error: unknown): never => {
        if (isFault(error) && Number(error.code) >= 500 && error.cause !== undefined && !told.has(error)) {
          told.add(error);
          logger.warn(`${action.name}: ${error.type}: ${error.message}`, error.cause);
        }
        throw error;
      };
      return function explained(this: unknown, ctx: Context) {
        return next.call(this, ctx).catch(tell);
      };
    },
  } as unknown as Middleware;
}
