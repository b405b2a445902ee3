/** bus — the durable event bus for services: `this.bus` and `this.waitFor`. One carrier per node, shared by its services. */
import type { Service, ServiceSchema } from 'moleculer';
import { configOf } from '../shared/config.ts';
import type { PrismeEvent } from '../shared/event.ts';
import { newCorrelationId, ulid } from '../shared/ids.ts';
import type { JsonObject } from '../shared/json.ts';
import { acquire, release } from '../shared/resources.ts';
import { type BusCore, openCore } from './bus.ts';
import type { AskOptions, BusMethods, EventBus } from './contract.ts';

export type { BusMethods } from './contract.ts';

/** @param options.service name told in `source.host.service` of what is sent; default: the service's own */
export function bus({ service }: { service?: string } = {}): Partial<ServiceSchema<object, any>> {
  return {
    methods: {
      waitFor(this: Service & BusMethods, topics: string | string[], options: Parameters<BusMethods['waitFor']>[1]) {
        return waitFor(this.bus, topics, options);
      },
      ask(this: Service & BusMethods, type: string, payload: JsonObject, options: AskOptions) {
        return ask(this.bus, type, payload, options);
      },
    },

    async started(this: Service & BusMethods) {
      const core = await acquire<BusCore>(
        this.broker,
        'bus',
        () => openCore(configOf(this.broker), { logger: this.broker.getLogger('bus') }),
        (opened) => opened.close(),
      );
      this.bus = core.busFor(service ?? this.name);
    },

    async stopped(this: Service & BusMethods) {
      if (this.bus) await release(this.broker, 'bus');
    },
  };
}

/** See BusMethods.waitFor. */
export function waitFor(
  eventBus: EventBus,
  topics: string | string[],
  { match = () => true, timeoutMs }: { match?: (event: PrismeEvent) => boolean; timeoutMs: number },
): ReturnType<BusMethods['waitFor']> {
  let resolve: (event: PrismeEvent | null) => void = () => {};
  const event = new Promise<PrismeEvent | null>((done) => {
    resolve = done;
  });
  const timer = setTimeout(() => resolve(null), timeoutMs);
  const subscription = eventBus.on(
    topics,
    (candidate) => {
      if (match(candidate)) resolve(candidate);
    },
    { mode: 'broadcast' },
  );
  void event
    .finally(async () => {
      clearTimeout(timer);
      await (await subscription).stop({ drainMs: 0 });
    })
    .catch(() => {});
  const ready = subscription.then(() => {});
  ready.catch(() => resolve(null)); // listening failed: `ready` tells, the event will not come
  return { ready, event, cancel: () => resolve(null) };
}

/** See BusMethods.ask. */
export async function ask(
  eventBus: EventBus,
  type: string,
  payload: JsonObject,
  { answers, match = () => true, timeoutMs, ...options }: AskOptions,
): Promise<PrismeEvent | null> {
  const correlationId = options.source?.correlationId ?? newCorrelationId();
  const id = options.id ?? ulid();
  const isAnswer = ({ id: other, source }: PrismeEvent) => other !== id && source.correlationId === correlationId;
  const { ready, event, cancel } = waitFor(eventBus, answers, { match: (one) => isAnswer(one) && match(one), timeoutMs });
  try {
    await ready;
    await eventBus.send(type, payload, { ...options, id, source: { ...options.source, correlationId } });
  } catch (error) {
    cancel();
    throw error;
  }
  return event;
}
