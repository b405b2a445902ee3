/**
 * history — keeps every event of the bus in the datalake.
 *
 * State   none: the consumer group `history` remembers how far it is, the datalake holds the events.
 * Reads   every event, in batches; a batch is acknowledged once the datalake has it. A store that refuses or is slow means lag, never loss.
 * Calls   `workspaces.eventMapping`, for the event types and the mapping a workspace has declared; without an answer events are kept all the same.
 * Dead    an event that the store refuses for what it is becomes a dead letter of the group `history`: listed, redriven and dropped under …/deadletters.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { Delivery, GroupOptions, Subscription } from '../../mixins/bus/contract.ts';
import { SECOND, sleep } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { DatalakeDriver } from '../../mixins/storage/datalake/contract.ts';
import { type DatalakeMethods, datalake } from '../../mixins/storage/datalake/datalake.mixin.ts';
import type { EventMappingAnswer } from '../workspaces/contract.ts';
import { createMappings, type Mappings } from './mappings.ts';
import { preprocess } from './preprocess.ts';

type Self = Service &
  AuthMethods &
  BusMethods &
  DatalakeMethods & {
    consumer: Subscription | null;
    counters: HistoryCounters;
    state(): Promise<object>;
    declare(workspaceId: string, section: unknown): Promise<void>;
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
export const HISTORY_GROUP: GroupOptions = { group: 'history', batchSize: 1_000, attempts: Number.POSITIVE_INFINITY };

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 30 * SECOND;
const MAPPINGS_TIMEOUT_MS = 2 * SECOND;
const EMPTY_LAG = { entries: 0, seconds: 0, dead: 0 };

export interface KeepOptions {
  datalake: DatalakeDriver;
  counters: HistoryCounters;
  warn: (message: string) => void;
  /** What workspaces declare of their event types. */
  mappings?: Mappings;
}

/** Stores a batch, however often it takes; resolves when all of it is kept, or given up for what it is. Rejects only when the node stops. */
export async function keep(
  events: PrismeEvent[],
  delivery: Pick<Delivery, 'signal' | 'bury'>,
  { datalake: store, counters, warn, mappings }: KeepOptions,
): Promise<void> {
  const wanted = events.filter((event) => event.options?.persist !== false);
  counters.skipped += events.length - wanted.length;
  if (wanted.length === 0) return;
  await mappings?.prepare(wanted);
  const prepared = wanted.map((event) => preprocess(event, mappings?.fieldsOf(event)));
  for (let attempt = 0; ; attempt++) {
    try {
      const { refused } = await store.store(prepared);
      for (const { event, reason } of refused) delivery.bury(event, fault('EventNotStored', { message: reason }));
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
  mixins: [auth(), bus(), datalake()],

  actions: {
    /** Figures of this node, and the lag of the group over the cluster. */
    status: {
      visibility: 'public',
      identity: 'system',
      handler(this: Self) {
        return this.state();
      },
    },
    /** GET /events/status: the same, for super admins. */
    overview: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Context<unknown, CallMeta>) {
        if (this.identityOf(ctx).role !== 'superadmin')
          throw fault('ForbiddenError', { message: 'Only super admins see the state of the history.' });
        return this.state();
      },
    },
  },

  methods: {
    async state(this: Self) {
      const { entries, seconds, dead } = (await this.bus.lag()).find(({ group }) => group === HISTORY_GROUP.group) ?? EMPTY_LAG;
      return { lag: { entries, seconds }, deadLetters: dead, node: { id: this.broker.nodeID, ...this.counters } };
    },
    /** Hands `events.mapping` to the store. A mapping that it does not take keeps no event out. */
    async declare(this: Self, workspaceId: string, section: unknown) {
      const mapping = isPlainObject(section) ? section.mapping : undefined;
      if (!isPlainObject(mapping) || Object.keys(mapping).length === 0) return;
      try {
        await this.datalake.declare(workspaceId, mapping);
      } catch (error) {
        this.logger.warn(`The event history does not take events.mapping of workspace ${workspaceId}: ${(error as Error).message}`);
      }
    },
  },

  created(this: Self) {
    this.counters = { stored: 0, skipped: 0, retries: 0, refused: 0 };
    this.consumer = null;
  },

  async started(this: Self) {
    const mappings = createMappings(async (workspaceId) => {
      const options = { meta: this.systemMeta() as object, timeout: MAPPINGS_TIMEOUT_MS };
      const { events } = await this.broker.call<EventMappingAnswer, object>('workspaces.eventMapping', { workspaceId }, options);
      await this.declare(workspaceId, events);
      return events;
    });
    this.consumer = await this.bus.all(
      (events, delivery) =>
        keep(events, delivery, {
          datalake: this.datalake,
          counters: this.counters,
          warn: (message) => this.logger.warn(message),
          mappings,
        }),
      HISTORY_GROUP,
    );
  },

  async stopped(this: Self) {
    // What was received is stored before the node leaves; what was not acknowledged is delivered to another.
    await this.consumer?.stop({ drainMs: 10 * SECOND });
  },
};

export default history;
