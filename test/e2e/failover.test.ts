/** Nodes die while the platform works: what clients were promised still happens. Over a real Redis, with `kill -9`. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, type PlatformNode, startPlatform } from '../support/platform.ts';
import { redisAvailable } from '../support/redis.ts';

const WORK = {
  slug: 'work',
  name: 'Work',
  when: { events: ['job.asked'] },
  do: [
    { set: { name: 'global.started[]', value: '{{payload.n}}' } },
    { wait: { timeout: 0.3 } },
    { set: { name: 'global.done[]', value: '{{payload.n}}' } },
    { emit: { event: 'job.done', payload: { n: '{{payload.n}}' } } },
  ],
};
const STATE = {
  slug: 'state',
  name: 'State',
  when: { endpoint: true },
  do: [],
  output: { started: '{{global.started}}', done: '{{global.done}}' },
};

/** Counts, then waits for a word before it answers. */
const PAY = {
  slug: 'pay',
  name: 'Pay',
  when: { endpoint: true },
  do: [{ set: { name: 'global.paid.{{body.n}}[]', value: true } }, { wait: { oneOf: [{ event: 'pay.on' }], timeout: 120 } }],
  output: { paid: '{{body.n}}' },
};
const PAID = { slug: 'paid', name: 'Paid', when: { endpoint: true }, do: [], output: '{{global.paid}}' };

const suite = redisAvailable() ? describe : describe.skip;

