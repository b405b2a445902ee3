/**
 * retention — removes stored events whose time is over, once an hour on one node of the cluster.
 *
 * State   `events:deletions` (cache): deleted workspaces and when their events go; a lease keeps rounds apart.
 * Reads   `workspaces.deleted`.
 * Emits   `events.cleaned` when something was removed.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { Subscription } from '../../mixins/bus/contract.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../mixins/shared/clock.ts';
import { configOf } from '../../mixins/shared/config.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { type CacheMethods, cache } from '../../mixins/storage/cache/cache.mixin.ts';
import { type DatalakeMethods, datalake } from '../../mixins/storage/datalake/datalake.mixin.ts';
import { type CleanupReport, cleanUp, hasRemoved, scheduleDeletion } from './retention.ts';

type Self = Service &
  BusMethods &
  CacheMethods &
  DatalakeMethods & { consumer: Subscription | null; timer?: NodeJS.Timeout; round(dryRun?: boolean): Promise<CleanupReport> };

const LEASE = 'events:retention';
const FIRST_ROUND_MS = 5 * MINUTE;

const retention: ServiceSchema<object, any> = {
  name: 'events.retention',
  mixins: [bus(), cache(), datalake()],

  actions: {
    /** One round now; with `dryRun`, only what it would remove. */
    clean: {
      visibility: 'public',
      identity: 'system',
      params: { dryRun: { type: 'boolean', optional: true, convert: true } },
      handler(this: Self, ctx: Context<{ dryRun?: boolean }>): Promise<CleanupReport> {
        return this.round(ctx.params.dryRun);
      },
    },
  },

  methods: {
    async round(this: Self, dryRun = false): Promise<CleanupReport> {
      const report = await cleanUp(this.datalake, this.cache, configOf(this.broker), { dryRun });
      if (!dryRun && hasRemoved(report)) await this.bus.send('events.cleaned', report as unknown as JsonObject);
      return report;
    },
  },

  created(this: Self) {
    this.consumer = null;
  },

  async started(this: Self) {
    this.consumer = await this.bus.on(
      'workspaces.deleted',
      ({ payload }) =>
        scheduleDeletion(this.cache, String(payload.workspaceId), Date.now() + configOf(this.broker).eventsScheduledDeletionDays * DAY),
      { group: 'retention' },
    );
    const run = async () => {
      try {
        // One node per hour; if it dies in the middle the next hour's does the rest.
        if (await this.cache.lease(LEASE, this.broker.nodeID, HOUR - MINUTE)) await this.round();
      } catch (error) {
        this.logger.warn(`Stored events could not be cleaned up: ${(error as Error).message}`);
      }
      this.timer = setTimeout(run, HOUR).unref();
    };
    this.timer = setTimeout(run, FIRST_ROUND_MS).unref();
  },

  async stopped(this: Self) {
    clearTimeout(this.timer);
    await this.consumer?.stop({ drainMs: 5 * SECOND });
  },
};

export default retention;
