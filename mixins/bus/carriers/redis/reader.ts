/**
 * reader — follows the end of the log: one blocking read for all shards (one per shard on a Redis Cluster, whose slots cannot be read together). It
 * survives errors, lost connections and flushed servers: positions are here, the server knows nothing of its readers.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { type Entry, type Follower, type Logger, type Position, START } from '../../carrier.ts';
import type { Client } from './connect.ts';
import { compare, entriesOf, type RawEntry } from './entries.ts';
import type { Keys } from './keys.ts';

const BLOCK_MS = 2_000;
const READ_COUNT = 1_000;
/** Positions remembered per shard, to find the place again in a log that has lost its end. */
const TOLD = 100;
/** A read that takes this much longer than it may block has lost its peer: connect again. */
const SILENCE_MS = 4_000;

export interface Reader {
  stop(): void;
}

/** Resolves when everything appended afterwards will be told. */
export async function openReader(
  client: Client,
  blocking: Client[],
  keys: Keys,
  shards: number,
  tell: Follower,
  logger: Logger,
): Promise<Reader> {
  let isStopped = false;
  const stopping = new AbortController();
  /** The last positions told, per shard. */
  const told: Position[][] = Array.from({ length: shards }, () => []);
  const positions = await Promise.all(Array.from({ length: shards }, (_, shard) => lastPosition(shard)));

  /** Of the newest entry there ever was, also when it was trimmed. START: the stream is not there. */
  async function lastPosition(shard: number): Promise<Position> {
    try {
      const info = (await client.xinfo('STREAM', keys.log(shard))) as (string | number)[];
      return String(info[info.indexOf('last-generated-id') + 1]);
    } catch (error) {
      if (/no such key/i.test((error as Error).message)) return START;
      throw error;
    }
  }

  /** A server that came back without its last writes gives smaller ids than those that were read: followers hear of it. */
  async function checkPositions(list: number[]): Promise<void> {
    for (const shard of list) {
      const last = await lastPosition(shard);
      if (compare(last, positions[shard] as Position) >= 0) continue;
      const kept = last === START ? START : await lastKept(shard);
      positions[shard] = kept;
      told[shard] = [];
      tell(shard, kept, []);
    }
  }

  /** The last of what was told that the log still has; what stands behind it is new. */
  async function lastKept(shard: number): Promise<Position> {
    for (const position of [...(told[shard] as Position[])].reverse())
      if (((await client.xrange(keys.log(shard), position, position)) as RawEntry[]).length) return position;
    return START;
  }

  async function loop(connection: Client, list: number[]): Promise<void> {
    const byKey = new Map(list.map((shard) => [keys.log(shard), shard]));
    let failures = 0;
    // A read that was under way when the connection broke is sent again and does not fail; the server may be another one all the same.
    let isNew = false;
    connection.on('close', () => {
      isNew = true;
    });
    while (!isStopped) {
      const watch = setTimeout(() => connection.disconnect(true), BLOCK_MS + SILENCE_MS).unref();
      try {
        if (failures > 0 || isNew) {
          isNew = false;
          await checkPositions(list);
        }
        const ids = list.map((shard) => positions[shard] as Position);
        const reply = (await connection.xread('COUNT', READ_COUNT, 'BLOCK', BLOCK_MS, 'STREAMS', ...byKey.keys(), ...ids)) as
          | [string, RawEntry[]][]
          | null;
        failures = 0;
        for (const [key, raw] of reply ?? []) {
          const shard = byKey.get(key) as number;
          const entries: Entry[] = entriesOf(shard, raw);
          const after = positions[shard] as Position;
          positions[shard] = (entries.at(-1) as Entry).position;
          told[shard] = [...(told[shard] as Position[]), ...entries.slice(-TOLD).map(({ position }) => position)].slice(-TOLD);
          tell(shard, after, entries);
        }
      } catch (error) {
        if (isStopped) return;
        if (failures++ === 0) logger.warn(`bus: reading from Redis failed, trying again: ${(error as Error).message}`);
        await pause(Math.min(100 * failures, 5_000), undefined, { signal: stopping.signal, ref: false }).catch(() => {});
      } finally {
        clearTimeout(watch);
      }
    }
  }

  const all = Array.from({ length: shards }, (_, shard) => shard);
  if (blocking.length === 1) void loop(blocking[0] as Client, all);
  else blocking.forEach((connection, shard) => void loop(connection, [shard]));

  return {
    stop() {
      isStopped = true;
      stopping.abort();
      for (const connection of blocking) connection.disconnect();
    },
  };
}
