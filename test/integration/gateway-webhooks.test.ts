/** Webhooks at a public port, the runtime played by the test: what of a request reaches it, and what of its answer reaches a browser. */
import { PassThrough, Readable } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Deadlines, openDeadlines } from '../../services/gateway/deadlines.ts';
import { newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';
import { rawJson } from '../support/raw-http.ts';

const STUDIO = 'https://studio.example.org';
const W1 = '/workspaces/w1/webhooks/any';

let gateways: Gateways;
/** What the runtime was asked, and what it answers. */
const calls: { action: string; params: any; identity: any }[] = [];
const PLAIN = { status: 200, headers: {}, body: { n: 1 }, encoding: 'json' };
let answer: (ctx: any) => unknown = () => PLAIN;
const answerWith = (given: object) => {
  answer = () => ({ ...PLAIN, ...given });
};

const played = (action: string, answerOf: (ctx: any) => unknown) => ({
  visibility: 'published',
  identity: 'optional',
  handler(ctx: any) {
    calls.push({ action, params: ctx.params, identity: ctx.meta.identity });
    return answerOf(ctx);
  },
});

beforeAll(async () => {
  const runtime = {
    name: 'runtime',
    actions: {
      webhook: played('webhook', (ctx) => answer(ctx)),
      test: played('test', ({ params }) => ({ body: params.body })),
      cancel: played('cancel', () => ({ cancelled: 1 })),
    },
  };
  gateways = await startGateways(
    { services: [runtime as never] },
    { consoleUrl: [STUDIO], uploadMaxBytes: 100_000, requestMaxBytes: 50_000 },
  );
}, 60_000);
afterAll(() => gateways?.stop(), 60_000);
afterEach(() => {
  answer = () => PLAIN;
  calls.length = 0;
});

describe('a request that offers another protocol in passing', () => {
  it.each(['h2c', 'TLS/1.2', 'HTTP/2.0', 'h2c, HTTP/2.0'])('is answered in this one: %s', async (protocol) => {
    const head = [
      `POST /v2${W1} HTTP/1.1`,
      'Connection: Upgrade, HTTP2-Settings',
      `Upgrade: ${protocol}`,
      'HTTP2-Settings: AAMAAABkAAQAoAAA',
    ];

    expect(await rawJson(gateways.url, head, { a: 1 })).toMatchObject({ status: 200, body: { n: 1 } });
    expect(calls[0]?.params.body).toEqual({ a: 1 });
  });

  it('is not a socket, which has its own path', async () => {
    const head = [`GET /v2${W1} HTTP/1.1`, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];

    expect((await rawJson(gateways.url, head, '')).status).toBe(404);
  });
});

describe('a body', () => {
  const TEST = '/workspaces/w1/test/any';
  const send = (path: string, body: Buffer | string, headers: Record<string, string>) =>
    gateways.client().request('POST', path, body, { 'content-type': 'application/json', ...headers });
  const got = () => calls.at(-1)?.params;
  const formOf = async (form: FormData) => {
    const { body, headers } = new Request('http://x', { method: 'POST', body: form }) as unknown as {
      body: ReadableStream;
      headers: Headers;
    };
    return { bytes: Buffer.from(await new Response(body).arrayBuffer()), type: headers.get('content-type') as string };
  };

  it.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['identity', Buffer.from],
  ] as [string, (text: string) => Buffer][])('that was sent with %s is what it was before', async (encoding, encode) => {
    for (const path of [W1, TEST]) {
      expect((await send(path, encode('{"a":"é"}'), { 'content-encoding': encoding })).status).toBe(200);
      expect(got().body).toEqual({ a: 'é' });
    }
    await send(W1, encode('plain'), { 'content-encoding': encoding, 'content-type': 'text/plain' });
    expect(got()).toMatchObject({ body: 'plain', rawBody: Buffer.from('plain').toString('base64') });
    const form = new FormData();
    form.append('file', new Blob(['content']), 'a.txt');
    const { bytes, type } = await formOf(form);
    await send(W1, encode(bytes as never), { 'content-encoding': encoding, 'content-type': type });
    expect(got().body.file).toMatchObject({ originalname: 'a.txt', size: 7 });
  });

  it('is limited by what it stands for, not by what was sent, and the gateway goes on', async () => {
    const bomb = gzipSync(Buffer.alloc(40_000_000));
    const form = new FormData();
    form.append('file', new Blob([Buffer.alloc(40_000_000)]), 'a.txt');
    const { bytes, type } = await formOf(form);
    const nothing = Buffer.concat([Buffer.alloc(40_000_000, 13), bytes]);
    for (const [body, contentType] of [
      [bomb, 'application/json'],
      [gzipSync(bytes), type],
      [gzipSync(nothing), type],
    ] as const) {
      const before = process.memoryUsage().rss;
      const answered = await send(W1, body, { 'content-encoding': 'gzip', 'content-type': contentType });
      expect([answered.status, calls]).toEqual([413, []]);
      expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
    }
  });

  it('that is not what it says is told so', async () => {
    for (const [body, encoding, status] of [
      ['{"a":1}', 'gzip', 400],
      [gzipSync('{"a":1}').subarray(0, 15), 'gzip', 400],
      ['{"a":1}', 'compress', 415],
      ['{"a":1}', 'gzip, gzip', 415],
      ['{"a":1}', 'constructor', 415],
    ] as const) {
      const answered = await send(W1, body, { 'content-encoding': encoding });
      expect([answered.status, answered.body.error]).toEqual([status, status === 415 ? 'UnsupportedMediaType' : 'RequestValidationError']);
    }
    const form = { 'content-encoding': 'gzip', 'content-type': 'multipart/form-data; boundary=x' };
    expect(await send(W1, 'no form', form)).toMatchObject({ status: 400, body: { error: 'InvalidUploadError' } });
    expect(calls).toEqual([]);
  });

  it.each([
    ['iso-8859-1', Buffer.from('{"a":"é"}', 'latin1')],
    ['"ISO-8859-1"', Buffer.from('{"a":"é"}', 'latin1')],
    ['utf-16le', Buffer.from('{"a":"é"}', 'utf16le')],
    ['UTF-8', Buffer.from('{"a":"é"}')],
    ['utf-8', Buffer.from('\ufeff{"a":"é"}')],
  ])('in the character set %s is read as such', async (charset, bytes) => {
    expect((await send(W1, bytes, { 'content-type': `application/json; charset=${charset}` })).status).toBe(200);
    expect(got().body).toEqual({ a: 'é' });
  });

  it('in a character set that nobody knows is refused', async () => {
    const answered = await send(W1, '{}', { 'content-type': 'application/json; charset=klingon' });

    expect(answered).toMatchObject({ status: 415, body: { error: 'UnsupportedMediaType' } });
  });
});

