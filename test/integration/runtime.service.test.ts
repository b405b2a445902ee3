/** The runtime as its callers see it: webhooks, events, contexts, apps, native events; the real language, stores and rights. */

import { createServer, type Server } from 'node:http';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { hexId } from '../../mixins/shared/ids.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { eventually } from '../support/eventually.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';

let runtime: RuntimeServices;
let stub: Server;
let stubUrl: string;
const seen: { url: string; headers: Record<string, unknown>; body: string }[] = [];
beforeAll(async () => {
  runtime = await startRuntime();
  stub = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => (body += piece));
    request.on('end', () => {
      seen.push({ url: request.url as string, headers: request.headers, body });
      const status = Number(/\/status\/(\d+)/.exec(request.url as string)?.[1] ?? 200);
      const isEcho = request.url === '/echo';
      response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify(isEcho ? { authorization: request.headers.authorization } : { n: seen.length }));
    });
  });
  await new Promise<void>((done) => stub.listen(0, '127.0.0.1', done));
  stubUrl = `http://127.0.0.1:${(stub.address() as { port: number }).port}`;
}, 60_000);
afterAll(async () => {
  stub.close();
  await runtime.stop();
});

const body = async (answer: Promise<{ body: unknown }>) => (await answer).body;

describe('webhooks', () => {
  it('run an endpoint automation and answer with its output', async () => {
    const id = await runtime.workspace({
      greet: { when: { endpoint: true }, output: { hello: '{{body.name}}', method: '{{method}}', q: '{{query.q}}' } },
    });

    expect(await runtime.webhook(id, 'greet', { name: 'Ada' }, { query: { q: '1' } })).toEqual({
      status: 200,
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: { hello: 'Ada', method: 'POST', q: '1' },
      encoding: 'json',
    });
    await eventually(
      () => runtime.of(id, 'runtime.automations.executed').length === 1 && runtime.of(id, 'runtime.interactions.triggered').length === 1,
    );
    expect(runtime.of(id, 'runtime.automations.executed')[0]?.payload).toMatchObject({
      slug: 'greet',
      output: { hello: 'Ada' },
      break: false,
      trigger: { type: 'endpoint', value: 'greet' },
    });
    expect(runtime.of(id, 'runtime.interactions.triggered')[0]?.payload).toMatchObject({
      workspaceId: id,
      automation: 'greet',
      trigger: { type: 'endpoint' },
    });
  });

  it('are found by pattern and by the slug of the workspace', async () => {
    const id = await runtime.workspace(
      { order: { when: { endpoint: 'v1/orders/:id' }, output: '{{pathParams.id}}' } },
      { slug: 'shop-by-slug' },
    );

    expect(await body(runtime.webhook('slug:shop-by-slug', 'v1/orders/a%20b'))).toBe('a b');
    await expect(runtime.webhook(id, 'v1/nothing')).rejects.toMatchObject({ type: 'ObjectNotFoundError', code: 404 });
    await expect(runtime.webhook('nowhere', 'x')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('answer with status and headers of $http, and as a stream after the first chunk', async () => {
    const id = await runtime.workspace({
      teapot: {
        when: { endpoint: true },
        do: [{ set: { name: '$http', value: { status: 418, headers: { 'x-tea': 'green' } } } }],
        output: 'short and stout',
      },
      flow: {
        when: { endpoint: true },
        do: [{ repeat: { on: [1, 2], do: [{ set: { name: '$http', value: { chunk: { n: '{{item}}' } } } }] } }],
        output: { done: true },
      },
    });

    expect(await runtime.webhook(id, 'teapot')).toMatchObject({
      status: 418,
      headers: { 'x-tea': 'green' },
      body: 'short and stout',
      encoding: 'text',
    });
    const stream = (await runtime.webhook(id, 'flow')) as Readable;
    let text = '';
    for await (const piece of stream) text += piece;
    expect(text).toBe('data: {"n":1}\n\ndata: {"n":2}\n\ndata: {"done":true}\n\n');
  });

  it('keep a context that is larger than meant, and tell its workspace', async () => {
    const id = await runtime.workspace({
      hoard: { when: { endpoint: true }, do: [{ set: { name: 'global.text', value: '{{body.text}}' } }], output: 'kept' },
    });
    expect(await runtime.webhook(id, 'hoard', { text: 'x'.repeat(600_000) })).toMatchObject({ status: 200, body: 'kept' });
    await eventually(() => runtime.of(id, 'error').length === 1);
    expect(runtime.of(id, 'error')[0]).toMatchObject({
      payload: { error: 'LimitExceededError', details: { context: 'global', bytes: 600_011, maxBytes: 500_000 } },
      source: { automationSlug: 'hoard' },
    });
  });

  it('fail with the error of the automation, tell it as an event, and show no request', async () => {
    const id = await runtime.workspace({ broken: { when: { endpoint: true }, do: [{ 'no such thing': {} }] } });

    await expect(runtime.webhook(id, 'broken', { password: 'p' }, { headers: { authorization: 'Bearer x' } })).rejects.toMatchObject({
      type: 'ObjectNotFoundError',
    });

    await eventually(() => runtime.of(id, 'error').length === 1);
    expect(JSON.stringify(runtime.of(id, 'error'))).not.toContain('Bearer x');
    expect(runtime.of(id, 'error')[0]?.source.automationSlug).toBe('broken');
    expect(runtime.of(id, 'runtime.automations.executed')[0]?.payload.error).toMatchObject({ error: 'ObjectNotFoundError' });
  });

  it('with an Idempotency-Key run once', async () => {
    const id = await runtime.workspace({
      pay: {
        when: { endpoint: true },
        do: [{ set: { name: 'global.paid', value: '{% {{global.paid}} + 1 %}' } }],
        output: { paid: '{{global.paid}}' },
      },
    });
    const key = { headers: { 'idempotency-key': 'order-1' } };

    const answers = await Promise.all([runtime.webhook(id, 'pay', {}, key), runtime.webhook(id, 'pay', {}, key)]);
    const later = await runtime.webhook(id, 'pay', {}, key);

    expect([...answers, later].map((answer) => answer.body)).toEqual([{ paid: 1 }, { paid: 1 }, { paid: 1 }]);
    expect(await body(runtime.webhook(id, 'pay', {}, { headers: { 'idempotency-key': 'order-2' } }))).toEqual({ paid: 2 });
  });

  it.each([
    ['answered', {}],
    ['accepted', { prefer: 'respond-async' }],
  ])('that are %s and repeated begin what a node that died had not begun, and nothing twice', async (_how, headers) => {
    const counting = (name: string) => [{ set: { name: `global.${name}`, value: `{% {{global.${name}}} + 1 %}` } }];
    const id = await runtime.workspace({
      one: { when: { endpoint: 'both' }, do: counting('one') },
      two: { when: { endpoint: 'both' }, do: counting('two') },
      look: { when: { endpoint: true }, output: ['{{global.one}}', '{{global.two}}'] },
    });
    const { cache } = runtime.broker.getLocalService('runtime') as unknown as { cache: CacheDriver };
    const ask = () => runtime.webhook(id, 'both', {}, { headers: { ...headers, 'idempotency-key': 'both' } });
    const looked = () => body(runtime.webhook(id, 'look'));
    const two = async () =>
      (await runtime.call('runtime.runs.list', { workspaceId: id })).runs.find((run: any) => run.automation === 'two');
    await ask();
    await eventually(async () => expect(await looked()).toEqual([1, 1]));
    await eventually(async () => expect((await two()).state).toBe('done'));
    // As if the node had died before it wrote this.
    await cache.delete(`run:{${id}}:record:${(await two()).id}`);
    expect(await two()).toBeUndefined();

    await ask();

    await eventually(async () => expect((await two())?.state).toBe('done'));
    await ask();
    expect((await two()).attempts).toBe(1);
    // Its effects had happened in this test, and are known by their keys.
    expect(await looked()).toEqual([1, 1]);
  });

  it('that prefer it are accepted, and run on their own', async () => {
    const id = await runtime.workspace({
      later: { when: { endpoint: true }, do: [{ emit: { event: 'later.done', payload: { n: '{{body.n}}' } } }] },
    });

    const answer = await runtime.webhook(id, 'later', { n: 7 }, { headers: { prefer: 'respond-async' } });

    expect(answer).toMatchObject({ status: 202, body: { state: 'accepted' } });
    await eventually(() => runtime.of(id, 'later.done')[0]?.payload.n === 7);
    await eventually(async () =>
      expect(await runtime.call('runtime.runs.get', { workspaceId: id, runId: answer.body.runId })).toMatchObject({ state: 'done' }),
    );
  });
});

describe('events', () => {
  it('start automations one level deeper, and emitted events carry no user', async () => {
    const id = await runtime.workspace({
      first: { when: { endpoint: true }, do: [{ emit: { event: 'step', payload: { depth: '{{run.depth}}' } } }] },
      second: {
        when: { events: ['step'] },
        do: [{ emit: { event: 'stepped', payload: { depth: '{{run.depth}}', of: '{{payload.depth}}', user: '{{user.id}}' } } }],
      },
    });

    await runtime.webhook(id, 'first', {}, {}, { userId: 'owner' });

    await eventually(() => runtime.of(id, 'stepped').length === 1);
    expect(runtime.of(id, 'stepped')[0]?.payload).toMatchObject({ depth: 2, of: 1, user: 'owner' });
    expect(runtime.of(id, 'step')[0]?.source).toMatchObject({
      sessionId: 'session-owner',
      automationSlug: 'first',
      serviceTopic: 'topic:runtime:emit',
    });
    expect(runtime.of(id, 'step')[0]?.source.userId).toBeUndefined();
  });

  it('explain why nothing ran', async () => {
    const id = await runtime.workspace({ listener: { when: { events: ['known'] } }, off: { when: { events: ['known'] }, disabled: true } });

    const known = await runtime.emit(id, 'known');
    const unknown = await runtime.emit(id, 'unknown');

    const explain = (eventId: string) => eventually(() => runtime.call('runtime.explain', { workspaceId: id, eventId }));
    expect(await explain(known.id)).toMatchObject({
      considered: [
        { automation: 'listener', decision: 'started' },
        { automation: 'off', decision: 'disabled' },
      ],
    });
    expect(await explain(unknown.id)).toMatchObject({ reason: 'no automation listens to it', considered: [] });
  });

  it('explain a run that was cancelled while it waited, and why a suspended workspace starts nothing', async () => {
    const id = await runtime.workspace({
      sleeper: { when: { events: ['sleep'] }, do: [{ wait: { oneOf: [{ event: 'never' }], timeout: 60 } }] },
    });
    const slept = await runtime.emit(id, 'sleep');
    const waiting = async () => (await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'waiting' } })).runs;
    await eventually(async () => expect(await waiting()).toHaveLength(1), { timeoutMs: 10_000 });
    await runtime.call('runtime.runs.cancel', { workspaceId: id, runId: (await waiting())[0].id });

    expect((await runtime.call('runtime.explain', { workspaceId: id, eventId: slept.id })).considered).toMatchObject([
      { automation: 'sleeper', decision: 'cancelled' },
    ]);

    await runtime.call('workspaces.suspend', { workspaceId: id, body: { suspended: true } }, { userId: 'boss', role: 'superadmin' });
    const late = await runtime.emit(id, 'sleep');
    await eventually(async () =>
      expect(await runtime.call('runtime.explain', { workspaceId: id, eventId: late.id })).toMatchObject({
        reason: 'workspace missing or suspended',
        considered: [],
      }),
    );
  });

  it('that cause themselves come to an end', async () => {
    const id = await runtime.workspace({ loop: { when: { events: ['again'] }, do: [{ emit: { event: 'again' } }] } });

    await runtime.emit(id, 'again');

    await eventually(() => runtime.of(id, 'error').some((event) => event.payload.error === 'TooManyCallError'), { timeoutMs: 20_000 });
    expect(runtime.of(id, 'again').length).toBeLessThanOrEqual(23);
  });
});

