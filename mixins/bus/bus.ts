/**
 * bus — the EventBus of a node: makes events, writes them through the carrier, and opens consumers. Works without Moleculer:
 * `const bus = await openBus(config, { service: 'runtime' })`.
 */
import { randomUUID } from 'node:crypto';
import type { Config } from '../shared/config.ts';
import { ensureDataDir } from '../shared/config.ts';
import { fault } from '../shared/errors.ts';
import { type EventSource, type PrismeEvent, withText } from '../shared/event.ts';
import { parseJson } from '../shared/json.ts';
import { openBroadcast } from './broadcast.ts';
import type { Carrier, CarrierOptions, Death, Draft, Logger, OpenCarrier, Position, StoredDeath } from './carrier.ts';
import { type Consumer, openConsumer } from './consumer.ts';
import type {
  BroadcastOptions,
  DeadLetter,
  Delivery,
  EventBus,
  EventHandler,
  GroupLag,
  GroupOptions,
  SendOptions,
  Subscription,
} from './contract.ts';
import { type EventMaker, type MadeEvent, makeEvent } from './event.ts';
import { keepHouse } from './housekeeping.ts';
import { systemTimers, type Timers } from './timers.ts';
import { shardOf, topicMatcher } from './topics.ts';

/** Times and limits of a node's bus; the defaults suit production, tests shorten them. */
export interface BusSettings {
  /** A node that was silent this long loses its shards to the others. */
  leaseMs: number;
  /** How often the members of a group look at each other. */
  tickMs: number;
  /** How long acknowledgements are gathered before they are written. */
  settleMs: number;
  /** How long `close` waits for running handlers. */
  drainMs: number;
  trimMs: number;
}

const DEFAULTS: BusSettings = { leaseMs: 4_000, tickMs: 1_000, settleMs: 10, drainMs: 15_000, trimMs: 60_000 };

/** What the services of a node share: one carrier, the subscriptions, the housekeeping. */
export interface BusCore {
  readonly carrier: Carrier;
  /** The bus as one service sees it: its name is `source.host.service` of what it sends. */
  busFor(service: string): EventBus;
  /** Drains every subscription, then closes the carrier. */
  close(options?: { drainMs?: number }): Promise<void>;
}

export interface CoreOptions extends Partial<BusSettings>, Partial<Pick<CarrierOptions, 'maxEntries' | 'keepMs' | 'timeoutMs'>> {
  carrier?: Carrier;
  logger?: Logger;
  timers?: Timers;
}

const silent: Logger = { info() {}, warn() {}, error() {} };

/** `sqlite:<file>` under DATA_DIR when BUS_URL is not set; the scheme names the folder of the carrier. @throws ConfigurationError naming BUS_URL */
export async function openCarrier(config: Config, options: CoreOptions): Promise<Carrier> {
  const url = config.busUrl ?? `sqlite:${ensureDataDir(config)}/bus.db`;
  const scheme = /^([a-z]+)(\+[a-z]+)?:/.exec(url)?.[1] ?? '';
  const folder = scheme === 'rediss' ? 'redis' : scheme;
  let open: OpenCarrier;
  try {
    ({ open } = (await import(`./carriers/${folder}/carrier.ts`)) as { open: OpenCarrier });
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND' && !/Cannot find module/.test(String(cause))) throw cause;
    throw fault('ConfigurationError', { message: `BUS_URL: there is no carrier '${scheme}'.`, data: { variable: 'BUS_URL' }, cause });
  }
  const { maxEntries = config.busMaxEntries, keepMs = config.busKeepS * 1_000, timeoutMs, logger = silent } = options;
  return open({ url, namespace: config.namespace, dataDir: config.dataDir, logger, maxEntries, keepMs, timeoutMs });
}

