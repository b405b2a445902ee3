/**
 * deaths — dead letters: one stream per shard and group. The id of a dead letter is its place (`<group>~<shard>~<stream id>`), so one is found without
 * searching. A pass over all of them ends with what was there when it began: what dies again meanwhile is not met twice.
 */
import type { DeathQuery, StoredDeath } from '../../carrier.ts';
import { shardOf } from '../../topics.ts';
import type { Client } from './connect.ts';
import type { RawEntry } from './entries.ts';
import type { Keys } from './keys.ts';

/** Dead letters read at once. */
const PAGE = 500;

export interface DeathsOptions {
  client: Client;
  keys: Keys;
  shards: number[];
  within<T>(work: Promise<T>): Promise<T>;
  knownGroups(): Promise<string[]>;
}

interface Found {
  death: StoredDeath;
  streamId: string;
}

export function openDeaths({ client, keys, shards, within, knownGroups }: DeathsOptions) {
  /** Pages of the dead letters asked for, oldest first in each shard of each group. */
  async function* pages(query: DeathQuery): AsyncGenerator<Found[]> {
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    for await (const found of query.ids ? placed(query.ids) : scanned(query)) {
      const page = found.filter(({ death }) => isWanted(death, query)).slice(0, left);
      left -= page.length;
      if (page.length) yield page;
      if (left <= 0) return;
    }
  }

  async function* placed(ids: string[]): AsyncGenerator<Found[]> {
    const known = new Set(await knownGroups());
    const places = [...new Set(ids)].flatMap((id) => {
      const [group = '', shard = '', streamId = ''] = id.split('~');
      const isPlace = known.has(group) && shards.includes(Number(shard)) && /^\d{1,20}-\d{1,20}$/.test(streamId);
      return isPlace ? [{ group, shard: Number(shard), streamId }] : [];
    });
    yield (
      await within(
        Promise.all(
          places.map(async ({ group, shard, streamId }) => {
            const raw = (await client.xrange(keys.dead(shard, group), streamId, streamId)) as RawEntry[];
            return raw.map((one) => foundOf(group, shard, one));
          }),
        ),
      )
    ).flat();
  }

  async function* scanned({ group, workspaceId }: DeathQuery): AsyncGenerator<Found[]> {
    const places = workspaceId ? [shardOf(workspaceId, shards.length)] : shards;
    for (const name of group ? [group] : (await knownGroups()).sort())
      for (const shard of places) {
        const key = keys.dead(shard, name);
        const last = ((await within(client.xrevrange(key, '+', '-', 'COUNT', 1))) as RawEntry[])[0]?.[0];
        let after = '-';
        while (last) {
          const raw = (await within(client.xrange(key, after, last, 'COUNT', PAGE))) as RawEntry[];
          if (raw.length) yield raw.map((one) => foundOf(name, shard, one));
          if (raw.length < PAGE) break;
          after = `(${(raw.at(-1) as RawEntry)[0]}`;
        }
      }
  }

  /** Does `work` for each, a page at a time; answers how many were still there. */
  async function change(query: DeathQuery, work: (found: Found) => Promise<unknown>): Promise<number> {
    let changed = 0;
    for await (const page of pages(query))
      changed += (await within(Promise.all(page.map(work)))).reduce<number>((sum, one) => sum + Number(one), 0);
    return changed;
  }

  return {
    async list(query: DeathQuery): Promise<StoredDeath[]> {
      const found: StoredDeath[] = [];
      for await (const page of pages({ limit: 100, ...query })) found.push(...page.map(({ death }) => death));
      return found;
    },
    revive: (query: DeathQuery): Promise<number> =>
      change(query, ({ death: { group, entry }, streamId }) =>
        client.busRevive(keys.dead(entry.shard, group), keys.log(entry.shard), streamId, group),
      ),
    bury: (query: DeathQuery): Promise<number> =>
      change(query, ({ death: { group, entry }, streamId }) => client.xdel(keys.dead(entry.shard, group), streamId)),
  };
}

const isWanted = ({ group, entry }: StoredDeath, query: DeathQuery): boolean =>
  (!query.group || query.group === group) && (!query.workspaceId || query.workspaceId === entry.workspaceId);

function foundOf(group: string, shard: number, [streamId, list]: RawEntry): Found {
  const fields: Record<string, string> = {};
  for (let i = 0; i < list.length; i += 2) fields[list[i] as string] = list[i + 1] as string;
  const { i: id = '', t: topic = '', w: workspaceId = '', b: body = '', a: attempts = '0', e: error = '', m: message = '' } = fields;
  const death: StoredDeath = {
    id: `${group}~${shard}~${streamId}`,
    group,
    entry: { shard, id, topic, workspaceId, group: '', body },
    attempts: Number(attempts),
    error: { error, message },
    diedAt: new Date(Number(streamId.split('-')[0])).toISOString(),
  };
  return { death, streamId };
}
