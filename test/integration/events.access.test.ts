/** Who sees what, over the public port of a real platform: whichever way somebody looks, live or stored, he sees the same events, and counts tell of no others. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { io, type Socket } from 'socket.io-client';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';

interface Person {
  client: Client;
  headers: Record<string, string>;
  /** What arrives, by channel. */
  live: Record<string, string[]>;
  sockets: Socket[];
  flow: AbortController;
}

let platform: Platform;
let id: string;
let path: string;
const people = new Map<string, Person>();
const person = (name: string) => people.get(name) as Person;
const ask = (name: string, method: string, at: string, body?: unknown) =>
  person(name).client.request(method, `${path}${at}`, body, person(name).headers);

const isShown = (type: string) => type.startsWith('seen.');
const ALL = ['seen.plain', 'seen.late', 'seen.topic', 'seen.direct'];
const EXPECTED: [name: string, visible: string[]][] = [
  ['owner', ALL],
  ['editor', ALL],
  ['auditor', ['seen.late']],
  ['member', ['seen.topic']],
  ['addressee', ['seen.direct']],
  ['key', ['seen.plain']],
  ['stranger', []],
  ['anonymous', []],
  ['partner', []],
];

async function anonymous(): Promise<Client> {
  const { token, id: userId, sessionId } = await expectOk(client(platform.url).post('/login/anonymous', {}));
  return Object.assign(client(platform.url, token), { user: { id: userId, sessionId } });
}

function listen(who: Person, transport: 'websocket' | 'polling'): Promise<void> {
  const socket = io(`${platform.url.replace(/\/v2$/, '')}/v2/workspaces/${id}/events`, {
    transports: [transport],
    reconnection: false,
    forceNew: true,
    auth: { extraHeaders: { authorization: `Bearer ${who.client.token}`, ...who.headers }, filters: {} },
  });
  who.live[transport] = [];
  who.sockets.push(socket);
  socket.onAny((type) => who.live[transport]?.push(type));
  return new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
}

/** Server-sent events. */
async function flow(who: Person): Promise<void> {
  const response = await fetch(`${platform.url}${path}/events/stream?appInstanceDepth=0`, {
    headers: { authorization: `Bearer ${who.client.token}`, ...who.headers },
    signal: who.flow.signal,
  });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const types: string[] = [];
  who.live.stream = types;
  void (async () => {
    let text = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      const frames = text.split('\n\n');
      text = frames.pop() ?? '';
      for (const frame of frames) types.push(...(/^event: (.*)$/m.exec(frame)?.slice(1) ?? []));
    }
  })().catch(() => {});
}

