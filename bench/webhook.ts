/**
 * webhook — the whole platform behind its public port, embedded, against bare node:http answering the same bytes in the same run.
 * Native events are durable, as in production; rate limits are off so that the machine is the limit.
 */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { client, expectOk, newUser } from '../test/support/client.ts';
import { eventually } from '../test/support/eventually.ts';
import { type Platform, startPlatform } from '../test/support/platform.ts';
import { load, type Measured } from './load.ts';
import { median, type Row } from './row.ts';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
const CONNECTIONS = 50;
const ROUNDS = 5;

type Job = Omit<Parameters<typeof load>[0], 'connections' | 'seconds'>;

const run = (job: Job, seconds: number): Promise<Measured> => load({ ...job, connections: CONNECTIONS, seconds });

/** The run in the middle by `figure`. */
function middle(runs: Measured[], figure: (run: Measured) => number): Measured {
  const wanted = median(runs.map(figure));
  return runs.find((one) => figure(one) === wanted) as Measured;
}

/**
 * A job and its limit in turns, after a warm-up: how fast a shared machine is changes within a minute, and both are to have the same share of that.
 * The ratio is the median of those of neighbouring runs.
 */
async function compare(job: Job, limit: Job): Promise<{ found: Measured; bare: Measured; ratio: number }> {
  await run(job, Math.max(1, SECONDS / 2));
  await run(limit, Math.max(1, SECONDS / 4));
  const found: Measured[] = [];
  const bare: Measured[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    bare.push(await run(limit, Math.max(1, SECONDS / 2)));
    found.push(await run(job, SECONDS));
  }
  const rate = ({ requestsPerSecond }: Measured) => requestsPerSecond;
  const refused = found.find((one) => Object.keys(one.refused).length > 0);
  if (refused) throw new Error(`${job.path}: refused ${JSON.stringify(refused.refused)}`);
  const ratio = median(found.map((one, n) => rate(one) / rate(bare[n] as Measured)));
  return { found: { ...middle(found, rate), p99Ms: median(found.map(({ p99Ms }) => p99Ms)) }, bare: middle(bare, rate), ratio };
}

/** A server of its own process, so that both sides have one core each, as the platform has. */
async function withBareNode<T>(work: (job: Job) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [import.meta.filename, 'bare'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const port = await new Promise<number>((resolve) => child.stdout.once('data', (chunk) => resolve(Number(chunk))));
    return await work({ port, method: 'POST', path: '/', body: '{"name":"Ada"}' });
  } finally {
    child.kill();
  }
}

const residentMb = (pid: number): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);

const TRIVIAL = { slug: 'trivial', name: 'Trivial', when: { endpoint: true }, do: [], output: { hello: '{{body.name}}' } };
const TWENTY = {
  slug: 'twenty',
  name: 'Twenty',
  when: { endpoint: true },
  do: Array.from({ length: 20 }, (_, n) =>
    n % 4 === 3
      ? { conditions: { [`{{a${n - 1}}} > 1 and {{body.name}} == "Ada"`]: [{ set: { name: `a${n}`, value: '{{body.name}}' } }] } }
      : { set: { name: `a${n}`, value: `{% ${n} * 2 %}` } },
  ),
  output: { last: '{{a18}}' },
};
const LOOP = {
  slug: 'loop',
  name: 'Loop',
  when: { endpoint: true },
  do: [{ set: { name: 'n', value: 0 } }, { repeat: { until: 1000, do: [{ set: { name: 'n', value: '{% {{n}} + 1 %}' } }] } }],
  output: { n: '{{n}}' },
};

export const rows = (): Promise<Row[]> => withBareNode(rowsBeside);

async function rowsBeside(limit: Job): Promise<Row[]> {
  const rows: Row[] = [];
  const began = performance.now();
  const platform: Platform = await startPlatform({ mode: 'embedded', env: { RATE_LIMIT_DISABLED: 'true', LOG_LEVEL: 'error' } });
  try {
    const pid = platform.nodes[0]?.process.pid as number;
    const owner = await newUser(platform.url);
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Bench' }));
    for (const automation of [TRIVIAL, TWENTY, LOOP]) await expectOk(owner.post(`/workspaces/${id}/automations`, automation));
    await eventually(async () => (await client(platform.url).post(`/workspaces/${id}/webhooks/trivial`, { name: 'Ada' })).status === 200);
    rows.push({
      name: 'start to first answered webhook (account and workspace made on the way)',
      value: Math.round(performance.now() - began),
      unit: 'ms',
      goal: '< 3000 ms',
    });
    rows.push({ name: 'idle memory, embedded', value: residentMb(pid), unit: 'MB resident', goal: '< 150 MB' });

    const port = Number(new URL(platform.url).port);
    for (const [name, slug, goal] of [
      ['trivial webhook', 'trivial', 0.15],
      ['webhook of 20 instructions', 'twenty', 0.07],
      ['webhook of a 1000-turn loop', 'loop', 0.008],
    ] as const) {
      const path = `/v2/workspaces/${id}/webhooks/${slug}`;
      const { found, bare, ratio } = await compare({ port, method: 'POST', path, body: '{"name":"Ada"}' }, limit);
      rows.push({
        name,
        value: found.requestsPerSecond,
        unit: `requests/s (p50 ${found.p50Ms} ms, p99 ${found.p99Ms} ms)`,
        limit: { name: `bare node:http, requests/s in turns with it (p99 ${bare.p99Ms} ms)`, value: bare.requestsPerSecond },
        ratio,
        goal: `≥ ${(goal * 100).toFixed(1)} %`,
      });
    }
    rows.push({ name: 'memory after that load', value: residentMb(pid), unit: 'MB resident', goal: '< 300 MB' });
    return rows;
  } finally {
    await platform.stop();
  }
}

if (process.argv[2] === 'bare') {
  const server = createServer((request, response) => {
    request.on('data', () => {});
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json', 'content-length': 15 }).end('{"hello":"Ada"}'));
  });
  server.listen(0, '127.0.0.1', () => console.log((server.address() as { port: number }).port));
}
