/** commands — Redis and its scripts as typed functions. Each script is a file beside this one; its head is its contract. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openConnection, type RedisClient } from './connection.ts';

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
  redis: RedisClient;
  /** Runs a script by its digest; its text is sent when the server does not know it (after a restart, say). */
  run<T = unknown>(name: ScriptName, keys: string[], args: Arg[]): Promise<T>;
}

/** @throws ConfigurationError when nobody answers within a few seconds */
export async function connect(url: string, startWithinMs?: number): Promise<Commands> {
  const redis = await openConnection(url, Object.keys(SCRIPTS), startWithinMs);
  for (const [name, numberOfKeys] of Object.entries(SCRIPTS)) {
    const lua = readFileSync(join(import.meta.dirname, `${name}.lua`), 'utf8');
    redis.defineCommand(name, { lua, ...(numberOfKeys === null ? {} : { numberOfKeys }) });
  }
  const scripts = redis as unknown as Record<ScriptName, (...args: Arg[]) => Promise<never>>;
  const run = <T>(name: ScriptName, keys: string[], args: Arg[]): Promise<T> =>
    scripts[name](...(SCRIPTS[name] === null ? [keys.length] : []), ...keys, ...args) as Promise<T>;
  return { redis, run };
}
