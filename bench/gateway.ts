/**
 * gateway — what the door costs: an authenticated request through every policy against the same action behind bare moleculer-web, in the same run;
 * sign-ins against bare argon2id of the same parameters; and what 100 000 sessions weigh in Redis.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ServiceBroker } from 'moleculer';
import ApiGateway from 'moleculer-web';
import { loadConfig } from '../mixins/shared/config.ts';
import { redisCache } from '../mixins/storage/cache/drivers/redis.ts';
import { brokerOptions } from '../moleculer.config.ts';
import { hashPassword } from '../services/gateway/identity/passwords.ts';
import { createSessions } from '../services/gateway/identity/sessions.ts';
import { expectOk, newUser } from '../test/support/client.ts';
import { startGateways } from '../test/support/gateway-node.ts';
import { freePort, redisAvailable, startRedis } from '../test/support/redis.ts';
import { load, type Measured } from './load.ts';
import { median, type Row } from './row.ts';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
const SESSIONS = Number(process.env.BENCH_SESSIONS ?? 100_000);
const CONNECTIONS = 50;
const WARM_UP_SECONDS = 5;
const AUTOMATIONS = Array.from({ length: 5 }, (_, n) => ({ id: `w${n}`, name: `Workspace ${n}` }));

interface Side {
  pid: number;
  port: number;
  token?: string;
  email?: string;
}

/** One side in a process of its own, so that both have one core each and the load the other. */
async function withSide<T>(mode: 'bare' | 'door', measure: (side: Side) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    let text = '';
    const side = await new Promise<Side>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the ${mode} side ended with ${code}`)));
      child.stdout.on('data', (chunk) => {
        text += chunk;
        const line = /^\{.*\}$/m.exec(text)?.[0];
        if (line) resolve({ ...JSON.parse(line), pid: child.pid });
      });
    });
    return await measure(side);
  } finally {
    child.kill();
  }
}

/** Time of all threads of a process on a core, in microseconds: other programs on the machine do not count. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

type Found = Measured & { cpuUs: number };

async function measured({ pid }: Side, wanted: Parameters<typeof load>[0]): Promise<Found> {
  // The compiler needs some ten thousand requests to settle; until then this would measure the compiler.
  await load({ ...wanted, seconds: Math.max(WARM_UP_SECONDS, SECONDS) });
  const runs: Found[] = [];
  for (let n = 0; n < 3; n++) {
    const before = cpuOf(pid);
    const run = await load(wanted);
    runs.push({ ...run, cpuUs: (cpuOf(pid) - before) / run.requests });
  }
  const rate = median(runs.map(({ requestsPerSecond }) => requestsPerSecond));
  const found = runs.find(({ requestsPerSecond }) => requestsPerSecond === rate) as Found;
  if (Object.keys(found.refused).length > 0) throw new Error(`${wanted.path}: refused ${JSON.stringify(found.refused)}`);
  return { ...found, cpuUs: median(runs.map(({ cpuUs }) => cpuUs)) };
}

const job = ({ port, token }: Side, path: string) => ({
  port,
  path,
  connections: CONNECTIONS,
  seconds: SECONDS,
  method: 'GET',
  headers: { ...(token ? { authorization: `Bearer ${token}` } : {}) },
});

async function doorRows(): Promise<Row[]> {
  const bare = await withSide('bare', (side) => measured(side, job(side, '/v2/workspaces')));
  const limit = { name: 'bare moleculer-web route, requests/s', value: bare.requestsPerSecond };
  const row = (name: string, { requestsPerSecond, p99Ms }: Measured, goal?: string): Row => ({
    name,
    value: requestsPerSecond,
    unit: `requests/s (p99 ${p99Ms} ms)`,
    limit,
    ratio: requestsPerSecond / limit.value,
    ...(goal ? { goal } : {}),
  });
  return withSide('door', async (side) => {
    const door = await measured(side, job(side, '/v2/workspaces'));
    const limited = await measured(side, job(side, '/v2/workspaces/w1/events'));
    return [
      { name: 'bare moleculer-web route', value: bare.requestsPerSecond, unit: `requests/s (p99 ${bare.p99Ms} ms)` },
      row('authenticated request through the door', door, '≥ 60 %'),
      {
        name: 'processor time of that request',
        value: Math.round(door.cpuUs),
        unit: 'µs',
        limit: { name: 'bare moleculer-web route, µs', value: Math.round(bare.cpuUs) },
        ratio: bare.cpuUs / door.cpuUs,
        goal: '≥ 60 %',
      },
      row('the same with a rate limit counted in the cache', limited),
      await signInRow(side),
    ];
  });
}

/** Sign-ins at once, as many as there are threads to hash with, against the hashing alone. */
async function signInRow({ port, email }: Side): Promise<Row> {
  const AT_ONCE = 4;
  const rate = async (one: () => Promise<unknown>) => {
    const end = performance.now() + SECONDS * 1000;
    const began = performance.now();
    let count = 0;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (performance.now() < end) {
          await one();
          count++;
        }
      }),
    );
    return count / ((performance.now() - began) / 1000);
  };
  const hashes = await rate(() => hashPassword('a-long-password-1'));
  const signIns = await rate(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/v2/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password: 'a-long-password-1' }),
    });
    await expectOk(Promise.resolve({ status: response.status, headers: response.headers, body: await response.json() }));
  });
  return {
    name: 'sign-ins with a password',
    value: Number(signIns.toFixed(1)),
    unit: 'per second',
    limit: { name: 'argon2id alone, hashes/s', value: Number(hashes.toFixed(1)) },
    ratio: signIns / hashes,
  };
}

async function sessionRows(): Promise<Row[]> {
  if (!redisAvailable()) return [];
  const redis = await startRedis({ isolated: true });
  const probe = new Redis(redis.url);
  const cache = await redisCache(redis.url, { namespace: 'bench' });
  const used = async () => Number(/used_memory:(\d+)/.exec(await probe.info('memory'))?.[1]);
  try {
    const sessions = createSessions(cache, 30 * 24 * 3600);
    const before = await used();
    const began = performance.now();
    for (let n = 0; n < SESSIONS; n += 500)
      await Promise.all(Array.from({ length: 500 }, (_, m) => sessions.start(`user-${n + m}`, 30 * 24 * 3600, { ip: '203.0.113.7' })));
    const seconds = (performance.now() - began) / 1000;
    const bytes = (await used()) - before;
    return [
      {
        name: `memory of ${SESSIONS} sessions in Redis`,
        value: Math.round(bytes / 1e6),
        unit: `MB (${Math.round(bytes / SESSIONS)} bytes each)`,
      },
      { name: 'sessions opened', value: Math.round(SESSIONS / seconds), unit: 'per second' },
    ];
  } finally {
    probe.disconnect();
    await cache.close();
    await redis.stop();
  }
}

export const rows = async (): Promise<Row[]> => [...(await doorRows()), ...(await sessionRows())];

const list = { visibility: 'published', identity: 'optional', handler: () => AUTOMATIONS };

async function bare(): Promise<void> {
  const port = await freePort();
  // The broker of the platform, so that what differs is the door alone.
  const folder = mkdtempSync(join(tmpdir(), 'prisme-bench-'));
  const config = loadConfig({}, { dataDir: folder, nodeId: 'bare' });
  const broker = new ServiceBroker({ ...brokerOptions(config), logger: false } as never);
  const open = { visibility: 'published', identity: 'any' };
  broker.createService({ name: 'workspaces', actions: { list: { ...open, handler: () => AUTOMATIONS } } } as never);
  broker.createService({
    name: 'web',
    mixins: [ApiGateway],
    actions: { rest: open, listAliases: false, addRoute: false, removeRoute: false },
    settings: {
      port,
      ip: '127.0.0.1',
      routes: [{ path: '/v2', aliases: { 'GET /workspaces': 'workspaces.list' }, mappingPolicy: 'restrict' }],
    },
  } as never);
  await broker.start();
  console.log(JSON.stringify({ port }));
  process.once('SIGTERM', () => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(0);
  });
}

async function door(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'prisme-bench-'));
  const file = join(folder, 'gateway.yml');
  writeFileSync(file, 'limits: { searchEvents: { limit: 1000000000 } }\n');
  const services = [
    { name: 'workspaces', actions: { list } },
    { name: 'events', actions: { find: list } },
  ];
  const gateways = await startGateways({ services: services as never }, { rateLimitDisabled: false, gatewayConfig: file });
  const person = await newUser(gateways.url);
  console.log(JSON.stringify({ port: Number(new URL(gateways.url).port), token: person.token, email: person.user?.email }));
  process.once('SIGTERM', async () => {
    await gateways.stop();
    rmSync(folder, { recursive: true, force: true });
    process.exit(0);
  });
}

if (process.argv[2] === 'bare') await bare();
if (process.argv[2] === 'door') await door();
