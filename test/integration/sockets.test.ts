import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { eventually } from '../support/eventually.ts';
import { connected, type LivePlatform, refused, startLive } from '../support/live.ts';

let platform: LivePlatform;
beforeAll(async () => {
  platform = await startLive({ nodes: 2 });
});
afterAll(() => platform.stop());

const types = (events: PrismeEvent[]) => events.map(({ type }) => type);

/** Everything sent before has been delivered: a marker that the socket may read has arrived. */
async function settled(received: PrismeEvent[], workspaceId: string, userId: string) {
  const marker = `marker.${Math.random().toString(36).slice(2)}`;
  await platform.emit(workspaceId, marker, {}, { target: { userId } });
  await eventually(() => received.some(({ type }) => type === marker));
  return received.filter(({ type }) => !type.startsWith('marker.'));
}

describe('connecting a socket', () => {
  it.each([
    ['auth.extraHeaders', { auth: { extraHeaders: { authorization: 'Bearer owner/a1' } } }],
    ['auth.authorization', { auth: { authorization: 'Bearer owner/a2' } }],
    ['the header', { extraHeaders: { authorization: 'Bearer owner/a3' } }],
    ['the cookie access-token', { extraHeaders: { cookie: 'x=1; access-token=owner%2Fa4' } }],
    ['an API key alone', { extraHeaders: { 'x-prismeai-api-key': 'key' } }],
    ['an API key in auth.extraHeaders', { auth: { extraHeaders: { 'X-Prismeai-Api-Key': 'key' } } }],
  ])('accepts credentials from %s', async (_name, over) => {
    await connected(platform.client('', 'w1', over));
  });

  it('prefers auth.extraHeaders to the header', async () => {
    const socket = platform.client('owner/b1', 'w1', { extraHeaders: { authorization: 'Bearer bad' } });

    await connected(socket);
  });

  it.each([
    ['without credentials', '', 'Missing authentication credentials'],
    ['with a refused token', 'bad', 'AuthenticationError: Invalid token.'],
    [
      'while identities cannot be checked',
      'broken',
      'Could not verify provided credentials, please try again later or initiate a new session.',
    ],
  ])('is refused %s, and told why', async (_name, token, message) => {
    expect((await refused(platform.client(token, 'w1'))).message).toBe(message);
  });

  it('is refused with an unknown API key', async () => {
    expect((await refused(platform.client('owner/b2', 'w1', { extraHeaders: { 'x-prismeai-api-key': 'no' } }))).data?.error).toBe(
      'InvalidAPIKey',
    );
  });

  it('is refused on the root namespace', async () => {
    const { io } = await import('socket.io-client');
    const socket = io(platform.nodes[0]?.url as string, { transports: ['websocket'], reconnection: false, forceNew: true });

    expect((await refused(socket)).message).toMatch(/Connect to/);
    socket.disconnect();
  });

  it('works over long polling, with the cookie io', async () => {
    const socket = platform.client('', 'w1', { transports: ['polling'], extraHeaders: { authorization: 'Bearer owner/b3' } });
    const received = await connected(socket);
    await platform.emit('w1', 'over.polling');

    await eventually(() => received.some(({ type }) => type === 'over.polling'));
  });

  it('reaches a workspace by its slug', async () => {
    const received = await connected(platform.client('owner/b4', 'slug:first'));
    await platform.emit('w1', 'by.slug');

    await eventually(() => received.some(({ type }) => type === 'by.slug'));
  });

  it('may connect to a workspace that does not exist, and receives nothing', async () => {
    const received = await connected(platform.client('owner/b5', 'slug:nowhere'));

    expect(received).toEqual([]);
  });
});