beforeAll(async () => {
  platform = await startPlatform({ mode: 'embedded' });
  for (const [name] of EXPECTED) {
    const who = name === 'anonymous' || name === 'key' ? await anonymous() : await newUser(platform.url, name);
    people.set(name, { client: who, headers: {}, live: {}, sockets: [], flow: new AbortController() });
  }
  const owner = person('owner').client;
  ({ id } = await expectOk(owner.post('/workspaces', { name: 'Watched' })));
  path = `/workspaces/${id}`;
  const { authorizations } = await expectOk(owner.get(`${path}/security`));
  authorizations.roles.auditor = {};
  authorizations.rules.push(
    { role: 'auditor', action: 'read', subject: 'events', conditions: { 'payload.status': 'late' } },
    { action: 'create', subject: 'events', inverted: true, conditions: { type: { $regex: '^secret\\.' } }, priority: 10 },
  );
  await expectOk(owner.request('PUT', `${path}/security`, { authorizations }));
  const share = (name: string, role: string) =>
    expectOk(owner.post(`${path}/permissions`, { target: { id: person(name).client.user?.id }, permissions: { role } }));
  for (const [name, role] of [
    ['editor', 'editor'],
    ['auditor', 'auditor'],
    ['partner', 'editor'],
  ] as const)
    await share(name, role);
  const { apiKey } = await expectOk(
    owner.post(`${path}/security/apikeys`, {
      name: 'reports',
      rules: [{ action: 'read', subject: 'events', conditions: { type: 'seen.plain' } }],
    }),
  );
  person('key').headers = { 'x-prismeai-api-key': apiKey };
  await expectOk(owner.post(`${path}/topics/readers/members`, { userIds: [person('member').client.user?.id] }));

  for (const who of people.values()) await Promise.all([listen(who, 'websocket'), listen(who, 'polling'), flow(who)]);
  const [{ id: start }] = await expectOk(owner.post(`${path}/events`, { events: [{ type: 'start' }] }));
  const polls = EXPECTED.map(async ([name]) => {
    const waiting = await ask(name, 'GET', `/events?types=seen.*,marker&longpolling=20&afterId=${start}`);
    person(name).live.poll = waiting.body.result.events.map(({ type }: PrismeEvent) => type);
  });

  // The share ends while everything is open: nothing emitted after the answer reaches him.
  await expectOk(owner.delete(`${path}/permissions/${person('partner').client.user?.id}`));
  await expectOk(
    owner.post(`${path}/events`, {
      events: [
        { type: 'seen.plain', payload: { n: 1 } },
        { type: 'seen.late', payload: { status: 'late' } },
        { type: 'seen.topic', target: { userTopic: 'readers' } },
        { type: 'seen.direct', target: { userId: person('addressee').client.user?.id } },
      ],
    }),
  );
  // A last event for each: what came before it has been delivered to him, or never will be.
  const markers = EXPECTED.map(([name]) => ({ type: 'marker', target: { userId: person(name).client.user?.id } }));
  await expectOk(owner.post(`${path}/events`, { events: markers }));
  await Promise.all(polls);
  await eventually(() =>
    [...people.values()].every(({ live }) => ['websocket', 'polling', 'stream'].every((channel) => live[channel]?.includes('marker'))),
  );
  await eventually(async () => (await expectOk(owner.get(`${path}/events?types=marker`))).result.events.length === markers.length);
}, 120_000);

afterAll(async () => {
  for (const { sockets, flow: open } of people.values()) {
    for (const socket of sockets) socket.disconnect();
    open.abort();
  }
  await platform.stop();
});

describe.each(EXPECTED)('%s', (name, visible) => {
  it.each(['websocket', 'polling', 'stream', 'poll'])('sees it live by %s', (channel) => {
    expect(person(name).live[channel]?.filter(isShown)).toEqual(visible);
  });

  it('finds it again, and counts no more', async () => {
    const listed = await ask(name, 'GET', '/events?types=seen.*&sort=asc&count=true');
    const query = { bool: { filter: [{ prefix: { type: 'seen.' } }] } };
    const searched = await ask(name, 'POST', '/search', { query, sort: [{ createdAt: 'asc' }, { id: 'asc' }], track_total_hits: true });
    const none = await ask(name, 'POST', '/search', { query: { term: { 'payload.status': 'late' } }, limit: 0, track_total_hits: true });
    const exported = await ask(name, 'GET', '/events/export?types=seen.*');
    const table = await ask(name, 'GET', '/events/export?types=seen.*&format=csv&columns=type');

    expect(listed.body.result.events.map(({ type }: PrismeEvent) => type)).toEqual(visible);
    expect(listed.body.result.total).toBe(visible.length);
    expect(searched.body.documents.map(({ type }: PrismeEvent) => type)).toEqual(visible);
    expect(searched.body.size).toBe(visible.length);
    expect(none.body.size).toBe(visible.includes('seen.late') ? 1 : 0);
    expect(
      String(exported.body)
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line).type),
    ).toEqual(visible);
    expect(String(table.body).trim().split('\r\n')).toEqual(['type', ...visible]);
  });

  it('opens one event, and its trace, only when he may', async () => {
    const [event] = (await ask('owner', 'GET', '/events?types=seen.plain')).body.result.events;
    const isVisible = visible.includes('seen.plain');
    const trace = await ask(name, 'GET', `/traces/${event.source.correlationId}`);

    expect((await ask(name, 'GET', `/events/${event.id}`)).status).toBe(isVisible ? 200 : 404);
    expect(trace.body.events.filter(({ type }: PrismeEvent) => isShown(type)).map(({ type }: PrismeEvent) => type)).toEqual(visible);
  });

  it('is shown figures only as an owner or editor', async () => {
    const mayCount = name === 'owner' || name === 'editor';
    const body = { query: { match_all: {} }, limit: 0, aggs: { types: { terms: { field: 'type' } } } };
    const statuses = [
      (await ask(name, 'POST', '/search', body)).status,
      (await ask(name, 'GET', '/activity')).status,
      (await ask(name, 'GET', '/usage?afterDate=now-1d&beforeDate=now')).status,
    ];

    expect(statuses.map((status) => (status === 401 ? 403 : status))).toEqual(Array(3).fill(mayCount ? 200 : 403));
    if (name === 'editor') expect(JSON.stringify((await ask(name, 'POST', '/search', body)).body.aggs)).not.toContain('apikeys.');
  });
});