/** Opens the node's bus. @throws ConfigurationError when BUS_URL is wrong or its server does not answer */
export async function openCore(config: Config, options: CoreOptions = {}): Promise<BusCore> {
  const settings: BusSettings = { ...DEFAULTS, ...definedOf(options, Object.keys(DEFAULTS)) };
  const logger = options.logger ?? silent;
  const timers = options.timers ?? systemTimers;
  const carrier = options.carrier ?? (await openCarrier(config, options));
  const node = `${config.nodeId}/${randomUUID().slice(0, 8)}`;
  carrier.announce(node);
  const subscriptions = new Set<{ stop(drainMs: number): Promise<void> }>();
  const consumers = new Set<Consumer>();
  /** Topics of each group of this process: one group has one cursor, so two different wishes under one name would lose events. */
  const groups = new Map<string, { topics: string; members: number }>();
  const counters = { sent: 0, refused: 0 };
  let isClosed = false;
  let members = 0;

  const maxEntries = options.maxEntries ?? config.busMaxEntries;
  const stopHousekeeping = keepHouse({ carrier, timers, logger, everyMs: settings.trimMs, maxEntries });

  function assertOpen(): void {
    if (isClosed) throw fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' });
  }

  async function write(made: MadeEvent[]): Promise<PrismeEvent[]> {
    assertOpen();
    if (!made.length) return [];
    try {
      await carrier.append(made.map((one) => draftOf(one, carrier.shards)));
      counters.sent += made.length;
    } catch (error) {
      counters.refused += made.length;
      throw error;
    }
    return made.map(({ event }) => event);
  }

  async function subscribeGroup(
    topics: string | string[],
    handle: (events: PrismeEvent[], delivery: Delivery) => Promise<void> | void,
    options: GroupOptions,
    systemBus: EventBus,
  ): Promise<Subscription> {
    assertOpen();
    const { group } = options;
    if (!/^[a-zA-Z0-9._-]{1,100}$/.test(group ?? ''))
      throw fault('ConfigurationError', { message: `'${group}' is not a valid name of a consumer group.` });
    const wished = JSON.stringify([topics].flat().sort());
    const known = groups.get(group);
    if (known && known.topics !== wished)
      throw fault('ConfigurationError', {
        message: `The consumer group '${group}' is already subscribed here to other topics; a group has one subscription: give this one a name of its own.`,
        data: { group },
      });
    if (known) known.members++;
    else groups.set(group, { topics: wished, members: 1 });
    const consumer = await openConsumer({
      group,
      member: `${node}/${++members}`,
      wants: wantsOf(topics, options),
      lane: options.lane,
      handle,
      maxInFlight: options.maxInFlight ?? (options.batchSize && options.batchSize > 1 ? 1 : 100),
      attempts: Math.max(options.attempts ?? 5, 1),
      backoffMs: options.backoffMs ?? 500,
      batchSize: options.batchSize ?? 1,
      leaseMs: settings.leaseMs,
      tickMs: settings.tickMs,
      settleMs: settings.settleMs,
      carrier,
      timers,
      logger,
      onDeath: (death, name) => tellDeath(systemBus, death, name),
    });
    subscriptions.add(consumer);
    consumers.add(consumer);
    return {
      async stop({ drainMs = settings.drainMs } = {}) {
        if (!subscriptions.delete(consumer)) return;
        await consumer.stop(drainMs);
        consumers.delete(consumer);
        const entry = groups.get(group);
        if (entry && --entry.members === 0) groups.delete(group);
      },
    };
  }

  async function subscribeBroadcast(topics: string | string[], handler: EventHandler, options: BroadcastOptions): Promise<Subscription> {
    assertOpen();
    const from = options.afterId ? await positionsAfter(carrier, options.afterId) : undefined;
    const broadcast = await openBroadcast({ carrier, logger, wants: topicMatcher(topics), handle: handler, from });
    subscriptions.add(broadcast);
    return {
      async stop({ drainMs = settings.drainMs } = {}) {
        if (subscriptions.delete(broadcast)) await broadcast.stop(drainMs);
      },
    };
  }

  function tellDeath(bus: EventBus, { entry, attempts, error }: Death, group: string): void {
    logger.error(`bus group '${group}': event ${entry.id} (${entry.topic}) is dead after ${attempts} attempts: ${error.message}`);
    if (entry.topic === 'bus.deadletters.created' || isClosed) return;
    const { type, source } = readEvent(entry);
    void bus
      .send(
        'bus.deadletters.created',
        { group, eventId: entry.id, type, attempts, error },
        { source: { workspaceId: entry.workspaceId || undefined, correlationId: source?.correlationId } },
      )
      .catch((failure) => logger.warn(`bus: a dead letter of group '${group}' could not be told: ${failure.message}`));
  }

  function makeBus(maker: EventMaker, inherited: Partial<EventSource>, isChild: boolean, buffer?: MadeEvent[]): EventBus {
    const make = (type: string, payload: object, options: SendOptions = {}) => makeEvent(maker, inherited, type, payload as any, options);
    const bus: EventBus = {
      async send(type, payload, options) {
        const made = make(type, payload, options);
        if (buffer) buffer.push(made);
        else await write([made]);
        return made.event;
      },
      async sendAll(events) {
        const made = events.map(({ type, payload, options }) => make(type, payload, options));
        if (!buffer) return write(made);
        buffer.push(...made);
        return made.map(({ event }) => event);
      },
      on(topics, handler, options) {
        if (options.mode === 'broadcast') return subscribeBroadcast(topics, handler, options);
        const { batchSize: _one, ...group } = options;
        return subscribeGroup(topics, ([event], delivery) => handler(event as PrismeEvent, delivery), group, systemBus);
      },
      all: (handler, options) => subscribeGroup('*', handler, { batchSize: 100, ...options }, systemBus),
      child(source, { clearUser = false } = {}) {
        const { ip, serviceTopic, ...rest } = inherited;
        const base: Partial<EventSource> = isChild ? rest : { ...rest, ...(ip && { ip }), ...(serviceTopic && { serviceTopic }) };
        if (clearUser) delete base.userId;
        return makeBus(maker, { ...base, ...source }, true, buffer);
      },
      async transaction(work) {
        if (buffer) return work(bus);
        const events: MadeEvent[] = [];
        const result = await work(makeBus(maker, inherited, isChild, events));
        await write(events);
        return result;
      },
      replay: (afterId, workspaceId, limit, { isQuick } = {}) => replay(carrier, { afterId, workspaceId, limit, isQuick }),
      lag: () => lagOf(carrier),
      size: () => carrier.size(),
      async status() {
        const [entries, groups] = await Promise.all([carrier.size(), lagOf(carrier)]);
        return {
          log: { entries, maxEntries, shards: carrier.shards },
          groups,
          node: { id: config.nodeId, ...counters, members: [...consumers].map((consumer) => consumer.figures()) },
        };
      },
      announce: (name, onSeen) => carrier.announce(name, onSeen),
      gone: (names) => carrier.gone(names),
      forgetGroup: (group) => carrier.forget(group),
      deadLetters: async (query) => (await carrier.deaths(query)).map(letterOf),
      redrive: (query) => carrier.revive(query),
      dropDeadLetters: (query) => carrier.bury(query),
    };
    return bus;
  }

  const host = (service: string): EventMaker => ({
    maxBytes: config.eventMaxBytes,
    host: { service: `prisme.ai-${service}`, replica: config.nodeId },
  });
  const systemBus = makeBus(host('bus'), {}, false);

  return {
    carrier,
    busFor: (service) => makeBus(host(service), {}, false),
    async close({ drainMs = settings.drainMs } = {}) {
      if (isClosed) return;
      await Promise.all([...subscriptions].map((subscription) => subscription.stop(drainMs)));
      isClosed = true;
      stopHousekeeping();
      await carrier.close();
    },
  };
}

