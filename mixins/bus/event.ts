/** event — how an event is made: name, source, schema, redaction, size. What comes out is ready to be written. */
import { fault, isFault, toPublicError } from '../shared/errors.ts';
import { EMIT_TOPIC, EVENT_TYPE_PATTERN, type EventSource, type PrismeEvent } from '../shared/event.ts';
import { newCorrelationId, ulid } from '../shared/ids.ts';
import { isPlainJson, isPlainObject, type JsonObject } from '../shared/json.ts';
import type { SendOptions } from './contract.ts';
import { publicIp, redactSecrets } from './redact.ts';
import { assertNativePayload } from './schemas.ts';

const MAX_TYPE_LENGTH = 300;
const MAX_ID_LENGTH = 200;
/** Carriers may keep these fields as lines. */
const LINE_BREAK = /[\r\n]/;

export interface EventMaker {
  maxBytes: number;
  host: { service: string; replica: string };
}

export interface MadeEvent {
  event: PrismeEvent;
  /** JSON text of the event, id and size included. */
  body: string;
  topic: string;
  /** Whether readers of this process may have `event` itself. */
  isShared: boolean;
}

/**
 * Makes an event.
 * @param inherited source of the bus it is sent with; what the options say wins
 * @throws InvalidEventError (name, payload or id) · EventValidationError (native schema) · BrokerError (too large)
 */
export function makeEvent(
  maker: EventMaker,
  inherited: Partial<EventSource>,
  type: string,
  payload: JsonObject,
  options: SendOptions,
): MadeEvent {
  if (typeof type !== 'string' || !EVENT_TYPE_PATTERN.test(type) || type.length > MAX_TYPE_LENGTH)
    throw fault('InvalidEventError', {
      message: `'${String(type).slice(0, 100)}' is not a valid event type: letters, digits, space, dot, dash and underscore only.`,
      data: { event: String(type).slice(0, MAX_TYPE_LENGTH) },
    });
  if (options.id !== undefined && (typeof options.id !== 'string' || !options.id || options.id.length > MAX_ID_LENGTH))
    throw fault('InvalidEventError', { message: 'The id of an event is a text of at most 200 characters.', data: { event: type } });
  let content = contentOf(type, payload);
  const source = sourceOf(maker, inherited, type, options);
  const topic = source.serviceTopic as string;
  if (isBroken(options.id) || isBroken(topic) || isBroken(source.workspaceId))
    throw fault('InvalidEventError', { message: 'The id, topic and workspace of an event have no line breaks.', data: { event: type } });
  if (topic !== EMIT_TOPIC) assertNativePayload(type, content);
  if (options.redact) content = redactSecrets(content, options.redact);

  const event = { type, source, payload: content } as PrismeEvent;
  if (options.target) event.target = options.target;
  if (options.options) event.options = options.options;
  event.createdAt = new Date(options.at ?? Date.now()).toISOString();
  const maxBytes = Math.min(options.maxBytes ?? maker.maxBytes, maker.maxBytes);
  const text = sized(event, maxBytes, options.shrink ?? []);
  const size = Buffer.byteLength(text);
  event.id = options.id ?? ulid();
  event.size = size;
  const isShared = options.isFinal === true && isPlainJson(event.payload) && isPlainJson(source);
  return { event, body: `{"id":${JSON.stringify(event.id)},"size":${size},${text.slice(1)}`, topic, isShared };
}

const isBroken = (name: string | undefined): boolean => name !== undefined && LINE_BREAK.test(name);

/** What the options say wins. Nothing is taken out again of what is common: an object that loses fields is slow for whoever reads it. */
function sourceOf(maker: EventMaker, inherited: Partial<EventSource>, type: string, options: SendOptions): EventSource {
  const source = (isEmpty(inherited) ? { ...options.source } : { ...inherited, ...options.source }) as EventSource;
  source.correlationId ||= newCorrelationId();
  source.serviceTopic = options.topic ?? source.serviceTopic ?? type;
  source.host = maker.host;
  if (source.http !== undefined) delete source.http;
  const { ip } = source;
  if (ip === undefined) return source;
  source.ip = publicIp(ip) as string;
  if (source.ip === undefined) delete source.ip;
  return source;
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

/** An Error becomes what a client may see of it; anything else must be a plain object. */
function contentOf(type: string, payload: unknown): JsonObject {
  if (payload instanceof Error || isFault(payload)) {
    const { error, message, details } = toPublicError(payload);
    return { error, message, details };
  }
  if (payload === undefined || payload === null) return {};
  if (!isPlainObject(payload))
    throw fault('InvalidEventError', { message: `The payload of '${type}' must be an object.`, data: { event: type } });
  return payload;
}

/** JSON text of the event, its `shrink` fields nulled one after the other until it fits. @throws BrokerError EventTooLarge */
function sized(event: PrismeEvent, maxBytes: number, shrink: string[]): string {
  let text = textOf(event);
  for (const field of shrink) {
    if (Buffer.byteLength(text) <= maxBytes) return text;
    if (!Object.hasOwn(event.payload, field)) continue;
    event.payload = { ...event.payload, [field]: null };
    text = textOf(event);
  }
  // UTF-8 takes at most three bytes for each unit of a JavaScript string: short texts need no count.
  const eventSize = text.length * 3 <= maxBytes ? 0 : Buffer.byteLength(text);
  if (eventSize <= maxBytes) return text;
  const { workspaceId, correlationId, userId, sessionId } = event.source;
  throw fault('BrokerError', {
    message: `The event '${event.type}' is too large: ${eventSize} bytes, ${maxBytes} at most.`,
    data: {
      reason: 'EventTooLarge',
      eventType: event.type,
      eventSize,
      maxSize: maxBytes,
      source: { workspaceId, correlationId, userId, sessionId },
    },
  });
}

function textOf(event: PrismeEvent): string {
  try {
    return JSON.stringify(event);
  } catch (cause) {
    throw fault('InvalidEventError', { message: `The payload of '${event.type}' is not plain JSON.`, data: { event: event.type }, cause });
  }
}
