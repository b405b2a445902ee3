/**
 * sqlite — the embedded log: one file, several processes of one machine may share it. What survives what: docs/protocol.md.
 *
 * Writes are gathered and committed together (group commit): appends and settlements of one turn of the event loop share a transaction. Entries
 * committed here reach the followers at once; those of other processes are noticed by `PRAGMA data_version`, looked at every POLL_MS.
 */
import { fault, isFault } from '../../../shared/errors.ts';
import type { Carrier, CarrierOptions, DeathQuery, Draft, Entry, Follower, Lease, Settlement } from '../../carrier.ts';
import { openBlocks } from './blocks.ts';
import { openCheckpoints } from './checkpoints.ts';
import { deathOf, entryOf, openDatabase, PAGE_BYTES, prepareAll, type Row } from './database.ts';
import { isGone, processMark } from './process-mark.ts';

const SHARDS = 16;
/** Shortest time between two commits under load; an idle log commits in the same turn of the event loop. */
const COMMIT_MS = 1;
/** Kept free of events when the size of the file is limited: groups must be able to settle in a full log. */
const SPARE_PAGES = 64;
/** How soon a full log is counted again. */
const RECOUNT_MS = 100;
/** How soon writes of other processes are noticed. */
const POLL_MS = 5;
const READ_COUNT = 1_000;
/** Entries of a shard removed in one transaction: trimming must not hold up writers. */
const TRIM_COUNT = 200;

interface Pending {
  drafts?: Draft[];
  work?: () => unknown;
  resolve: (value: any) => void;
  reject: (error: Error) => void;
}

/**
 * `sqlite:<file>`, `sqlite::memory:`; `?synchronous=FULL` also survives power loss, at the price of one disk flush per commit; `?maxBytes=<n>` is how large
 * the file may grow.
 */
