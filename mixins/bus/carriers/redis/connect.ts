/**
 * connect — connections that come back: they try for ever, drop a peer that went silent, and resend what was not answered. Scripts are defined on them.
 */
import { readFileSync } from 'node:fs';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { fault } from '../../../shared/errors.ts';
import type { Logger } from '../../carrier.ts';

const SCRIPTS = {
  /** As many logs as the first argument says. */
  busAppend: ['append', undefined],
  busRegister: ['register', 1],
  busBeat: ['beat', 2],
  busLease: ['lease', 5],
  busRenew: ['renew', 2],
  busRelease: ['release', 2],
  busEvict: ['evict', 2],
  busSettle: ['settle', 5],
  busRevive: ['revive', 2],
  busFind: ['find', 1],
} as const;
type Script = (...args: (string | number)[]) => Promise<any>;
type Scripts = Record<keyof typeof SCRIPTS, Script>;

/** A server or a cluster; both speak the same commands. */
export type Client = Redis & Scripts;

/**
 * A peer that owes the answer to a PING for this long is taken for dead. Blocking reads are watched by their reader. (The client's own `socketTimeout`
 * outlives its connection and then ends the next one.)
 */
const SILENCE_MS = 6_000;
const PING_MS = 2_000;
const CONNECT_MS = 10_000;

const OPTIONS: RedisOptions = {
  lazyConnect: true,
  maxRetriesPerRequest: null, // callers have their own time limit
  connectTimeout: 5_000,
  keepAlive: 10_000,
  retryStrategy: (times) => Math.min(100 * times, 3_000),
  // After a failover the old master refuses writes: connect again and send again.
  reconnectOnError: (error) => (/\bREADONLY\b/.test(error.message) ? 2 : false),
};

/** `redis://`, `rediss://` or `redis+cluster://host:port,host:port`. */
export async function connect(url: string, logger: Logger): Promise<{ client: Client; isCluster: boolean; another(): Client }> {
  const isCluster = url.startsWith('redis+cluster:');
  const make = (): Client => {
    const client = (isCluster ? clusterOf(url) : new Redis(url, OPTIONS)) as Client;
    let isDown = false;
    client.on('error', (error) => {
      if (!isDown) logger.warn(`bus: the connection to Redis failed: ${error.message || (error as { code?: string }).code}`);
      isDown = true;
    });
    // After a failover each refused command leaves the connection once more, with a listener: Node takes eleven of them for a leak.
    client.on('connect', () => void (client as unknown as { stream?: NodeJS.EventEmitter }).stream?.setMaxListeners(0));
    client.on('ready', () => {
      if (isDown) logger.info('bus: connected to Redis again');
      isDown = false;
    });
    for (const [name, [file, numberOfKeys]] of Object.entries(SCRIPTS))
      client.defineCommand(name, { numberOfKeys, lua: readFileSync(new URL(`./scripts/${file}.lua`, import.meta.url), 'utf8') });
    return client;
  };
  let client: Client;
  try {
    client = make();
  } catch (cause) {
    throw fault('ConfigurationError', {
      message: `BUS_URL is not a valid address: ${(cause as Error).message}`,
      data: { variable: 'BUS_URL' },
      cause,
    });
  }
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      client.connect().then(() => client.ping()),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('no answer')), CONNECT_MS);
      }),
    ]);
  } catch (cause) {
    client.disconnect();
    throw fault('ConfigurationError', {
      message: `BUS_URL: the Redis at ${placeOf(url)} does not answer: ${(cause as Error).message}`,
      data: { variable: 'BUS_URL' },
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
  watch(client, isCluster);
  return {
    client,
    isCluster,
    another: () => {
      const more = make();
      more.connect().catch(() => {}); // it keeps trying; the error event tells
      return more;
    },
  };
}

/** Connects again when a peer went silent, which TCP alone notices after minutes. A node of a cluster is left: the cluster finds it, or another, again. */
function watch(client: Client, isCluster: boolean): void {
  const askedAt = new WeakMap<object, number>();
  const look = (peer: Redis) => {
    if (peer.status !== 'ready') return;
    const since = askedAt.get(peer);
    if (since === undefined) {
      askedAt.set(peer, performance.now());
      const answered = () => void askedAt.delete(peer);
      peer.ping().then(answered, answered);
    } else if (performance.now() - since > SILENCE_MS) {
      askedAt.delete(peer);
      peer.disconnect(!isCluster);
    }
  };
  const timer = setInterval(() => {
    if (client.status === 'end') return clearInterval(timer);
    for (const peer of isCluster ? (client as unknown as Cluster).nodes('all') : [client]) look(peer);
  }, PING_MS).unref();
}

function clusterOf(url: string): Cluster {
  const { username, password, host } = new URL(url.replace('redis+cluster:', 'redis:').replace(/,[^/@]*/, ''));
  const list = url.replace(/^redis\+cluster:\/\/([^@]*@)?/, '').replace(/\/.*$/, '') || host;
  const nodes = list.split(',').map((node) => ({ host: node.split(':')[0] as string, port: Number(node.split(':')[1] ?? 6379) }));
  return new Cluster(nodes, {
    lazyConnect: true,
    redisOptions: { ...OPTIONS, username: username || undefined, password: password || undefined },
    clusterRetryStrategy: (times) => Math.min(100 * times, 3_000),
  });
}

/** Host and port, without the password. */
function placeOf(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return 'that address';
  }
}

/** What the scripts need: XRANGE with an exclusive start, XTRIM MINID. */
const OLDEST_VERSION = [6, 2];

/**
 * What Redis must be for the bus to work, and set to for "durable" to be true: a warning for each setting that is not.
 * @throws ConfigurationError when it is too old
 * @see docs/operations.md
 */
export async function checkServer(client: Client, logger: Logger): Promise<void> {
  let info: string;
  try {
    info = await client.info();
  } catch (error) {
    return logger.warn(`bus: the settings of Redis cannot be read: ${(error as Error).message}`);
  }
  const of = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1] ?? '';
  const [major = 0, minor = 0] = of('redis_version').split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_VERSION;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    throw fault('ConfigurationError', {
      message: `BUS_URL: Redis ${of('redis_version')} is too old; ${OLDEST_VERSION.join('.')} or later is needed.`,
      data: { variable: 'BUS_URL' },
    });
  if (of('aof_enabled') !== '1')
    logger.warn('bus: Redis runs without append-only file: a restart of Redis loses events. Set `appendonly yes` (docs/operations.md).');
  else await checkFlushing(client, logger);
  const policy = of('maxmemory_policy');
  if (policy && policy !== 'noeviction')
    logger.warn(
      `bus: Redis evicts keys when its memory is full (${policy}): events may vanish. Set \`maxmemory-policy noeviction\` (docs/operations.md).`,
    );
  if (of('maxmemory') === '0')
    logger.warn(
      'bus: Redis has no limit of memory: when groups lag for long the machine ends it before producers are refused. Set `maxmemory` (docs/operations.md).',
    );
}

/** Hosted servers may not tell their configuration. */
async function checkFlushing(client: Client, logger: Logger): Promise<void> {
  const [, policy] = (await client.config('GET', 'appendfsync').catch(() => [])) as string[];
  if (policy === 'everysec') logger.info('bus: Redis flushes once a second: a loss of power costs about a second of confirmed events.');
  if (policy === 'no')
    logger.warn(
      'bus: Redis leaves flushing to the system: a loss of power costs confirmed events. Set `appendfsync` (docs/operations.md).',
    );
}