describe('emitting', () => {
  it('is allowed or refused per type, over REST and over the socket, and the refused event is echoed', async () => {
    const allowed = await ask('stranger', 'POST', '/events', { events: [{ type: 'open.note' }] });
    const refused = await ask('stranger', 'POST', '/events', { events: [{ type: 'secret.note', payload: { a: 1 } }] });
    const socket = person('stranger').sockets[0] as Socket;

    expect(allowed).toMatchObject({ status: 200, body: [{ type: 'open.note', source: { userId: person('stranger').client.user?.id } }] });
    expect(refused).toMatchObject({
      status: 403,
      body: { error: 'ForbiddenError', details: { subject: { type: 'secret.note', payload: { a: 1 } } } },
    });
    expect(await socket.emitWithAck('event', { type: 'open.socket' })).toMatchObject({ ok: true, event: { id: expect.any(String) } });
    expect(await socket.emitWithAck('event', { type: 'secret.socket' })).toMatchObject({ ok: false, error: { error: 'ForbiddenError' } });
  });

  it('tells nobody the key of an API key', async () => {
    const found = await ask('owner', 'POST', '/search', { query: { prefix: { type: 'apikeys.' } } });

    expect(found.body.size).toBeGreaterThan(0);
    expect(JSON.stringify(found.body)).not.toContain(person('key').headers['x-prismeai-api-key']);
    expect((await ask('editor', 'POST', '/search', { query: { prefix: { type: 'apikeys.' } } })).body.size).toBe(0);
  });
});

describe('a user topic joined by an automation', () => {
  it('is read from the next instruction on, live and stored, until it is left', async () => {
    await expectOk(
      ask('owner', 'POST', '/automations', {
        name: 'Enter',
        slug: 'enter',
        when: { endpoint: true },
        do: [
          { joinUserTopic: { topic: 'room:7', userIds: ['{{body.userId}}'] } },
          { emit: { event: 'room.welcome', payload: {}, target: { userTopic: 'room:7' } } },
        ],
      }),
    );
    const userId = person('stranger').client.user?.id;
    await expectOk(ask('owner', 'POST', '/webhooks/enter', { userId }));
    const found = async () => (await expectOk(ask('stranger', 'GET', '/events?types=room.*'))).result.events.length;

    await eventually(() =>
      ['websocket', 'polling', 'stream'].every((channel) => person('stranger').live[channel]?.includes('room.welcome')),
    );
    await eventually(async () => (await found()) === 1);
    await expectOk(ask('stranger', 'DELETE', `/topics/room:7/members?userIds=${userId}`));
    expect(await found()).toBe(0);
    expect(person('member').live.websocket).not.toContain('room.welcome');
  });
});

describe('ending a session', () => {
  it('closes its sockets and streams at once', async () => {
    const leaver = person('auditor');
    const told = new Promise<{ error: string }>((resolve) => leaver.sockets[0]?.once('error', resolve));
    await expectOk(leaver.client.post('/logout', {}));

    expect((await told).error).toBe('AuthenticationError');
    await eventually(() => leaver.sockets.every(({ disconnected }) => disconnected));
    await eventually(() => leaver.live.stream?.includes('error') === true);
  });
});
