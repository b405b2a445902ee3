/**
 * consumer — one member of a consumer group: shares the shards with the other members, reads those it owns, runs handlers through lanes,
 * and settles what is done. Protocol, states and promises: docs/protocol.md.
 */
import { isFault } from '../shared/errors.ts';
import type { PrismeEvent } from '../shared/event.ts';
import { parseJson } from '../shared/json.ts';
import { type Carrier, type Death, type Entry, type Logger, type Position, sharedEvent } from './carrier.ts';
import type { Delivery, MemberFigures } from './contract.ts';
import { openLanes, type Turn } from './lanes.ts';
import type { Shard } from './shard.ts';
import type { Timers } from './timers.ts';
import { type Item, openWindow } from './window.ts';

/** Entries asked for in one read. */
const READ_COUNT = 500;
/** Unsettled entries of a shard a member keeps count of; beyond, it stops reading that shard, and only that: a long backlog holds up no other shard. */
const MAX_OPEN = 16_384;
/** Entries, settled ahead ones included, between the cursor and the last read one of a shard. */
const MAX_WINDOW = 65_536;
/** Entries that may have been in the hands of an owner that died. */
const SUSPECTS = READ_COUNT;
/** From this many crashes on, an entry runs with few others, or alone (lanes.ts). */
const DANGEROUS_CRASHES = 2;
/** No entry is given up after fewer deaths: it would not have been alone at one. */
const LEAST_DEATHS = 4;
const MAX_BACKOFF_MS = 60_000;
const RETRY_STORE_MS = 250;

export interface ConsumerOptions {
  group: string;
  /** Unique name of this member. */
  member: string;
  wants: (topic: string, workspaceId: string) => boolean;
  /** Lane of an event; without it lanes are workspaces, which needs no parsing. */
  lane?: (event: PrismeEvent) => string;
  /** One event per call, or up to `batchSize` of them. */
  handle: (events: PrismeEvent[], delivery: Delivery) => Promise<void> | void;
  maxInFlight: number;
  attempts: number;
  backoffMs: number;
  batchSize: number;
  /** A member that was silent this long loses its shards. */
  leaseMs: number;
  /** How often members look at each other. */
  tickMs: number;
  /** How long settled entries may wait to be written together. */
  settleMs: number;
  carrier: Carrier;
  timers: Timers;
  logger: Logger;
  /** After a death is durable. */
  onDeath: (death: Death, group: string) => void;
}

export interface Consumer {
  figures(): MemberFigures;
  /** Stops reading, waits up to `drainMs` for running handlers, then aborts their signal; gives the shards to the others. */
  stop(drainMs: number): Promise<void>;
}

