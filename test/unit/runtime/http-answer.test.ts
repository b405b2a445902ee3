import { validateHeaderValue } from 'node:http';
import type { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { fault } from '../../../mixins/shared/errors.ts';
import { HttpAnswer, type HttpMessage, plainAnswer, type StreamedAnswer, visibleHeaders } from '../../../services/runtime/http-answer.ts';

const read = async (stream: AsyncIterable<Buffer>) => {
  let text = '';
  for await (const piece of stream) text += piece;
  return text;
};

const startOf = (http: HttpAnswer) => new Promise<StreamedAnswer>((resolve) => http.onStarted(resolve));

describe('the answer of a webhook', () => {
  it.each([
    [5, 'json', 5],
    [0, 'json', 0],
    [false, 'json', false],
    [[1], 'json', [1]],
    [null, 'json', {}],
    ['', 'empty', null],
    [undefined, 'empty', null],
    ['hi', 'text', 'hi'],
  ] as const)('of the output %j is %s', (output, encoding, body) => {
    expect(plainAnswer(output)).toMatchObject({ status: 200, encoding, body });
  });

  it('takes status and headers from $http, without those of the connection or line breaks', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ status: 202, headers: { 'X-Report': 'a\r\nset-cookie: x', 'content-length': '1', 'bad name': 'x' } });

    expect(http.finish({ ok: true })).toEqual({
      status: 202,
      headers: { 'content-type': 'application/json; charset=utf-8', 'x-report': 'a set-cookie: x' },
      body: { ok: true },
      encoding: 'json',
    });
  });

  it.each([
    ['letters beyond Latin-1', '日本 😀', Buffer.from('日本 😀').toString('latin1')],
    ['letters of Latin-1, also as bytes of UTF-8', 'é', Buffer.from('é').toString('latin1')],
    ['controls', 'a\u0001b\u007fc\td\u0085', 'a b c\td '],
  ])('has a form for headers with %s', async (_name, said, sent) => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ headers: { 'x-title': said } });

    const { headers } = http.finish({});

    expect(headers['x-title']).toBe(sent);
    expect(() => validateHeaderValue('x-title', headers['x-title'] as string)).not.toThrow();
  });

  it('has as many cookies as the list has, and lists of other headers in one', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ headers: { 'set-cookie': ['a=1; Expires=Sat, 28 Nov 2026 00:00:00 GMT', 'b=2\r\n', null], vary: ['a', 'b'] } });

    expect(http.finish({}).headers).toMatchObject({
      'set-cookie': ['a=1; Expires=Sat, 28 Nov 2026 00:00:00 GMT', 'b=2 '],
      vary: 'a, b',
    });
  });

  it('says nothing that counts for the whole platform at its address', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ headers: { 'clear-site-data': '"*"', NEL: '{}', 'strict-transport-security': 'max-age=0', 'x-mine': '1' } });

    expect(http.finish({}).headers).toEqual({ 'content-type': 'application/json; charset=utf-8', 'x-mine': '1' });
  });

  it('becomes a stream with the first chunk, with the status given before, and ends with the output', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ status: 201 });
    await http.write({ chunk: { n: 1 } });
    const { stream, status, headers } = await startOf(http);
    await http.write({ chunk: 'two' });
    http.finish({ done: true });

    expect(status).toBe(201);
    expect(headers['content-type']).toBe('text/event-stream');
    expect(await read(stream)).toBe('data: {"n":1}\n\ndata: "two"\n\ndata: {"done":true}\n\n');
  });

  describe('that is kept alive', () => {
    beforeEach(() => {
      jest.useFakeTimers();
    });
    afterEach(() => {
      jest.useRealTimers();
    });
    const DAY_MS = 86_400_000;
    const kept = async (sseKeepAlive: unknown) => {
      const http = new HttpAnswer({ keepAliveMinMs: 5000 });
      await http.write({ sseKeepAlive } as HttpMessage);
      return http;
    };

    it.each([2 ** 31, 1e12, Number.POSITIVE_INFINITY])('at most once a day, when it says %d ms', async (everyMs) => {
      const http = await kept(everyMs);
      const { stream } = await startOf(http);

      jest.advanceTimersByTime(DAY_MS - 1);
      expect(stream.readableLength).toBe(0);
      jest.advanceTimersByTime(1);

      expect(String(stream.read())).toBe('data: {"keepAlive":true}\n\n');
      http.finish('');
    });

    it.each([null, undefined, false, 'soon', {}, Number.NaN])('is no stream when it says %p', async (everyMs) => {
      const http = await kept(everyMs);

      expect(http.isStream).toBe(false);
      expect(http.finish({ a: 1 })).toMatchObject({ body: { a: 1 } });
    });

    it('is not while its reader has not taken what was sent', async () => {
      const http = await kept(5000);
      const stream = (await startOf(http)).stream as PassThrough;
      const writing = http.write({ chunk: 'x'.repeat(100_000) });
      const before = stream.readableLength + stream.writableLength;

      jest.advanceTimersByTime(60_000);
      expect(stream.readableLength + stream.writableLength).toBe(before);

      stream.read();
      await writing;
      jest.advanceTimersByTime(5000);
      expect(String(stream.read())).toContain('keepAlive');
      http.finish('');
    });
  });

  it('tells an error as the last message of a stream', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ chunk: 1 });
    const { stream } = await startOf(http);

    expect(http.fail(fault('InvalidInstructionError', { message: 'no' }))).toBe(true);
    expect(await read(stream)).toContain('data: {"error":"InvalidInstructionError","message":"no","details":{}}');
  });

  it('waits for a slow reader, and tells when he has gone', async () => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    let isGone = false;
    http.onClosed(() => (isGone = true));
    let isHeld = true;
    const writing = http.write({ chunk: 'x'.repeat(100_000) }).then(() => (isHeld = false));
    const { stream } = await startOf(http);
    await new Promise((done) => setImmediate(done));
    expect(isHeld).toBe(true);

    stream.destroy();
    await writing;

    expect(isGone).toBe(true);
  });

  it('shows request headers without cookies, host and private ones', () => {
    expect(visibleHeaders({ Cookie: 'a', Host: 'h', 'X-Forwarded-For': 'i', 'x-prismeai-workspace-id': 'w', Accept: 'j' })).toEqual({
      'x-prismeai-workspace-id': 'w',
      accept: 'j',
    });
  });
});
