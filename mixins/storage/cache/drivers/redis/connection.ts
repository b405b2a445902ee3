/**
 * connection — a server or a cluster, with connections that come back: they drop a peer that went silent, and leave one that a failover made
 * read-only. A command whose answer was lost may have been done: it is not sent again, who asked is told and decides.
 */
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { configurationFault, reach } from '../../../locations.ts';
import { CACHE_VARIABLE } from '../../open.ts';

export type RedisClient = Redis | Cluster;

const START_WITHIN_MS = 5_000;
const COMMAND_TIMEOUT_MS = 15_000;
/** A peer that owes the answer to a PING for this long is taken for dead; TCP alone notices after minutes. */
const SILENCE_MS = 5_000;
const PING_MS = 2_000;

const OPTIONS: RedisOptions = {
  lazyConnect: true,
  autoResendUnfulfilledCommands: false,
  // A few seconds: a restart of the server passes unnoticed, an outage is told before callers lose patience.
  maxRetriesPerRequest: 3,
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: 5_000,
  keepAlive: 10_000,
  retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2_000),
  // What a former master refused was not done: connect again, perhaps to the new one, and send it again.
  reconnectOnError: (error) => (error.message.includes('READONLY') ? 2 : false),
};

export const isClusterUrl = (url: string): boolean => url.startsWith('redis+cluster:');

/** @throws ConfigurationError when nobody answers within a few seconds */
export async function openConnection(url: string, ignored: string[], startWithinMs = START_WITHIN_MS): Promise<RedisClient> {
  checkUrl(url);
  // Scripts need their own answer to NOSCRIPT, which a pipeline does not give.
  const pipelining = { enableAutoPipelining: true, autoPipeliningIgnoredCommands: ignored };
  const client = isClusterUrl(url) ? clusterOf(url, pipelining) : new Redis(url, { ...OPTIONS, ...pipelining });
  // Without a listener ioredis prints each failed attempt; what matters is reported by the command that fails.
  client.on('error', () => {});
  if (client instanceof Cluster) client.on('+node', guard);
  else guard(client);
  try {
    await reach(CACHE_VARIABLE, url, () => ping(url), startWithinMs);
    await client.connect().catch((error) => {
      throw configurationFault(CACHE_VARIABLE, url, `no usable answer: ${error.message}`, error);
    });
  } catch (error) {
    client.disconnect();
    throw error;
  }
  return client;
}

/** The servers that hold keys: for what must look at all of them. */
export const mastersOf = (client: RedisClient): Redis[] => (client instanceof Cluster ? client.nodes('master') : [client]);

function guard(redis: Redis): void {
  redis.on('error', () => {});
  redis.on('close', () => rejectUnanswered(redis));
  let askedAt = 0;
  const forget = () => {
    askedAt = 0;
  };
  redis.on('close', forget);
  const timer = setInterval(() => {
    if (redis.status === 'end') return clearInterval(timer);
    if (redis.status !== 'ready') return;
    if (askedAt && performance.now() - askedAt > SILENCE_MS) redis.disconnect(true);
    else if (!askedAt) {
      askedAt = performance.now();
      redis.ping().then(forget, forget);
    }
  }, PING_MS).unref();
}

/**
 * Commands that wait for an answer when the connection breaks. With `autoResendUnfulfilledCommands: false` ioredis forgets them: nobody would hear of
 * them again before the command's time-out. @see https://github.com/redis/ioredis/blob/main/lib/redis/event_handler.ts (readyHandler)
 */
function rejectUnanswered(redis: Redis): void {
  const queues = redis as unknown as { flushQueue(error: Error, which: { offlineQueue: boolean }): void };
  queues.flushQueue(new Error('the connection broke before the answer'), { offlineQueue: false });
}

interface Place {
  host: string;
  port: number;
  username?: string;
  password?: string;
}

/** Nodes of `redis+cluster://[user:password@]host:port,host:port`. */
function nodesOf(url: string): Place[] {
  const rest = url.replace(/^redis\+cluster:\/\//, '');
  const at = rest.lastIndexOf('@');
  const [username = '', password = ''] = at < 0 ? [] : rest.slice(0, at).split(':').map(decodeURIComponent);
  const login = { ...(username ? { username } : {}), ...(password ? { password } : {}) };
  return rest
    .slice(at + 1)
    .replace(/[/?].*$/, '')
    .split(',')
    .map((node) => ({ host: node.split(':')[0] ?? '', port: Number(node.split(':')[1] || 6379), ...login }));
}

function clusterOf(url: string, pipelining: object): Cluster {
  const places = nodesOf(url);
  const { username, password } = places[0] as Place;
  return new Cluster(
    places.map(({ host, port }) => ({ host, port })),
    {
      lazyConnect: true,
      ...pipelining,
      redisOptions: { ...OPTIONS, ...(username ? { username } : {}), ...(password ? { password } : {}) },
      clusterRetryStrategy: (attempt) => Math.min(100 * attempt, 2_000),
    },
  );
}

function checkUrl(url: string): void {
  const problem = () =>
    configurationFault(
      CACHE_VARIABLE,
      url,
      'redis://[user:password@]host:port[/number] or redis+cluster://host:port,host:port is expected',
    );
  if (isClusterUrl(url)) {
    if (nodesOf(url).some(({ host, port }) => !/^[\w.-]+$/.test(host) || !Number.isInteger(port) || port < 1 || port > 65_535))
      throw problem();
    return;
  }
  if (!URL.canParse(url)) throw problem();
  const { hostname, pathname } = new URL(url);
  if (!hostname || !/^\/?\d*$/.test(pathname)) throw problem();
}

/** One attempt on a connection of its own, so that the reason of a refusal (password, no such database) is known. */
async function ping(url: string): Promise<void> {
  const options = { lazyConnect: true, retryStrategy: () => null, connectTimeout: 2_000, maxRetriesPerRequest: 0 };
  const probe = isClusterUrl(url) ? await firstAnswering(nodesOf(url), options) : new Redis(url, options);
  await answered(probe);
}

/** One node of a cluster is enough to find the others. */
async function firstAnswering(places: Place[], options: RedisOptions): Promise<Redis> {
  for (const place of places.slice(0, -1)) {
    try {
      await answered(new Redis({ ...place, ...options }));
      return new Redis({ ...place, ...options });
    } catch {
      // The next one may answer; the last one's reason is told.
    }
  }
  return new Redis({ ...(places.at(-1) as Place), ...options });
}

async function answered(probe: Redis): Promise<void> {
  let reason: Error | undefined;
  probe.on('error', (error) => {
    reason = error;
  });
  try {
    await probe.connect();
    await probe.ping();
  } catch (error) {
    throw reason ?? error;
  } finally {
    probe.disconnect();
  }
}
