/**
 * soak — what stays of the speed after a while: embedded, and two nodes over Redis, under a mixture of runs, with a log that is full after the first third.
 * Each row compares the last third with the first. What grows with the log, with the waits or with the clock is seen here and in no short run.
 * `npm run bench -- soak`, not part of the others: BENCH_SOAK_SECONDS (180) for each of the two.
 */
import { readFileSync } from 'node:fs';
import { client, expectOk, newUser } from '../test/support/client.ts';
import { eventually } from '../test/support/eventually.ts';
import { type Platform, startPlatform } from '../test/support/platform.ts';
import { redisAvailable } from '../test/support/redis.ts';
import { load, type Measured } from './load.ts';
import { median, type Row } from './row.ts';

const SECONDS = Number(process.env.BENCH_SOAK_SECONDS ?? 180);
const TURN_S = 6;
/** Of each third. */
const TURNS = Math.max(2, Math.round(SECONDS / 3 / TURN_S));

const set = (name: string, value: unknown) => ({ set: { name, value } });
const emit = (event: string, payload: object) => ({ emit: { event, payload } });

/** Webhooks: one that changes a global context and starts a run by an event, one that changes a session's, one that waits for the answer to its event. */
const KINDS = { counter: 20, session: 20, waiter: 10 };
const AUTOMATIONS = [
  {
    slug: 'counter',
    when: { endpoint: true },
    do: [set('global.n', '{% {{global.n}} + 1 %}'), emit('order.made', { n: '{{global.n}}' })],
    output: 'ok',
  },
  { slug: 'listener', when: { events: ['order.made'] }, do: [set('global.seen', '{% {{global.seen}} + 1 %}')] },
  { slug: 'session', when: { endpoint: true }, do: [set('session.name', '{{body.name}}')], output: '{{session.name}}' },
  {
    slug: 'waiter',
    when: { endpoint: true },
    do: [
      set('id', '{{run.correlationId}}'),
      emit('ping', { id: '{{id}}' }),
      { wait: { oneOf: [{ event: 'pong', filters: { 'payload.id': '{{id}}' } }], timeout: 20, output: 'answer' } },
    ],
    output: '{{answer.payload.id}}',
  },
  { slug: 'answerer', when: { events: ['ping'] }, do: [emit('pong', { id: '{{payload.id}}' })] },
].map((automation) => ({ name: automation.slug, ...automation }));

type Kind = keyof typeof KINDS;
type Turn = Record<Kind, Measured> & { rss: number };

const residentMb = ({ nodes }: Platform): number =>
  Math.max(...nodes.map(({ process: { pid } }) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024));

async function soak(platform: Platform): Promise<Turn[]> {
  const owner = await newUser(platform.url);
  const { id } = await expectOk(owner.post('/workspaces', { name: 'Soak' }));
  for (const automation of AUTOMATIONS) await expectOk(owner.post(`/workspaces/${id}/automations`, automation));
  const answers = async () => (await client(platform.url).post(`/workspaces/${id}/webhooks/waiter`, {})).status === 200;
  await eventually(answers, { timeoutMs: 20_000 });
  const gateways = platform.gateways.length ? platform.gateways : [platform.url];
  const one = async (): Promise<Turn> => {
    const runs = await Promise.all(
      Object.entries(KINDS).map(async ([kind, connections], n) => {
        const { port } = new URL(gateways[n % gateways.length] as string);
        const path = `/v2/workspaces/${id}/webhooks/${kind}`;
        const run = await load({ port: Number(port), connections, seconds: TURN_S, method: 'POST', path, body: '{"name":"Ada"}' });
        if (Object.keys(run.refused).length) throw new Error(`${kind}: refused ${JSON.stringify(run.refused)}`);
        return [kind, run] as const;
      }),
    );
    return { ...(Object.fromEntries(runs) as Record<Kind, Measured>), rss: residentMb(platform) };
  };
  await one();
  const turns: Turn[] = [];
  while (turns.length < 3 * TURNS) turns.push(await one());
  return turns;
}

function rowsOf(name: string, turns: Turn[]): Row[] {
  const first = turns.slice(0, TURNS);
  const last = turns.slice(-TURNS);
  const of = (list: Turn[], kind: Kind, figure: 'requestsPerSecond' | 'p99Ms') =>
    Math.round(median(list.map((turn) => turn[kind][figure])));
  const rows = (Object.keys(KINDS) as Kind[]).map((kind): Row => {
    const before = of(first, kind, 'requestsPerSecond');
    const after = of(last, kind, 'requestsPerSecond');
    return {
      name: `${name}: ${kind}`,
      value: after,
      unit: `requests/s (p99 ${of(last, kind, 'p99Ms')} ms)`,
      limit: { name: `the first third, p99 ${of(first, kind, 'p99Ms')} ms`, value: before },
      ratio: after / before,
      goal: '≥ 80 %',
    };
  });
  const memory = (list: Turn[]) => Math.round(median(list.map(({ rss }) => rss)));
  return [
    ...rows,
    { name: `${name}: memory of the largest node`, value: memory(last), unit: `MB resident (${memory(first)} in the first third)` },
  ];
}

async function measured(name: string, options: Parameters<typeof startPlatform>[0], maxEntries: number): Promise<Row[]> {
  const platform = await startPlatform({ ...options, env: { LOG_LEVEL: 'error', BUS_MAX_ENTRIES: String(maxEntries) } });
  try {
    return rowsOf(name, await soak(platform));
  } finally {
    await platform.stop();
  }
}

export async function rows(): Promise<Row[]> {
  // Some 5000 and 4000 events a second: full in the second third.
  const found = await measured('embedded', { mode: 'embedded' }, 1_700 * SECONDS);
  if (redisAvailable()) found.push(...(await measured('two nodes over Redis', { mode: 1, parts: ['all', 'all'] }, 1_400 * SECONDS)));
  return found;
}
