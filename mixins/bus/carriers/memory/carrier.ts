/** memory — the log as arrays of this process, for tests: nothing survives it. Time is an argument; stores can be shared, so that several nodes meet in one. */
import { fault } from '../../../shared/errors.ts';
import type { Carrier, CarrierOptions, DeathQuery, Draft, Entry, Failure, Follower, Settlement, StoredDeath } from '../../carrier.ts';

const SHARDS = 16;

interface GroupShard {
  cursor: number;
  owner: string;
  expires: number;
  epoch: number;
  ahead: Set<string>;
  failures: Map<string, Failure & { due: number }>;
}

/** What several nodes of a test share. */
export interface MemoryStore {
  now(): number;
  seq: number;
  logs: (Entry & { at: number })[][];
  groups: Map<string, GroupShard[]>;
  members: Map<string, Map<string, number>>;
  dead: (StoredDeath & { n: number })[];
  deaths: number;
  followers: Set<Follower>;
}

export function memoryStore(now: () => number = Date.now): MemoryStore {
  return {
    now,
    seq: 0,
    logs: Array.from({ length: SHARDS }, () => []),
    groups: new Map(),
    members: new Map(),
    dead: [],
    deaths: 0,
    followers: new Set(),
  };
}

/** Loses everything, as FLUSHALL does; followers stay connected. */
export function flushAll(store: MemoryStore): void {
  Object.assign(store, { ...memoryStore(store.now), seq: store.seq, followers: store.followers });
}

export const open = async (options: CarrierOptions): Promise<Carrier> => openMemory(memoryStore(), options);

