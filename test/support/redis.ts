/**
 * redis — a private Redis for tests: REDIS_URL when set, else a `redis-server` of this machine on a free port with its own folder.
 * `npm test` installs Debian's package when it may; where no Redis can be had a suite is skipped loudly (see scripts/launch.mjs).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

export interface TestRedis {
  url: string;
  port: number;
  /** SIGKILL: nothing is flushed. Only for a server started here. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Whether suites that need Redis can run; with CI=true the absence is a failure, not a skip. */
export function redisAvailable(): boolean {
  if (process.env.REDIS_URL) return true;
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    if (process.env.CI === 'true') throw new Error('CI needs redis-server or REDIS_URL');
    console.warn('SKIPPED: no redis-server on this machine and no REDIS_URL');
    return false;
  }
}

async function answers(url: string, timeoutMs = 10_000): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {});
  try {
    await Promise.race([
      client
        .connect()
        .then(() => client.ping())
        .catch(() => client.ping()),
      new Promise((_, reject) => setTimeout(() => reject(new Error(`no Redis at ${url}`)), timeoutMs).unref()),
    ]);
  } finally {
    client.disconnect();
  }
}

/**
 * @param options.appendOnly keep every write on disk (`appendfsync always`), so that a killed server finds its data again
 * @param options.isolated always a server of its own, even when REDIS_URL is set (for tests that kill or flush it)
 */
export async function startRedis({ appendOnly = false, isolated = false } = {}): Promise<TestRedis> {
  const shared = process.env.REDIS_URL;
  if (shared && !isolated) {
    const nothing = async () => {};
    return { url: shared, port: Number(new URL(shared).port || 6379), kill: nothing, restart: nothing, stop: nothing };
  }
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'prisme-redis-'));
  const url = `redis://127.0.0.1:${port}/0`;
  let child: ChildProcess;
  const start = async () => {
    child = spawn(
      'redis-server',
      [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        dir,
        '--save',
        '',
        '--appendonly',
        appendOnly ? 'yes' : 'no',
        '--appendfsync',
        'always',
        '--maxmemory-policy',
        'noeviction',
      ],
      { stdio: 'ignore' },
    );
    await answers(url);
  };
  const end = (signal: NodeJS.Signals) =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.once('exit', () => resolve());
      child.kill(signal);
    });
  await start();
  return {
    url,
    port,
    kill: () => end('SIGKILL'),
    restart: start,
    stop: async () => {
      await end('SIGTERM');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
