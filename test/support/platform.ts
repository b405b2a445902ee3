/**
 * platform — the real thing in separate processes, spoken to only through its public port: embedded (one process), or a cluster over a
 * real Redis with any number of processes per service. Everything lives in a temporary folder and ends with the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { nodeEnvironment, nodeFlags } from '../../scripts/node-options.mjs';
import { ADMIN } from './admin.ts';
import { eventually } from './eventually.ts';
import { freePort, startRedis, type TestRedis } from './redis.ts';

const root = resolve(import.meta.dirname, '../..');

export { ADMIN };

export interface PlatformNode {
  part: string;
  /** Only of gateways. */
  url?: string;
  process: ChildProcess;
  output: string[];
}

export interface Platform {
  /** Base address of the first gateway, ends with /v2. */
  url: string;
  gateways: string[];
  nodes: PlatformNode[];
  dataDir: string;
  redis?: TestRedis;
  /** Starts one more process of a service, or all services ('all'). */
  start(part: string): Promise<PlatformNode>;
  /** `SIGKILL`. */
  kill(node: PlatformNode): Promise<void>;
  /** Asks a node to stop in order. */
  stopNode(node: PlatformNode): Promise<number | null>;
  stop(): Promise<void>;
}

export interface PlatformOptions {
  /** `embedded`: one process. A number n: n processes of each of the four services over Redis. */
  mode: 'embedded' | number;
  /** Instead of every service: these processes only, over a Redis. */
  parts?: string[];
  env?: Record<string, string>;
  dataDir?: string;
}

const exited = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;
const end = (child: ChildProcess, signal: NodeJS.Signals) =>
  new Promise<number | null>((done) => {
    if (exited(child)) return done(child.exitCode);
    child.once('exit', (code) => done(code));
    child.kill(signal);
  });

export async function startPlatform({ mode, parts: wanted, env = {}, dataDir }: PlatformOptions): Promise<Platform> {
  const data = dataDir ?? mkdtempSync(join(tmpdir(), 'prisme-e2e-'));
  const redis = mode === 'embedded' ? undefined : await startRedis({ appendOnly: false });
  const namespace = `e2e-${process.pid}-${Date.now().toString(36)}`;
  const nodes: PlatformNode[] = [];
  let apiUrl: string | undefined;

  const start = async (part: string): Promise<PlatformNode> => {
    const hasGateway = part === 'all' || part === 'gateway';
    const port = hasGateway ? await freePort() : 0;
    apiUrl ??= hasGateway ? `http://127.0.0.1:${port}/v2` : undefined;
    const redisEnv: Record<string, string> = redis ? { TRANSPORTER: redis.url, BUS_URL: redis.url, CACHE_URL: redis.url } : {};
    const child = spawn(
      process.execPath,
      [...nodeFlags, 'scripts/start.ts', '--no-sample', ...(part === 'all' ? [] : [`services/${part}`])],
      {
        cwd: root,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: {
          ...nodeEnvironment(root, {}),
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          // As `npm start` does (scripts/launch.mjs).
          NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compile'),
          LOG_LEVEL: process.env.E2E_LOG_LEVEL ?? 'warn',
          PRISME_EXIT_WITH_STDIN: '1',
          PRISME_NAMESPACE: namespace,
          NODE_ID: `${part}-${nodes.length + 1}-${namespace}`,
          DATA_DIR: data,
          PORT: String(port || 3001),
          ...(apiUrl ? { API_URL: apiUrl } : {}),
          PRISME_ADMIN_EMAIL: ADMIN.email,
          PRISME_ADMIN_PASSWORD: ADMIN.password,
          RATE_LIMIT_DISABLED: 'true',
          ...redisEnv,
          ...env,
        },
      },
    );
    const node: PlatformNode = { part, process: child, output: [], ...(hasGateway ? { url: `http://127.0.0.1:${port}/v2` } : {}) };
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => node.output.push(String(chunk)));
    nodes.push(node);
    return node;
  };

  const ready = async (node: PlatformNode) => {
    if (!node.url) return;
    const base = node.url.replace(/\/v2$/, '');
    await eventually(
      async () => {
        if (exited(node.process)) throw new Error(`${node.part} ended at start:\n${node.output.join('')}`);
        const answer = await fetch(`${base}/sys/healthcheck`).catch(() => undefined);
        return answer?.status === 200;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
  };

  const stop = async () => {
    await Promise.all(
      nodes.map((node) => Promise.race([end(node.process, 'SIGTERM'), new Promise((done) => setTimeout(done, 15_000).unref())])),
    );
    for (const node of nodes) if (!exited(node.process)) await end(node.process, 'SIGKILL');
    await redis?.stop();
    if (!dataDir) rmSync(data, { recursive: true, force: true });
  };

  const platform: Platform = {
    url: '',
    gateways: [],
    nodes,
    dataDir: data,
    ...(redis ? { redis } : {}),
    start: async (part) => {
      const node = await start(part);
      await ready(node);
      if (node.url) platform.gateways.push(node.url);
      return node;
    },
    kill: async (node) => void (await end(node.process, 'SIGKILL')),
    stopNode: (node) => end(node.process, 'SIGTERM'),
    stop,
  };

  try {
    const parts =
      wanted ??
      (mode === 'embedded'
        ? ['all']
        : ['gateway', 'workspaces', 'events', 'runtime'].flatMap((part) => Array.from({ length: mode }, () => part)));
    const started = [];
    for (const part of parts) started.push(await start(part));
    for (const node of started) {
      await ready(node);
      if (node.url) platform.gateways.push(node.url);
    }
    platform.url = platform.gateways[0] as string;
    if (mode !== 'embedded' && !wanted) await settled(platform);
    return platform;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** In a cluster the gateways answer before they have heard of every service: wait for one request that needs each of them. */
async function settled(platform: Platform): Promise<void> {
  for (const url of platform.gateways) {
    await eventually(
      async () => {
        const answer = await fetch(`${url}/readiness`).catch(() => undefined);
        if (answer?.status === 200) return true;
        throw new Error(
          `not ready: ${answer?.status} ${await answer?.text()}\n${platform.nodes.map((node) => node.output.join('')).join('\n')}`,
        );
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
  }
}
