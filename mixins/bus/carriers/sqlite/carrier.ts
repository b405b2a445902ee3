/**
 * sqlite — the embedded log: one file, several processes of one machine may share it. What survives what: docs/protocol.md.
 *
 * Writes are gathered and committed together (group commit): appends and settlements of one turn of the event loop share a transaction. Entries
 * committed here reach the followers at once; those of other processes are noticed by `PRAGMA data_version`, looked at every POLL_MS.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fault, isFault } from '../../../shared/errors.ts';
import type { Backlog, Carrier, CarrierOptions, DeathQuery, Draft, Entry, Follower, Lease, Settlement } from '../../carrier.ts';
import { openBlocks } from './blocks.ts';
import { openCheckpoints } from './checkpoints.ts';
import { deathOf, entryOf, openDatabase, PAGE_BYTES, prepareAll, type Row } from './database.ts';
import { openFinder } from './finder.ts';
import { isGone, processMark } from './process-mark.ts';
import { openRoom, SLICE, SPARE_PAGES } from './room.ts';

const SHARDS = 16;
/**
 * Shortest time between two commits under load: when the last one had more than FEW entries, or a node with many callers would commit a few at a time.
 * Else what is written is committed in the same turn of the event loop: who calls one after the other waits for no clock.
 */
const COMMIT_MS = 1;
const FEW = 12;
/** How soon writes of other processes are noticed. */
const POLL_MS = 5;
const READ_COUNT = 1_000;
/** Slices trimmed in one go, each in a commit of its own. */
const TRIM_SLICES = 20;
/** How long looking through what a group has left may hold the event loop at a time. */
const LOOK_MS = 2;

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
  const find = openFinder(db, blocks, turns);
  const room = openRoom({ sql, blocks, shards: SHARDS, maxEntries, maxPages });
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
  /** The last commit: when, and how many entries. */
  let lastCommit = 0;
  let lastCount = 0;
  let isClosed = false;
  /** Everything up to here was handed to the followers; in each shard, the last entry that was. */
  let told = 0;
  let toldIn: string[] = [];
  let version = 0;
  let poll: NodeJS.Timeout | undefined;

  function dataVersion(): number {
    return Number((sql.version.get() as Row).data_version);
  }

  const closed = () => fault('ServiceUnavailable', { message: 'The event bus of this node is closed.' });

  // ---- group commit ------------------------------------------------------------------------------------------------------------------

  function inNextCommit<T>(part: { drafts?: Draft[]; work?: () => T }): Promise<T> {
    if (isClosed) return Promise.reject(closed());
    return new Promise<T>((resolve, reject) => {
      pending.push({ ...part, resolve, reject });
      if (isScheduled) return;
      isScheduled = true;
      if (lastCount <= FEW || performance.now() - lastCommit > COMMIT_MS) setImmediate(commit);
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
        if (isFault(error, 'BusOverloaded')) transaction(() => room.trim(0));
        if (rest.length) carryOut(rest);
      } catch (again) {
        for (const part of rest) part.reject(failureOf(again));
      }
    }
    lastCommit = performance.now();
  }

  /** @throws whatever SQLite says; nothing is written then */
  function transaction(work: () => void): void {
    try {
      db.exec('BEGIN IMMEDIATE');
      work();
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      blocks.rolledBack();
      throw error;
    }
  }

  /** All of it or nothing; nobody is told before it is written. */
  function carryOut(parts: Pending[]): void {
    const answers: unknown[] = [];
    const mine: Entry[] = [];
    lastCount = parts.reduce((sum, { drafts }) => sum + (drafts?.length ?? 0), 0);
    let refused: Set<Pending> | undefined;
    let characters = 0;
    transaction(() => {
      const wasFull = lastCount > 0 && room.isFull(lastCount);
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
        }
        answers.push(part.work?.());
      }
    });
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
    async find(shard, id, isQuick = false) {
      const position = await find(shard, id, isQuick);
      return position === null ? null : String(position);
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
      const turn = turns();
      const backlog: Backlog[] = [];
      if (followers.size) look();
      for (const { grp } of sql.groups.all() as Row[]) backlog.push(await backlogOf(String(grp), turn));
      return backlog;
    },
    size: async () => room.size(),
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
    async trim() {
      let removed = 0;
      for (let n = 0; n < TRIM_SLICES; n++) {
        const slice = await inNextCommit({ work: () => room.trim(keepMs) });
        removed += slice;
        if (slice < SLICE) break;
      }
      return removed;
    },
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

  async function backlogOf(group: string, turn: () => Promise<void> | undefined): Promise<Backlog> {
    let entries = 0;
    let oldest = Number.POSITIVE_INFINITY;
    for (const { shard, cursor } of sql.cursors.all(group) as Row[]) {
      if (followers.size && Number(toldIn[shard as number]) <= Number(cursor)) continue;
      for (const part of blocks.count(Number(shard), Number(cursor), group)) {
        entries += part.entries;
        oldest = Math.min(oldest, part.oldest ?? oldest);
        await turn();
      }
    }
    const { ahead } = sql.aheadCount.get(group) as Row;
    const { dead } = sql.deadCount.get(group) as Row;
    const left = Math.max(entries - Number(ahead), 0);
    return { group, entries: left, ageMs: left > 0 ? Math.max(Date.now() - oldest, 0) : undefined, dead: Number(dead) };
  }

  /** Lets the event loop go on where it was held for long enough. */
  function turns(): () => Promise<void> | undefined {
    let began = performance.now();
    return () => {
      if (performance.now() - began < LOOK_MS) return;
      return nextTurn().then(() => {
        if (isClosed) throw closed();
        began = performance.now();
      });
    };
  }

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
