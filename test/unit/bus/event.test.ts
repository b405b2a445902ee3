/** How an event is made: name, source, schema, redaction, size. */
import { describe, expect, it } from '@jest/globals';
import type { SendOptions } from '../../../mixins/bus/contract.ts';
import { makeEvent } from '../../../mixins/bus/event.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { EMIT_TOPIC, type EventSource } from '../../../mixins/shared/event.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';

const maker = { maxBytes: 1_000, host: { service: 'prisme.ai-test', replica: 'n1' } };
const make = (type: string, payload: unknown = {}, options: SendOptions = {}, inherited: Partial<EventSource> = {}) =>
  makeEvent(maker, inherited, type, payload as JsonObject, { topic: EMIT_TOPIC, ...options });

describe('the event that is made', () => {
  it('has a sortable id, a time, a correlation id, the sending host and its topic', () => {
    const { event, topic } = make('order.paid', { amount: 1 }, { source: { workspaceId: 'w' } });

    expect(event).toMatchObject({ type: 'order.paid', payload: { amount: 1 } });
    expect(event.id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(new Date(event.createdAt).toISOString()).toBe(event.createdAt);
    expect(event.source).toEqual({
      workspaceId: 'w',
      correlationId: expect.stringMatching(/^[0-9a-f]{32}$/),
      serviceTopic: EMIT_TOPIC,
      host: { service: 'prisme.ai-test', replica: 'n1' },
    });
    expect(topic).toBe(EMIT_TOPIC);
  });

  it('is written as the JSON text of what is answered', () => {
    const { event, body } = make('order.paid', { text: 'é "quoted"\n' });

    expect(JSON.parse(body)).toEqual(event);
  });

  it('tells its size in UTF-8 bytes, without id and size', () => {
    const { event } = make('order.paid', { text: 'é€😀' });
    const { id: _id, size, ...rest } = event;

    expect(size).toBe(Buffer.byteLength(JSON.stringify(rest)));
  });

  it('takes what it inherits, and what the call says over it', () => {
    const { event } = make(
      'order.paid',
      {},
      { source: { userId: 'u2' }, target: { userTopic: 't' }, options: { persist: false } },
      { userId: 'u1', sessionId: 's1', correlationId: 'c', host: { service: 'forged', replica: 'x' } },
    );

    expect(event.source).toMatchObject({ userId: 'u2', sessionId: 's1', correlationId: 'c', host: maker.host });
    expect(event).toMatchObject({ target: { userTopic: 't' }, options: { persist: false } });
  });

  it('does not carry the HTTP request', () => {
    expect(make('order.paid', {}, {}, { http: { originalUrl: '/secret' } } as any).event.source).not.toHaveProperty('http');
  });

  it.each([
    ['8.8.8.8', '8.8.8.8'],
    ['8.8.8.8, 10.0.0.1', '8.8.8.8'],
    ['10.1.2.3', undefined],
    ['172.16.0.1, 8.8.8.8', undefined],
    ['192.168.1.1', undefined],
    ['::ffff:192.168.1.1', undefined],
    ['127.0.0.1', '127.0.0.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['', undefined],
  ])('keeps of the address %j: %j', (ip, kept) => {
    expect(make('order.paid', {}, { source: { ip } }).event.source.ip).toBe(kept);
  });

  it('keeps a fixed id, so that a repeated emission is one event', () => {
    expect(make('order.paid', {}, { id: 'run1:4' }).event.id).toBe('run1:4');
  });

  it('shows of an error what a client may see of it', () => {
    const inner = make('error', new Error('password of the database'), { topic: 'error' }).event.payload;
    const known = make('error', fault('ForbiddenError', { data: { action: 'read' } }), { topic: 'error' }).event.payload;

    expect(JSON.stringify(inner)).not.toContain('database');
    expect(known).toEqual({ error: 'ForbiddenError', message: 'Forbidden', details: { action: 'read' } });
  });
});

describe('what is refused', () => {
  it.each(['', 'a/b', 'a:b', 'é', 'a\nb', 'x'.repeat(301)])('the name %j', (type) => {
    expect(() => make(type)).toThrow(expect.objectContaining({ type: 'InvalidEventError' }));
  });

  it.each([[[]], ['text'], [1], [new Map()], [{ big: 1n }]])('the payload %p', (payload) => {
    expect(() => make('order.paid', payload)).toThrow(expect.objectContaining({ type: 'InvalidEventError' }));
  });

  it('a payload that contains itself', () => {
    const payload: JsonObject = {};
    payload.self = payload;

    expect(() => make('order.paid', payload)).toThrow(expect.objectContaining({ type: 'InvalidEventError' }));
  });

  it('line breaks where carriers keep lines', () => {
    expect(() => make('order.paid', {}, { source: { workspaceId: 'w\nx' } })).toThrow(
      expect.objectContaining({ type: 'InvalidEventError' }),
    );
    expect(() => make('order.paid', {}, { id: 'a\nb' })).toThrow(expect.objectContaining({ type: 'InvalidEventError' }));
  });

  it('a native event nobody knows', () => {
    expect(() => make('workspaces.exploded', {}, { topic: undefined })).toThrow(
      expect.objectContaining({ type: 'EventValidationError', message: expect.stringContaining('workspaces.exploded') }),
    );
  });

  it('a native payload with something missing, telling every problem', () => {
    expect(() => make('runtime.automations.executed', { slug: 1 }, { topic: undefined })).toThrow(
      expect.objectContaining({
        type: 'EventValidationError',
        data: expect.objectContaining({ errors: expect.arrayContaining([{ path: 'payload.slug', message: 'must be string' }]) }),
      }),
    );
  });

  it('an event that is too large, saying how large', () => {
    expect(() => make('order.paid', { text: 'x'.repeat(2_000) }, { source: { workspaceId: 'w' } })).toThrow(
      expect.objectContaining({
        type: 'BrokerError',
        data: expect.objectContaining({ reason: 'EventTooLarge', eventType: 'order.paid', maxSize: 1_000 }),
      }),
    );
  });
});

describe('what is accepted', () => {
  it.each(['apps.whatever', 'crm.mailer.error'])('the free native type %s', (type) => {
    expect(make(type, { any: 'thing' }, { topic: undefined }).topic).toBe(type);
  });

  it('more fields of a native payload than its schema tells', () => {
    expect(() => make('workspaces.deleted', { workspaceId: 'w', more: [1] }, { topic: undefined })).not.toThrow();
  });

  it('any payload of a custom event, even under a native name', () => {
    expect(() => make('workspaces.deleted', { nothing: 'like it' })).not.toThrow();
  });

  it('a large event whose fields may be left out, in their order, no more than needed', () => {
    const payload = { payload: 'x'.repeat(900), output: 'y'.repeat(400), kept: 1 };

    expect(make('order.paid', payload, { shrink: ['payload', 'output'] }).event.payload).toEqual({ ...payload, payload: null });
    expect(payload.payload).toHaveLength(900);
  });
});

describe('secrets', () => {
  const redacted = (payload: JsonObject, ...redact: string[]) => make('order.paid', payload, { redact }).event.payload;

  it('are replaced inside texts, however deep', () => {
    expect(redacted({ a: ['Bearer s3cr3t!'], b: { c: 's3cr3t!s3cr3t!' } }, 's3cr3t!')).toEqual({
      a: ['Bearer REDACTED'],
      b: { c: 'REDACTEDREDACTED' },
    });
  });

  it('are found with quotes, backslashes and line breaks in them', () => {
    expect(redacted({ a: 'x"q\\u\no"x' }, '"q\\u\no"')).toEqual({ a: 'xREDACTEDx' });
  });

  it('are found in base64, base64url and URL form', () => {
    const secret = 'pass word?>~';
    const forms = [Buffer.from(secret).toString('base64'), Buffer.from(secret).toString('base64url'), encodeURIComponent(secret)];

    for (const form of forms) expect(redacted({ a: `<${form}>` }, secret)).toEqual({ a: '<REDACTED>' });
  });

  it('that are empty or very short are not searched for', () => {
    expect(redacted({ a: 'about 1' }, '', '1')).toEqual({ a: 'about 1' });
  });

  it('never break the event, and the caller keeps his payload', () => {
    const payload = { a: 'secret-value' };

    expect(redacted(payload, 'secret-value')).toEqual({ a: 'REDACTED' });
    expect(payload.a).toBe('secret-value');
  });
});
