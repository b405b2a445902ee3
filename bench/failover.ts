/**
 * failover — what clients notice when a node goes: a cluster of two processes of each service over Redis, steady traffic through one gateway, and a node
 * that is killed (`kill -9`) or asked to stop (SIGTERM). For how long do requests fail or hang, and how many? docs/operations.md quotes these rows.
 */
import { type Client, expectOk, newUser } from '../test/support/client.ts';
import { eventually } from '../test/support/eventually.ts';
import { type Platform, startPlatform } from '../test/support/platform.ts';
import { redisAvailable } from '../test/support/redis.ts';
import type { Row } from './row.ts';

const EVERY_MS = 40;
const BEFORE_MS = 1_500;
const AFTER_MS = 16_000;
/** An answer later than this counts as a stall. */
const SLOW_MS = 1_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Call {
  /** Since the node went, ms; negative before. */
  at: number;
  ms: number;
  status: number;
}

const REQUESTS: Record<string, (owner: Client, id: string) => Promise<{ status: number }>> = {
  webhook: (owner, id) => owner.post(`/workspaces/${id}/webhooks/hello`, {}),
  'event accepted': (owner, id) => owner.post(`/workspaces/${id}/events`, { events: [{ type: 'load.sent', payload: {} }] }),
  'workspace read': (owner, id) => owner.get(`/workspaces/${id}/automations/hello`),
};

async function during(owner: Client, id: string, go: () => Promise<unknown>): Promise<Record<string, Call[]>> {
  const calls: Record<string, Call[]> = Object.fromEntries(Object.keys(REQUESTS).map((name) => [name, []]));
  const open: Promise<void>[] = [];
  const startedAt = performance.now();
  let wentAt: number | undefined;
  while (wentAt === undefined || performance.now() < wentAt + AFTER_MS) {
    if (wentAt === undefined && performance.now() > startedAt + BEFORE_MS) {
      wentAt = performance.now();
      void go();
    }
    for (const [name, request] of Object.entries(REQUESTS)) {
      const sentAt = performance.now();
      open.push(
        request(owner, id).then(
          ({ status }) => void calls[name]?.push({ at: sentAt, ms: performance.now() - sentAt, status }),
          () => void calls[name]?.push({ at: sentAt, ms: performance.now() - sentAt, status: 0 }),
        ),
      );
    }
    await pause(EVERY_MS);
  }
  await Promise.all(open);
  for (const list of Object.values(calls)) for (const call of list) call.at -= wentAt as number;
  return calls;
}

function rowsOf(what: string, calls: Record<string, Call[]>): Row[] {
  return Object.entries(calls).map(([name, list]) => {
    const after = list.filter(({ at, ms }) => at + ms >= 0);
    const failed = after.filter(({ status }) => status === 0 || status >= 500);
    const bad = after.filter(({ ms, status }) => status === 0 || status >= 500 || ms > SLOW_MS);
    const longest = Math.max(0, ...after.map(({ ms }) => ms)) / 1_000;
    const until = Math.max(0, ...bad.map(({ at }) => at)) / 1_000;
    return {
      name: `${what}: ${name}: ${failed.length} of ${after.length} failed, longest ${longest.toFixed(1)} s, last bad one sent after`,
      value: Number(until.toFixed(1)),
      unit: 's',
    };
  });
}

export async function rows(): Promise<Row[]> {
  if (!redisAvailable()) return [];
  const platform: Platform = await startPlatform({ mode: 2 });
  const found: Row[] = [];
  try {
    const owner = await newUser(platform.url, 'failover');
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Failover' }));
    await expectOk(
      owner.post(`/workspaces/${id}/automations`, { slug: 'hello', name: 'Hello', when: { endpoint: true }, do: [], output: 'hi' }),
    );
    await eventually(async () => (await owner.get(`/workspaces/${id}/webhooks/hello`)).status === 200);
    for (const [signal, word] of [
      ['kill', 'killed'],
      ['stopNode', 'stopped in order'],
    ] as const)
      for (const part of ['runtime', 'workspaces', 'events']) {
        const node = platform.nodes.find((one) => one.part === part && one.process.exitCode === null && one.process.signalCode === null);
        const calls = await during(owner, id, () => platform[signal](node as never));
        found.push(...rowsOf(`${part} ${word}`, calls));
        await platform.start(part);
        await pause(8_000);
      }
  } finally {
    await platform.stop();
  }
  return found;
}
