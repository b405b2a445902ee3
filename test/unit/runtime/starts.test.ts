/** What a webhook call becomes: the payload its automation sees, and for whom an Idempotency-Key keeps an answer. */
import { describe, expect, it } from '@jest/globals';
import type { Identity } from '../../../mixins/auth/identity.ts';
import type { WebhookParams } from '../../../services/runtime/contract.ts';
import { webhookRequest } from '../../../services/runtime/starts.ts';
import type { Match } from '../../../services/runtime/triggers.ts';

const match = (slug = 'hook'): Match =>
  ({
    model: { instance: '', workspace: { source: { automations: { [slug]: { output: '{{rawBody}}' } } } } },
    automation: { slug },
    value: slug,
  }) as never;
const identityOf = (claims: Partial<Identity> = {}): Identity =>
  ({ kind: 'none', correlationId: 'c', ip: '1.1.1.1', ...claims }) as Identity;
const request = (params: Partial<WebhookParams> = {}, claims: Partial<Identity> = {}, slug = 'hook') =>
  webhookRequest(
    match(slug),
    { workspaceId: 'w', endpoint: 'hook', method: 'POST', headers: {}, query: {}, body: {}, ...params },
    identityOf(claims),
    {},
    'w',
  );

describe('the body', () => {
  it.each([
    ['with a list called files', { files: [{ name: 'a', base64: 'aGk=' }], x: 1 }],
    ['with a list called files that names another field', { role: 'user', files: [{ fieldname: 'role', base64: 'aGk=' }] }],
    ['with a list called files that names the prototype', { files: [{ fieldname: '__proto__', base64: 'aGk=' }] }],
    ['with an empty list called files', { files: [], x: 1 }],
    ['that is a list', [1, { b: 2 }]],
    ['that is a text', 'plain'],
  ])('%s is what was sent', (_name, body) => {
    expect(request({ body }).payload.body).toBe(body);
  });

  it('that is missing is an empty object', () => {
    expect(request({ body: undefined }).payload.body).toEqual({});
  });
});

describe('the raw body', () => {
  const rawOf = (bytes: Buffer) => request({ body: bytes.toString(), rawBody: bytes.toString('base64') }).payload.rawBody;

  it('is a text when it is one, with all its characters', () => {
    for (const text of ['{ "spaced":  "é" }', '\ufeffmarked', '日本 😀', 'a\0b']) expect(rawOf(Buffer.from(text))).toBe(text);
  });

  it('is bytes when no text can hold them', () => {
    for (const bytes of [[0xff, 0xfe, 0, 1, 0x80], [0xe9], [0xed, 0xa0, 0x80], [...Buffer.from('é').subarray(0, 1)]]) {
      const raw = rawOf(Buffer.from(bytes)) as Uint8Array;
      expect(raw).toBeInstanceOf(Uint8Array);
      expect([...raw]).toEqual(bytes);
    }
  });

  it('tells two requests apart whose texts are the same', () => {
    const fingerprintOf = (byte: number) => {
      const bytes = Buffer.from([byte]);
      return request({ idempotencyKey: 'k', body: bytes.toString(), rawBody: bytes.toString('base64') }).fingerprint;
    };

    expect(fingerprintOf(0xff)).toBe(fingerprintOf(0xff));
    expect(fingerprintOf(0xff)).not.toBe(fingerprintOf(0xfe));
  });
});

describe('an Idempotency-Key', () => {
  const idOf = (headers: Record<string, string>, claims: Partial<Identity> = {}) => request({ idempotencyKey: 'k', headers }, claims).id;
  const alice = { authorization: 'Bearer alice', accept: 'application/json' };

  it.each([
    ['another bearer token', { ...alice, authorization: 'Bearer mallory' }],
    ['no bearer token', { accept: 'application/json' }],
    ['a header of the automation', { ...alice, 'api-token': 'mallory' }],
    ['another origin', { ...alice, origin: 'https://elsewhere.example' }],
  ])('belongs to somebody else with %s, known to the platform or not', (_name, headers) => {
    expect(idOf(headers)).not.toBe(idOf(alice));
    expect(idOf(headers, { kind: 'user', userId: 'u' })).not.toBe(idOf(alice, { kind: 'user', userId: 'u' }));
  });

  it.each([
    ['another user', { userId: 'u' }, { userId: 'v' }],
    ['another session without account', { sessionId: 's' }, { sessionId: 't' }],
    ['another address', {}, { ip: '2.2.2.2' }],
    ['another API key', { apiKeyHash: 'a' }, { apiKeyHash: 'b' }],
    ['another workspace that was proven', { authenticatedWorkspaceId: 'w1' }, {}],
    ['another workspace that calls', { sourceWorkspaceId: 'w1' }, { sourceWorkspaceId: 'w2' }],
  ])('belongs to somebody else for %s', (_name, one, other) => {
    expect(idOf(alice, one)).not.toBe(idOf(alice, other));
  });

  it('belongs to the same caller whatever changes from one attempt to the next', () => {
    const first = { ...alice, 'user-agent': 'client/1', 'content-type': 'multipart/form-data; boundary=1', 'content-length': '10' };
    const second = {
      accept: 'application/json',
      authorization: 'Bearer alice',
      'user-agent': 'client/2',
      'content-type': 'multipart/form-data; boundary=2',
      'transfer-encoding': 'chunked',
      connection: 'keep-alive',
      prefer: 'respond-async',
      traceparent: '00-1',
      'sec-fetch-mode': 'cors',
      // No automation sees these.
      'x-request-id': '2',
      'x-forwarded-for': '3.3.3.3',
      cookie: 'visit=2',
    };

    expect(idOf(second)).toBe(idOf(first));
    expect(idOf(second, { userId: 'u', ip: '2.2.2.2' })).toBe(idOf(first, { userId: 'u' }));
  });

  it('is one for each automation of an endpoint', () => {
    expect(request({ idempotencyKey: 'k' }, {}, 'other').id).not.toBe(request({ idempotencyKey: 'k' }).id);
  });
});