/** Resolves when the group exists: nothing sent from now on can be missed. */
export async function openConsumer(options: ConsumerOptions): Promise<Consumer> {
  const { carrier, group, member, timers, logger, leaseMs } = options;
  const shards = new Map<number, Shard>();
  const dirty = new Set<Shard>();
  /** Shards in which entries were only passed over: written with the next tick, as reading them again costs little. */
  const passedOver = new Set<Shard>();
  /** Where nothing dies of being tried, nothing is tried alone either: after a crash batches stay whole. */
  const suspectsEvents = Number.isFinite(options.attempts);
  const counters = { handled: 0, failed: 0, dead: 0 };
  let isStopping = false;
  let cancelTick = () => {};
  let cancelSettle: (() => void) | null = null;
  let ticking: Promise<void> = Promise.resolve();
  let lastTrouble = '';

  const lanes = openLanes({
    maxInFlight: options.maxInFlight,
    batchSize: options.batchSize,
    timers,
    fetch: (shard, positions) => carrier.fetch(shard, positions),
    mayRun: (shard) => shard.state === 'open' && timers.now() < shard.validUntil,
    perform,
    turned: (shard) => {
      if (shard.running === 0) shard.idle?.();
      if (shard.isBehind) void pump(shard);
    },
  });

  /** The same trouble is told once, until something else happens. */
  function trouble(what: string, error: unknown): void {
    const text = `bus group '${group}': ${what}: ${(error as Error)?.message ?? error}`;
    if (text === lastTrouble || isStopping) return;
    lastTrouble = text;
    logger.warn(text);
  }

  // ---- reading -----------------------------------------------------------------------------------------------------------------------

  const isFull = (shard: Shard) => shard.open >= MAX_OPEN || shard.window.length >= MAX_WINDOW;
  /** Room for all that one read may bring: a shard that was full is not read for each single entry that leaves it. */
  const hasRoom = (shard: Shard) => shard.open + READ_COUNT <= MAX_OPEN && shard.window.length + READ_COUNT <= MAX_WINDOW;

  function laneOf(entry: Entry): string {
    if (options.batchSize > 1) return '';
    if (!options.lane) return entry.workspaceId || entry.topic;
    try {
      return String(options.lane(sharedEvent(entry)));
    } catch {
      return entry.workspaceId || entry.topic; // unreadable: its handler run will say so
    }
  }

  function accept(shard: Shard, entry: Entry): void {
    const { position } = entry;
    shard.position = position;
    if (shard.ahead.size && shard.ahead.delete(position)) {
      shard.window.addAhead(position);
      return;
    }
    if (entry.group ? entry.group !== group : !options.wants(entry.topic, entry.workspaceId)) {
      shard.window.skip(position);
      return;
    }
    const failure = shard.failures.size ? shard.failures.get(position) : undefined;
    if (failure) shard.failures.delete(position);
    const item = shard.window.add(entry, failure);
    if (shard.suspects > 0) {
      shard.suspects--;
      if (item.crashes === 0) {
        item.crashes = 1;
        shard.window.fail(item, item.dueInMs);
      }
    }
    if (suspectsEvents && item.crashes >= DANGEROUS_CRASHES) {
      item.isDangerous = true;
      shard.dangerous++;
    }
    shard.open++;
    lanes.offer(shard, item, laneOf(entry));
  }

  function acceptAll(shard: Shard, entries: Entry[], from = 0): void {
    for (let i = from; i < entries.length; i++) {
      if (isFull(shard)) {
        shard.isBehind = true;
        break;
      }
      accept(shard, entries[i] as Entry);
    }
    passedOver.add(shard);
  }

  function onAppended(index: number, after: Position, entries: Entry[]): void {
    const shard = shards.get(index);
    if (!shard || shard.state === 'draining') return;
    if (!entries.length) {
      startOver(shard);
      return;
    }
    if (shard.isReading || shard.isBehind || carrier.compare(shard.position, after) < 0) {
      shard.isStale = true;
      shard.isBehind = true;
      if (!shard.isReading) void pump(shard);
      return;
    }
    const from = entries.findIndex(({ position }) => carrier.compare(position, shard.position) > 0);
    if (from >= 0) acceptAll(shard, entries, from);
  }

  /** Reads on from where the shard stands until the log has no more or the window is full. */
  async function pump(shard: Shard): Promise<void> {
    if (shard.isReading || shard.state === 'draining' || shard.state === 'lost' || !hasRoom(shard)) return;
    shard.isReading = true;
    try {
      do {
        shard.isStale = false;
        const entries = await carrier.read(shard.index, shard.position, READ_COUNT);
        if ((shard.state as string) === 'draining' || (shard.state as string) === 'lost') return;
        shard.isBehind = entries.length === READ_COUNT || shard.isStale;
        acceptAll(shard, entries);
        if (shard.state === 'held') await unhold(shard);
      } while (shard.isBehind && hasRoom(shard) && !isStopping);
    } catch (error) {
      trouble(`shard ${shard.index} cannot be read`, error);
      shard.isBehind = true;
      timers.after(RETRY_STORE_MS, () => void pump(shard));
    } finally {
      shard.isReading = false;
    }
  }

  /** After an owner that died: what it may have had in hand is counted as a crash, durably, before anything starts. */
  async function unhold(shard: Shard): Promise<void> {
    if (suspectsEvents && shard.suspects < SUSPECTS) await settle(shard);
    if (shard.state !== 'held' || shard.unconfirmed) return; // the next tick tries again
    shard.suspects = 0;
    shard.state = 'open';
    lanes.wake(shard);
  }

  // ---- handling ----------------------------------------------------------------------------------------------------------------------

  /** `false`: the shard was lost meanwhile; its next owner decides. */
  function countOut(shard: Shard, item: Item): boolean {
    if (shard.state === 'lost') return false;
    if (item.isDangerous) shard.dangerous--;
    shard.open--;
    markDirty(shard);
    return true;
  }

  function settleItem(shard: Shard, item: Item): void {
    if (countOut(shard, item)) shard.window.settle(item);
  }

  function kill(shard: Shard, item: Item, entry: Entry, error: { error: string; message: string }): void {
    if (!countOut(shard, item)) return;
    counters.dead++;
    shard.window.die(item, { entry, attempts: item.attempts + item.crashes, error });
  }

  async function perform(turns: Turn[]): Promise<Map<Item, number>> {
    const delays = new Map<Item, number>();
    const events: PrismeEvent[] = [];
    const given: { shard: Shard; item: Item; entry: Entry }[] = [];
    if (suspectsEvents) await countStarts(turns);
    for (const { lane, items } of turns)
      for (const item of items) {
        const { entry } = item;
        const { shard } = lane;
        if (!entry) {
          logger.error(`bus group '${group}': entry ${item.position} of shard ${shard.index} is not in the log any more`);
          settleItem(shard, item);
          continue;
        }
        if (isGivenUp(item)) {
          kill(shard, item, entry, { error: 'RunLostError', message: 'The process died each time this event was handled.' });
          continue;
        }
        try {
          // A batch is only looked at; one event by itself may become the variables of a run.
          events.push(options.batchSize > 1 ? sharedEvent(entry) : parseJson<PrismeEvent>(entry.body));
          given.push({ shard, item, entry });
        } catch (error) {
          item.attempts++;
          kill(shard, item, entry, { error: 'InvalidEventError', message: `Not readable: ${(error as Error).message}` });
        }
      }
    if (!events.length) return delays;

    const { shard: first, item: head } = given[0] as { shard: Shard; item: Item };
    const attempt = head.attempts + head.crashes + (head.isCounted ? 0 : 1);
    try {
      const buried = new Map<string, unknown>();
      await options.handle(events, {
        attempt,
        isLast: attempt >= options.attempts,
        signal: first.abort.signal,
        bury: (event, reason) => void buried.set(event.id, reason),
      });
      for (const { shard, item, entry } of given) {
        if (!buried.has(entry.id)) {
          counters.handled++;
          settleItem(shard, item);
          continue;
        }
        if (!item.isCounted) item.attempts++; // a suspect was counted before its start
        kill(shard, item, entry, reasonOf(buried.get(entry.id)));
      }
    } catch (error) {
      counters.failed += given.length;
      for (const { shard, item, entry } of given) {
        item.attempts++;
        uncount(item); // the process lives
        const total = item.attempts + item.crashes;
        if (total >= options.attempts) kill(shard, item, entry, reasonOf(error));
        else if (shard.state !== 'lost') {
          const delay = Math.min(options.backoffMs * 2 ** (total - 1), MAX_BACKOFF_MS);
          shard.window.fail(item, delay);
          delays.set(item, delay);
          markDirty(shard);
        }
      }
    }
    return delays;
  }

  /** What has a crash is counted as having one more, durably, before it starts. @throws when that cannot be written: nothing may start then */
  async function countStarts(turns: Turn[]): Promise<void> {
    const suspects: Item[] = [];
    const concerned = new Set<Shard>();
    for (const { lane, items } of turns)
      for (const item of items) {
        if (item.crashes === 0 || !item.entry || isGivenUp(item)) continue;
        item.crashes++;
        item.isCounted = true;
        suspects.push(item);
        concerned.add(lane.shard);
        lane.shard.window.fail(item, 0);
      }
    if (!suspects.length) return;
    await Promise.all([...concerned].map(settle));
    if ([...concerned].every((shard) => shard.state === 'open' && !shard.unconfirmed)) return;
    suspects.forEach(uncount);
    throw new Error('the start could not be counted');
  }

  const isGivenUp = (item: Item) => item.isDangerous && !item.isCounted && item.crashes >= Math.max(options.attempts, LEAST_DEATHS);

  function uncount(item: Item): void {
    if (!item.isCounted) return;
    item.isCounted = false;
    item.crashes--;
  }

  // ---- settling ----------------------------------------------------------------------------------------------------------------------

  function markDirty(shard: Shard): void {
    dirty.add(shard);
    cancelSettle ??= timers.after(options.settleMs, settleAll);
  }

  function settleAll(): void {
    cancelSettle = null;
    const some = [...dirty];
    dirty.clear();
    for (const shard of some) void settle(shard);
  }

  /** Writes everything that can be written for the shard. Does not reject: what the store did not take is sent again later. */
  async function settle(shard: Shard): Promise<void> {
    while (shard.settling) await shard.settling;
    if (shard.state === 'lost') return;
    shard.settling = settleOnce(shard).finally(() => {
      shard.settling = null;
    });
    await shard.settling;
  }

  async function settleOnce(shard: Shard): Promise<void> {
    try {
      for (;;) {
        shard.unconfirmed ??= shard.window.take();
        const settlement = shard.unconfirmed;
        if (!settlement) break;
        const isOurs = await carrier.settle(group, shard.index, shard.token, settlement);
        shard.unconfirmed = null;
        if (!isOurs) return lose(shard);
        for (const death of settlement.dead) options.onDeath(death, group);
      }
      if (shard.isBehind) void pump(shard);
    } catch (error) {
      trouble('progress cannot be written', error);
      timers.after(RETRY_STORE_MS, () => markDirty(shard));
    }
  }

  // ---- sharing shards ----------------------------------------------------------------------------------------------------------------

  function lose(shard: Shard): void {
    if (shard.state === 'lost') return;
    shard.state = 'lost';
    shards.delete(shard.index);
    dirty.delete(shard);
    lanes.drop(shard);
    shard.abort.abort(new Error('another node owns this shard now'));
    shard.idle?.();
  }

  /** The log lost entries that were read: what is in hand may be one of them. Taken again, the shard begins where the store says that the group stands. */
  function startOver(shard: Shard): void {
    logger.warn(`bus group '${group}': the log of shard ${shard.index} has lost its last entries; going on from what is left`);
    lose(shard);
    carrier.release(group, shard.index, shard.token).catch((error) => trouble('a lease is not given back', error));
  }

  async function take(index: number): Promise<boolean> {
    const askedAt = timers.now();
    const lease = await carrier.lease(group, index, member, leaseMs);
    if (!lease) return false;
    const shard: Shard = {
      index,
      token: lease.token,
      state: 'held',
      window: openWindow(lease.cursor),
      lanes: new Map(),
      position: lease.cursor,
      isReading: false,
      isStale: false,
      isBehind: true,
      ahead: new Set(lease.ahead),
      failures: new Map(lease.failures.map((failure) => [failure.position, failure])),
      suspects: lease.wasReleased || !suspectsEvents ? 0 : SUSPECTS,
      open: 0,
      dangerous: 0,
      running: 0,
      isAlone: false,
      setAside: [],
      validUntil: askedAt + leaseMs,
      abort: new AbortController(),
      unconfirmed: null,
      settling: null,
    };
    if (lease.wasReleased) shard.state = 'open';
    shards.set(index, shard);
    void pump(shard);
    return true;
  }

  /** Lets running handlers end, then gives the shard back: the next owner starts after them, so the order of lanes is kept. */
  async function giveBack(shard: Shard): Promise<void> {
    if (shard.state === 'draining' || shard.state === 'lost') return;
    shard.state = 'draining';
    if (shard.running > 0)
      await new Promise<void>((resolve) => {
        shard.idle = resolve;
      });
    await settle(shard);
    if ((shard.state as string) === 'lost') return;
    shards.delete(shard.index);
    if (!shard.unconfirmed)
      await carrier.release(group, shard.index, shard.token).catch((error) => trouble('a lease is not given back', error));
    lose(shard);
  }

  async function tick(): Promise<void> {
    const askedAt = timers.now();
    const members = await carrier.beat(group, member, leaseMs);
    const owned = [...shards.values()];
    if (owned.length) {
      const kept = new Set(await carrier.renew(group, owned.map(leaseOf), leaseMs));
      for (const shard of owned) {
        if (!kept.has(shard.index)) {
          lose(shard);
          continue;
        }
        const wasInvalid = timers.now() >= shard.validUntil;
        shard.validUntil = askedAt + leaseMs;
        if (wasInvalid) lanes.wake(shard);
        if (shard.isBehind || shard.state === 'held') void pump(shard);
      }
    }
    for (const shard of passedOver) void settle(shard);
    passedOver.clear();
    if (isStopping) return;
    await balance(members);
    lastTrouble = '';
  }

  /** Every member may own its equal part, the first ones of the sorted list one shard more; what is above is given back, what is missing is taken. */
  async function balance(members: string[]): Promise<void> {
    const rank = Math.max(members.indexOf(member), 0);
    const count = Math.max(members.length, 1);
    const quota = Math.floor(carrier.shards / count) + (rank < carrier.shards % count ? 1 : 0);
    const mine = [...shards.values()].filter((shard) => shard.state !== 'draining');
    const surplus = mine.sort((a, b) => a.running - b.running).slice(0, Math.max(mine.length - quota, 0));
    for (const shard of surplus) void giveBack(shard);
    let missing = quota - shards.size;
    if (missing <= 0) return;
    // Members begin at different shards, so that they seldom reach for the same one.
    const start = Math.floor((rank * carrier.shards) / count);
    const others = Array.from({ length: carrier.shards }, (_, i) => (start + i) % carrier.shards).filter((index) => !shards.has(index));
    while (missing > 0 && others.length && !isStopping) {
      const taken = await Promise.all(others.splice(0, missing).map(take));
      missing -= taken.filter(Boolean).length;
    }
  }

  function tickLater(): void {
    cancelTick = timers.after(options.tickMs, () => {
      ticking = tick()
        .catch((error) => trouble('the group cannot be reached', error))
        .finally(() => {
          if (!isStopping) tickLater();
        });
    });
  }

  await carrier.register(group);
  const unfollow = await carrier.follow(onAppended);
  ticking = tick().catch((error) => trouble('the group cannot be reached', error));
  await ticking;
  tickLater();

  return {
    figures: () => ({
      group,
      shards: [...shards.keys()].sort((a, b) => a - b),
      running: lanes.inFlight,
      waiting: [...shards.values()].reduce((sum, shard) => sum + shard.open, 0),
      ...counters,
    }),
    async stop(drainMs) {
      if (isStopping) return;
      isStopping = true;
      cancelTick();
      unfollow();
      await ticking;
      // Long handlers keep their lease while they end.
      let cancelKeep = () => {};
      const keep = () => {
        cancelKeep = timers.after(Math.max(leaseMs / 3, 10), () => {
          void carrier.renew(group, [...shards.values()].map(leaseOf), leaseMs).catch(() => {});
          keep();
        });
      };
      keep();
      const all = [...shards.values()];
      const drained = Promise.all(all.map(giveBack));
      const cancel = timers.after(drainMs, () => {
        for (const shard of all) {
          shard.abort.abort(new Error('the node stops'));
          shard.idle?.();
        }
      });
      await drained;
      cancel();
      cancelKeep();
      cancelSettle?.();
      await carrier.leave(group, member).catch(() => {});
    },
  };
}

const leaseOf = ({ index, token }: Shard) => ({ shard: index, token });

/** What a dead letter may tell: its readers are owners of the workspace. */
function reasonOf(error: unknown): { error: string; message: string } {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  if (isFault(error)) return { error: error.type, message: error.message };
  return { error: typeof name === 'string' ? name : 'Error', message: String(message ?? error).slice(0, 1_000) };
}
