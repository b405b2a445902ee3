/**
 * history — keeps every event of the bus in the datalake.
 *
 * State   none: the consumer group `history` remembers how far it is, the datalake holds the events.
 * Reads   every event, in batches; a batch is acknowledged once the datalake has it. A store that refuses or is slow means lag, never loss.
 * Dead    an event that the store refuses for what it is goes to the list `history.dead`, where it can be read and put back.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { Delivery, GroupOptions, Subscription } from '../../mixins/bus/contract.ts';
import { SECOND, sleep } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { type CacheMethods, cache } from '../../mixins/storage/cache/cache.mixin.ts';
import type { DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';
import { type DatalakeMethods, datalake } from '../../mixins/storage/datalake/datalake.mixin.ts';
import { preprocess } from './preprocess.ts';

type Self = Service &
  BusMethods &
  CacheMethods &
  DatalakeMethods & {
    consumer: Subscription | null;
    counters: HistoryCounters;
    keep(events: PrismeEvent[], delivery: Pick<Delivery, 'signal'>): Promise<void>;
  };

export interface HistoryCounters {
  stored: number;
  skipped: number;
  retries: number;
  refused: number;
}

/**
 * How the history reads the bus. A batch is small enough to be stored in some ten milliseconds. Nothing dies of being tried: an event that was in hand when its
 * node was killed, time and again, is as good as any other.
 */
export const HISTORY_GROUP: GroupOptions = { group: 'history', batchSize: 500, attempts: 1_000_000 };

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 30 * SECOND;
const DEAD_KEY = '{history}:dead';

export interface KeepOptions {
  datalake: DatalakeDriver;
  counters: HistoryCounters;
  /** Called with what the store will never take. */
  bury: (refused: { event: PrismeEvent; reason: string }[]) => Promise<void>;
  warn: (message: string) => void;
}

/** Stores a batch, however often it takes; resolves when all of it is kept or buried. Rejects only when the node stops. */
export async function keep(
  events: PrismeEvent[],
  delivery: Pick<Delivery, 'signal'>,
  { datalake: store, counters, bury, warn }: KeepOptions,
): Promise<void> {
  const wanted = events.filter((event) => event.options?.persist !== false);
  counters.skipped += events.length - wanted.length;
  if (wanted.length === 0) return;
  const prepared = wanted.map((event) => preprocess(event));
  for (let attempt = 0; ; attempt++) {
    try {
      const { refused } = await store.store(prepared);
      if (refused.length > 0) await bury(refused);
      counters.refused += refused.length;
      counters.stored += prepared.length - refused.length;
      return;
    } catch (error) {
      counters.retries++;
      if (attempt % 10 === 0) warn(`The event history does not take events, trying again: ${(error as Error).message}`);
      await sleep(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10)), delivery.signal);
    }
  }
}

const history: ServiceSchema<object, any> = {
  name: 'history',
  mixins: [bus(), cache(), datalake()],

  actions: {
    /** Figures of this node, and the lag of the group over the cluster. */
    status: {
      visibility: 'public',
      identity: 'system',
      async handler(this: Self) {
        const lag = (await this.bus.lag()).find(({ group }) => group === 'history') ?? null;
        return { ...this.counters, lag };
      },
    },
    /** Events that the store refused, with the reason. */
    dead: {
      visibility: 'public',
      identity: 'system',
      handler(this: Self) {
        return this.cache.list(DEAD_KEY);
      },
    },
    /** Tries the refused events again; returns how many there were. */
    redrive: {
      visibility: 'public',
      identity: 'system',
      async handler(this: Self, _ctx: Context) {
        const dead = await this.cache.list<{ event: PrismeEvent }>(DEAD_KEY);
        await this.cache.delete(DEAD_KEY);
        await this.keep(
          dead.map(({ event }) => event),
          { signal: new AbortController().signal },
        );
        return dead.length;
      },
    },
  },

  methods: {
    keep(this: Self, events: PrismeEvent[], delivery: Pick<Delivery, 'signal'>) {
      return keep(events, delivery, {
        datalake: this.datalake,
        counters: this.counters,
        warn: (message) => this.logger.warn(message),
        bury: async (refused) => {
          for (const { event, reason } of refused) this.logger.error(`The event ${event.id} (${event.type}) cannot be kept: ${reason}`);
          await this.cache.append(
            DEAD_KEY,
            refused.map((item) => ({ ...item, at: new Date().toISOString() })),
          );
        },
      });
    },
  },

  created(this: Self) {
    this.counters = { stored: 0, skipped: 0, retries: 0, refused: 0 };
    this.consumer = null;
  },

  async started(this: Self) {
    this.consumer = await this.bus.all((events, delivery) => this.keep(events, delivery), HISTORY_GROUP);
  },

  async stopped(this: Self) {
    // What was received is stored before the node leaves; what was not acknowledged is delivered to another.
    await this.consumer?.stop({ drainMs: 10 * SECOND });
  },
};

export default history;
