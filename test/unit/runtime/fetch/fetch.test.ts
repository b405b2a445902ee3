import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../../mixins/shared/config.ts';
import { createGuard, isPublicAddress } from '../../../../mixins/shared/guard.ts';
import { type FetchFailure, performFetch } from '../../../../services/runtime/fetch/index.ts';
import type { FetchRequest, LiveStream } from '../../../../services/runtime/interpreter/index.ts';

describe('fetch', () => {
  let server: Server;
  let other: Server;
  let base: string;
  let otherBase: string;
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
  const seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  const failures: FetchFailure[] = [];

  beforeAll(async () => {
    const listen = (made: Server) =>
      new Promise<string>((done) =>
        made.listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${(made.address() as { port: number }).port}`)),
      );
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece) => pieces.push(piece));
      request.on('end', () => {
        const body = Buffer.concat(pieces).toString('latin1');
        seen.push({ method: request.method as string, url: request.url as string, headers: request.headers, body });
        answer(request, response, body);
      });
    };
    server = createServer(handle);
    other = createServer(handle);
    base = await listen(server);
    otherBase = await listen(other);
  });
  afterAll(() => {
    server.close();
    other.close();
  });
  beforeEach(() => {
    seen.length = 0;
    failures.length = 0;
    answer = (_request, response) => response.setHeader('content-type', 'application/json').end('{"ok":true}');
  });

  const config = (overrides = {}) => loadConfig({}, { fetchAllowedPrivateHosts: ['127.0.0.1'], fetchMaxRetries: 2, ...overrides });
  const perform = async (request: FetchRequest, overrides = {}, more: object = {}) => {
    const settings = config(overrides);
    const guard = createGuard(settings);
    try {
      return (await performFetch(request, guard, settings, {
        signal: new AbortController().signal,
        idempotencyKey: 'key-1',
        now: Date.now,
        throttle: async () => {},
        platformHeaders: async () => ({}),
        onFailure: (failure) => failures.push(failure),
        onItem: async () => {},
        onEnd: async () => {},
        keep: () => {},
        ...more,
      })) as any;
    } finally {
      if (!('keep' in more)) await guard.close();
    }
  };

  it('sends query, headers and a JSON body, and reads JSON', async () => {
    expect(
      await perform({ url: `${base}/a?x=1`, method: 'post', query: { y: [2, 3], z: undefined }, headers: { 'X-A': 'b' }, body: { n: 1 } }),
    ).toEqual({ ok: true });

    expect(seen[0]).toMatchObject({ method: 'POST', url: '/a?x=1&y=2&y=3', body: '{"n":1}' });
    expect(seen[0]?.headers).toMatchObject({
      'x-a': 'b',
      'content-type': 'application/json',
      'idempotency-key': 'key-1',
      'user-agent': 'Prisme.ai Workspaces',
    });
  });

  it('encodes forms, and sends other texts byte for byte', async () => {
    await perform({
      url: base,
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: { a: 'b c', d: [1, 2] },
    });
    await perform({ url: base, method: 'PUT', headers: { 'content-type': 'text/csv' }, body: 'Name,Qty\nAcme,1\n' });

    expect(seen.map(({ body }) => body)).toEqual(['a=b+c&d=1&d=2', 'Name,Qty\nAcme,1\n']);
  });

  it('sends multipart: a file is decoded, a text that looks like base64 is not', async () => {
    await perform({
      url: base,
      method: 'POST',
      multipart: [
        { fieldname: 'name', value: 'John' },
        { fieldname: 'file', value: Buffer.from('content').toString('base64'), filename: 'a"b.txt', contentType: 'text/plain' },
      ],
    });

    expect(seen[0]?.body).toMatch(
      /name="name"\r\n\r\nJohn\r\n[\s\S]*name="file"; filename="a%22b.txt"\r\nContent-Type: text\/plain\r\n\r\ncontent\r\n/,
    );
  });

  it('gives details, base64 or a data URL when asked', async () => {
    answer = (_request, response) => response.setHeader('content-type', 'image/png').end(Buffer.from([1, 2, 3]));

    expect(await perform({ url: base, outputMode: 'base64' })).toBe('AQID');
    expect(await perform({ url: base, outputMode: 'data_url' })).toBe('data:image/png;base64,AQID');
    expect(await perform({ url: base, outputMode: 'detailed_response' })).toMatchObject({ status: 200, body: Buffer.from([1, 2, 3]) });
  });

  it('understands compressed answers, and an empty one is nothing', async () => {
    answer = (_request, response) =>
      response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' }).end(gzipSync('zipped'));
    expect(await perform({ url: base })).toBe('zipped');

    answer = (_request, response) => response.writeHead(204).end();
    expect(await perform({ url: base })).toBeUndefined();
  });

  it('takes an error status as a value and tells of it', async () => {
    answer = (_request, response) => response.writeHead(404, { 'content-type': 'application/json' }).end('{"gone":1}');

    expect(await perform({ url: base })).toEqual({ gone: 1 });
    expect(failures).toMatchObject([{ response: { status: 404, body: { gone: 1 } } }]);
    await perform({ url: base, emitErrors: false });
    expect(failures).toHaveLength(1);
  });

  it('takes a network failure as a value', async () => {
    expect(await perform({ url: 'http://127.0.0.1:1/' })).toMatchObject({ error: 'FetchError', details: { code: 'ECONNREFUSED' } });
    expect(await perform({ url: 'not a url' })).toMatchObject({ error: 'FetchError' });
    await expect(perform({ url: '' })).rejects.toMatchObject({ type: 'InvalidInstructionError' });
  });

  it('tries a read again when the service is busy, never a write', async () => {
    answer = (_request, response) =>
      response.writeHead(seen.length < 3 ? 503 : 200, { 'content-type': 'text/plain', 'retry-after': '0' }).end('x');

    expect(await perform({ url: base })).toBe('x');
    expect(seen).toHaveLength(3);

    seen.length = 0;
    await perform({ url: base, method: 'POST', body: 'a' });
    expect(seen).toHaveLength(1);
  });

  it('follows redirects, without credentials to another host', async () => {
    answer = (request, response) =>
      request.url === '/there' ? response.end('arrived') : response.writeHead(302, { location: `${otherBase}/there` }).end();

    expect(await perform({ url: `${base}/here`, method: 'POST', body: 'x', headers: { authorization: 'secret', 'x-other': 'kept' } })).toBe(
      'arrived',
    );
    expect(seen[1]).toMatchObject({ method: 'GET', body: '' });
    expect(seen[1]?.headers.authorization).toBeUndefined();
    expect(seen[1]?.headers['x-other']).toBe('kept');
  });

  it('refuses more than the size limit and more than the time-out', async () => {
    answer = (_request, response) => response.end('x'.repeat(2000));
    expect(await perform({ url: base }, { fetchMaxBytes: 1000 })).toMatchObject({ error: 'FetchError', details: { code: 'TOO_LARGE' } });

    answer = () => {};
    expect(await perform({ url: base, method: 'POST' }, { fetchTimeoutMs: 200 })).toMatchObject({
      error: 'FetchError',
      message: 'The service did not answer in time.',
    });
  });

  it('keeps an event stream for the automation, at its pace', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"n":1}\n\n');
      setTimeout(() => response.end('data: {"n":2}\n\n'), 20);
    };
    const kept: LiveStream[] = [];

    const { status, body } = await perform({ url: base }, {}, { keep: (stream: LiveStream) => kept.push(stream) });
    const items: unknown[] = [];
    for await (const item of body as LiveStream) items.push((item as { chunk: { data: unknown[] } }).chunk.data[0]);

    expect(status).toBe(200);
    expect(items).toEqual([{ n: 1 }, { n: 2 }]);
    expect(kept).toHaveLength(1);
  });

  it('reaches no private address unless allowed, by name, number or redirect', async () => {
    for (const url of [
      'http://127.0.0.1/',
      'http://localhost/',
      'http://[::1]/',
      'http://2130706433/',
      'http://0x7f.1/',
      'http://169.254.169.254/',
      'http://[::ffff:10.0.0.1]/',
      'file:///etc/passwd',
    ])
      expect(await perform({ url }, { fetchAllowedPrivateHosts: [] })).toMatchObject({ error: 'ForbiddenHostError' });

    answer = (_request, response) => response.writeHead(302, { location: 'http://169.254.169.254/latest' }).end();
    expect(await perform({ url: base })).toMatchObject({ error: 'ForbiddenHostError' });
  });

  it('allows a host with its port only', async () => {
    const host = new URL(base).host;

    expect(await perform({ url: base }, { fetchAllowedPrivateHosts: [host] })).toEqual({ ok: true });
    expect(await perform({ url: otherBase }, { fetchAllowedPrivateHosts: [host] })).toMatchObject({ error: 'ForbiddenHostError' });
  });

  it('knows public addresses', () => {
    expect(['8.8.8.8', '2606:4700::1111'].every(isPublicAddress)).toBe(true);
    expect(
      ['10.1.2.3', '192.168.0.1', '100.64.0.1', '0.0.0.0', 'fe80::1', 'fc00::1', '64:ff9b::a00:1', '224.0.0.1', 'nonsense'].some(
        isPublicAddress,
      ),
    ).toBe(false);
  });
});
