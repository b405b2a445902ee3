import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { acquireDatalake, releaseDatalake } from '../../mixins/storage/datalake/datalake.mixin.ts';
import { type EventsNode, startEvents, workspace } from '../support/events-node.ts';
import { eventually } from '../support/eventually.ts';

let node: EventsNode;
let owner: ReturnType<EventsNode['as']>;
let visitor: ReturnType<EventsNode['as']>;
beforeAll(async () => {
  node = await startEvents();
  owner = node.as({ userId: 'owner' });
  visitor = node.as({ userId: 'visitor' });
});
afterAll(() => node.stop());

const emit = (call: ReturnType<EventsNode['as']>, events: object[], workspaceId = 'w1') =>
  call<PrismeEvent[]>('events.emit', { workspaceId, body: { events } });
const find = async (call: ReturnType<EventsNode['as']>, query: object, workspaceId = 'w1') =>
  (
    await call<{ result: { events: PrismeEvent[]; nextCursor?: string } }>('events.find', {
      workspaceId,
      query: { appInstanceDepth: '0', ...query },
    })
  ).result;
const types = (events: { type?: unknown }[]) => events.map(({ type }) => type);
const stored = (type: string, count = 1, workspaceId = 'w1') =>
  eventually(async () => expect((await find(owner, { types: type }, workspaceId)).events).toHaveLength(count));

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

