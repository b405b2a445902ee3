/** emit — events from outside (REST, sockets): checked, given their source, judged, and sent together. */
import type { Ability } from '../../mixins/auth/contract.ts';
import { type Identity, isAway } from '../../mixins/auth/identity.ts';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import {
  EMIT_TOPIC,
  EVENT_TYPE_PATTERN,
  type EventOptions,
  type EventSource,
  type EventTarget,
  isNativeName,
  type PrismeEvent,
} from '../../mixins/shared/event.ts';
import { findHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';

export const MAX_EVENTS_PER_REQUEST = 500;

export interface Candidate {
  type: string;
  payload: JsonObject;
  target?: EventTarget;
  options?: EventOptions;
  source: Partial<EventSource> & { serviceTopic: string };
}

const invalid = (message: string, index: number) =>
  fault('RequestValidationError', { message: `events[${index}] ${message}`, data: { index } });

function targetOf(value: unknown, index: number): EventTarget | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isPlainObject(value)) throw invalid('has a `target` that is not an object.', index);
  const target: EventTarget = {};
  for (const name of ['userTopic', 'userId', 'sessionId'] as const) {
    const text = value[name];
    if (text === undefined || text === null) continue;
    if (typeof text !== 'string') throw invalid(`has a \`target.${name}\` that is not a text.`, index);
    target[name] = text;
  }
  if (value.currentSocket !== undefined) target.currentSocket = value.currentSocket !== false;
  return target;
}

function candidate(item: unknown, index: number, origin: Partial<EventSource>): Candidate {
  if (!isPlainObject(item)) throw invalid('is not an object.', index);
  const { type, payload = {}, target, options, source } = item;
  if (typeof type !== 'string' || type === '') throw fault('BrokerError', { message: 'Empty event type', data: { index } });
  if (!EVENT_TYPE_PATTERN.test(type))
    throw fault('BrokerError', {
      message: `Invalid event name '${type.slice(0, 100)}': letters, digits, space, dot, dash and underscore only.`,
      data: { index },
    });
  if (payload !== null && !isPlainObject(payload)) throw invalid('has a `payload` that is not an object.', index);
  const hostile = findHostileName(payload);
  if (hostile) throw invalid(`has a payload with the refused key '${hostile}'.`, index);
  if (options !== undefined && !isPlainObject(options)) throw invalid('has `options` that are not an object.', index);
  const asked = isPlainObject(source) ? source.serviceTopic : undefined;
  if (asked !== undefined && typeof asked !== 'string') throw invalid('has a `source.serviceTopic` that is not a text.', index);
  return {
    type,
    payload: payload ?? {},
    target: targetOf(target, index),
    options: options as EventOptions | undefined,
    // The client chooses nothing of the source but the topic, which the rules judge.
    source: { ...origin, serviceTopic: asked || EMIT_TOPIC },
  };
}

/** Candidates of a request body. @throws RequestValidationError · BrokerError (name) */
export function candidatesOf(body: unknown, workspaceId: string, identity: Identity, socketId?: string): Candidate[] {
  const events = isPlainObject(body) ? body.events : undefined;
  if (!Array.isArray(events)) throw fault('RequestValidationError', { message: "The body needs a list 'events'." });
  if (events.length > MAX_EVENTS_PER_REQUEST)
    throw fault('RequestValidationError', {
      message: `A request holds at most ${MAX_EVENTS_PER_REQUEST} events, this one has ${events.length}.`,
    });
  const origin: Partial<EventSource> = { workspaceId, correlationId: identity.correlationId };
  if (identity.userId) origin.userId = identity.userId;
  if (identity.sessionId) origin.sessionId = identity.sessionId;
  if (identity.ip) origin.ip = identity.ip;
  if (socketId) origin.socketId = socketId;
  // What a run tells through the API counts as what it emits: automations that answer each other this way come to an end too.
  if (identity.depth) origin.automationDepth = identity.depth;
  // Automations that it starts must not take what another workspace tells in the name of its visitor for his own doing.
  if (isAway(identity, workspaceId)) origin.isPosed = true;
  return events.map((item, index) => candidate(item, index, origin));
}

/** @throws ForbiddenError whose details echo the refused event, which clients need to send it again */
export function assertMayEmit(ability: Ability, candidates: Candidate[], workspaceId: string): void {
  for (const subject of candidates) {
    // Whoever may create under a native topic (super admins) may tell native events; nobody may dress up his own as one.
    if (subject.source.serviceTopic === EMIT_TOPIC && isNativeName(subject.type))
      throw fault('ForbiddenError', {
        message: `'${subject.type}' is a name of the platform's own events: choose another one.`,
        data: { action: 'create', subjectType: 'events', id: workspaceId, subject },
      });
    if (ability.can('create', 'events', subject)) continue;
    const { reason } = ability.explain('create', 'events', subject);
    throw fault('ForbiddenError', {
      message: reason || `You may not emit '${subject.type}' in this workspace.`,
      data: { action: 'create', subjectType: 'events', id: workspaceId, subject },
    });
  }
}

/** What makes the events of a request the same at every repetition. */
export interface Fixed {
  at: number;
  idOf(index: number): string;
}

/** All durable, or none. The answer is what was written, in the order of the request. */
export function sendCandidates(bus: EventBus, candidates: Candidate[], fixed?: Fixed): Promise<PrismeEvent[]> {
  if (candidates.length === 0) return Promise.resolve([]);
  return bus.sendAll(
    candidates.map(({ type, payload, target, options, source }, index) => ({
      type,
      payload,
      options: { source, target, options, topic: source.serviceTopic, ...(fixed && { at: fixed.at, id: fixed.idOf(index) }) },
    })),
  );
}