describe('a form', () => {
  const URLENCODED = 'application/x-www-form-urlencoded';
  const urlencoded = async (text: string, charset = '') => {
    const answered = await gateways.client().request('POST', W1, text, { 'content-type': URLENCODED + charset });
    return answered.status === 200 ? calls.at(-1)?.params.body : answered;
  };
  const names = (count: number) => Array.from({ length: count }, (_, n) => `n${n}=${n}`).join('&');

  it('is flat: a name is a name, whatever its brackets', async () => {
    expect(await urlencoded('a[b]=1&c[]=2&c[]=3&d.e=4&f=x+y&g=1%262')).toEqual({
      'a[b]': '1',
      'c[]': ['2', '3'],
      'd.e': '4',
      f: 'x y',
      g: '1&2',
    });
    expect(await urlencoded('a=%E9&%E9=b', '; charset=iso-8859-1')).toEqual({ a: 'é', é: 'b' });
  });

  it('loses nothing: many fields, one name many times, names that objects have', async () => {
    expect(Object.keys(await urlencoded(names(3000)))).toHaveLength(3000);
    expect((await urlencoded('a&'.repeat(10_001))).body).toMatchObject({ error: 'RequestValidationError', details: { limit: 10_000 } });
    expect((await urlencoded('a=1&'.repeat(150))).a).toEqual(Array(150).fill('1'));
    const kept = await urlencoded('toString=1&valueOf=2&hasOwnProperty=3');
    expect(Object.entries(kept)).toEqual([
      ['toString', '1'],
      ['valueOf', '2'],
      ['hasOwnProperty', '3'],
    ]);
    for (const name of ['__proto__', 'constructor', 'prototype'])
      expect(await urlencoded(`a=1&${name}=2`)).toMatchObject({ status: 400, body: { error: 'RequestValidationError' } });
  });

  it('has a file without a name at `file`, and tells of one that is too large', async () => {
    const part = (head: string, content: string) =>
      gateways.client().request('POST', W1, `--x\r\nContent-Disposition: form-data${head}\r\n\r\n${content}\r\n--x--\r\n`, {
        'content-type': 'multipart/form-data; boundary=x',
      });

    expect((await part('; filename="a.txt"', 'hi')).status).toBe(200);
    expect(calls.at(-1)?.params.body).toMatchObject({ file: { fieldname: 'file', originalname: 'a.txt', size: 2 } });
    expect((await part('', 'hi')).body.error).toBe('InvalidUploadError');
    expect(await part('; name="f"; filename="a.txt"', 'x'.repeat(100_001))).toMatchObject({
      status: 413,
      body: {
        error: 'InvalidUploadError',
        message: 'Invalid uploaded file : size must not exceed 100000 bytes',
        details: { limit: 100_000 },
      },
    });
  });
});