describe('emitting', () => {
  it('answers with the events as they were written, in order, and they are found again', async () => {
    const answer = await emit(owner, [
      { type: 'a.first', payload: { n: 1 } },
      { type: 'a.second', payload: { n: 2 }, target: { userTopic: 't' } },
    ]);

    expect(types(answer)).toEqual(['a.first', 'a.second']);
    expect(answer[0]).toMatchObject({
      payload: { n: 1 },
      source: { workspaceId: 'w1', userId: 'owner', sessionId: 'session-owner', serviceTopic: 'topic:runtime:emit' },
    });
    await stored('a.second');
    expect((await find(owner, { types: 'a.*', sort: 'asc' })).events).toEqual(answer);
  });

  it('takes the source from the identity only', async () => {
    const [event] = await emit(visitor, [
      { type: 'b.forged', source: { userId: 'owner', workspaceId: 'w2', correlationId: 'x', sessionId: 'y', appSlug: 'z' } },
    ]);

    expect(event?.source).toMatchObject({ userId: 'visitor', workspaceId: 'w1', sessionId: 'session-visitor' });
    expect(event?.source.appSlug).toBeUndefined();
    expect(event?.source.correlationId).not.toBe('x');
  });

  it('does not keep private addresses, and keeps public ones', async () => {
    const [inside] = await node.as({ userId: 'owner', ip: '10.1.2.3' })<PrismeEvent[]>('events.emit', {
      workspaceId: 'w1',
      body: { events: [{ type: 'b.ip' }] },
    });
    const [outside] = await node.as({ userId: 'owner', ip: '93.184.216.34' })<PrismeEvent[]>('events.emit', {
      workspaceId: 'w1',
      body: { events: [{ type: 'b.ip' }] },
    });

    expect([inside?.source.ip, outside?.source.ip]).toEqual([undefined, '93.184.216.34']);
  });

  it('refuses native events to everybody who may not send them, and echoes the event', async () => {
    await expect(
      emit(owner, [{ type: 'workspaces.deleted', payload: { workspaceId: 'w1' }, source: { serviceTopic: 'workspaces.deleted' } }]),
    ).rejects.toMatchObject({
      type: 'ForbiddenError',
      data: { action: 'create', subjectType: 'events', id: 'w1', subject: { type: 'workspaces.deleted', payload: { workspaceId: 'w1' } } },
    });
  });

  it('writes all events of a request or none', async () => {
    await expect(emit(owner, [{ type: 'c.one' }, { type: 'c two/three' }])).rejects.toMatchObject({ type: 'BrokerError' });
    await expect(emit(owner, [{ type: 'c.one' }, { type: 'c.large', payload: { text: 'x'.repeat(110_000) } }])).rejects.toMatchObject({
      type: 'BrokerError',
      data: { reason: 'EventTooLarge' },
    });
    await emit(owner, [{ type: 'c.done' }]);
    await stored('c.done');

    expect((await find(owner, { types: 'c.one' })).events).toEqual([]);
  });

  it('takes an event of exactly the largest size, which then reaches who waits and the history; one byte more is refused', async () => {
    const of = (length: number) => [{ type: 'c.full', payload: { text: 'é'.repeat(length % 2) + 'x'.repeat(length - 2 * (length % 2)) } }];
    const [probe] = await emit(owner, of(90_000));
    const length = 90_000 + 100_000 - (probe?.size as number);
    const waiting = find(owner, { types: 'c.full', longpolling: '10', afterId: probe?.id });
    const [full] = await emit(owner, of(length));

    expect(full?.size).toBe(100_000);
    expect((await waiting).events).toEqual([full]);
    await stored('c.full', 2);
    expect((await find(owner, { types: 'c.full', limit: '1' })).events).toEqual([full]);
    await expect(emit(owner, of(length + 2))).rejects.toMatchObject({ data: { reason: 'EventTooLarge' } });
  });

  it.each([
    ['no list', {}],
    ['more than 500 events', { events: Array.from({ length: 501 }, () => ({ type: 'x' })) }],
    ['a target that is no text', { events: [{ type: 'x', target: { userTopic: ['a'] } }] }],
  ])('refuses %s', async (_name, body) => {
    await expect(owner('events.emit', { workspaceId: 'w1', body })).rejects.toMatchObject({ type: 'RequestValidationError' });
  });

  it('knows a workspace by its slug and refuses one that does not exist', async () => {
    expect((await emit(owner, [{ type: 'd.slug' }], 'slug:w1-slug'))[0]?.source.workspaceId).toBe('w1');
    await expect(emit(owner, [{ type: 'd.slug' }], 'nowhere')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('keeps within the rate of the workspace', async () => {
    const limited = await startEvents({ rateLimitDisabled: false });
    const call = limited.as({ userId: 'owner' });
    // All of the burst at once: what comes after it is refused for the next seconds, however slow the machine.
    const batch = { workspaceId: 'w1', body: { events: Array.from({ length: 100 }, () => ({ type: 'x' })) } };
    await call('events.emit', batch);

    await expect(call('events.emit', batch)).rejects.toMatchObject({ type: 'TooManyRequests', data: { limit: 30, burst: 100 } });
    await limited.stop();
  });
});

describe('reading', () => {
  beforeAll(async () => {
    await emit(owner, [
      { type: 'read.owner', payload: { status: 'late', text: 'Quarterly report' } },
      { type: 'read.addressed', target: { userId: 'visitor' } },
      { type: 'read.topic', target: { userTopic: 'readers' } },
      { type: 'read.unkept', options: { persist: false } },
    ]);
    await emit(visitor, [{ type: 'read.visitor', payload: { status: 'lost' } }]);
    await stored('read.visitor');
  });

  it('finds by type, text, field, alternatives and date', async () => {
    expect(types((await find(owner, { types: 'read.owner,read.visitor', sort: 'asc' })).events)).toEqual(['read.owner', 'read.visitor']);
    expect(types((await find(owner, { text: 'quarterly REPORT' })).events)).toEqual(['read.owner']);
    expect(types((await find(owner, { text: '"rly rep"' })).events)).toEqual(['read.owner']);
    expect(types((await find(owner, { 'payload.status': ['late', 'lost'], sort: 'asc' })).events)).toEqual(['read.owner', 'read.visitor']);
    expect(types((await find(owner, { payloadQuery: '[{"payload.status":"lost"},{"type":"read.topic"}]', sort: 'asc' })).events)).toEqual([
      'read.topic',
      'read.visitor',
    ]);
    expect((await find(owner, { types: 'read.*', afterDate: 'now-1h', beforeDate: 'now-59m' })).events).toEqual([]);
  });

  it('does not keep what asks not to be kept', async () => {
    expect((await find(owner, { types: 'read.unkept' })).events).toEqual([]);
  });

  it('pages by cursor', async () => {
    const first = await find(owner, { types: 'read.*', limit: '3' });
    const second = await find(owner, { types: 'read.*', limit: '3', beforeId: first.nextCursor });

    expect(types([...first.events, ...second.events])).toEqual(['read.visitor', 'read.topic', 'read.addressed', 'read.owner']);
    expect(second.nextCursor).toBeUndefined();
  });

  it('finds nothing in a workspace that does not exist, and refuses parameters that make no sense', async () => {
    expect((await find(owner, {}, 'nowhere')).events).toEqual([]);
    await expect(find(owner, { limit: 'many' })).rejects.toMatchObject({ type: 'BadParametersError' });
    await expect(find(owner, { afterDate: 'yesterday' })).rejects.toMatchObject({ type: 'BadParametersError' });
    await expect(find(owner, { beforeId: 'nonsense' })).rejects.toMatchObject({ type: 'BadParametersError' });
  });

  it('gives one event by its id, to those who may read it', async () => {
    const [event] = (await find(owner, { types: 'read.owner' })).events as [PrismeEvent];

    expect(await owner('events.get', { workspaceId: 'w1', eventId: event.id })).toEqual(event);
    await expect(visitor('events.get', { workspaceId: 'w1', eventId: event.id })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    await expect(owner('events.get', { workspaceId: 'w2', eventId: event.id })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  describe('shows the same to a caller whichever way he looks', () => {
    const key = 'secret-key';
    const hash = createHash('sha256').update(key).digest('hex');
    const auditor = {
      name: 'auditor',
      rules: [{ action: 'read', subject: 'events', conditions: { 'source.workspaceId': 'w1', 'payload.status': 'late' } }],
    };
    beforeAll(async () => {
      node.access.set('w1', {
        ...workspace('w1'),
        permissions: { owner: { role: 'owner' }, editor: { role: 'editor' }, auditor: { role: 'auditor' } },
        roles: [...workspace('w1').roles, auditor],
        apiKeys: [
          {
            hash,
            name: 'reports',
            rules: [{ action: 'read', subject: 'events', conditions: { 'source.workspaceId': 'w1', type: 'read.topic' } }],
          },
        ],
      });
      await node.changed('w1');
      await node.broker.call(
        'events.topics.join',
        { workspaceId: 'w1', topic: 'readers', userIds: ['member'] },
        { meta: node.meta({ kind: 'system', service: 'console' }) },
      );
    });

    it.each([
      ['the owner', { userId: 'owner' }, ['read.owner', 'read.addressed', 'read.topic', 'read.visitor']],
      ['an editor', { userId: 'editor' }, ['read.owner', 'read.addressed', 'read.topic', 'read.visitor']],
      ['a visitor', { userId: 'visitor' }, ['read.addressed', 'read.visitor']],
      ['somebody else', { userId: 'stranger' }, []],
      ['nobody', {}, []],
      ['a custom role', { userId: 'auditor' }, ['read.owner']],
      ['a member of a topic', { userId: 'member' }, ['read.topic']],
      ['an API key', { userId: 'stranger', apiKeyHash: hash }, ['read.topic']],
    ])('%s', async (_name, claims, visible) => {
      const call = node.as(claims);
      const query = { bool: { filter: [{ prefix: { type: 'read.' } }] } };
      const search = await call('events.search', {
        workspaceId: 'w1',
        body: { query, sort: [{ createdAt: 'asc' }, { id: 'asc' }], track_total_hits: true },
      });
      const exported = await textOf(await call('events.export', { workspaceId: 'w1', query: { types: 'read.*', appInstanceDepth: '0' } }));
      const { correlationId } = (await find(owner, { types: 'read.owner' })).events[0]?.source as { correlationId: string };
      const trace = await call('events.trace', { workspaceId: 'w1', correlationId, query: {} });

      expect(types((await find(call, { types: 'read.*', sort: 'asc' })).events)).toEqual(visible);
      expect(types(search.documents)).toEqual(visible);
      expect(search.size).toBe(visible.length);
      expect(
        types(
          exported
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line)),
        ),
      ).toEqual(visible);
      expect(types(trace.events)).toEqual(visible.filter((type) => type !== 'read.visitor'));
    });

    it('a revoked share at once', async () => {
      const call = node.as({ userId: 'auditor' });
      expect((await find(call, { types: 'read.*' })).events).toHaveLength(1);
      node.access.set('w1', workspace('w1'));
      await node.changed('w1');

      expect((await find(call, { types: 'read.*' })).events).toEqual([]);
    });
  });
});

describe('long polling', () => {
  it('waits for the next event that matches and may be read', async () => {
    const waiting = find(visitor, { types: 'poll.*', longpolling: '10' });
    await emit(owner, [{ type: 'poll.hidden' }, { type: 'other' }]);
    await emit(owner, [{ type: 'poll.shown', target: { userId: 'visitor' } }]);

    expect(types((await waiting).events)).toEqual(['poll.shown']);
  });

  it('answers at once with what came after the last event, before the history has it', async () => {
    const [first] = await emit(owner, [{ type: 'after.one' }, { type: 'after.two' }, { type: 'unrelated' }, { type: 'after.three' }]);

    expect(types((await find(owner, { types: 'after.*', longpolling: '5', afterId: first?.id })).events)).toEqual([
      'after.two',
      'after.three',
    ]);
  });

  it('finds what it waits for behind any number of other events', async () => {
    const [first] = await emit(owner, [{ type: 'crowd.one' }]);
    await emit(owner, [...Array.from({ length: 120 }, () => ({ type: 'crowd.other' })), { type: 'crowd.two' }]);

    expect(types((await find(owner, { types: 'crowd.two', longpolling: '5', limit: '10', afterId: first?.id })).events)).toEqual([
      'crowd.two',
    ]);
  });

  it('answers with nothing when the time is over', async () => {
    expect((await find(owner, { types: 'never', longpolling: '0.05' })).events).toEqual([]);
  });
});

describe('server-sent events', () => {
  it('resume after the last event and go on live', async () => {
    const [first] = await emit(owner, [{ type: 'sse.one' }, { type: 'sse.two' }]);
    const stream = await owner<Readable>('events.stream', {
      workspaceId: 'w1',
      query: { types: 'sse.*', appInstanceDepth: '0' },
      headers: { 'last-event-id': first?.id },
    });
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    await eventually(() => text.includes('event: sse.two'));
    await emit(owner, [{ type: 'sse.three', payload: { a: 1 } }, { type: 'unrelated' }]);
    await eventually(() => text.includes('event: sse.three') && text.includes(': keep-alive'));
    stream.destroy();

    expect(text.match(/^event: .*/gm)).toEqual(['event: sse.two', 'event: sse.three']);
    expect(text).not.toContain('unrelated');
  });
});

describe('requests that stay open', () => {
  const flow = async (call: typeof owner, query: object) => {
    const stream = await call<Readable>('events.stream', { workspaceId: 'w3', query: { appInstanceDepth: '0', ...query } });
    const shown: { text: string; isOver: boolean } = { text: '', isOver: false };
    stream.on('data', (chunk) => {
      shown.text += chunk;
    });
    stream.on('end', () => {
      shown.isOver = true;
    });
    return Object.assign(shown, { stream });
  };
  const share = async (roles: Record<string, { role: string }>) => {
    node.access.set('w3', { ...workspace('w3'), permissions: { owner: { role: 'owner' }, ...roles } });
    await emit(
      node.as({ userId: 'root', role: 'superadmin' }),
      [
        {
          type: 'workspaces.permissions.shared',
          payload: { subjectId: 'w3', permissions: {}, target: { id: 'partner' } },
          source: { serviceTopic: 'workspaces.permissions.shared' },
        },
      ],
      'w3',
    );
  };

  it('follow rights from the event that changes them on', async () => {
    const partner = await flow(node.as({ userId: 'partner' }), { types: 'flow.*' });
    const reader = await flow(owner, { types: 'flow.*' });
    await emit(owner, [{ type: 'flow.before' }], 'w3');
    await share({ partner: { role: 'editor' } });
    await emit(owner, [{ type: 'flow.shared' }], 'w3');
    await share({});
    await emit(owner, [{ type: 'flow.after' }], 'w3');
    await eventually(() => reader.text.includes('event: flow.after') && partner.text.includes('event: flow.shared'));
    partner.stream.destroy();
    reader.stream.destroy();

    expect(partner.text.match(/^event: .*/gm)).toEqual(['event: flow.shared']);
  });

  it('end with the session, and say so', async () => {
    const leaver = await flow(node.as({ userId: 'out', sessionId: 'session-out' } as never), {});
    const other = await flow(owner, {});
    await node.broker.broadcast('identity.revoked', { sessionId: 'session-out' });

    await eventually(() => leaver.isOver);
    expect(leaver.text).toContain('"AuthenticationError"');
    expect(other.isOver).toBe(false);
    other.stream.destroy();
  });

  it('are let go when they read too slowly, and told why', async () => {
    const stream = await owner<Readable>('events.stream', { workspaceId: 'w3', query: { types: 'much', appInstanceDepth: '0' } });
    for (let i = 0; i < 30; i++) await emit(owner, [{ type: 'much', payload: { text: 'x'.repeat(90_000) } }], 'w3');
    const text = await textOf(stream);

    expect(text).toContain('"SlowConsumerError"');
    expect(text.length).toBeLessThan(1_500_000);
  });
});

describe('what the store refuses', () => {
  it('becomes a dead letter of the history that can be redriven, and the events beside it are kept', async () => {
    const lake = await acquireDatalake(node.broker);
    const { store } = lake;
    lake.store = async (events) => {
      const refused = events.filter(({ type }) => type === 'dead.bad').map((event) => ({ event, reason: 'mapping conflict' }));
      await store(events.filter(({ type }) => type !== 'dead.bad'));
      return { refused };
    };
    const letters = () => owner('bus.deadLetters.list', { workspaceId: 'w1', query: { group: 'history' } });
    await emit(owner, [{ type: 'dead.bad', payload: { a: 1 } }, { type: 'dead.good' }]);
    await stored('dead.good');
    await eventually(async () => expect((await letters()).result).toHaveLength(1));

    expect((await letters()).result[0]).toMatchObject({
      group: 'history',
      event: { type: 'dead.bad', payload: { a: 1 } },
      error: { error: 'EventNotStored', message: 'mapping conflict' },
    });
    await expect(visitor('bus.deadLetters.list', { workspaceId: 'w1', query: {} })).rejects.toMatchObject({ type: 'ForbiddenError' });
    const status = await node.as({ userId: 'root', role: 'superadmin' })('history.overview', {});
    expect(status).toMatchObject({ deadLetters: 1, lag: { entries: expect.any(Number), seconds: expect.any(Number) } });
    await expect(owner('history.overview', {})).rejects.toMatchObject({ type: 'ForbiddenError' });

    lake.store = store;
    expect(await owner('bus.deadLetters.redrive', { workspaceId: 'w1', body: { group: 'history' } })).toEqual({ redriven: 1 });
    await stored('dead.bad');
    expect((await letters()).result).toEqual([]);
    await releaseDatalake(node.broker);
  });

  it('is lag, not loss, while the store refuses everything', async () => {
    const lake = await acquireDatalake(node.broker);
    const { store } = lake;
    let isDown = true;
    lake.store = (events) => (isDown ? Promise.reject(new Error('503 from the store')) : store(events));
    const status = () => node.as({ userId: 'root', role: 'superadmin' })('history.overview', {});
    const before = (await status()).node.retries;
    await emit(owner, [{ type: 'lag.one' }, { type: 'lag.two' }]);
    await eventually(async () => (await status()).node.retries > before && (await status()).lag.entries >= 2);
    expect((await find(owner, { types: 'lag.*' })).events).toEqual([]);
    isDown = false;

    await stored('lag.*', 2);
    await eventually(async () => (await status()).lag.entries === 0);
    lake.store = store;
    await releaseDatalake(node.broker);
  });
});

describe('searching', () => {
  it('aggregates for those who may', async () => {
    const body = { query: { match_all: {} }, limit: 0, aggs: { types: { terms: { field: 'type', size: 100 } } } };
    const { aggs } = await owner('events.search', { workspaceId: 'w1', body });

    expect(aggs.types.buckets.map(({ key }: { key: string }) => key)).toContain('read.owner');
    await expect(visitor('events.search', { workspaceId: 'w1', body })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(owner('events.search', { workspaceId: 'nowhere', body })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('returns only the fields asked for, yet judges the whole event', async () => {
    const { documents } = await owner('events.search', {
      workspaceId: 'w1',
      body: { query: { term: { type: 'read.owner' } }, source: ['payload.status'] },
    });

    expect(documents).toEqual([{ payload: { status: 'late' } }]);
  });

  it.each([
    ['no query', {}, 'RequestValidationError'],
    ['an unknown field', { query: {}, size: 3 }, 'RequestValidationError'],
    ['a script', { query: { script: { script: 'true' } } }, 'SearchError'],
    ['runtime mappings', { query: {}, runtime_mappings: { x: { type: 'long' } } }, 'SearchError'],
    ['a scripted metric, also under aggregations', { query: {}, aggregations: { x: { scripted_metric: {} } } }, 'SearchError'],
    ['a page too deep', { query: {}, limit: 10_000, page: 50 }, 'SearchError'],
  ])('refuses %s', async (_name, body, type) => {
    await expect(owner('events.search', { workspaceId: 'w1', body })).rejects.toMatchObject({ type });
  });

  it('spans every workspace for super admins only', async () => {
    const body = { query: { term: { type: 'read.owner' } } };

    expect((await node.as({ userId: 'root', role: 'superadmin' })('events.searchAll', { body })).size).toBe(1);
    await expect(owner('events.searchAll', { body })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(owner('events.search', { workspaceId: '*', body })).rejects.toMatchObject({ type: 'ForbiddenError' });
  });
});

describe('figures', () => {
  const root = () => node.as({ userId: 'root', role: 'superadmin' });
  const native = (type: string, payload: object) => ({ type, payload, source: { serviceTopic: type } });
  const trigger = (kind: string) =>
    native('runtime.interactions.triggered', {
      workspaceId: 'w2',
      automation: 'hello',
      trigger: { type: kind, value: 'hello' },
      startedAt: new Date().toISOString(),
    });
  beforeAll(async () => {
    await emit(root(), [trigger('endpoint')], 'w2');
    await emit(
      root(),
      [
        trigger('event'),
        native('runtime.automations.executed', {
          slug: 'hello',
          trigger: { type: 'event', value: 'x' },
          payload: {},
          output: null,
          duration: 12,
          startedAt: new Date().toISOString(),
        }),
      ],
      'w2',
    );
    await stored('runtime.automations.executed', 1, 'w2');
  });

  it('tell how much a workspace is used', async () => {
    const query = { afterDate: 'now-1h', beforeDate: 'now+1h', interval: 'day', details: 'true' };
    const usage = await owner('events.usage', { workspaceId: 'w2', query });

    expect(usage.total).toEqual({
      transactions: 2,
      httpTransactions: 1,
      eventTransactions: 1,
      scheduleTransactions: 0,
      sessions: 1,
      users: 1,
    });
    expect(usage.timeseries[0].total.transactions).toBe(2);
    expect(usage.stored.events).toBe(3);
    await expect(visitor('events.usage', { workspaceId: 'w2', query })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(owner('events.usage', { workspaceId: 'w2', query: {} })).rejects.toMatchObject({ type: 'RequestValidationError' });
  });

  it('fill a dashboard in one call', async () => {
    const activity = await owner('events.aggregate', { workspaceId: 'w2', query: { period: '24h' } });

    expect(activity.total).toBe(3);
    expect(activity.interactions.byTrigger.buckets.map(({ key }: { key: string }) => key).sort()).toEqual(['endpoint', 'event']);
    expect(activity.executions.latency.values['95.0']).toBe(12);
    expect(activity.executions.slowest.buckets[0].key).toBe('hello');
  });
});

describe('erasing a user', () => {
  it('removes what he sent and received, and needs the owner', async () => {
    await emit(node.as({ userId: 'leaver' }), [{ type: 'bye' }]);
    await emit(owner, [{ type: 'to.leaver', target: { userId: 'leaver' } }]);
    await stored('to.leaver');
    await expect(visitor('events.erase', { workspaceId: 'w1', query: { userId: 'leaver' } })).rejects.toMatchObject({
      type: 'ForbiddenError',
    });

    expect(await owner('events.erase', { workspaceId: 'w1', query: { userId: 'leaver' } })).toEqual({ removed: 2 });
    expect((await find(owner, { types: 'bye,to.leaver' })).events).toEqual([]);
  });
});

describe('topics', () => {
  it('are joined for good although nobody is connected, and can be left', async () => {
    const system = node.as({ kind: 'system', service: 'console' } as never);
    await system('events.topics.join', { workspaceId: 'w1', topic: 'room', userIds: ['x', 'y'] });
    expect(await system('events.topics.of', { workspaceId: 'w1', userId: 'x' })).toEqual(['room']);
    await system('events.topics.leave', { workspaceId: 'w1', topic: 'room', userIds: ['x'] });

    expect(await system('events.topics.of', { workspaceId: 'w1', userId: 'x' })).toEqual([]);
    expect(await system('events.topics.members', { workspaceId: 'w1', topic: 'room' })).toEqual(['y']);
    await stored('events.userTopics.left');
    expect(await system('events.topics.of', { workspaceId: 'w1', userId: 'x' })).toEqual([]);
  });

  it('are managed over REST by owners, and left by anybody for himself', async () => {
    const guest = node.as({ userId: 'guest' });
    const at = { workspaceId: 'w1', topic: 'club' };
    expect(await owner('events.topics.add', { ...at, body: { userIds: ['guest', 'other'] } })).toEqual({
      topic: 'club',
      joined: ['guest', 'other'],
    });
    await emit(owner, [{ type: 'club.news', target: { userTopic: 'club' } }]);
    await stored('club.news');
    expect(types((await find(guest, { types: 'club.*' })).events)).toEqual(['club.news']);
    await expect(guest('events.topics.remove', { ...at, query: { userIds: 'other' } })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(guest('events.topics.add', { ...at, body: { userIds: ['guest'] } })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(owner('events.topics.add', { ...at, body: {} })).rejects.toMatchObject({ type: 'RequestValidationError' });

    expect(await guest('events.topics.remove', { ...at, query: { userIds: 'guest' } })).toEqual({ topic: 'club', left: ['guest'] });
    expect(types((await find(guest, { types: 'club.*' })).events)).toEqual([]);
    expect(await owner('events.topics.list', at)).toEqual({ topic: 'club', userIds: ['other'] });
  });

  it('are joined by the event of an automation too', async () => {
    const system = node.as({ kind: 'system', service: 'console' } as never);
    await emit(node.as({ userId: 'root', role: 'superadmin' }), [
      {
        type: 'events.userTopics.joined',
        payload: { topic: 'hall', user: { id: 'z' } },
        source: { serviceTopic: 'events.userTopics.joined' },
      },
    ]);

    await eventually(async () => expect(await system('events.topics.of', { workspaceId: 'w1', userId: 'z' })).toEqual(['hall']));
  });
});
