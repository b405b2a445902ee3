/** event — the envelope every part of the platform agrees on, and the identity of what caused it. */
import type { JsonObject } from './json.ts';

/** Topic of every event that users, automations and sockets emit; native events have their own type as topic. Rules contain this literal. */
export const EMIT_TOPIC = 'topic:runtime:emit';

/** Whether the platform itself told of it: the topic decides, since users choose the type of what they emit. */
export const isNative = ({ source }: Pick<PrismeEvent, 'source'>): boolean =>
  source.serviceTopic !== undefined && source.serviceTopic !== EMIT_TOPIC;

const NATIVE_NAMES =
  /^(?:(?:workspaces|runtime|gateway|organizations|access-manager|apikeys|bus)\..|apps\.(?:published|deleted)$|events\.(?:userTopics\.|cleaned$))/;

/** Names the platform keeps for what it tells itself: automations that listen to them trust what they say. */
export const isNativeName = (type: string): boolean => NATIVE_NAMES.test(type);

/** Letters, digits, space, dot, dash, underscore. */
export const EVENT_TYPE_PATTERN = /^[a-zA-Z0-9 ._-]+$/;

export interface EventSource {
  correlationId: string;
  workspaceId?: string;
  userId?: string;
  sessionId?: string;
  /** Logical socket id: answers of a run started by a socket go to that socket. */
  socketId?: string;
  ip?: string;
  appSlug?: string;
  /** Dotted path of app instances, e.g. `crm.mailer`. */
  appInstanceFullSlug?: string;
  appInstanceDepth?: number;
  automationSlug?: string;
  automationDepth?: number;
  serviceTopic?: string;
  host?: { service: string; replica: string };
  sourceWorkspaceId?: string;
  /**
   * Whom it names has done nothing: the automation that caused it had taken an identity (`session.id`, `user.id`), or acts in the name of the visitor of
   * another workspace. Never said by clients.
   */
  isPosed?: true;
  [other: string]: unknown;
}

export interface EventTarget {
  userTopic?: string;
  userId?: string;
  sessionId?: string;
  /** `false`: every socket of the session, not only the one that caused the event. */
  currentSocket?: boolean;
}

export interface EventOptions {
  /** `false`: delivered live, not kept. */
  persist?: boolean;
  aggPayload?: boolean;
  async?: boolean;
}

export interface PrismeEvent {
  /** ULID made at creation: the same in the bus, the history, sockets and answers. */
  id: string;
  type: string;
  source: EventSource;
  payload: JsonObject;
  target?: EventTarget;
  options?: EventOptions;
  /** ISO 8601, milliseconds. */
  createdAt: string;
  /** UTF-8 bytes of the JSON text, measured before `id` and `size` are added. */
  size: number;
}

const TEXT = Symbol('text');
type WithText = PrismeEvent & { [TEXT]?: string };

/** Keeps the JSON text an event has come with. Of events that nobody changes; a copy does not have it. */
export function withText(event: PrismeEvent, text: string): PrismeEvent {
  return Object.defineProperty(event, TEXT, { value: text });
}

/** The event as JSON. */
export const eventText = (event: PrismeEvent): string => (event as WithText)[TEXT] ?? JSON.stringify(event);