describe('a query', () => {
  const queried = async (text: string) => {
    const answered = await gateways.client().get(`${W1}?${text}`);
    return answered.status === 200 ? calls.at(-1)?.params.query : answered;
  };

  it('loses nothing: many parameters, one name many times, names that objects have', async () => {
    const many = Array.from({ length: 900 }, (_, n) => `n${n}=1`).join('&');
    expect(Object.keys(await queried(many))).toHaveLength(900);
    expect(await queried('a=1&'.repeat(1001))).toMatchObject({
      status: 400,
      body: { error: 'BadParametersError', details: { limit: 1000 } },
    });
    expect(await queried('a=1&'.repeat(150))).toEqual({ a: Array(150).fill('1') });
    expect(await queried('a[2024]=1&b[c]=2')).toEqual({ a: { 2024: '1' }, b: { c: '2' } });
    expect(Object.entries(await queried('toString=1&a[valueOf]=2'))).toEqual([
      ['toString', '1'],
      ['a', { valueOf: '2' }],
    ]);
  });

  it('is refused for names that reach a prototype, not for values that look like some', async () => {
    expect(await queried('y=a%26constructor%3Dx&z=[constructor]')).toEqual({ y: 'a&constructor=x', z: '[constructor]' });
    for (const text of [
      'constructor=1',
      'a[__proto__]=1',
      'a%5B__proto__%5D=1',
      'x=%&%5F_proto__=1',
      'a=1&prototype',
      'a[constructor][b]=1',
    ])
      expect(await queried(text)).toMatchObject({ status: 400, body: { error: 'BadParametersError' } });
  });
});

describe('a request that HTTP has rules for', () => {
  const CORRELATED = { 'x-correlation-id': expect.stringMatching(/^[0-9a-f-]{36}$/) };

  it('has a host, and is told so in the shape of every refusal', async () => {
    const answered = await rawJson(gateways.url, [`POST /v2${W1} HTTP/1.1`], {}, { host: false });

    expect(answered).toMatchObject({ status: 400, body: { error: 'RequestValidationError' }, headers: CORRELATED });
    expect(answered.headers['content-security-policy']).toContain("default-src 'none'");
    expect((await rawJson(gateways.url, [`POST /v2${W1} HTTP/1.0`], {}, { host: false })).status).toBe(200);
    expect(calls).toHaveLength(1);
  });

  it('expects nothing that nobody knows, and is told so in the shape of every refusal', async () => {
    const answered = await rawJson(gateways.url, [`POST /v2${W1} HTTP/1.1`, 'Expect: wonders'], {});

    expect(answered).toMatchObject({ status: 417, body: { error: 'RequestValidationError' }, headers: CORRELATED });
    expect(calls).toEqual([]);
  });
});

