/** Two gateways and two events nodes over Redis: any of them serves any client, and one that is killed takes nothing with it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { io, type Socket } from 'socket.io-client';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { redisAvailable } from '../support/redis.ts';

if (!redisAvailable()) describe('events in a cluster', () => it.skip('needs Redis', () => {}));
else
  describe('events in a cluster', () => {
    let platform: Platform;
    let owner: Client;
    let path: string;
    let id: string;
    const sockets: Socket[] = [];
    const flows = new AbortController();

    beforeAll(async () => {
      platform = await startPlatform({ mode: 1 });
      await Promise.all([platform.start('events'), platform.start('gateway')]);
      owner = await newUser(platform.url, 'owner');
      ({ id } = await expectOk(owner.post('/workspaces', { name: 'Spread' })));
      path = `/workspaces/${id}`;
    }, 120_000);
    afterAll(async () => {
      for (const socket of sockets) socket.disconnect();
      flows.abort();
      await platform.stop();
    });

    /** Emits until it is durable: a node that dies in between says nothing, or that it is not there. */
    const emit = (type: string, n: number): Promise<PrismeEvent> =>
      eventually(
        async () =>
          ((await expectOk(owner.post(`${path}/events`, { events: [{ type, payload: { n } }] }))) as PrismeEvent[])[0] as PrismeEvent,
        { timeoutMs: 30_000, everyMs: 200 },
      );
    const seen = (events: PrismeEvent[]) => events.map(({ payload }) => payload.n);

    async function connect(gateway: number, transport: 'websocket' | 'polling', auth: object = {}) {
      const socket = io(`${platform.gateways[gateway]?.replace(/\/v2$/, '')}/v2/workspaces/${id}/events`, {
        transports: [transport],
        reconnection: false,
        forceNew: true,
        auth: { extraHeaders: { authorization: `Bearer ${owner.token}` }, filters: { types: ['spread.*'] }, ...auth },
      });
      sockets.push(socket);
      const events: PrismeEvent[] = [];
      socket.onAny((type, event) => type.startsWith('spread.') && events.push(event));
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
      return { socket, events };
    }

    async function stream(gateway: number, lastEventId?: string) {
      const response = await fetch(`${platform.gateways[gateway]}${path}/events/stream?types=spread.*&appInstanceDepth=0`, {
        headers: { authorization: `Bearer ${owner.token}`, ...(lastEventId && { 'last-event-id': lastEventId }) },
        signal: flows.signal,
      });
      expect(response.status).toBe(200);
      const flow = { events: [] as PrismeEvent[], isOver: false };
      void (async () => {
        let text = '';
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
          text += Buffer.from(chunk).toString();
          const frames = text.split('\n\n');
          text = frames.pop() ?? '';
          for (const frame of frames) {
            const data = /^event: spread\..*\ndata: (.*)$/m.exec(frame)?.[1];
            if (data) flow.events.push(JSON.parse(data));
          }
        }
      })()
        .catch(() => {})
        .finally(() => {
          flow.isOver = true;
        });
      return flow;
    }

    it('reach sockets, streams and polls of every gateway', async () => {
      const receivers = [await connect(0, 'websocket'), await connect(1, 'websocket'), await connect(1, 'polling')];
      const flow = [await stream(0), await stream(1)];
      const start = await emit('other', 0);
      const poll = owner.get(`${path}/events?types=spread.*&longpolling=20&afterId=${start.id}`);
      const event = await emit('spread.all', 1);

      await eventually(() => [...receivers, ...flow].every(({ events }) => events.length === 1));
      for (const { events } of [...receivers, ...flow]) expect(events).toEqual([event]);
      expect((await poll).body.result.events).toEqual([event]);
    }, 60_000);

    it('are emitted once under an Idempotency-Key, at whichever gateway it is repeated, also while an events node is killed', async () => {
      const { events } = await connect(1, 'websocket', { filters: { types: ['spread.once'] } });
      const clients = platform.gateways.map((url) => client(url, owner.token));
      const post = (n: number, gateway: number) =>
        expectOk<PrismeEvent[]>(
          (clients[gateway % clients.length] as Client).post(
            `${path}/events`,
            { events: [{ type: 'spread.once', payload: { n } }] },
            { 'idempotency-key': `once-${n}` },
          ),
        );
      // Every one twice at once, and not one asked again by its client: the gateways do.
      const asked = Array.from({ length: 40 }, (_, i) => post(i >> 1, i));
      await platform.kill(platform.nodes.find(({ part }) => part === 'events') as (typeof platform.nodes)[number]);
      const answers = await Promise.all(asked);
      const starting = platform.start('events');

      for (const [i, answer] of answers.entries()) {
        expect(answer).toMatchObject([{ type: 'spread.once', payload: { n: i >> 1 } }]);
        expect(answer).toEqual(answers[i ^ 1]);
      }
      expect(await post(7, 0)).toEqual(answers[14]);
      const wanted = new Set(answers.map(([event]) => event?.id));
      expect(wanted.size).toBe(20);
      await eventually(() => [...wanted].every((one) => events.some((event) => event.id === one)), { timeoutMs: 30_000 });
      const stored = () => expectOk(owner.get(`${path}/events?types=spread.once&limit=100`));
      await eventually(async () => expect((await stored()).result.events).toHaveLength(20), { timeoutMs: 60_000, everyMs: 200 });
      expect(new Set((await stored()).result.events.map((event: PrismeEvent) => event.id))).toEqual(wanted);
      await starting;
    }, 120_000);

    it('go on when an events node is killed: nothing emitted is missing, live, resumed or stored', async () => {
      const { socket, events } = await connect(0, 'websocket');
      const flows = [await stream(0), await stream(1)];
      const first = await emit('spread.kill', 0);
      await eventually(() => events.length === 1 && flows.every((flow) => flow.events.length === 1));
      await platform.kill(platform.nodes.find(({ part }) => part === 'events') as (typeof platform.nodes)[number]);
      for (let n = 1; n <= 10; n++) await emit('spread.kill', n);
      const wanted = Array.from({ length: 11 }, (_, n) => n);

      await eventually(() => new Set(seen(events)).size === 11, { timeoutMs: 30_000 });
      const resumed = await stream(1, first.id);
      await eventually(() => new Set(seen(resumed.events)).size === 10, { timeoutMs: 30_000 });
      const stored = () => expectOk(owner.get(`${path}/events?types=spread.kill&sort=asc`));
      await eventually(async () => new Set(seen((await stored()).result.events)).size === 11, { timeoutMs: 60_000, everyMs: 200 });

      // An emission that was repeated because its answer was lost is a second event; none arrives twice.
      for (const list of [events, resumed.events]) expect(new Set(list.map((event) => event.id)).size).toBe(list.length);
      expect([...new Set(seen(events))]).toEqual(wanted);

      // The client goes to the other gateway under its old id: no gap, no duplicate.
      const last = events.at(-1) as PrismeEvent;
      const old = socket.id as string;
      socket.disconnect();
      await emit('spread.gap', 11);
      const back = await connect(1, 'websocket', { reuseSocketId: old, afterId: last.id });
      await back.socket.emitWithAck('event', { type: 'spread.who', payload: { n: 12 } });
      await eventually(() => back.events.some(({ type }) => type === 'spread.who'));
      expect([...new Set(seen(back.events))]).toEqual([11, 12]);
      expect(back.events.at(-1)?.source.socketId).toBe(old);
    }, 120_000);

    it('end with the session, whichever gateway it was ended at', async () => {
      const here = await connect(0, 'websocket');
      const there = await connect(1, 'polling');
      const flow = await stream(1);
      await expectOk(owner.post('/logout', {}));

      await eventually(() => here.socket.disconnected && there.socket.disconnected && flow.isOver, { timeoutMs: 30_000 });
    }, 60_000);
  });
