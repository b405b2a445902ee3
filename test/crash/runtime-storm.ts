/**
 * runtime-storm — many runs of one automation while the processes that run them are killed and replaced. The automation counts, fetches from a
 * stub that counts keys, emits, waits for the answer of another automation, calls a third one and tells its result in an event. Every run must end
 * with the expected result, told once: repeated or not, the event has one id.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../../mixins/auth/identity-keys.ts';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { openCache } from '../../mixins/storage/cache/open.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import { nodeEnvironment, nodeFlags } from '../../scripts/node-options.mjs';
import { startRedis } from '../support/redis.ts';

export interface StormReport {
  runs: number;
  kills: number;
  /** Runs that ended with the expected result, and those that are missing after the time-out. */
  done: number;
  missing: number[];
  /** Runs that told their end in more than one event. */
  doubled: number;
  /** Runs whose execution was told in more than one native event. */
  doubledNative: number;
  counter: number;
  /** Distinct idempotency keys the stub saw, and all its requests: the difference are repetitions with the same key. */
  keys: number;
  requests: number;
  seconds: number;
  /** Milliseconds from an event to the end of its run, kills and recovery included. */
  latencyP50Ms: number;
  latencyP99Ms: number;
  latencyMaxMs: number;
  /** Runs under way or waiting for their turn when a process was killed, and milliseconds from that kill to their end. */
  interrupted: number;
  recoveryP50Ms: number;
  recoveryP99Ms: number;
}

const root = resolve(import.meta.dirname, '../..');
const SERVICES = ['workspaces', 'automations', 'app-instances', 'apps', 'security', 'secrets', 'permissions', 'versions'];

const automationsOf = (stubUrl: string) => ({
  order: {
    when: { events: ['order.placed'] },
    do: [
      { set: { name: 'global.count', value: '{% {{global.count}} + 1 %}' } },
      { fetch: { url: `${stubUrl}/charge`, method: 'POST', body: { n: '{{payload.n}}' }, output: 'charge' } },
      { emit: { event: 'order.check', payload: { n: '{{payload.n}}' }, output: 'sent' } },
      { wait: { oneOf: [{ event: 'order.checked', filters: { 'payload.of': '{{sent.id}}' } }], timeout: 120, output: 'checked' } },
      { double: { n: '{{payload.n}}', output: 'twice' } },
      {
        emit: {
          event: 'order.ended',
          payload: { n: '{{payload.n}}', twice: '{{twice}}', charged: '{{charge.n}}', checked: '{{checked.payload.n}}' },
        },
      },
    ],
  },
  check: { when: { events: ['order.check'] }, do: [{ emit: { event: 'order.checked', payload: { of: '{{id}}', n: '{{payload.n}}' } } }] },
  double: { do: [], output: '{% {{n}} * 2 %}' },
});