describe('what runs keep and call', () => {
  it('contexts of user and session are kept apart, and survive the run', async () => {
    const id = await runtime.workspace({
      save: {
        when: { endpoint: true },
        do: [{ set: { name: 'user.seen', value: '{% {{user.seen}} + 1 %}' } }, { set: { name: 'global.last', value: '{{user.id}}' } }],
        output: { seen: '{{user.seen}}', last: '{{global.last}}' },
      },
    });

    await runtime.webhook(id, 'save', {}, {}, { userId: 'ada' });
    expect(await body(runtime.webhook(id, 'save', {}, {}, { userId: 'ada' }))).toEqual({ seen: 2, last: 'ada' });
    expect(await body(runtime.webhook(id, 'save', {}, {}, { userId: 'ben' }))).toEqual({ seen: 1, last: 'ben' });
  });

  it('a batch that switches the identity keeps each person to himself, also beside another run', async () => {
    const people = ['u1', 'u2', 'u3', 'u4'];
    const id = await runtime.workspace({
      cast: {
        when: { endpoint: true },
        do: [
          {
            repeat: {
              on: '{{body.people}}',
              batch: { size: 4 },
              do: [
                { set: { name: 'session.id', value: '{{item}}' } },
                { wait: { timeout: 0.05 } },
                { set: { name: 'user.name', value: '{{item}}' } },
                { note: { who: '{{item}}' } },
              ],
            },
          },
        ],
        output: '{{user.id}}',
      },
      note: { do: [{ set: { name: 'user.notes', type: 'push', value: '{{who}}' } }] },
      look: {
        when: { endpoint: true },
        do: [
          {
            repeat: {
              on: '{{body.people}}',
              do: [
                { set: { name: 'session.id', value: '{{item}}' } },
                { set: { name: 'out[]', value: { name: '{{user.name}}', notes: '{{user.notes}}' } } },
              ],
            },
          },
        ],
        output: '{{out}}',
      },
    });

    const runs = [{ people }, { people: people.toReversed() }].map((given) =>
      body(runtime.webhook(id, 'cast', given, {}, { userId: 'ada' })),
    );

    expect(await Promise.all(runs)).toEqual(['ada', 'ada']);
    expect(await body(runtime.webhook(id, 'look', { people }))).toEqual(people.map((name) => ({ name, notes: [name, name] })));
  });

  it('a context cannot be broken by the names that a visitor sends', async () => {
    const id = await runtime.workspace({
      put: { when: { endpoint: true }, do: [{ set: { name: 'global[{{body.key}}]', value: '{{body.value}}' } }], output: '{{global.a}}' },
      merge: { when: { endpoint: true }, do: [{ set: { name: 'global', type: 'merge', value: '{{body}}' } }], output: '{{global.a}}' },
    });

    await expect(runtime.webhook(id, 'put', { key: '$lifespans', value: { oops: 1 } })).rejects.toMatchObject({
      type: 'InvalidInstructionError',
      code: 400,
    });
    expect(await body(runtime.webhook(id, 'merge', { $lifespans: { oops: 1 }, a: 1 }))).toBe(1);
    expect(await body(runtime.webhook(id, 'put', { key: 'a', value: 2 }))).toBe(2);
  });

  it('nobody becomes by what he stores who he is not, in this run or a later one', async () => {
    const output = {
      role: '{{user.role}}',
      platformRole: '{{user.platformRole}}',
      email: '{{user.email}}',
      org: '{{session.org}}',
      caller: '{{run.authenticatedWorkspaceId}}',
      source: '{{run.sourceWorkspaceId}}',
      plan: '{{user.plan}}',
    };
    const id = await runtime.workspace({
      forge: {
        when: { endpoint: true },
        do: [
          { set: { name: 'user', type: 'merge', value: '{{body}}' } },
          { set: { name: 'session.org', value: { slug: 'acme', role: { slug: 'owner' } } } },
          { set: { name: 'run.authenticatedWorkspaceId', value: 'victim' } },
          { set: { name: 'run.sourceWorkspaceId', value: 'victim' } },
        ],
        output,
      },
      who: { when: { endpoint: true }, output },
    });
    const forged = { role: 'owner', platformRole: 'superadmin', email: 'boss@example.org', plan: 'pro' };

    expect(await body(runtime.webhook(id, 'forge', forged, {}, { userId: 'mallory' }))).toEqual({ plan: 'pro' });
    expect(await body(runtime.webhook(id, 'who', {}, {}, { userId: 'mallory' }))).toEqual({ plan: 'pro' });
    expect(await body(runtime.webhook(id, 'who', {}, {}, { userId: 'owner' }))).toMatchObject({ role: 'owner' });
  });

  it('a variable whose lifespan is over can be set again, for good', async () => {
    const set = (more = {}) => ({ when: { endpoint: true }, do: [{ set: { name: 'global.x', value: '{{body.v}}', ...more } }] });
    const id = await runtime.workspace({
      lend: set({ lifespan: 0.3 }),
      give: set(),
      count: { when: { endpoint: true }, do: [{ set: { name: 'global.n', value: '{% {{global.n}} + 1 %}' } }] },
      lendCount: { when: { endpoint: true }, do: [{ set: { name: 'global.n', value: 1, lifespan: 0.3 } }] },
      get: { when: { endpoint: true }, output: { x: '{{global.x}}', n: '{{global.n}}' } },
    });
    const get = () => body(runtime.webhook(id, 'get'));
    await runtime.webhook(id, 'lend', { v: 5 });
    await runtime.webhook(id, 'lendCount');
    await eventually(async () => expect(await get()).toEqual({}));

    await runtime.webhook(id, 'give', { v: 6 });
    await runtime.webhook(id, 'count');

    expect(await get()).toEqual({ x: 6, n: 1 });
  });

  it('a webhook waits for the answer of another automation', async () => {
    const id = await runtime.workspace({
      ask: {
        when: { endpoint: true },
        do: [
          { emit: { event: 'question', payload: { n: 20 }, output: 'sent' } },
          { wait: { oneOf: [{ event: 'answered', filters: { 'payload.to': '{{sent.id}}' } }], timeout: 10, output: 'answer' } },
        ],
        output: '{{answer.payload.n}}',
      },
      think: {
        when: { events: ['question'] },
        do: [{ emit: { event: 'answered', payload: { to: '{{id}}', n: '{% {{payload.n}} + 1 %}' } } }],
      },
    });

    expect(await body(runtime.webhook(id, 'ask'))).toBe(21);
  });

  it('a run hears what it causes beside its wait: what it emits, and what answers that', async () => {
    const answer = (event: string) => ({ wait: { oneOf: [{ event }], timeout: 3, output: 'heard' } });
    const id = await runtime.workspace({
      own: { when: { endpoint: true }, do: [{ all: [answer('own'), { emit: { event: 'own' } }] }], output: '{{heard.type}}' },
      nested: { when: { endpoint: true }, do: [{ all: [answer('told'), { tell: {} }] }], output: '{{heard.type}}' },
      tell: { do: [{ emit: { event: 'told' } }] },
    });

    for (let turn = 0; turn < 3; turn++)
      expect(await Promise.all([body(runtime.webhook(id, 'own')), body(runtime.webhook(id, 'nested'))])).toEqual(['own', 'told']);
  });

  it('secrets reach what is fetched, and no event', async () => {
    const id = await runtime.workspace(
      {
        push: {
          when: { endpoint: true },
          do: [
            {
              fetch: {
                url: `${stubUrl}/status/500`,
                method: 'POST',
                headers: { authorization: 'Bearer {{config.key}}' },
                body: { key: '{{config.key}}' },
                output: 'r',
              },
            },
          ],
          output: { key: '{{config.key}}' },
        },
      },
      { config: { key: '{{secret.k}}' } },
    );
    await runtime.call('secrets.patch', { workspaceId: id, body: { k: { value: 'very-secret-1' } } });

    await eventually(async () => expect(await body(runtime.webhook(id, 'push'))).toEqual({ key: 'very-secret-1' }));

    expect(seen.at(-1)).toMatchObject({ body: '{"key":"very-secret-1"}', headers: { authorization: 'Bearer very-secret-1' } });
    await eventually(() => runtime.of(id, 'runtime.fetch.failed').length > 0 && runtime.of(id, 'runtime.automations.executed').length > 0);
    expect(JSON.stringify(runtime.events.filter((event) => event.source.workspaceId === id))).not.toContain('very-secret-1');
  });

  it('a failed fetch is told without the credentials of its address', async () => {
    const id = await runtime.workspace({
      call: {
        when: { endpoint: true },
        do: [
          { fetch: { url: `${stubUrl.replace('//', '//ada:let-me-in@')}/status/500` } },
          { fetch: { url: 'http://ada:let-me-in@not a host/', output: 'answer' } },
        ],
        output: '{{answer.message}}',
      },
    });

    expect(await body(runtime.webhook(id, 'call'))).toBe("'http://REDACTED@not a host/' is not an absolute address.");
    await eventually(() => expect(runtime.of(id, 'runtime.fetch.failed')).toHaveLength(2));
    expect(seen.at(-1)?.headers.authorization).toBe(`Basic ${Buffer.from('ada:let-me-in').toString('base64')}`);
    expect(runtime.of(id, 'runtime.fetch.failed')[0]?.payload.request).toMatchObject({
      url: `${stubUrl.replace('//', '//REDACTED@')}/status/500`,
    });
    expect(JSON.stringify(runtime.of(id, 'runtime.fetch.failed'))).not.toContain('let-me-in');
  });

  it('secrets opened for a fetch stay hidden when the run has waited since', async () => {
    const id = await runtime.workspace({
      kept: {
        when: { endpoint: true },
        do: [
          {
            run: {
              module: 'secrets',
              function: 'set',
              parameters: { name: 'token', value: 'never-to-be-seen', scope: 'user' },
              output: 'reference',
            },
          },
          { fetch: { url: `${stubUrl}/echo`, headers: { authorization: 'Bearer {{reference}}' }, output: 'echo' } },
          { wait: { oneOf: [{ event: 'go on' }], timeout: 60 } },
          { show: { seen: '{{echo.authorization}}' } },
        ],
        output: 'done',
      },
      show: { output: '{{seen}}' },
    });
    const answer = runtime.webhook(id, 'kept', {}, { idempotencyKey: hexId() }, { userId: 'ada' });
    await eventually(
      async () => expect((await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'waiting' } })).runs).toHaveLength(1),
      { timeoutMs: 10_000 },
    );

    await runtime.emit(id, 'go on');

    expect(await body(answer)).toBe('done');
    expect(seen.at(-1)?.headers.authorization).toBe('Bearer never-to-be-seen');
    await eventually(() => expect(runtime.of(id, 'runtime.automations.executed')).toHaveLength(2));
    const told = runtime.of(id, 'runtime.automations.executed');
    expect(told.find(({ payload }) => payload.slug === 'show')?.payload).toMatchObject({
      payload: { seen: 'Bearer REDACTED' },
      output: 'Bearer REDACTED',
    });
  });

  it('modules hash, split, keep secrets and records', async () => {
    const id = await runtime.workspace({
      modules: {
        when: { endpoint: true },
        do: [
          { run: { module: 'crypto', function: 'sha256', parameters: { data: 'a' }, output: 'hash' } },
          { run: { module: 'collections', function: 'create', parameters: { collection: 'pets', data: { name: 'Rex', legs: 4 } } } },
          {
            run: {
              module: 'collections',
              function: 'updateOne',
              parameters: { collection: 'pets', query: { name: 'Rex' }, data: { $inc: { legs: -1 } } },
            },
          },
          {
            run: {
              module: 'collections',
              function: 'findOne',
              parameters: { collection: 'pets', query: { legs: { $lt: 4 } } },
              output: 'pet',
            },
          },
          {
            run: {
              module: 'secrets',
              function: 'set',
              parameters: { name: 'token', value: 'user-secret', scope: 'user' },
              output: 'reference',
            },
          },
          { fetch: { url: `${stubUrl}/`, method: 'POST', body: { token: '{{reference}}' } } },
        ],
        output: { hash: '{{hash}}', legs: '{{pet.legs}}', isReference: '{% {{reference}} matches regex("^.secret:") %}' },
      },
    });

    const answer = (await body(runtime.webhook(id, 'modules', {}, {}, { userId: 'ada' }))) as Record<string, unknown>;

    expect(answer).toMatchObject({ hash: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', legs: 3 });
    expect(seen.at(-1)?.body).toBe('{"token":"user-secret"}');
  });
});

