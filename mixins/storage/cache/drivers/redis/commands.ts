/** commands — the connection to Redis and its scripts as typed functions. Each script is a file beside this one; its head is its contract. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { configurationFault, reach } from '../../../locations.ts';
import { CACHE_VARIABLE } from '../../open.ts';

type Arg = string | number;

/** Name of a script → how many keys it has; `null`: the caller says. */
const SCRIPTS = {
  'compare-and-set': null,
  'read-state': null,
  'set-document': 1,
  'increment-window': 1,
  'take-tokens': 1,
  'add-elements': 1,
  lease: 1,
  'release-lease': 1,
} as const;

export type ScriptName = keyof typeof SCRIPTS;

export interface Commands {
  redis: Redis;
  /** Runs a script by its digest; its text is sent when the server does not know it (after a restart, say). */
  run<T = unknown>(name: ScriptName, keys: string[], args: Arg[]): Promise<T>;
}

const START_WITHIN_MS = 5_000;
const COMMAND_TIMEOUT_MS = 15_000;

/** @throws ConfigurationError when nobody answers within a few seconds */
export async function connect(url: string, startWithinMs = START_WITHIN_MS): Promise<Commands> {
  checkUrl(url);
  const redis = new Redis(url, {
    lazyConnect: true,
    enableAutoPipelining: true,
    // Scripts need their own answer to NOSCRIPT, which a pipeline does not give.
    autoPipeliningIgnoredCommands: Object.keys(SCRIPTS),
    // A command whose answer was lost may have been done: sending it again could do it twice. The caller is told and decides.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 5,
    commandTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2_000),
  });
  // Without a listener ioredis prints each failed attempt; what matters is reported by the command that fails.
  redis.on('error', () => {});
  redis.on('close', () => rejectUnanswered(redis));
  for (const [name, numberOfKeys] of Object.entries(SCRIPTS)) {
    const lua = readFileSync(join(import.meta.dirname, `${name}.lua`), 'utf8');
    redis.defineCommand(name, { lua, ...(numberOfKeys === null ? {} : { numberOfKeys }) });
  }
  const scripts = redis as unknown as Record<ScriptName, (...args: Arg[]) => Promise<never>>;
  const run = <T>(name: ScriptName, keys: string[], args: Arg[]): Promise<T> =>
    scripts[name](...(SCRIPTS[name] === null ? [keys.length] : []), ...keys, ...args) as Promise<T>;
  try {
    await reach(CACHE_VARIABLE, url, () => ping(url), startWithinMs);
    await redis.connect().catch((error) => {
      throw configurationFault(CACHE_VARIABLE, url, `no usable answer: ${error.message}`, error);
    });
  } catch (error) {
    redis.disconnect();
    throw error;
  }
  return { redis, run };
}

/**
 * Commands that wait for an answer when the connection breaks. With `autoResendUnfulfilledCommands: false` ioredis forgets them: nobody would hear of
 * them again before the command's time-out. @see https://github.com/redis/ioredis/blob/main/lib/redis/event_handler.ts (readyHandler)
 */
function rejectUnanswered(redis: Redis): void {
  const queues = redis as unknown as { flushQueue(error: Error, which: { offlineQueue: boolean }): void };
  queues.flushQueue(new Error('the connection broke before the answer'), { offlineQueue: false });
}

function checkUrl(url: string): void {
  const problem = () => configurationFault(CACHE_VARIABLE, url, 'redis://[user:password@]host:port[/number] is expected');
  if (!URL.canParse(url)) throw problem();
  const { hostname, pathname } = new URL(url);
  if (!hostname || !/^\/?\d*$/.test(pathname)) throw problem();
}

/** One attempt on a connection of its own, so that the reason of a refusal (password, no such database) is known. */
async function ping(url: string): Promise<void> {
  const probe = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 2_000, maxRetriesPerRequest: 0 });
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