export function openMemory(store: MemoryStore, { maxEntries = 1_000_000, keepMs = 3_600_000 }: Partial<CarrierOptions> = {}): Carrier {
  const own = new Set<Follower>();
  const settled = new WeakSet<Settlement>();
  let isClosed = false;

  const groupOf = (name: string): GroupShard[] => {
    let group = store.groups.get(name);
    if (!group) {
      const fresh = () => ({ cursor: 0, owner: '', expires: 0, epoch: 0, ahead: new Set<string>(), failures: new Map() });
      group = Array.from({ length: SHARDS }, fresh);
      store.groups.set(name, group);
    }
    return group;
  };
  const logOf = (shard: number) => store.logs[shard] as (Entry & { at: number })[];
  const stateOf = (group: string, shard: number) => groupOf(group)[shard] as GroupShard;
  const size = () => store.logs.reduce((sum, log) => sum + log.length, 0);

  function firstAfter(shard: number, position: string): number {
    const log = logOf(shard);
    let low = 0;
    let high = log.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Number((log[middle] as Entry).position) > Number(position)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function write(drafts: Draft[]): void {
    const before = store.logs.map((log) => log.at(-1)?.position ?? '0');
    const byShard = new Map<number, Entry[]>();
    for (const draft of drafts) {
      const entry = { ...draft, position: String(++store.seq), at: store.now() };
      logOf(draft.shard).push(entry);
      const list = byShard.get(draft.shard) ?? [];
      byShard.set(draft.shard, [...list, entry]);
    }
    for (const [shard, entries] of byShard) for (const follower of store.followers) follower(shard, before[shard] as string, entries);
  }

  /** `most` of the oldest in each shard at most. */
  function trim(keep: number, most = Number.POSITIVE_INFINITY): number {
    if (!store.groups.size) return 0;
    let removed = 0;
    for (let shard = 0; shard < SHARDS; shard++) {
      const floor = Math.min(...[...store.groups.values()].map((group) => (group[shard] as GroupShard).cursor));
      const kept = logOf(shard).filter(({ position, at }, n) => n >= most || Number(position) > floor || at >= store.now() - keep);
      removed += logOf(shard).length - kept.length;
      store.logs[shard] = kept;
    }
    return removed;
  }

  const matching = ({ group, workspaceId, ids }: DeathQuery) =>
    store.dead.filter(
      (one) => (!group || one.group === group) && (!workspaceId || one.entry.workspaceId === workspaceId) && (!ids || ids.includes(one.id)),
    );

  /** Each operation is one step, one turn of the event loop later, as with a real store. */
  async function step<T>(work: () => T): Promise<T> {
    if (isClosed) throw fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' });
    await null;
    return work();
  }

  return {
    shards: SHARDS,
    compare: (a, b) => Number(a) - Number(b),
    append: (drafts) =>
      step(() => {
        if (size() >= maxEntries) trim(0, Math.ceil(maxEntries / 100));
        if (size() >= maxEntries) throw fault('BusOverloaded', { data: { maxEntries } });
        write(drafts);
      }),
    async follow(follower) {
      own.add(follower);
      store.followers.add(follower);
      return () => {
        own.delete(follower);
        store.followers.delete(follower);
      };
    },
    read: (shard, after, limit) =>
      step(() => {
        const from = firstAfter(shard, after);
        return logOf(shard).slice(from, from + limit);
      }),
    fetch: (shard, positions) =>
      step(() =>
        positions.flatMap((position) => {
          const entry = logOf(shard)[firstAfter(shard, String(Number(position) - 1))];
          return entry?.position === position ? [entry] : [];
        }),
      ),
    find: (shard, id) => step(() => logOf(shard).find((entry) => entry.id === id)?.position ?? null),

    register: (group) => step(() => void groupOf(group)),
    forget: (group) =>
      step(() => {
        const alive = [...(store.members.get(group)?.values() ?? [])].some((expires) => expires > store.now());
        if (alive || !store.groups.delete(group)) return false;
        store.dead = store.dead.filter((one) => one.group !== group);
        return true;
      }),
    beat: (group, member, ttlMs) =>
      step(() => {
        groupOf(group);
        const members = store.members.get(group) ?? new Map<string, number>();
        store.members.set(group, members);
        members.set(member, store.now() + ttlMs);
        for (const [name, expires] of members) if (expires <= store.now()) members.delete(name);
        return [...members.keys()].sort();
      }),
    // All in one process.
    announce: () => {},
    gone: async () => [],
    leave: (group, member) => step(() => void store.members.get(group)?.delete(member)),
    lease: (group, shard, member, ttlMs) =>
      step(() => {
        const state = stateOf(group, shard);
        if (state.owner && state.expires > store.now()) return null;
        const wasReleased = !state.owner;
        state.owner = `${member}:${++state.epoch}:${Math.random()}`;
        state.expires = store.now() + ttlMs;
        return {
          shard,
          token: state.owner,
          cursor: String(state.cursor),
          ahead: [...state.ahead],
          failures: [...state.failures.values()].map(({ due, ...failure }) => ({ ...failure, dueInMs: Math.max(due - store.now(), 0) })),
          wasReleased,
        };
      }),
    renew: (group, leases, ttlMs) =>
      step(() =>
        leases
          .filter(({ shard, token }) => stateOf(group, shard).owner === token)
          .map(({ shard }) => {
            stateOf(group, shard).expires = store.now() + ttlMs;
            return shard;
          }),
      ),
    release: (group, shard, token) =>
      step(() => {
        const state = stateOf(group, shard);
        if (state.owner === token) state.owner = '';
      }),
    settle: (group, shard, token, settlement) =>
      step(() => {
        const { cursor, ahead, forget, failures, dead } = settlement;
        const state = stateOf(group, shard);
        if (state.owner !== token) return false;
        if (settled.has(settlement)) return true;
        settled.add(settlement);
        state.cursor = Number(cursor);
        for (const position of forget) {
          state.ahead.delete(position);
          state.failures.delete(position);
        }
        for (const position of ahead) state.ahead.add(position);
        for (const failure of failures) state.failures.set(failure.position, { ...failure, due: store.now() + failure.dueInMs });
        for (const { entry, attempts, error } of dead) {
          const n = ++store.deaths;
          store.dead.push({ n, id: String(n), group, entry, attempts, error, diedAt: new Date(store.now()).toISOString() });
        }
        return true;
      }),

    backlog: () =>
      step(() =>
        [...store.groups].map(([group, states]) => {
          const open = states.flatMap(({ cursor, ahead }, shard) =>
            logOf(shard)
              .slice(firstAfter(shard, String(cursor)))
              .filter(({ position }) => !ahead.has(position)),
          );
          return {
            group,
            entries: open.length,
            ageMs: open.length ? store.now() - Math.min(...open.map(({ at }) => at)) : undefined,
            dead: matching({ group }).length,
          };
        }),
      ),
    size: () => step(size),
    deaths: (query) => step(() => matching(query).slice(0, query.limit ?? 100)),
    revive: (query) =>
      step(() => {
        const found = matching(query).slice(0, query.limit);
        store.dead = store.dead.filter((one) => !found.includes(one));
        write(found.map(({ entry, group }) => ({ ...entry, group })));
        return found.length;
      }),
    bury: (query) =>
      step(() => {
        const found = matching(query);
        store.dead = store.dead.filter((one) => !found.includes(one));
        return found.length;
      }),
    trim: () => step(() => trim(keepMs)),
    async close() {
      isClosed = true;
      for (const follower of own) store.followers.delete(follower);
    },
  };
}
