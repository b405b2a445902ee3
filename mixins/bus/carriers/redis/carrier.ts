/**
 * redis — the log of a cluster: one stream per shard, and beside it, under the same hash tag, the state of each consumer group. Delivery is ours (leases,
 * cursors, lanes), so no Redis consumer group, no pending list, nothing to claim: see docs/protocol.md for why. Works with Redis 6.2 and later.
 */
import { randomUUID } from 'node:crypto';
import { fault } from '../../../shared/errors.ts';
import {
  type Backlog,
  type Carrier,
  type CarrierOptions,
  type Entry,
  FORMAT,
  type Follower,
  newerFormat,
  type Settlement,
  START,
} from '../../carrier.ts';
import { checkServer, connect } from './connect.ts';
import { openDeaths } from './deaths.ts';
import { compare, entriesOf, nextOf, type RawEntry } from './entries.ts';
import { findEntry } from './finder.ts';
import { keysOf } from './keys.ts';
import { openPresence } from './presence.ts';
import { openReader, type Reader } from './reader.ts';
import { openWriter } from './writer.ts';

const SHARDS = 16;
/** Entries removed in one call. */
const TRIM_SLICE = 1_000;
/** How long the question who is gone may take. */
const PRESENCE_MS = 1_000;

export async function open(options: CarrierOptions): Promise<Carrier> {
  const { logger, maxEntries = 1_000_000, keepMs = 3_600_000, timeoutMs = 10_000 } = options;
  const { client, isCluster, another } = await connect(options.url, logger);
  const keys = keysOf(options.namespace);
  try {
    await checkServer(client, logger);
    const format = Number((await client.get(keys.format)) ?? 0);
    if (format > FORMAT) throw fault('ConfigurationError', { message: newerFormat(format), data: { variable: 'BUS_URL' } });
    // A full Redis takes no new key: then a later start says it.
    if (format < FORMAT) await client.set(keys.format, FORMAT).catch(() => {});
  } catch (error) {
    client.disconnect();
    throw error;
  }
  const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
  const followers = new Set<Follower>();
  let reader: Promise<Reader> | null = null;
  let isClosed = false;

  /** Redis answers within the time limit or the caller is told; the command itself may still be carried out. */
  function within<T>(work: Promise<T>, ms = timeoutMs): Promise<T> {
    work.catch(() => {}); // after the time limit nobody listens
    if (isClosed) return Promise.reject(fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' }));
    let timer: NodeJS.Timeout;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(fault('ServiceUnavailable', { message: 'The Redis of the event bus does not answer.' })), ms);
    });
    return Promise.race([work, late]).finally(() => clearTimeout(timer));
  }

  const each = <T>(work: (shard: number) => Promise<T>): Promise<T[]> => within(Promise.all(shards.map(work)));
  const size = async () => (await each((shard) => client.xlen(keys.log(shard)))).reduce((sum, one) => sum + one, 0);
  const writer = openWriter({
    client,
    isCluster,
    keys,
    maxEntries,
    timeoutMs,
    logger,
    count: size,
    trim: (most) => trim(0, most),
  });

  // ---- following ---------------------------------------------------------------------------------------------------------------------

  const tell: Follower = (shard, after, entries) => {
    for (const follower of followers) follower(shard, after, entries);
  };

  async function read(shard: number, after: string, limit: number): Promise<Entry[]> {
    const raw = (await within(client.xrange(keys.log(shard), after === START ? '-' : `(${after}`, '+', 'COUNT', limit))) as RawEntry[];
    return entriesOf(shard, raw);
  }

  // ---- groups ------------------------------------------------------------------------------------------------------------------------

  /** The server's clock, ms. */
  async function now(): Promise<number> {
    const [seconds, micros] = await within(client.time());
    return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  }

  const knownGroups = () => within(client.smembers(keys.groups));
  const serials = new WeakMap<Settlement, string>();

  function serialOf(settlement: Settlement): string {
    let serial = serials.get(settlement);
    if (!serial) {
      serial = randomUUID();
      serials.set(settlement, serial);
    }
    return serial;
  }

  async function settle(group: string, shard: number, token: string, settlement: Settlement): Promise<boolean> {
    const { cursor, passed, ahead, forget, failures, dead } = settlement;
    const answer = await within(
      client.busSettle(
        keys.state(shard, group),
        keys.ahead(shard, group),
        keys.failures(shard, group),
        keys.dead(shard, group),
        keys.log(shard),
        token,
        serialOf(settlement),
        cursor,
        passed,
        forget.length,
        ...forget,
        ahead.length,
        ...ahead,
        failures.length,
        ...failures.flatMap(({ position, attempts, crashes, dueInMs }) => [position, attempts, crashes, Math.ceil(dueInMs)]),
        dead.length,
        ...dead.flatMap(({ entry, attempts, error }) => [
          entry.id,
          entry.topic,
          entry.workspaceId,
          entry.body,
          attempts,
          error.error,
          error.message,
        ]),
      ),
    );
    // Given back, so that the group reads on from where this log says that it stands.
    if (answer === -1) await release(group, shard, token);
    return answer === 1;
  }

  async function release(group: string, shard: number, token: string): Promise<void> {
    await within(client.busRelease(keys.lease(shard, group), keys.state(shard, group), token));
  }

  async function lease(group: string, shard: number, member: string, ttlMs: number) {
    const answer = await within(
      client.busLease(
        keys.lease(shard, group),
        keys.state(shard, group),
        keys.ahead(shard, group),
        keys.failures(shard, group),
        keys.log(shard),
        member,
        ttlMs,
        randomUUID().slice(0, 8),
      ),
    );
    if (!answer) return null;
    const [token, cursor, released, now, ahead, list] = answer as [string, string, string, number, string[], string[]];
    const failures = [];
    for (let i = 0; i < list.length; i += 2) {
      const [attempts = 0, crashes = 0, due = 0] = (list[i + 1] as string).split(':').map(Number);
      failures.push({ position: list[i] as string, attempts, crashes, dueInMs: Math.max(due - now, 0) });
    }
    return { shard, token, cursor, ahead, failures, wasReleased: released === '1' };
  }

  /** Removes what every group has settled, if it is older than `keepMs`; about `most` of it at most. @returns how many */
  async function trim(keepMs: number, most = Number.POSITIVE_INFINITY): Promise<number> {
    const groups = await knownGroups();
    if (!groups.length) return 0; // nobody has settled anything
    const oldest = `${(await now()) - keepMs}-0`;
    let removed = 0;
    await each(async (shard) => {
      const cursors = await Promise.all(groups.map((group) => client.hget(keys.state(shard, group), 'cursor')));
      if (cursors.some((cursor) => !cursor || cursor === START)) return;
      const floor = (cursors as string[]).map(nextOf).reduce((low, one) => (compare(one, low) < 0 ? one : low), oldest);
      // In slices: Redis answers nobody meanwhile, 100 ms for a million. Only whole nodes of the stream go this way, the rest follows.
      for (let slice = 1; slice > 0 && removed < most; removed += slice)
        slice = await client.xtrim(keys.log(shard), 'MINID', '~', floor, 'LIMIT', TRIM_SLICE);
      if (removed < most) removed += await client.xtrim(keys.log(shard), 'MINID', floor);
    });
    return removed;
  }

  async function backlogOf(group: string): Promise<Backlog> {
    const clock = await now();
    const parts = await each(async (shard) => {
      const [cursor, passed] = await client.hmget(keys.state(shard, group), 'cursor', 'passed');
      const [ahead, dead, next, info] = await Promise.all([
        client.scard(keys.ahead(shard, group)),
        client.xlen(keys.dead(shard, group)),
        client.xrange(keys.log(shard), cursor && cursor !== START ? `(${cursor}` : '-', '+', 'COUNT', 1) as Promise<RawEntry[]>,
        client.xinfo('STREAM', keys.log(shard)).catch(() => []) as Promise<(string | number)[]>,
      ]);
      const first = next[0];
      if (!first) return { entries: 0, ageMs: undefined, dead };
      const at = (name: string) => Number(info[info.indexOf(name) + 1] ?? 0);
      // Redis 7 counts what was ever added; before, the length is the best there is.
      const total = info.includes('entries-added')
        ? at('entries-added') - Number(passed ?? at('entries-added') - at('length'))
        : at('length');
      return { entries: Math.max(total - ahead, 1), ageMs: clock - Number(first[0].split('-')[0]), dead };
    });
    const ages = parts.flatMap(({ ageMs }) => (ageMs === undefined ? [] : [ageMs]));
    return {
      group,
      entries: parts.reduce((sum, { entries }) => sum + entries, 0),
      ageMs: ages.length ? Math.max(...ages, 0) : undefined,
      dead: parts.reduce((sum, { dead }) => sum + dead, 0),
    };
  }

  // Servers of a cluster do not tell each other who is subscribed.
  const presence = isCluster ? undefined : openPresence({ client, another, channelOf: keys.alive, logger });

  /** An addition to the leases: whoever asks must not wait for it, nor fail with it. */
  const goneOf = async (names: string[]): Promise<string[]> => (presence ? within(presence.gone(names), PRESENCE_MS).catch(() => []) : []);

  /** Members without those whose process is gone; what these own can be taken at once. */
  async function present(group: string, members: string[], own: string): Promise<string[]> {
    const processes = new Set(members.filter((member) => member !== own).map(processOf));
    const gone = new Set(await goneOf([...processes]));
    const dead = gone.size === 0 ? [] : members.filter((member) => member !== own && gone.has(processOf(member)));
    for (const member of dead) {
      await each((shard) => client.busEvict(keys.lease(shard, group), keys.state(shard, group), member));
      await within(client.zrem(keys.members(group), member));
    }
    return members.filter((member) => !dead.includes(member));
  }

  const deaths = openDeaths({ client, keys, shards, within, knownGroups });

  return {
    shards: SHARDS,
    compare,
    append: (drafts) =>
      isClosed ? Promise.reject(fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' })) : writer.append(drafts),
    async follow(follower) {
      followers.add(follower);
      reader ??= openReader(client, isCluster ? shards.map(another) : [another()], keys, SHARDS, tell, logger);
      try {
        await within(reader);
      } catch (error) {
        followers.delete(follower);
        reader = null;
        throw error;
      }
      return () => void followers.delete(follower);
    },
    read,
    async fetch(shard, positions) {
      const pipeline = client.pipeline();
      for (const one of positions) pipeline.xrange(keys.log(shard), one, one);
      const answers = (await within(pipeline.exec())) ?? [];
      return answers.flatMap(([error, found]) => {
        if (error) throw error;
        return entriesOf(shard, found as RawEntry[]);
      });
    },
    find: (shard, id, isQuick = false) => within(findEntry(client, keys.log(shard), id, isQuick)),

    async register(group) {
      await within(client.busRegister(keys.groups, group));
    },
    async forget(group) {
      if ((await within(client.zcount(keys.members(group), `(${await now()}`, '+inf'))) > 0) return false;
      if ((await within(client.srem(keys.groups, group))) === 0) return false;
      await each((shard) => client.del(...keys.ofGroup(shard, group)));
      await within(client.del(keys.members(group)));
      return true;
    },
    async beat(group, member, ttlMs) {
      const members = (await within(client.busBeat(keys.members(group), keys.groups, group, member, ttlMs))) as string[];
      return (await present(group, members, member)).sort();
    },
    announce: (name, onSeen) => presence?.announce(name, onSeen),
    gone: goneOf,
    async leave(group, member) {
      await within(client.zrem(keys.members(group), member));
    },
    lease,
    async renew(group, leases, ttlMs) {
      const answers = await within(
        Promise.all(leases.map(({ shard, token }) => client.busRenew(keys.lease(shard, group), keys.state(shard, group), token, ttlMs))),
      );
      return leases.filter((_, i) => answers[i] === 1).map(({ shard }) => shard);
    },
    release,
    settle,

    backlog: async () => Promise.all((await knownGroups()).sort().map(backlogOf)),
    size,
    deaths: deaths.list,
    revive: deaths.revive,
    bury: deaths.bury,
    trim: () => trim(keepMs),
    async close() {
      if (isClosed) return;
      if (writer.unconfirmed)
        await within(
          waitUntil(() => writer.unconfirmed === 0),
          2_000,
        ).catch(() => {});
      isClosed = true;
      presence?.stop();
      followers.clear();
      (await reader?.catch(() => null))?.stop();
      client.disconnect();
    },
  };
}

async function waitUntil(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A member is `<process>/<number>`. */
const processOf = (member: string): string => member.slice(0, Math.max(member.lastIndexOf('/'), 0)) || member;
