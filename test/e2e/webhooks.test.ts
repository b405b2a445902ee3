/** What an HTTP client of a webhook sees, through the public port: bodies, answers, streams, and what happens when it leaves. */
import { createHmac } from 'node:crypto';
import { createServer, request, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { raw } from '../support/raw-http.ts';

let platform: Platform;
let owner: Client;
let id: string;
let stub: Server;
let stubUrl: string;
/** Requests the stub has got and not answered: closed when the caller gave up. */
const open: { url: string; closed: boolean }[] = [];

beforeAll(async () => {
  stub = createServer((incoming, response) => {
    const entry = { url: incoming.url as string, closed: false };
    open.push(entry);
    response.on('close', () => (entry.closed = true));
    if (!entry.url.startsWith('/hang')) response.end('{}');
  });
  await new Promise<void>((done) => stub.listen(0, '127.0.0.1', done));
  stubUrl = `http://127.0.0.1:${(stub.address() as { port: number }).port}`;
  platform = await startPlatform({
    mode: 'embedded',
    env: {
      WEBHOOKS_SSE_KEEPALIVE: '50',
      FETCH_ALLOWED_PRIVATE_HOSTS: '127.0.0.1',
      UPLOADS_MAX_SIZE: '100000',
      OVERWRITE_CORRELATION_ID_HEADER: 'false',
    },
  });
  owner = await newUser(platform.url, 'owner');
  id = (await expectOk(owner.post('/workspaces', { name: 'Hooks', slug: 'hooks-of-test' }))).id;
}, 120_000);
afterAll(async () => {
  await platform?.stop();
  stub.closeAllConnections();
  stub.close();
}, 60_000);

let serial = 0;
/** Makes an endpoint automation and answers its path. */
async function endpoint(automation: object, workspace = id): Promise<string> {
  const slug = `hook${++serial}`;
  await expectOk(owner.post(`/workspaces/${workspace}/automations`, { slug, name: slug, do: [], when: { endpoint: true }, ...automation }));
  await eventually(async () => {
    const triggers = await expectOk(owner.get(`/workspaces/${workspace}/triggers`));
    expect(triggers).toContainEqual(expect.objectContaining({ kind: 'endpoint', automation: slug }));
  });
  return `/workspaces/${workspace}/webhooks/${slug}`;
}
/** Tells an event again and again until the answer is there: the run may not wait for it yet when it is first told. */
async function wake<T>(type: string, answer: Promise<T>): Promise<T> {
  let isThere = false;
  const settled = answer.finally(() => (isThere = true));
  while (!isThere) {
    await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type, payload: {} }] }));
    await Promise.race([settled.catch(() => {}), new Promise((done) => setTimeout(done, 250))]);
  }
  return settled;
}
const anybody = () => client(platform.url);
const http = (value: object) => ({ set: { name: '$http', value } });