export async function storm({
  runs,
  processes = 3,
  killEveryMs = 1_000,
  perSecond = 100,
  timeoutMs = 120_000,
}: {
  runs: number;
  processes?: number;
  killEveryMs?: number;
  perSecond?: number;
  timeoutMs?: number;
}): Promise<StormReport> {
  const redis = await startRedis();
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-storm-'));
  const seen: string[] = [];
  const stub = createServer((request, response) => {
    let text = '';
    request.on('data', (piece) => (text += piece));
    request.on('end', () => {
      seen.push(String(request.headers['idempotency-key']));
      setTimeout(() => response.setHeader('content-type', 'application/json').end(text), 20);
    });
  });
  await new Promise<void>((done) => stub.listen(0, '127.0.0.1', done));
  const stubUrl = `http://127.0.0.1:${(stub.address() as { port: number }).port}`;
  const settings = {
    DATA_DIR: dataDir,
    PRISME_NAMESPACE: `storm${hexId().slice(0, 6)}`,
    BUS_URL: redis.url,
    CACHE_URL: redis.url,
    TRANSPORTER: redis.url,
    RATE_LIMIT_DISABLED: 'true',
    FETCH_ALLOWED_PRIVATE_HOSTS: '127.0.0.1',
    LOG_LEVEL: 'error',
  };
  const config = loadConfig({ ...settings, NODE_ID: 'storm-main' });
  const broker = new ServiceBroker({ ...brokerOptions(config), logger: false });
  for (const name of SERVICES) broker.createService((await import(`../../services/workspaces/${name}.service.ts`)).default);
  await broker.start();
  const cache = await openCache(config);
  const bus = await openBus(config);

  let serial = 0;
  const children = new Set<ChildProcess>();
  const start = async () => {
    const child = spawn(process.execPath, [...nodeFlags, resolve(import.meta.dirname, 'runtime-child.ts')], {
      env: { ...nodeEnvironment(root, {}), PATH: process.env.PATH, ...settings, NODE_ID: `storm-${++serial}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((done, fail) => {
      child.stdout?.once('data', () => done());
      child.once('exit', () => fail(new Error('a runtime process did not start')));
    });
    children.add(child);
  };
  const kill = async () => {
    const [victim] = [...children].sort(() => Math.random() - 0.5);
    if (!victim) return;
    children.delete(victim);
    victim.kill('SIGKILL');
  };

  const began = Date.now();
  const killedAt: number[] = [];
  const endedAt = new Map<number, number>();
  /** Payloads of the events that told a run's end, by their id. */
  const results = new Map<number, Map<string, object>>();
  const sentAt: number[] = [];
  /** Ids of the native events that told of the execution of an order, by its correlation id. */
  const executions = new Map<string, Set<string>>();
  let isOver = false;
  try {
    await Promise.all(Array.from({ length: processes }, start));
    const identity = () => ({
      identity: identityKeysOf(broker).sign({ kind: 'user', userId: 'owner', sessionId: 's', correlationId: hexId() } as never),
    });
    const call = (action: string, params: object) => broker.call<any, object>(action, params, { meta: identity() } as never);
    const { id } = await call('workspaces.create', { body: { name: 'Storm' } });
    for (const [slug, automation] of Object.entries(automationsOf(stubUrl)))
      await call('automations.create', { workspaceId: id, body: { slug, name: slug, ...automation } });

    await bus.on(
      [EMIT_TOPIC, 'runtime.automations.executed'],
      ({ id: eventId, type, payload, source }) => {
        if (type === 'runtime.automations.executed' && payload.slug === 'order') {
          const ids = executions.get(source.correlationId) ?? new Set();
          executions.set(source.correlationId, ids.add(eventId));
        }
        if (type !== 'order.ended') return;
        const { n } = payload as { n: number };
        if (!endedAt.has(n)) endedAt.set(n, Date.now());
        results.set(n, (results.get(n) ?? new Map()).set(eventId, payload));
      },
      { mode: 'broadcast' },
    );
    const killing = (async () => {
      while (!isOver) {
        await new Promise((done) => setTimeout(done, killEveryMs));
        if (isOver) return;
        killedAt.push(Date.now());
        await kill();
        await start();
      }
    })();
    // Awaited at the end; until then a failure must not end the process without a word.
    killing.catch(() => {});
    const looking = (async () => {
      while (endedAt.size < runs && !isOver) await new Promise((done) => setTimeout(done, 100));
    })();
    looking.catch(() => {});
    for (let n = 0; n < runs; n++) {
      sentAt.push(Date.now());
      await bus.send('order.placed', { n }, { topic: EMIT_TOPIC, source: { workspaceId: id, correlationId: hexId() } });
      if (n % 10 === 9) await new Promise((done) => setTimeout(done, 10_000 / perSecond));
    }
    await Promise.race([looking, new Promise((done) => setTimeout(done, timeoutMs).unref())]);
    isOver = true;
    await Promise.all([killing, looking]);
    const all = Array.from({ length: runs }, (_, n) => n);
    const isRight = (n: number) => {
      const told = [...(results.get(n)?.values() ?? [])] as { twice: number; charged: number; checked: number }[];
      return told.length > 0 && told.every(({ twice, charged, checked }) => twice === 2 * n && charged === n && checked === n);
    };
    const latencies = all
      .flatMap((n) => (endedAt.has(n) ? [(endedAt.get(n) as number) - (sentAt[n] as number)] : []))
      .sort((a, b) => a - b);
    const recoveries = all
      .flatMap((n) => {
        const end = endedAt.get(n) ?? 0;
        const kill = killedAt.find((time) => time >= (sentAt[n] as number) && time <= end);
        return kill === undefined ? [] : [end - kill];
      })
      .sort((a, b) => a - b);
    // The last run counts before it tells its end.
    const global = (await cache.get<{ count?: number }>(`ctx:{${id}}:global`))?.value;
    const at = (share: number, times = latencies) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? -1;
    return {
      runs,
      kills: killedAt.length,
      done: all.filter(isRight).length,
      missing: all.filter((n) => !results.has(n)).slice(0, 20),
      doubled: [...results.values()].filter((told) => told.size > 1).length,
      doubledNative: [...executions.values()].filter((ids) => ids.size > 1).length,
      counter: global?.count ?? 0,
      keys: new Set(seen).size,
      requests: seen.length,
      seconds: Math.round((Date.now() - began) / 100) / 10,
      latencyP50Ms: at(0.5),
      latencyP99Ms: at(0.99),
      latencyMaxMs: at(1),
      interrupted: recoveries.length,
      recoveryP50Ms: at(0.5, recoveries),
      recoveryP99Ms: at(0.99, recoveries),
    };
  } finally {
    isOver = true;
    for (const child of children) child.kill('SIGKILL');
    await bus.close({ drainMs: 0 });
    await cache.close();
    await broker.stop();
    stub.close();
    stub.closeAllConnections();
    await redis.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  // As fast as two cores manage while they start a process a second: what waits for its turn is no measure of recovery.
  const perSecond = Number(process.env.STORM_RATE ?? 20);
  const report = await storm({ runs: Number(process.env.STORM_RUNS ?? 2000), perSecond, timeoutMs: 900_000 });
  console.log(JSON.stringify(report, null, 2));
  process.exit(
    report.done === report.runs && report.doubled === 0 && report.counter === report.runs && report.keys === report.runs ? 0 : 1,
  );
}
