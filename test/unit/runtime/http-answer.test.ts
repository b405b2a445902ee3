import { validateHeaderValue } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { fault } from '../../../mixins/shared/errors.ts';
import { HttpAnswer, plainAnswer, type StreamedAnswer, visibleHeaders } from '../../../services/runtime/http-answer.ts';

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
    ['controls', 'a\u0001b\u007fc\td\u0085', 'a b c\td\u00c2\u0085'],
  ])('has a form for headers with %s', async (_name, said, sent) => {
    const http = new HttpAnswer({ keepAliveMinMs: 5000 });
    await http.write({ headers: { 'x-title': said } });

    const { headers } = http.finish({});

    expect(headers['x-title']).toBe(sent);
    expect(() => validateHeaderValue('x-title', headers['x-title'] as string)).not.toThrow();
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