describe('the answer', () => {
  it.each([
    ['an object', { a: 1 }, 'application/json; charset=utf-8', '{"a":1}'],
    ['a list', [1, 'x'], 'application/json; charset=utf-8', '[1,"x"]'],
    ['a number', 5, 'application/json; charset=utf-8', '5'],
    ['zero', 0, 'application/json; charset=utf-8', '0'],
    ['false', false, 'application/json; charset=utf-8', 'false'],
    ['a text', '<b>hi</b>', 'text/html; charset=utf-8', '<b>hi</b>'],
    ['an empty text', '', null, ''],
  ])('of %s is itself', async (_name, output, type, text) => {
    const response = await fetch(`${platform.url}${await endpoint({ output })}`, { method: 'POST' });

    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(type);
    expect(await response.text()).toBe(text);
  });

  it('has the status and headers of $http, also without a body', async () => {
    const path = await endpoint({ do: [http({ status: 202 }), http({ headers: { 'x-report': 'weekly' } })], output: '' });

    const response = await fetch(`${platform.url}${path}`, { method: 'POST' });

    expect(response.status).toBe(202);
    expect(response.headers.get('x-report')).toBe('weekly');
    expect(response.headers.get('content-length')).toBe('0');
    expect(await response.text()).toBe('');
  });

  it('has headers of any letters, as bytes of UTF-8', async () => {
    const title = [http({ headers: { 'x-title': '{{body.title}}' } })];
    const stream = [...title, http({ chunk: 1 })];

    for (const path of [await endpoint({ do: title, output: 'ok' }), await endpoint({ do: title }), await endpoint({ do: stream })]) {
      const { status, headers } = await anybody().post(path, { title: '日本\u0001é😀' });
      expect(status).toBe(200);
      expect(Buffer.from(headers.get('x-title') as string, 'latin1').toString()).toBe('日本 é😀');
    }
  });

  it('sets several cookies, each in a header of its own', async () => {
    const cookies = [http({ headers: { 'set-cookie': ['a=1', 'b={{body.b}}', 'access-token=x'] } })];

    for (const path of [await endpoint({ do: cookies }), await endpoint({ do: [...cookies, http({ chunk: 1 })] })])
      expect((await anybody().post(path, { b: 2 })).headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });

  it.each([204, 304])('has no content with status %d, nor a word of it, and the connection goes on', async (status) => {
    const { pathname } = new URL(`${platform.url}${await endpoint({ do: [http({ status })], output: { some: 'thing' } })}`);
    const next = `GET ${pathname.replace(/hook\d+$/, 'nowhere')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

    const { text, headers } = await raw(platform.url, [`POST ${pathname} HTTP/1.1`, 'Content-Length: 0', 'X: y'], next, { goesOn: true });

    const [first = '', second] = text.split('\r\n\r\n');
    expect(first).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(headers['content-length']).toBeUndefined();
    expect(headers['transfer-encoding']).toBeUndefined();
    expect(second).toMatch(/^HTTP\/1.1 404 /);
  });

  it('that streams closes the connection when it is asked to', async () => {
    const { pathname } = new URL(`${platform.url}${await endpoint({ do: [http({ chunk: 1 })], output: { done: true } })}`);

    // Waits until the server closes.
    const { headers, text } = await raw(platform.url, [`POST ${pathname} HTTP/1.1`, 'Content-Length: 0']);

    expect(headers.connection).toBe('close');
    expect(text).toContain('data: {"done":true}');
  });

  it.each(['OPTIONS', 'HEAD', 'TRACE', 'PROPFIND'])('is none to %s: it runs nothing', async (method) => {
    const path = await endpoint({ do: [{ set: { name: `global.ran_${method}`, value: true } }] });
    const look = await endpoint({ output: { ran: `{{global.ran_${method}}}` } });

    const { status, headers } = await raw(platform.url, [`${method} ${new URL(platform.url).pathname}${path} HTTP/1.1`]);

    expect([status, headers.allow]).toEqual([404, 'DELETE, GET, PATCH, POST, PUT']);
    expect((await anybody().post(look, {})).body.ran ?? false).toBe(false);
  });

  it('of a failed run is its error, without the request', async () => {
    const path = await endpoint({ do: [{ 'not there': {} }] });

    const answer = await anybody().post(path, { password: 'of-the-request' }, { 'x-correlation-id': 'failing-1' });

    expect(answer).toMatchObject({ status: 404, body: { error: 'ObjectNotFoundError', message: expect.any(String) } });
    expect(JSON.stringify(answer.body)).not.toContain('of-the-request');
    expect(answer.headers.get('x-correlation-id')).toBe('failing-1');
  });

  it('with a type of its own is sent as that', async () => {
    const path = await endpoint({ do: [http({ headers: { 'content-type': 'text/csv' } })], output: 'a;b' });

    const response = await fetch(`${platform.url}${path}`, { method: 'POST' });

    expect(response.headers.get('content-type')).toBe('text/csv');
    expect(await response.text()).toBe('a;b');
  });
});

describe('the request', () => {
  it('arrives by method, query, path and visible headers', async () => {
    const slug = `v1/items/:id/notes/*rest`;
    await endpoint({
      when: { endpoint: slug },
      output: { method: '{{method}}', query: '{{query}}', path: '{{pathParams}}', headers: '{{headers}}' },
    });
    const headers = { 'x-hidden': '1', cookie: 'a=b', authorization: 'Basic of-somebody-else', 'accept-language': 'fr' };

    const { body } = await anybody().request(
      'PUT',
      `/workspaces/slug:hooks-of-test/webhooks/v1/items/a%2Fb/notes/c/d?x=1&y[]=2`,
      {},
      headers,
    );

    expect(body).toMatchObject({ method: 'PUT', query: { x: '1', y: ['2'] }, path: { id: 'a/b', rest: 'c/d' } });
    expect(body.headers).toMatchObject({ 'accept-language': 'fr', authorization: 'Basic of-somebody-else' });
    for (const hidden of ['x-hidden', 'cookie', 'host']) expect(body.headers).not.toHaveProperty([hidden]);
    const own = await owner.request('PUT', `/workspaces/${id}/webhooks/v1/items/1/notes/2`, {});
    expect(own.body.headers).not.toHaveProperty('authorization');
  });

  it.each([
    ['JSON object', 'application/json', '{"a":[1]}', { a: [1] }],
    ['JSON list', 'application/json', '[1,{"b":2}]', [1, { b: 2 }]],
    [
      'JSON object with files of its own',
      'application/json',
      '{"role":"user","files":[{"fieldname":"role","base64":"aGk="}]}',
      { role: 'user', files: [{ fieldname: 'role', base64: 'aGk=' }] },
    ],
    ['form', 'application/x-www-form-urlencoded', 'a=1&b=2', { a: '1', b: '2' }],
    ['text', 'text/plain', 'plain & simple', 'plain & simple'],
    ['XML', 'application/xml', '<a/>', '<a/>'],
  ])('brings a body of %s', async (_name, type, text, value) => {
    const path = await endpoint({ output: { body: '{{body}}', raw: '{{rawBody}}' } });

    expect((await anybody().post(path, text, { 'content-type': type })).body).toEqual({ body: value, raw: text });
  });

  it('may have fields with names that objects have', async () => {
    const path = await endpoint({ output: { query: '{{query}}', body: '{{body}}', one: '{{body.toString}}' } });
    const text = 'toString=1&valueOf=2&hasOwnProperty=3&toJSON=4&then=5&length=6';

    const { status, body } = await anybody().post(`${path}?${text}`, text, { 'content-type': 'application/x-www-form-urlencoded' });

    expect(status).toBe(200);
    for (const given of [body.query, body.body]) expect(new URLSearchParams(given).toString()).toBe(text);
    expect(body.one).toBe('1');
  });

  it('can be checked by a signature of its bytes', async () => {
    const path = await endpoint({
      do: [{ run: { module: 'crypto', function: 'hmac', parameters: { data: '{{rawBody}}', key: 'shared' }, output: 'mine' } }],
      output: '{{mine}}',
    });
    const text = '{ "spaced":  "é" }';

    expect((await anybody().post(path, text, { 'content-type': 'application/json' })).body).toBe(
      createHmac('sha256', 'shared').update(text).digest('hex'),
    );
  });

  it.each([
    ['answered', 'POST', 200, {}],
    ['accepted, and run from its record', 'PUT', 202, { prefer: 'respond-async', 'idempotency-key': 'bytes' }],
  ])('that is no text can be checked and kept too: %s', async (_how, method, status, headers) => {
    const path = await endpoint({
      do: [
        { run: { module: 'crypto', function: 'hmac', parameters: { data: '{{rawBody}}', key: 'shared' }, output: 'mine' } },
        { set: { name: 'global.bytes', value: ['{{mine}}', '{% base64({{rawBody}}) %}', '{{method}}'] } },
      ],
    });
    const look = await endpoint({ output: '{{global.bytes}}' });
    const bytes = Buffer.from([0xff, 0xfe, 0, 1, 0x80, 0x89, 0x50]);

    const response = await fetch(`${platform.url}${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/octet-stream' } as Record<string, string>,
      body: bytes,
    });

    expect(response.status).toBe(status);
    const expected = [createHmac('sha256', 'shared').update(bytes).digest('hex'), bytes.toString('base64'), method];
    await eventually(async () => expect((await anybody().post(look, {})).body).toEqual(expected), { timeoutMs: 15_000 });
  });

  it('brings files of a form at their fields, several of one name as a list', async () => {
    const path = await endpoint({ output: '{{body}}' });
    const form = new FormData();
    form.append('title', 'Two files');
    form.append('one', new Blob(['1'], { type: 'text/plain' }), '1.txt');
    for (const n of ['2', '3', '4']) form.append('more', new Blob([n]), `${n}.bin`);

    const { body } = await anybody().post(path, form);

    expect(body).toMatchObject({
      title: 'Two files',
      one: { originalname: '1.txt', mimetype: 'text/plain', size: 1, base64: Buffer.from('1').toString('base64') },
    });
    expect(body.more.map((file: { base64: string }) => Buffer.from(file.base64, 'base64').toString())).toEqual(['2', '3', '4']);
  });

  it('brings files of a form whose field is called files, and refuses a field called as a prototype', async () => {
    const path = await endpoint({ output: '{{body}}' });
    const [named, hostile] = [new FormData(), new FormData()];
    named.append('files', new Blob(['1']), '1.txt');
    named.append('files', new Blob(['2']), '2.txt');
    hostile.append('__proto__', new Blob(['1']), '1.txt');

    expect((await anybody().post(path, named)).body).toEqual({
      files: [expect.objectContaining({ originalname: '1.txt' }), expect.objectContaining({ originalname: '2.txt' })],
    });
    expect(await anybody().post(path, hostile)).toMatchObject({ status: 400, body: { error: 'InvalidUploadError' } });
  });

  it('is refused when malformed, or larger than allowed', async () => {
    const path = await endpoint({ output: '{{body}}' });
    const form = new FormData();
    form.append('file', new Blob(['x'.repeat(150_000)]), 'large.txt');

    expect(await anybody().post(path, '{"a":', { 'content-type': 'application/json' })).toMatchObject({
      status: 400,
      body: { error: 'RequestValidationError' },
    });
    expect((await anybody().post(path, form)).status).toBe(413);
    expect((await anybody().post(path, { text: 'x'.repeat(2_000_000) })).status).toBe(413);
    expect((await anybody().post(path, { fine: true })).body).toEqual({ fine: true });
  });

  it('of an endpoint that calls itself over HTTP comes to an end', async () => {
    const slug = `hook${serial + 1}`;
    const path = await endpoint({
      do: [{ fetch: { url: `{{global.endpoints.${slug}}}`, method: 'POST', output: 'inner' } }],
      output: '{{inner}}',
    });

    const { body } = await anybody().post(path, {});

    expect(JSON.stringify(body)).toContain('TooManyCallError');
  });
});

describe('a stream', () => {
  it('begins with the first chunk, keeps alive, and ends with the output', async () => {
    const path = await endpoint({
      do: [
        http({ status: 201, headers: { 'x-kind': 'report' }, sseKeepAlive: 1 }),
        http({ chunk: { part: 1 } }),
        { wait: { oneOf: [{ event: 'stream.goes.on' }], timeout: 60 } },
        http({ chunk: 'two' }),
      ],
      output: { done: true },
    });
    const response = await fetch(`${platform.url}${path}`, { method: 'POST' });
    expect([response.status, response.headers.get('content-type'), response.headers.get('x-kind')]).toEqual([
      201,
      'text/event-stream',
      'report',
    ]);
    let text = '';
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    const read = async (until: (text: string) => boolean) => {
      while (!until(text)) {
        const { done, value } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
      }
    };

    await read((now) => now.includes('"part":1') && now.includes('keepAlive'));
    expect(text).not.toContain('two');
    await wake(
      'stream.goes.on',
      read(() => false),
    );

    const messages = text
      .split('\n\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line.replace(/^data: /, '')));
    expect(messages.filter((message) => !message.keepAlive)).toEqual([{ part: 1 }, 'two', { done: true }]);
  });

  it('with an Idempotency-Key is sent once, and not kept', async () => {
    const path = await endpoint({
      do: [{ set: { name: 'global.streamed[]', value: 1 } }, http({ chunk: 1 })],
      output: { n: '{{global.streamed}}' },
    });
    const ask = () => fetch(`${platform.url}${path}`, { method: 'POST', headers: { 'idempotency-key': 'streamed' } });

    const first = await ask();
    expect(first.headers.get('content-type')).toBe('text/event-stream');
    expect(await first.text()).toBe('data: 1\n\ndata: {"n":[1]}\n\n');
    const again = await ask();

    expect(again.status).toBe(422);
    expect(await again.json()).toMatchObject({ error: 'IdempotencyKeyReused', message: expect.stringContaining('stream') });
  });

  it('of a run that fails ends with the error', async () => {
    const path = await endpoint({ do: [http({ chunk: 1 }), { 'not there': {} }] });

    const response = await fetch(`${platform.url}${path}`, { method: 'POST' });

    const lines = (await response.text()).split('\n\n').filter(Boolean);
    expect(lines[0]).toBe('data: 1');
    expect(JSON.parse((lines[1] as string).slice('data: '.length))).toMatchObject({ error: 'ObjectNotFoundError' });
  });

  it('holds the run back when its reader is slow', async () => {
    const path = await endpoint({
      do: [
        { repeat: { until: 200, do: [http({ chunk: '{{body.text}}' }), { set: { name: 'global.sent', value: '{{$index}}' } }] } },
        { set: { name: 'global.sent', value: 'all' } },
      ],
    });
    const look = await endpoint({ output: { sent: '{{global.sent}}' } });
    const sent = async () => (await anybody().post(look, {})).body.sent;
    // 200 chunks of 100 kB: more than every buffer between automation and client.
    const paused = await slowReader(path, JSON.stringify({ text: 'x'.repeat(100_000) }));

    await eventually(async () => expect(await sent()).toBeGreaterThan(5));
    const before = await eventually(async () => {
      const now = await sent();
      await new Promise((done) => setTimeout(done, 200));
      expect(await sent()).toBe(now);
      return now;
    });
    expect(before).not.toBe('all');
    paused.resume();

    await eventually(async () => expect(await sent()).toBe('all'), { timeoutMs: 20_000 });
  });
});

/** A client that reads nothing after the headers until it is told to. */
function slowReader(path: string, body: string): Promise<{ resume(): void; destroy(): void }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${platform.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' } }, (response) => {
      response.pause();
      response.on('error', () => {});
      resolve({ resume: () => void response.resume(), destroy: () => outgoing.destroy() });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

describe('a client that leaves', () => {
  const leaving = async (path: string) => {
    const control = new AbortController();
    const gone = fetch(`${platform.url}${path}`, { method: 'POST', signal: control.signal }).catch(() => 'gone');
    return { leave: () => control.abort(), gone };
  };
  const runsOf = async (path: string) =>
    (await expectOk(owner.get(`/workspaces/${id}/runs`))).runs.filter((run: { automation: string }) => path.endsWith(`/${run.automation}`));

  it('ends its run: what it fetches is given up, what follows is not done', async () => {
    const path = await endpoint({ do: [{ fetch: { url: `${stubUrl}/hang/${serial}` } }, { emit: { event: 'too.late' } }] });
    const { leave, gone } = await leaving(path);
    const hanging = await eventually(() => {
      const found = open.find(({ url }) => url === `/hang/${serial - 1}`);
      expect(found).toBeDefined();
      return found as (typeof open)[number];
    });
    expect(await runsOf(path)).toMatchObject([{ state: 'running', trigger: { type: 'endpoint' } }]);

    leave();

    expect(await gone).toBe('gone');
    await eventually(() => expect(hanging.closed).toBe(true));
    await eventually(async () => expect(await runsOf(path)).toEqual([]));
    const { result } = await expectOk(owner.get(`/workspaces/${id}/events?types=too.late`));
    expect(result.events).toEqual([]);
  });

  it('ends no run of another call with the same correlation id', async () => {
    const path = await endpoint({ do: [{ wait: { oneOf: [{ event: 'other.goes.on' }], timeout: 60 } }], output: { done: true } });
    const headers = { 'x-correlation-id': 'the-same' };
    const control = new AbortController();
    const left = fetch(`${platform.url}${path}`, { method: 'POST', headers, signal: control.signal }).catch(() => 'gone');
    const stays = anybody().post(path, {}, headers);
    await eventually(async () => expect(await runsOf(path)).toHaveLength(2));

    control.abort();
    await left;
    await eventually(async () => expect(await runsOf(path)).toHaveLength(1));

    expect((await wake('other.goes.on', stays)).body).toEqual({ done: true });
  });

  it('before the first chunk of a run that must end lets it end: nobody waits for room in a stream that nobody reads', async () => {
    const path = await endpoint({
      do: [
        { wait: { oneOf: [{ event: 'unread.goes.on' }], timeout: 60 } },
        { repeat: { until: 20, do: [http({ chunk: '{{body.text}}' })] } },
      ],
    });
    const headers = { 'idempotency-key': 'unread', 'content-type': 'application/json' };
    const control = new AbortController();
    const body = JSON.stringify({ text: 'x'.repeat(50_000) });
    const left = fetch(`${platform.url}${path}`, { method: 'POST', headers, body, signal: control.signal }).catch(() => 'gone');
    await eventually(async () => expect(await runsOf(path)).toHaveLength(1));

    control.abort();
    await left;

    const ended = eventually(async () => expect(await runsOf(path)).toMatchObject([{ state: 'done' }]), { timeoutMs: 15_000 });
    await wake('unread.goes.on', ended);
  });

  it('with an Idempotency-Key finds its answer when it comes back', async () => {
    const path = await endpoint({
      do: [
        { set: { name: 'global.charges', value: '{% {{global.charges}} + 1 %}' } },
        { wait: { oneOf: [{ event: 'charge.goes.on' }], timeout: 60 } },
      ],
      output: { charges: '{{global.charges}}' },
    });
    const headers = { 'idempotency-key': 'order-1' };
    const control = new AbortController();
    const left = fetch(`${platform.url}${path}`, { method: 'POST', headers, signal: control.signal }).catch(() => 'gone');
    await eventually(async () => expect(await runsOf(path)).toHaveLength(1));
    control.abort();
    await left;

    const again = anybody().post(path, {}, headers);

    expect((await wake('charge.goes.on', again)).body).toEqual({ charges: 1 });
    expect((await anybody().post(path, {}, headers)).body).toEqual({ charges: 1 });
    expect(await anybody().post(path, { another: 'request' }, headers)).toMatchObject({
      status: 422,
      body: { error: 'IdempotencyKeyReused' },
    });
  });
});

describe('an answer kept under an Idempotency-Key', () => {
  it('is shown to nobody whom the automation itself would refuse', async () => {
    const path = await endpoint({
      do: [
        { set: { name: 'global.asked', value: '{% {{global.asked}} + 1 %}' } },
        {
          conditions: {
            '{{headers.authorization}} == "Bearer alice"': [
              { set: { name: 'reply', value: { secret: 'of alice', n: '{{global.asked}}' } } },
            ],
            default: [http({ status: 401 }), { set: { name: 'reply', value: { error: 'who are you' } } }],
          },
        },
      ],
      output: '{{reply}}',
    });
    const ask = (headers: Record<string, string>, who = anybody()) => who.post(path, {}, { 'idempotency-key': 'order-42', ...headers });

    expect((await ask({ authorization: 'Bearer alice' })).body).toEqual({ secret: 'of alice', n: 1 });

    for (const headers of [{ authorization: 'Bearer mallory' }, {}] as Record<string, string>[])
      expect(await ask(headers)).toMatchObject({ status: 401, body: { error: 'who are you' } });
    expect(await ask({}, owner)).toMatchObject({ status: 401 });
    // And she herself gets it again, from a newer release of her client.
    expect((await ask({ authorization: 'Bearer alice', 'user-agent': 'client/2', 'x-request-id': '2' })).body).toEqual({
      secret: 'of alice',
      n: 1,
    });
  });
});

describe('a large request', () => {
  it('is answered once for its key, runs when it was accepted, and is begun again with all it brought', async () => {
    const text = 'x'.repeat(500_000);
    const path = await endpoint({
      do: [{ set: { name: 'global.large', value: '{% {{global.large}} + 1 %}' } }],
      output: { n: '{{global.large}}', text: '{{body.text}}' },
    });
    const ask = (body: object = { text }) => anybody().post(path, body, { 'idempotency-key': 'large' });

    expect((await ask()).body).toEqual({ n: 1, text });
    expect((await ask()).body).toEqual({ n: 1, text });
    expect((await ask({ text: `${text}y` })).status).toBe(422);

    const told = await endpoint({
      do: [{ set: { name: 'global.given', value: '{{body.text}}' } }, { conditions: { 'not {{global.repaired}}': [{ 'not there': {} }] } }],
    });
    const repair = await endpoint({ do: [{ set: { name: 'global.repaired', value: true } }] });
    const look = await endpoint({ output: '{{global.given}}' });
    const { runId } = (await anybody().post(told, { text }, { prefer: 'respond-async' })).body;
    const stateOf = async () => (await owner.get(`/workspaces/${id}/runs/${runId}`)).body.state;
    await eventually(async () => expect(await stateOf()).toBe('failed'), { timeoutMs: 15_000 });
    await expectOk(anybody().post(repair, {}));
    await expectOk(owner.post(`/workspaces/${id}/runs/${runId}/retry`, {}));
    await eventually(async () => expect(await stateOf()).toBe('done'), { timeoutMs: 15_000 });
    expect((await anybody().post(look, {})).body).toBe(text);
  });
});

describe('an endpoint of several automations', () => {
  it('runs each of them once for an Idempotency-Key, and none for a request that is refused', async () => {
    const name = `shared${serial}`;
    const counting = (list: string) => [{ set: { name: `global.${name}${list}[]`, value: '{{body.a}}' } }];
    await endpoint({ when: { endpoint: name }, do: counting('First'), output: 'first' });
    await endpoint({ when: { endpoint: name }, do: counting('Second'), output: 'second' });
    const look = await endpoint({ output: [`{{global.${name}First}}`, `{{global.${name}Second}}`] });
    const path = `/workspaces/${id}/webhooks/${name}`;
    const ask = (a: string, headers: Record<string, string> = { 'idempotency-key': 'shared' }) => anybody().post(path, { a }, headers);

    for (let n = 0; n < 3; n++) expect(await ask('kept')).toMatchObject({ status: 200, body: 'first' });
    expect((await ask('wrong')).status).toBe(422);
    expect((await ask('wrong', { 'idempotency-key': 'shared', prefer: 'respond-async' })).status).toBe(422);
    expect((await ask('without a key', {})).status).toBe(200);

    const all = ['kept', 'without a key'];
    await eventually(async () => expect((await anybody().post(look, {})).body).toEqual([all, expect.arrayContaining(['without a key'])]));
    expect((await anybody().post(look, {})).body).toEqual([all, expect.arrayContaining(all)]);
    expect((await anybody().post(look, {})).body[1]).toHaveLength(2);
  });
});

describe('runs seen by REST', () => {
  it('are accepted, listed, read, cancelled and begun again by those who may, and by nobody else', async () => {
    const path = await endpoint({ do: [{ wait: { oneOf: [{ event: 'never.comes' }], timeout: 600 } }] });
    const stranger = await newUser(platform.url, 'stranger');

    const accepted = await anybody().post(path, {}, { prefer: 'respond-async' });
    expect(accepted).toMatchObject({ status: 202, body: { state: 'accepted', runId: expect.any(String) } });
    const run = `/workspaces/${id}/runs/${accepted.body.runId}`;
    await eventually(
      async () => expect((await owner.get(run)).body).toMatchObject({ state: 'waiting', waitingFor: { events: ['never.comes'] } }),
      {
        timeoutMs: 15_000,
      },
    );

    for (const [who, status] of [
      [stranger, 403],
      [anybody(), 401],
    ] as const) {
      expect((await who.get(`/workspaces/${id}/runs`)).status).toBe(status);
      expect((await who.get(run)).status).toBe(status);
      expect((await who.post(`${run}/cancel`, {})).status).toBe(status);
      expect((await who.post(`${run}/retry`, {})).status).toBe(status);
    }
    expect((await owner.get(`/workspaces/${id}/runs/no-such-run`)).status).toBe(404);
    expect((await owner.post(`${run}/retry`, {})).status).toBe(400);
    expect((await owner.post(`${run}/cancel`, {})).body).toEqual({ cancelled: 1 });
    expect((await owner.get(run)).body).toMatchObject({ state: 'cancelled', durationMs: expect.any(Number) });
    expect(
      (await expectOk(owner.get(`/workspaces/${id}/runs?state=cancelled`))).runs.map(({ id: runId }: { id: string }) => runId),
    ).toContain(accepted.body.runId);
    expect((await owner.post(`${run}/retry`, {})).body).toMatchObject({ state: 'accepted' });
    await eventually(async () => expect((await owner.get(run)).body.state).toBe('waiting'), { timeoutMs: 15_000 });
  });
});