describe('receiving', () => {
  it('sends the whole envelope under the type of the event, on every gateway', async () => {
    const here = await connected(platform.client('owner/c1', 'w1'));
    const there = await connected(platform.client('owner/c2', 'w1', { node: 1 }));
    const event = await platform.emit('w1', 'orders.paid', { amount: 5 });

    await eventually(() => here.length === 1 && there.length === 1);
    expect(here[0]).toEqual(event);
    expect(there[0]).toEqual(event);
  });

  it('keeps workspaces apart', async () => {
    const received = await connected(platform.client('owner/c3', 'w2'));
    await platform.emit('w1', 'elsewhere');
    await platform.emit('w2', 'here');

    await eventually(() => received.length > 0);
    expect(types(received)).toEqual(['here']);
  });

  it('gives a visitor what he sent, what his session caused and what is addressed to him, nothing else', async () => {
    const received = await connected(platform.client('visitor/v1', 'w1'));
    await platform.emit('w1', 'of.others', {}, { source: { userId: 'owner' } as never });
    await platform.emit('w1', 'of.mine', {}, { source: { userId: 'visitor' } as never });
    await platform.emit('w1', 'of.session', {}, { source: { sessionId: 'v1' } as never });
    await platform.emit('w1', 'for.me', {}, { target: { userId: 'visitor' } });
    await platform.emit('w1', 'for.session', {}, { target: { sessionId: 'v1' } });

    expect(types(await settled(received, 'w1', 'visitor'))).toEqual(['of.mine', 'of.session', 'for.me', 'for.session']);
  });

  it('filters by auth.filters and by the query string', async () => {
    const byAuth = await connected(
      platform.client('owner/c4', 'w1', { auth: { filters: { payloadQuery: [{ 'payload.room': ['1', '2'] }] } } }),
    );
    const byQuery = await connected(platform.client('owner/c5', 'w1', { query: { types: 'wanted.*,other', 'payload.room': '1' } }));
    await platform.emit('w1', 'wanted.one', { room: 1 });
    await platform.emit('w1', 'unwanted', { room: 2 });
    await platform.emit('w1', 'wanted.two', { room: 3 });
    await platform.emit('w1', 'wanted.three', { room: 1 });

    await eventually(() => types(byQuery).includes('wanted.three'));
    await eventually(() => types(byAuth).includes('wanted.three'));
    expect(types(byAuth)).toEqual(['wanted.one', 'unwanted', 'wanted.three']);
    expect(types(byQuery)).toEqual(['wanted.one', 'wanted.three']);
  });

  it('replaces filters at once and answers when they hold', async () => {
    const socket = platform.client('owner/c6', 'w1', { auth: { filters: { types: ['first'] } } });
    const received = await connected(socket);

    expect(await socket.emitWithAck('filters', { types: ['second'] })).toEqual({ ok: true });
    await platform.emit('w1', 'first');
    await platform.emit('w1', 'second');

    await eventually(() => received.length > 0);
    expect(types(received)).toEqual(['second']);
  });

  it('tells of filters it refuses and keeps the old ones', async () => {
    const socket = platform.client('owner/c7', 'w1', { auth: { filters: { types: ['kept'] } } });
    const received = await connected(socket);

    expect(await socket.emitWithAck('filters', 'nonsense')).toMatchObject({ ok: false, error: { error: 'BadParametersError' } });
    await platform.emit('w1', 'kept');
    await eventually(() => types(received).includes('kept'));
  });

  it('delivers a type that Socket.IO keeps for itself under a neutral name', async () => {
    const socket = platform.client('owner/c8', 'w1', { auth: { filters: { types: ['disconnect'] } } });
    await connected(socket);
    const neutral = new Promise<PrismeEvent>((resolve) => socket.once('event', resolve));
    await platform.emit('w1', 'disconnect', { a: 1 });

    expect(await neutral).toMatchObject({ type: 'disconnect', payload: { a: 1 } });
    expect(socket.connected).toBe(true);
  });

  it('sends answers of one socket to that socket only, unless told otherwise', async () => {
    const filters = { payloadQuery: [{ 'source.sessionId': 'tabs' }] };
    const one = platform.client('owner/tabs', 'w1', { auth: { filters } });
    const two = platform.client('owner/tabs', 'w1', { auth: { filters } });
    const any = platform.client('owner/tabs', 'w1', {
      auth: { filters: { payloadQuery: [{ 'source.sessionId': 'tabs', 'source.socketId': '*' }] } },
    });
    const [first, second, third] = await Promise.all([connected(one), connected(two), connected(any)]);
    const source = { sessionId: 'tabs', socketId: one.id } as never;
    await platform.emit('w1', 'answer', {}, { source });
    await platform.emit('w1', 'for.all', {}, { source, target: { currentSocket: false } });

    await eventually(() => first.length === 2 && second.length === 1 && third.length === 2);
    expect([types(first), types(second), types(third)]).toEqual([['answer', 'for.all'], ['for.all'], ['answer', 'for.all']]);
  });
});