describe('an answer that streams to nobody', () => {
  /** What the action answers with once it is told to, and whether somebody has let go of it. */
  const streams = (headers: Record<string, string> = {}) => {
    const stream = new PassThrough();
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    answer = async (ctx) => {
      await begun;
      ctx.meta.$statusCode = 200;
      ctx.meta.$responseHeaders = headers;
      return stream;
    };
    return { stream, begin };
  };

  it('lets go of the run: its client left before the first chunk', async () => {
    const { stream, begin } = streams();
    calls.length = 0;
    const control = new AbortController();
    const left = fetch(`${gateways.url}${W1}`, { method: 'POST', signal: control.signal }).catch(() => 'left');
    await eventually(() => expect(calls.length).toBe(1));

    control.abort();
    await left;
    await eventually(() => expect(calls.map(({ action }) => action)).toContain('cancel'));
    begin();

    await eventually(() => expect(stream.destroyed).toBe(true));
  });

  it('lets go of the run: its client was told that it took too long', async () => {
    const service = gateways.nodes[0]?.broker.getLocalService('gateway') as unknown as { deadlines: Deadlines };
    const before = service.deadlines;
    service.deadlines = openDeadlines(50, { everyMs: 10 });
    const { stream, begin } = streams();
    try {
      expect((await gateways.client().post(W1, {})).status).toBe(408);
      begin();

      await eventually(() => expect(stream.destroyed).toBe(true));
    } finally {
      service.deadlines.close();
      service.deadlines = before;
    }
  });

  it('lets go of the run: HTTP has no form for one of its headers', async () => {
    const { stream, begin } = streams({ 'x-title': '日本' });
    begin();

    expect((await gateways.client().post(W1, {})).status).toBe(500);
    expect(stream.destroyed).toBe(true);
    // The node of the run may still tell of its failure.
    stream.emit('error', new Error('too late'));
  });
});

describe('an answer that a browser shows', () => {
  const SANDBOX = 'sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals';
  const policiesOf = async (headers: Record<string, string | string[]>, origin?: string) => {
    answerWith({ headers, body: '<script>alert(1)</script>', encoding: 'text' });
    return (await gateways.client().post(W1, {}, origin ? { origin } : {})).headers;
  };

  it.each([
    'text/html',
    'text/html; charset=utf-8',
    'TEXT/HTML',
    'image/svg+xml',
    'application/xml',
    'text/plain, text/html',
    'x',
    '',
  ])('is confined, whatever it says: %j', async (type) => {
    const said = {
      'content-type': type,
      'content-security-policy': "default-src * 'unsafe-inline'",
      'cross-origin-opener-policy': 'same-origin',
    };
    for (const origin of [undefined, STUDIO]) {
      const headers = await policiesOf(said, origin);
      expect(headers.get('content-security-policy')).toBe(`default-src * 'unsafe-inline', ${SANDBOX}`);
      expect(headers.get('cross-origin-opener-policy')).toBe('unsafe-none');
    }
  });

  it('without a type or a policy is confined too', async () => {
    expect((await policiesOf({})).get('content-security-policy')).toBe(SANDBOX);
  });

  it.each([
    'text/csv',
    'image/png',
    'application/pdf',
    'text/plain; charset="utf-8"',
  ])('is left alone where no script can run: %s', async (type) => {
    const headers = await policiesOf({ 'content-type': type });
    expect(headers.get('content-security-policy')).toBeNull();
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
  });

  it('is not believed to be its visitor: a page of an origin that is not told has no cookie that counts', async () => {
    const person = await newUser(gateways.url, 'confined');
    const cookie = { cookie: `access-token=${person.token}` };
    const me = (headers: Record<string, string>) => gateways.client().get('/me', headers);
    expect((await me(cookie)).status).toBe(200);
    expect((await me({ ...cookie, origin: 'null' })).status).toBe(401);
    calls.length = 0;
    answerWith({ headers: {} });
    // A form of the page: sent, as of nobody.
    expect((await gateways.client().post(W1, {}, { ...cookie, origin: 'null' })).status).toBe(200);
    expect(calls.at(-1)?.identity.userId).toBeUndefined();
  });
});

it('an answer sets cookies of its own, and none by which the platform knows a browser', async () => {
  const cookies = [
    'access-token=stolen; Path=/',
    ' Access-Token =stolen',
    '=access-token=stolen',
    '_sessionv2=x',
    '_sessionv2.sig=x',
    'sign-in-state=x',
    'access-token',
  ];
  answerWith({ headers: { 'set-cookie': [...cookies, 'mine=1; Path=/', 'access-tokens=2'] } });
  expect((await gateways.client().post(W1, {})).headers.getSetCookie()).toEqual(['mine=1; Path=/', 'access-tokens=2']);
  answerWith({ headers: { 'set-cookie': cookies[0] } });
  expect((await gateways.client().post(W1, {})).headers.getSetCookie()).toEqual([]);
  answer = (ctx) => {
    ctx.meta.$responseHeaders = { 'set-cookie': ['access-token=stolen', 'mine=1'] };
    return Readable.from(['data: 1\n\n']);
  };
  expect((await gateways.client().post(W1, {})).headers.getSetCookie()).toEqual(['mine=1']);
});