describe('rights', () => {
  it('authorizations guard webhooks and nested calls; testing needs the workspace', async () => {
    const id = await runtime.workspace({
      guarded: { when: { endpoint: true }, authorizations: { action: 'refund' }, output: 'done' },
      caller: { when: { endpoint: true }, do: [{ guarded: {} }], output: 'called' },
    });

    await expect(runtime.webhook(id, 'guarded')).rejects.toMatchObject({ type: 'ForbiddenError', code: 403 });
    await expect(runtime.webhook(id, 'caller')).rejects.toMatchObject({ type: 'ForbiddenError' });
    expect(await body(runtime.webhook(id, 'caller', {}, {}, { userId: 'owner' }))).toBe('called');
    await expect(runtime.call('runtime.test', { workspaceId: id, slug: 'caller', body: {} }, { userId: 'stranger' })).rejects.toMatchObject(
      { type: 'ForbiddenError' },
    );
    expect(await runtime.call('runtime.test', { workspaceId: id, slug: 'caller', body: {} })).toBe('called');
    await expect(runtime.call('runtime.runs.list', { workspaceId: id }, { userId: 'stranger' })).rejects.toMatchObject({
      type: 'ForbiddenError',
    });
  });

  it('of a super admin reach every automation and secret, but not who he switches to, nor what is delegated', async () => {
    const id = await runtime.workspace({
      guarded: { when: { endpoint: true }, authorizations: { action: 'refund' }, output: '{{user.platformRole}}' },
      nested: { when: { endpoint: true }, do: [{ guarded: { output: 'r' } }], output: '{{r}}' },
      switched: { when: { endpoint: true }, do: [{ set: { name: 'user.id', value: 'somebody' } }, { guarded: {} }] },
      keeps: {
        when: { endpoint: true },
        do: [{ run: { module: 'secrets', function: 'set', parameters: { name: '{{body.name}}', value: 'v', scope: 'workspace' } } }],
        output: 'kept',
      },
    });
    const admin = { userId: 'root', role: 'superadmin' } as const;

    expect(await body(runtime.webhook(id, 'guarded', {}, {}, admin))).toBe('superadmin');
    expect(await body(runtime.webhook(id, 'nested', {}, {}, admin))).toBe('superadmin');
    await expect(runtime.webhook(id, 'switched', {}, {}, admin)).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(runtime.webhook(id, 'guarded', {}, {}, { ...admin, kind: 'delegated' })).rejects.toMatchObject({ type: 'ForbiddenError' });
    for (const name of ['n', 'prismeai_n']) expect(await body(runtime.webhook(id, 'keeps', { name }, {}, admin))).toBe('kept');
    await expect(runtime.webhook(id, 'keeps', { name: 'n' }, {}, { userId: 'stranger' })).rejects.toMatchObject({ type: 'SecretsError' });
    await expect(runtime.webhook(id, 'keeps', { name: 'prismeai_n' }, {}, { userId: 'owner' })).rejects.toMatchObject({
      type: 'SecretsError',
    });
  });
});