export type OpenedBus = EventBus & { core: BusCore; close(options?: { drainMs?: number }): Promise<void> };

/** A bus of its own, for scripts and tests; services use the mixin, which shares one per node. */
export async function openBus(
  config: Config,
  { service = 'bus', ...options }: CoreOptions & { service?: string } = {},
): Promise<OpenedBus> {
  const core = await openCore(config, options);
  return Object.assign(core.busFor(service), { core, close: core.close });
}

function wantsOf(topics: string | string[], { concerns }: GroupOptions): (topic: string, workspaceId: string) => boolean {
  const matches = topicMatcher(topics);
  return concerns ? (topic, workspaceId) => matches(topic) && concerns(topic, workspaceId) : matches;
}

function draftOf({ event, body, topic, isShared }: MadeEvent, shards: number): Draft {
  const workspaceId = event.source.workspaceId ?? '';
  const draft: Draft = { shard: shardOf(workspaceId || topic, shards), id: event.id, topic, workspaceId, group: '', body };
  if (isShared) draft.event = withText(event, body);
  return draft;
}

interface ReplayRequest {
  afterId: string;
  workspaceId: string;
  limit: number;
  isQuick?: boolean;
}

async function replay(carrier: Carrier, { afterId, workspaceId, limit, isQuick }: ReplayRequest): Promise<PrismeEvent[] | null> {
  const shard = shardOf(workspaceId, carrier.shards);
  let position = await carrier.find(shard, afterId, isQuick);
  if (position === null) return null;
  const events: PrismeEvent[] = [];
  for (;;) {
    const entries = await carrier.read(shard, position, 500);
    for (const entry of entries) {
      if (events.length >= limit) return events;
      if (entry.workspaceId === workspaceId && !entry.group) events.push(parseJson<PrismeEvent>(entry.body));
    }
    if (entries.length < 500) return events;
    position = (entries.at(-1) as { position: Position }).position;
  }
}

/** Where a broadcast that has seen `id` goes on: in the shard of that event only, as other shards have no order relative to it. */
async function positionsAfter(carrier: Carrier, id: string): Promise<Map<number, Position> | undefined> {
  for (let shard = 0; shard < carrier.shards; shard++) {
    const position = await carrier.find(shard, id, true);
    if (position !== null) return new Map([[shard, position]]);
  }
  return undefined;
}

async function lagOf(carrier: Carrier): Promise<GroupLag[]> {
  return (await carrier.backlog()).map(({ group, entries, ageMs = 0, dead }) => ({
    group,
    entries,
    seconds: ageMs / 1000,
    dead,
  }));
}

/** The event of an entry; an unreadable one is shown as it is. */
function readEvent({ id, topic, workspaceId, body }: Draft): PrismeEvent {
  try {
    const event = parseJson<PrismeEvent>(body);
    if (event && typeof event === 'object' && typeof event.type === 'string') return event;
  } catch {
    // falls through: the raw text is all there is
  }
  return {
    id,
    type: topic,
    source: { correlationId: '', ...(workspaceId && { workspaceId }), serviceTopic: topic },
    payload: { raw: body.slice(0, 10_000) },
    createdAt: '',
    size: Buffer.byteLength(body),
  };
}

function letterOf({ id, group, entry, attempts, error, diedAt }: StoredDeath): DeadLetter {
  return { id, group, event: readEvent(entry), attempts, error, diedAt };
}

function definedOf<T extends object>(object: T, keys: string[]): Partial<T> {
  return Object.fromEntries(Object.entries(object).filter(([key, value]) => keys.includes(key) && value !== undefined)) as Partial<T>;
}
