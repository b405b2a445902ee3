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

/** Median of three runs by throughput, after a warm-up. */
async function measure(job: Parameters<typeof load>[0]): Promise<Measured> {
  await load({ ...job, seconds: Math.max(1, SECONDS / 2) });
  const runs = [];
  for (let n = 0; n < 3; n++) runs.push(await load(job));
  const rate = median(runs.map(({ requestsPerSecond }) => requestsPerSecond));
  return runs.find(({ requestsPerSecond }) => requestsPerSecond === rate) as Measured;
}

/** A server of its own process, so that both sides have one core each, as the platform has. */
async function bareNode(): Promise<Measured> {
  const child = spawn(process.execPath, [import.meta.filename, 'bare'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const port = await new Promise<number>((resolve) => child.stdout.once('data', (chunk) => resolve(Number(chunk))));
    return await measure({ port, connections: CONNECTIONS, seconds: SECONDS, method: 'POST', path: '/', body: '{"name":"Ada"}' });
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

export async function rows(): Promise<Row[]> {
  const bare = await bareNode();
  const limit = { name: 'bare node:http, requests/s', value: bare.requestsPerSecond };
  const rows: Row[] = [{ name: 'bare node:http', value: bare.requestsPerSecond, unit: `requests/s (p99 ${bare.p99Ms} ms)` }];

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
      const found = await measure({
        port,
        connections: CONNECTIONS,
        seconds: SECONDS,
        method: 'POST',
        path: `/v2/workspaces/${id}/webhooks/${slug}`,
        body: '{"name":"Ada"}',
      });
      if (Object.keys(found.refused).length) throw new Error(`${name}: refused ${JSON.stringify(found.refused)}`);
      rows.push({
        name,
        value: found.requestsPerSecond,
        unit: `requests/s (p50 ${found.p50Ms} ms, p99 ${found.p99Ms} ms)`,
        limit,
        ratio: found.requestsPerSecond / limit.value,
        goal: `≥ ${goal * 100} %`,
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