export async function open(options: CarrierOptions): Promise<Carrier> {
  const { maxEntries = 1_000_000, keepMs = 3_600_000 } = options;
  const [, file = '', query = ''] = /^sqlite:(?:\/\/)?([^?]*)\??(.*)$/.exec(options.url) ?? [];
  const parameters = new URLSearchParams(query);
  const synchronous = (parameters.get('synchronous') ?? 'NORMAL').toUpperCase();
  const maxBytes = parameters.get('maxBytes');
  const maxPages = Math.floor(Number(maxBytes ?? 0) / PAGE_BYTES);
  if (!file || !['NORMAL', 'FULL', 'EXTRA'].includes(synchronous) || !(maxBytes === null || maxPages > 2 * SPARE_PAGES))
    throw fault('ConfigurationError', {
      message: `BUS_URL '${options.url}' is not sqlite:<file>, with ?synchronous=NORMAL, FULL or EXTRA and ?maxBytes=<at least 1000000>.`,
      data: { variable: 'BUS_URL' },
    });

  const db = openDatabase(file, synchronous, maxPages);
  const sql = prepareAll(db);
  const blocks = openBlocks<Row>(db);
  const checkpoints = openCheckpoints({
    db,
    file: file === ':memory:' ? undefined : file,
    synchronous,
    warn: (message) => options.logger.warn(message),
  });
  const followers = new Set<Follower>();
  /** An answer is never lost here: what was committed is known. */
  const settled = new WeakSet<Settlement>();
  let pending: Pending[] = [];
  let isScheduled = false;
  let lastCommit = 0;
  let isClosed = false;
  /** Everything up to here was handed to the followers; in each shard, the last entry that was. */
  let told = 0;
  let toldIn: string[] = [];
  let version = 0;
  let poll: NodeJS.Timeout | undefined;

  function dataVersion(): number {
    return Number((sql.version.get() as Row).data_version);
  }

  // ---- group commit ------------------------------------------------------------------------------------------------------------------

  function inNextCommit<T>(part: { drafts?: Draft[]; work?: () => T }): Promise<T> {
    if (isClosed) return Promise.reject(fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' }));
    return new Promise<T>((resolve, reject) => {
      pending.push({ ...part, resolve, reject });
      if (isScheduled) return;
      isScheduled = true;
      if (performance.now() - lastCommit > COMMIT_MS) setImmediate(commit);
      else setTimeout(commit, COMMIT_MS);
    });
  }

  function commit(): void {
    isScheduled = false;
    const parts = pending;
    pending = [];
    if (!parts.length) return;
    try {
      carryOut(parts);
    } catch (cause) {
      const error = failureOf(cause);
      // Without room the drafts are refused; what groups settle must get through all the same, or a full log would never be emptied.
      const rest = isFault(error, 'BusOverloaded') ? parts.filter(({ drafts }) => !drafts) : [];
      for (const part of parts) if (!rest.includes(part)) part.reject(error);
      try {
        if (isFault(error, 'BusOverloaded')) trimNow(0);
        if (rest.length) carryOut(rest);
      } catch (again) {
        for (const part of rest) part.reject(failureOf(again));
      }
    }
    lastCommit = performance.now();
  }

  /** One transaction. @throws whatever SQLite says; nothing is written then and nobody was told */
  function carryOut(parts: Pending[]): void {
    const answers: unknown[] = [];
    const mine: Entry[] = [];
    let refused: Set<Pending> | undefined;
    let characters = 0;
    const wasFull = parts.some(({ drafts }) => drafts) && isFull();
    try {
      db.exec('BEGIN IMMEDIATE');
      const now = Date.now();
      for (const part of parts) {
        if (part.drafts && wasFull) {
          refused ??= new Set();
          refused.add(part);
        } else if (part.drafts) {
          for (const draft of part.drafts) {
            characters += draft.body.length;
            mine.push(insert(draft, now));
          }
          room -= part.drafts.length;
        }
        answers.push(part.work?.());
      }
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      blocks.rolledBack();
      throw error;
    }
    parts.forEach((part, i) => {
      if (refused?.has(part)) part.reject(fault('BusOverloaded', { data: { maxEntries } }));
      else part.resolve(answers[i]);
    });
    tellOwn(mine);
    checkpoints.committed(characters);
  }

  function insert(draft: Draft, now: number): Entry {
    const { shard, id, topic, workspaceId, group, body } = draft;
    const { lastInsertRowid } = sql.insert.run(shard, id, topic, workspaceId, group, now, body);
    // The draft becomes the entry: nobody else has it.
    return Object.assign(draft, { position: String(lastInsertRowid) });
  }

  /** Entries the log may still take before it has to be counted again, and when it was found full. */
  let room = 0;
  let foundFullAt = Number.NEGATIVE_INFINITY;
  /** Counting takes a while in a long log, so it is done when the room last found is used up. Trimming comes before refusing. */
  function isFull(): boolean {
    if (maxPages && usedPages() > maxPages - SPARE_PAGES && trimNow(0) === 0) return true;
    if (room > 0) return false;
    if (performance.now() - foundFullAt < RECOUNT_MS) return true;
    const free = () => maxEntries - Number((sql.count.get() as Row).n);
    let now = free();
    if (now <= 0 && trimNow(0) > 0) now = free();
    // Other processes fill the log too: half of what is free is this one's until the next count.
    room = now > 0 ? Math.ceil(now / 2) : 0;
    foundFullAt = room > 0 ? Number.NEGATIVE_INFINITY : performance.now();
    return room === 0;
  }

  const usedPages = () => Number((sql.pages.get() as Row).page_count) - Number((sql.freePages.get() as Row).freelist_count);

  function failureOf(cause: unknown): Error {
    const { errcode, message } = cause as { errcode?: number; message: string };
    // SQLITE_FULL: the disk has no room left.
    if (errcode === 13) return fault('BusOverloaded', { message: 'The event log has no room left on its disk; retry later.', cause });
    return fault('ServiceUnavailable', { message: `The event log cannot be written: ${message}`, cause });
  }

  // ---- following ---------------------------------------------------------------------------------------------------------------------

  function tell(entries: Entry[]): void {
    const byShard = new Map<number, Entry[]>();
    for (const entry of entries) {
      const list = byShard.get(entry.shard);
      if (list) list.push(entry);
      else byShard.set(entry.shard, [entry]);
    }
    told = Number((entries.at(-1) as Entry).position);
    for (const [shard, list] of byShard) {
      const after = toldIn[shard] as string;
      toldIn[shard] = (list.at(-1) as Entry).position;
      for (const follower of followers) follower(shard, after, list);
    }
  }

  /** Entries of this process go to the followers without being read again, unless another process wrote in between. */
  function tellOwn(entries: Entry[]): void {
    if (!entries.length || !followers.size) return;
    if (Number((entries[0] as Entry).position) === told + 1) tell(entries);
    else tellRest();
  }

  function tellRest(): void {
    for (;;) {
      const rows = sql.after.all(told, READ_COUNT) as Row[];
      if (rows.length) tell(rows.map(entryOf));
      if (rows.length < READ_COUNT) return;
    }
  }

  function look(): void {
    try {
      const seen = dataVersion();
      if (seen === version) return;
      version = seen;
      tellRest();
    } catch (error) {
      options.logger.warn(`bus: the log cannot be read: ${(error as Error).message}`);
    }
  }

  // ---- trimming ----------------------------------------------------------------------------------------------------------------------

  function trimNow(keep: number): number {
    const groups = Number((sql.groupCount.get() as Row).n);
    let removed = 0;
    for (let shard = 0; shard < SHARDS; shard++) {
      // Without any group nobody has settled anything.
      const floor = groups ? Number((sql.floor.get(shard) as Row).floor ?? 0) : 0;
      if (floor > 0) removed += blocks.trim(shard, floor, Date.now() - keep, TRIM_COUNT);
    }
    return removed;
  }

  // ---- dead letters ------------------------------------------------------------------------------------------------------------------

  const MATCH =
    '(:grp IS NULL OR grp = :grp) AND (:ws IS NULL OR workspace = :ws) AND (:ids IS NULL OR n IN (SELECT value FROM json_each(:ids)))';
  const matchOf = ({ group, workspaceId, ids }: DeathQuery) => ({
    grp: group ?? null,
    ws: workspaceId ?? null,
    ids: ids ? JSON.stringify(ids.map(Number)) : null,
  });
  const deadRows = (query: DeathQuery, limit: number) =>
    db.prepare(`SELECT * FROM dead WHERE ${MATCH} ORDER BY n LIMIT :limit`).all({ ...matchOf(query), limit }) as Row[];

  return {
    shards: SHARDS,
    compare: (a, b) => Number(a) - Number(b),

    append: (drafts) => inNextCommit<void>({ drafts }),
    async follow(follower) {
      if (!followers.size) {
        version = dataVersion();
        told = Number((sql.last.get() as Row).seq);
        toldIn = Array.from({ length: SHARDS }, (_, shard) => String(blocks.last(shard)));
        poll = setInterval(look, POLL_MS).unref();
      }
      followers.add(follower);
      return () => {
        followers.delete(follower);
        if (!followers.size) clearInterval(poll);
      };
    },
    read: async (shard, after, limit) => blocks.read(shard, Number(after), limit).map(entryOf),
    fetch: async (shard, positions) =>
      positions.flatMap((position) => {
        const row = sql.one.get(Number(position)) as Row | undefined;
        return row && row.shard === shard ? [entryOf(row)] : [];
      }),
    async find(shard, id) {
      const row = sql.find.get(id, shard) as Row | undefined;
      return row ? String(row.seq) : null;
    },

    register: (group) =>
      inNextCommit({
        work: () => {
          for (let shard = 0; shard < SHARDS; shard++) sql.register.run(group, shard);
        },
      }),
    forget: (group) =>
      inNextCommit({
        work: () => {
          sql.sweepMembers.run(Date.now());
          if ((sql.members.all(group) as Row[]).some((row) => !isGone(String(row.process)))) return false;
          const isKnown = sql.cursorCount.get(group) as Row;
          for (const table of ['cursors', 'ahead', 'failures', 'members', 'dead'])
            db.prepare(`DELETE FROM ${table} WHERE grp = ?`).run(group);
          return Number(isKnown.n) > 0;
        },
      }),
    beat: (group, member, ttlMs) =>
      inNextCommit({
        work: () => {
          const now = Date.now();
          sql.beat.run(group, member, now + ttlMs, processMark);
          sql.sweepMembers.run(now);
          const members = sql.members.all(group) as Row[];
          const gone = members.filter((row) => isGone(String(row.process)));
          for (const row of gone) sql.leave.run(group, row.member as string);
          return members.filter((row) => !gone.includes(row)).map((row) => String(row.member));
        },
      }),
    // Members of dead processes are left out by `beat`, their leases by `lease`.
    announce: () => {},
    gone: async () => [],
    leave: (group, member) => inNextCommit<void>({ work: () => void sql.leave.run(group, member) }),
    lease: (group, shard, member, ttlMs) =>
      inNextCommit<Lease | null>({
        work: () => {
          const now = Date.now();
          sql.register.run(group, shard);
          const row = sql.cursor.get(group, shard) as Row;
          if (row.owner && Number(row.expires) > now && !isGone(String(row.process))) return null;
          const token = `${member}:${Number(row.epoch) + 1}`;
          sql.take.run(token, processMark, now + ttlMs, group, shard);
          return {
            shard,
            token,
            cursor: String(row.cursor),
            ahead: (sql.ahead.all(group, shard) as Row[]).map(({ seq }) => String(seq)),
            failures: (sql.failures.all(group, shard) as Row[]).map(({ seq, attempts, crashes, due }) => ({
              position: String(seq),
              attempts: Number(attempts),
              crashes: Number(crashes),
              dueInMs: Math.max(Number(due) - now, 0),
            })),
            wasReleased: !row.owner,
          };
        },
      }),
    renew: (group, leases, ttlMs) =>
      inNextCommit({
        work: () => {
          const expires = Date.now() + ttlMs;
          return leases.filter(({ shard, token }) => sql.renew.run(expires, group, shard, token).changes === 1).map(({ shard }) => shard);
        },
      }),
    release: (group, shard, token) => inNextCommit<void>({ work: () => void sql.release.run(group, shard, token) }),
    async settle(group, shard, token, settlement) {
      if (settled.has(settlement)) return true;
      const isOurs = await inNextCommit({ work: () => settle(group, shard, token, settlement) });
      if (isOurs) settled.add(settlement);
      return isOurs;
    },

    async backlog() {
      const groups = sql.groups.all() as Row[];
      return groups.map(({ grp }) => {
        let entries = 0;
        let oldest = Number.POSITIVE_INFINITY;
        for (const { shard, cursor } of sql.cursors.all(grp as string) as Row[]) {
          const found = blocks.count(Number(shard), Number(cursor), grp as string);
          entries += found.entries;
          oldest = Math.min(oldest, found.oldest ?? oldest);
        }
        const { ahead } = sql.aheadCount.get(grp as string) as Row;
        const { dead } = sql.deadCount.get(grp as string) as Row;
        const left = entries - Number(ahead);
        return {
          group: String(grp),
          entries: left,
          ageMs: left > 0 ? Math.max(Date.now() - oldest, 0) : undefined,
          dead: Number(dead),
        };
      });
    },
    size: async () => Number((sql.count.get() as Row).n),
    deaths: async (query) => deadRows(query, query.limit ?? 100).map(deathOf),
    revive: (query) =>
      inNextCommitAndTell(() => {
        const now = Date.now();
        return deadRows(query, query.limit ?? -1).map((row) => {
          sql.bury.run(row.n as number);
          return insert({ ...deathOf(row).entry, group: String(row.grp) }, now);
        });
      }),
    bury: (query) => inNextCommit({ work: () => Number(db.prepare(`DELETE FROM dead WHERE ${MATCH}`).run(matchOf(query)).changes) }),
    trim: () => inNextCommit({ work: () => trimNow(keepMs) }),
    async close() {
      if (isClosed) return;
      commit();
      isClosed = true;
      clearInterval(poll);
      followers.clear();
      await checkpoints.close();
      db.close();
    },
  };

  async function inNextCommitAndTell(work: () => Entry[]): Promise<number> {
    const entries = await inNextCommit({ work });
    if (entries.length && followers.size && told < Number((entries.at(-1) as Entry).position)) tellRest();
    return entries.length;
  }

  function settle(group: string, shard: number, token: string, { cursor, ahead, forget, failures, dead }: Settlement): boolean {
    if (sql.advance.run(Number(cursor), group, shard, token).changes !== 1) return false;
    const now = Date.now();
    for (const position of forget) {
      sql.forgetAhead.run(group, shard, Number(position));
      sql.forgetFailure.run(group, shard, Number(position));
    }
    for (const position of ahead) sql.addAhead.run(group, shard, Number(position));
    for (const { position, attempts, crashes, dueInMs } of failures)
      sql.addFailure.run(group, shard, Number(position), attempts, crashes, now + Math.ceil(dueInMs));
    for (const { entry, attempts, error } of dead)
      sql.addDead.run(group, shard, entry.id, entry.topic, entry.workspaceId, entry.body, attempts, error.error, error.message, now);
    return true;
  }
}