describe('emitting', () => {
  it('sends an event with the source that the server knows, and acknowledges it once durable', async () => {
    const socket = platform.client('owner/d1', 'w1', { auth: { filters: { types: ['from.socket'] } } });
    const received = await connected(socket);
    const answer = await socket.emitWithAck('event', {
      type: 'from.socket',
      payload: { a: 1 },
      source: { userId: 'somebody', workspaceId: 'w2' },
    });

    await eventually(() => received.length === 1);
    expect(answer).toEqual({ ok: true, event: { id: received[0]?.id, createdAt: received[0]?.createdAt } });
    expect(received[0]?.source).toMatchObject({
      userId: 'owner',
      sessionId: 'd1',
      workspaceId: 'w1',
      socketId: socket.id,
      serviceTopic: 'topic:runtime:emit',
    });
  });

  it('answers a forbidden event with an error that echoes it', async () => {
    const socket = platform.client('owner/d2', 'w1');
    await connected(socket);
    const error = new Promise<any>((resolve) => socket.once('error', resolve));
    const answer = await socket.emitWithAck('event', { type: 'forbidden.event', payload: { a: 1 } });

    expect(answer).toMatchObject({ ok: false, error: { error: 'ForbiddenError' } });
    expect(await error).toMatchObject({
      error: 'ForbiddenError',
      details: { action: 'create', subjectType: 'events', id: 'w1', subject: { type: 'forbidden.event', payload: { a: 1 } } },
    });
  });

  it.each([
    ['no object', 'x', 'RequestValidationError'],
    ['an empty type', { type: '' }, 'BrokerError'],
    ['a type with odd letters', { type: 'a/b' }, 'BrokerError'],
    ['a payload that is a list', { type: 'a', payload: [1] }, 'RequestValidationError'],
    ['a hostile payload', JSON.parse('{"type":"a","payload":{"x":{"constructor":1}}}'), 'RequestValidationError'],
  ])('refuses %s and goes on', async (_name, message, error) => {
    const socket = platform.client('owner/d3', 'w1');
    await connected(socket);

    expect(await socket.emitWithAck('event', message)).toMatchObject({ ok: false, error: { error } });
    expect(socket.connected).toBe(true);
  });

  it('keeps the order of the events of a socket', async () => {
    const socket = platform.client('owner/d4', 'w1', { auth: { filters: { types: ['ordered'] } } });
    const received = await connected(socket);
    for (let n = 0; n < 50; n++) socket.emit('event', { type: 'ordered', payload: { n } });

    await eventually(() => received.length === 50);
    expect(received.map(({ payload }) => payload.n)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  it('refuses what a socket sends too fast', async () => {
    const socket = platform.client('owner/d5', 'w1', { auth: { filters: { types: [] } } });
    await connected(socket);
    const answers = await Promise.all(Array.from({ length: 400 }, () => socket.emitWithAck('event', { type: 'fast' })));

    expect(answers.filter(({ error }) => error?.error === 'TooManyRequests').length).toBeGreaterThan(0);
    expect(answers.filter(({ ok }) => ok).length).toBeGreaterThanOrEqual(100);
  });
});

describe('changing filters', () => {
  it('is bounded too: each change is work for the gateway', async () => {
    const socket = platform.client('owner/d6', 'w1');
    await connected(socket);
    const answers = await Promise.all(Array.from({ length: 400 }, () => socket.emitWithAck('filters', { types: ['x'] })));

    expect(answers.filter(({ error }) => error?.error === 'TooManyRequests').length).toBeGreaterThan(0);
    expect(socket.connected).toBe(true);
  });
});

describe('rights', () => {
  it('end with a revoked share: the next event is not delivered', async () => {
    platform.owners.set('partner', new Set(['w1']));
    const received = await connected(platform.client('partner/e1', 'w1'));
    await platform.emit('w1', 'while.shared');
    await eventually(() => types(received).includes('while.shared'));

    platform.owners.delete('partner');
    await platform.bus.send('workspaces.permissions.deleted', { subjectId: 'w1', target: { id: 'partner' } } as never, {
      source: { workspaceId: 'w1' },
    });
    await platform.emit('w1', 'after.revocation');

    expect(types(await settled(received, 'w1', 'partner'))).toEqual(['while.shared']);
  });

  it('begin with a changed rule, on open sockets too', async () => {
    const received = await connected(platform.client('reader/e2', 'w2'));
    await platform.emit('w2', 'news.before');
    platform.rules.set('w2', [{ field: 'type', op: 'prefix', value: 'news.' }]);
    await platform.bus.send('workspaces.security.updated', { security: {} } as never, { source: { workspaceId: 'w2' } });
    await platform.emit('w2', 'news.after');

    expect(types(await settled(received, 'w2', 'reader'))).toEqual(['news.after']);
    platform.rules.clear();
  });

  it('include a topic from the moment it is joined', async () => {
    const received = await connected(platform.client('member/e3', 'w1'));
    await platform.emit('w1', 'topic.before', {}, { target: { userTopic: 'room:7' } });
    await platform.bus.send('events.userTopics.joined', { topic: 'room:7', user: { id: 'member' } } as never, {
      source: { workspaceId: 'w1' },
    });
    await platform.emit('w1', 'topic.after', {}, { target: { userTopic: 'room:7' } });

    expect(types(await settled(received, 'w1', 'member'))).toEqual(['topic.after']);
  });

  it('end for a topic from the moment it is left', async () => {
    platform.topics.set('w1/leaver', ['room:8']);
    const received = await connected(platform.client('leaver/e5', 'w1', { node: 1 }));
    await platform.emit('w1', 'topic.in', {}, { target: { userTopic: 'room:8' } });
    await platform.bus.send('events.userTopics.left', { topic: 'room:8', user: { id: 'leaver' } } as never, {
      source: { workspaceId: 'w1' },
    });
    await platform.emit('w1', 'topic.out', {}, { target: { userTopic: 'room:8' } });

    expect(types(await settled(received, 'w1', 'leaver'))).toEqual(['topic.in']);
  });

  it('end with the session: its sockets are told and closed, others stay', async () => {
    const own = platform.client('goer/e6', 'w1');
    const other = platform.client('goer/e7', 'w1', { node: 1 });
    await Promise.all([connected(own), connected(other)]);
    const told = new Promise<{ error: string }>((resolve) => own.once('error', resolve));
    platform.ended.add('goer/e6');
    await platform.broker.broadcast('identity.revoked', { userId: 'goer' });

    expect((await told).error).toBe('AuthenticationError');
    await eventually(() => own.disconnected);
    await other.emitWithAck('filters', {});
    expect(other.connected).toBe(true);
  });

  it('include topics joined before anybody was connected', async () => {
    platform.topics.set('w1/early', ['room:9']);
    const received = await connected(platform.client('early/e4', 'w1'));
    await platform.emit('w1', 'topic.early', {}, { target: { userTopic: 'room:9' } });

    await eventually(() => types(received).includes('topic.early'));
  });
});

describe('coming back', () => {
  it('keeps the logical socket id on another gateway', async () => {
    const first = platform.client('owner/f1', 'w1');
    await connected(first);
    const old = first.id as string;
    first.disconnect();
    const second = platform.client('owner/f1', 'w1', { node: 1, auth: { reuseSocketId: old, filters: { types: ['who'] } } });
    const received = await connected(second);
    await second.emitWithAck('event', { type: 'who' });

    await eventually(() => received.length === 1);
    expect(received[0]?.source.socketId).toBe(old);
  });

  it('refuses the logical id of another session', async () => {
    const first = platform.client('owner/f2', 'w1');
    await connected(first);
    const thief = platform.client('owner/f3', 'w1', { auth: { reuseSocketId: first.id, filters: { types: ['who'] } } });
    const received = await connected(thief);
    await thief.emitWithAck('event', { type: 'who' });

    await eventually(() => received.length === 1);
    expect(received[0]?.source.socketId).toBe(thief.id);
    expect(await thief.emitWithAck('reconnection', { socketId: first.id })).toMatchObject({ ok: false, socketId: thief.id });
  });

  it('takes back the old id by the message reconnection', async () => {
    const first = platform.client('owner/f4', 'w1');
    await connected(first);
    const old = first.id as string;
    first.disconnect();
    const second = platform.client('owner/f4', 'w1');
    await connected(second);

    expect(await second.emitWithAck('reconnection', { socketId: old })).toEqual({ ok: true, socketId: old });
  });

  it('replays the gap in order and without duplicates, while new events go on', async () => {
    const filters = { types: ['gap.*'] };
    const first = platform.client('owner/f5', 'w1', { auth: { filters } });
    const before = await connected(first);
    await platform.emit('w1', 'gap.event', { n: 0 });
    await eventually(() => before.length === 1);
    first.disconnect();
    for (let n = 1; n <= 20; n++) await platform.emit('w1', n % 5 === 0 ? 'other' : 'gap.event', { n });

    const second = platform.client('owner/f5', 'w1', { node: 1, auth: { filters, afterId: before[0]?.id } });
    const after = connected(second);
    for (let n = 21; n <= 40; n++) await platform.emit('w1', 'gap.event', { n });
    const received = await after;

    const wanted = Array.from({ length: 40 }, (_, i) => i + 1).filter((n) => n > 20 || n % 5 !== 0);
    await eventually(() => received.some(({ payload }) => payload?.n === 40));
    expect(received.map(({ payload }) => payload.n)).toEqual(wanted);
  });

  it('tells of a gap that cannot be filled', async () => {
    const socket = platform.client('owner/f6', 'w1', { auth: { afterId: 'unknown', filters: { types: [] } } });
    const gap = new Promise((resolve) => socket.once('gap', resolve));
    await connected(socket);

    expect(await gap).toEqual({ afterId: 'unknown' });
  });

  it('replays more than may wait for a slow client, over polling too', async () => {
    const small = await startLive({ nodes: 2, limits: { waiting: 50 } });
    const filters = { types: ['long.*'] };
    const first = small.client('owner/g1', 'w1', { auth: { filters } });
    const before = await connected(first);
    await small.emit('w1', 'long.gap', { n: 0 });
    await eventually(() => before.length === 1);
    first.disconnect();
    for (let n = 1; n <= 600; n++) await small.emit('w1', 'long.gap', { n });

    const received = await Promise.all(
      ['websocket', 'polling'].map((transport) =>
        connected(small.client('owner/g1', 'w1', { node: 1, transports: [transport], auth: { filters, afterId: before[0]?.id } })),
      ),
    );
    await small.emit('w1', 'long.gap', { n: 601 });

    await eventually(() => received.every((events) => events.some(({ payload }) => payload?.n === 601)));
    for (const events of received) expect(events.map(({ payload }) => payload.n)).toEqual(Array.from({ length: 601 }, (_, i) => i + 1));
    await small.stop();
  });
});

describe('a client that does not read', () => {
  /** The TCP connection of a client over WebSocket. */
  const connectionOf = (socket: ReturnType<LivePlatform['client']>): { pause(): void; resume(): void } =>
    (socket.io.engine.transport as any).ws._socket;

  it.each([
    ['by the number of events', { waiting: 40 }],
    ['by their size', { waiting: 100_000, waitingChars: 3_000_000 }],
  ])('is dropped %s, is told why, and holds up nobody', async (_name, limits) => {
    const small = await startLive({ limits });
    const [slow, quick] = [small.client('owner/h1', 'w1'), small.client('owner/h2', 'w1')];
    const [, received] = await Promise.all([connected(slow), connected(quick)]);
    const told = new Promise<{ error: string }>((resolve) => slow.on('error', resolve));
    const ended = new Promise((resolve) => slow.once('disconnect', resolve));
    connectionOf(slow).pause();
    const text = 'x'.repeat(90_000);
    for (let n = 0; small.nodes[0]?.sockets.count() === 2 && n < 2_000; n++) {
      await small.emit('w1', 'much', { n, text });
      // All share one process: the quick one gets its turns.
      while (quick.connected && received.length < n - 10) await new Promise((resolve) => setImmediate(resolve));
    }
    await small.emit('w1', 'last');
    await eventually(() => received.some(({ type }) => type === 'last'));
    connectionOf(slow).resume();

    expect((await told).error).toBe('SlowConsumerError');
    await ended;
    expect(small.nodes[0]?.sockets.count()).toBe(1);
    expect(quick.connected).toBe(true);
    await small.stop();
  });
});