suite('a cluster whose nodes are killed', () => {
  let platform: Platform;
  let owner: Client;
  let id: string;

  beforeAll(async () => {
    platform = await startPlatform({ mode: 2 });
    owner = await newUser(platform.url, 'owner');
    id = (await expectOk(owner.post('/workspaces', { name: 'Failover' }))).id;
    for (const automation of [WORK, STATE, PAY, PAID]) await expectOk(owner.post(`/workspaces/${id}/automations`, automation));
    await eventually(async () => (await owner.get(`/workspaces/${id}/webhooks/state`)).status === 200);
  }, 120_000);

  afterAll(() => platform?.stop(), 60_000);

  it('finishes every run when a runtime is killed in the middle of them', async () => {
    const jobs = Array.from({ length: 60 }, (_, n) => n);
    for (let n = 0; n < jobs.length; n += 10) {
      await expectOk(
        owner.post(`/workspaces/${id}/events`, {
          events: jobs.slice(n, n + 10).map((job) => ({ type: 'job.asked', payload: { n: job } })),
        }),
      );
      if (n === 20) await platform.kill(platform.nodes.find(({ part }) => part === 'runtime') as (typeof platform.nodes)[number]);
    }

    await eventually(
      async () => {
        const state = await expectOk(owner.get(`/workspaces/${id}/webhooks/state`));
        expect([...new Set(state.done)].sort((a: any, b: any) => a - b)).toEqual(jobs);
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    const state = await expectOk(owner.get(`/workspaces/${id}/webhooks/state`));
    // An effect that completed is not repeated, whichever node goes on with the run.
    expect(state.done).toHaveLength(jobs.length);
    expect(state.started).toHaveLength(jobs.length);
    await platform.start('runtime');
  });

  it('answers a webhook whose node died with an error that may be repeated, and the repetition with the first answer', async () => {
    const names = Array.from({ length: 8 }, (_, n) => `n${n}`);
    const paid = async (): Promise<Record<string, unknown[]>> => (await expectOk(owner.get(`/workspaces/${id}/webhooks/paid`))) || {};
    let isOver = false;
    const pay = (n: string) => owner.post(`/workspaces/${id}/webhooks/pay`, { n }, { 'idempotency-key': `pay-${n}` });
    const first = names.map(pay);
    await eventually(async () => expect(Object.keys(await paid()).sort()).toEqual(names), { timeoutMs: 30_000 });

    await platform.kill(
      platform.nodes.find(({ part, process: { signalCode } }) => part === 'runtime' && !signalCode) as (typeof platform.nodes)[number],
    );
    const replacement = platform.start('runtime');
    const talking = (async () => {
      while (!isOver) {
        await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type: 'pay.on', payload: {} }] })).catch(() => {});
        await new Promise((done) => setTimeout(done, 500));
      }
    })();
    const answers = await Promise.all(first);
    const lost = names.filter((_, n) => answers[n]?.status !== 200);
    for (const n of lost)
      expect(answers[names.indexOf(n)]).toMatchObject({ status: 503, body: { error: expect.any(String), message: expect.any(String) } });
    const again = await Promise.all(names.map((n) => eventually(async () => expectOk(pay(n)), { timeoutMs: 60_000 })));
    isOver = true;
    await talking;

    expect(again).toEqual(names.map((n) => ({ paid: n })));
    // Repeated or not, each has paid once.
    expect(await paid()).toEqual(Object.fromEntries(names.map((n) => [n, [true]])));
    await replacement;
  });

  it('serves a session at every gateway, also after the one that opened it was killed', async () => {
    const [first, second] = platform.gateways as [string, string];
    const person = await newUser(first, 'traveller');
    expect((await client(second, person.token).get('/me')).body.id).toBe(person.user?.id);

    await platform.kill(platform.nodes.find(({ url }) => url === first) as (typeof platform.nodes)[number]);

    expect((await client(second, person.token).get('/me')).body.id).toBe(person.user?.id);
    expect((await client(second, person.token).get('/workspaces')).status).toBe(200);
    owner = Object.assign(client(second, owner.token), { user: owner.user });
  });

  it('takes up live clients that come while a dead events node is not missed yet: none is refused, none is told of a gap', async () => {
    const tick = async () =>
      (await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type: 'beat', payload: {} }] })))[0].id as string;
    const [before, missed] = [await tick(), await tick()];
    const victim = platform.nodes.find(({ part }) => part === 'events') as PlatformNode;

    await platform.kill(victim);
    const streams = Array.from({ length: 25 }, async () => {
      const away = new AbortController();
      const answer = await fetch(`${owner.url}/workspaces/${id}/events/stream?types=beat`, {
        headers: { authorization: `Bearer ${owner.token}`, 'last-event-id': before },
        signal: away.signal,
      });
      let text = '';
      if (answer.status === 200)
        for await (const chunk of (answer.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
          text += chunk;
          if (text.includes(missed)) break;
        }
      away.abort();
      return answer.status;
    });
    const sockets = Array.from({ length: 25 }, async () => {
      const heard: unknown[] = [];
      const hear = (type: string, event: { id?: string }) => heard.push(type === 'beat' ? event.id : type);
      const socket = await owner.events(id, { payloadQuery: [{ type: 'beat' }] }, { auth: { afterId: before }, hear });
      await eventually(() => heard.length > 0, { timeoutMs: 20_000 });
      socket.close();
      return heard;
    });

    expect(new Set(await Promise.all(streams))).toEqual(new Set([200]));
    expect(await Promise.all(sockets)).toEqual(sockets.map(() => [missed]));
    await platform.start('events');
  }, 60_000);

  it('keeps every event of the history when an events node is killed while they arrive', async () => {
    const sent: string[] = [];
    for (let n = 0; n < 20; n++) {
      // What was on its way to the dying node is refused as retryable, after at most the time it takes to be missed.
      const events = await eventually(
        () =>
          expectOk(
            owner.post(`/workspaces/${id}/events`, {
              events: Array.from({ length: 10 }, (_, m) => ({ type: 'metric.read', payload: { n: n * 10 + m } })),
            }),
          ),
        { timeoutMs: 30_000, everyMs: 200 },
      );
      sent.push(...events.map((event: { id: string }) => event.id));
      if (n === 8)
        await platform.kill(platform.nodes.find((node) => node.part === 'events' && node.process.signalCode === null) as PlatformNode);
    }

    await eventually(
      async () => {
        const search = await expectOk(owner.post(`/workspaces/${id}/search`, { query: { term: { type: 'metric.read' } }, limit: 500 }));
        const found = search.documents.map((event: { id: string }) => event.id);
        // An attempt that was refused may have been written all the same; nothing that was confirmed is missing or there twice.
        expect(found).toEqual(expect.arrayContaining(sent));
        expect(new Set(found).size).toBe(found.length);
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
  });

  it('brings a live client back to another gateway without a gap and without a double', async () => {
    const gateway = await platform.start('gateway');
    const there = Object.assign(client(gateway.url as string, owner.token), { user: owner.user });
    const seen: string[] = [];
    const hear = (type: string, event: { id: string }) => type === 'tick' && seen.push(event.id);
    const socket = await there.events(id, { payloadQuery: [{ type: 'tick' }] }, { hear });
    const logicalId = socket.id;
    const tick = async () =>
      (await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type: 'tick', payload: {} }] })))[0].id as string;
    const sent = [await tick(), await tick()];
    await eventually(() => seen.length === 2);

    await platform.kill(gateway);
    sent.push(await tick(), await tick());
    const again = await owner.events(
      id,
      { payloadQuery: [{ type: 'tick' }] },
      { auth: { reuseSocketId: logicalId, afterId: seen.at(-1) }, hear },
    );
    sent.push(await tick());

    await eventually(() => expect([...seen].sort()).toEqual([...sent].sort()));
    socket.close();
    again.close();
  });
});