describe('rate limits', () => {
  it('count each name and consumer apart, whatever characters they hold', async () => {
    const id = await runtime.workspace({
      ask: {
        when: { endpoint: true },
        do: [{ rateLimit: { name: '{{body.name}}', consumer: '{{body.consumer}}', window: 60, limit: 1, output: 'rate' } }],
        output: '{{rate.ok}}',
      },
    });
    const ask = (name: string, consumer?: string) => body(runtime.webhook(id, 'ask', { name, consumer }));
    const pairs: [string, string?][] = [['a:b', 'c'], ['a', 'b:c'], ['a', 'b","c'], ['a","b', 'c'], ['a:b:c'], ['a'], ['a', '{b}']];

    for (const pair of pairs) expect([pair, await ask(...pair)]).toEqual([pair, true]);
    for (const pair of pairs) expect([pair, await ask(...pair)]).toEqual([pair, false]);
  });
});

describe('edits', () => {
  it('are followed at once, and a broken automation is refused on save', async () => {
    const id = await runtime.workspace({ v: { when: { endpoint: true }, output: 1 } });
    expect(await body(runtime.webhook(id, 'v'))).toBe(1);

    await runtime.call('automations.update', {
      workspaceId: id,
      slug: 'v',
      body: { name: 'v', do: [], when: { endpoint: true }, output: 2 },
    });

    await eventually(async () => expect(await body(runtime.webhook(id, 'v'))).toBe(2), { timeoutMs: 3_000 });
    expect(await runtime.call('runtime.triggers', { workspaceId: id })).toEqual([{ kind: 'endpoint', value: 'v', automation: 'v' }]);
  });
});
