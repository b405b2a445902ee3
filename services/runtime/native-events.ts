/** native-events — events the platform itself tells about runs: their source fields, sizes, and what is kept out of them. */
import { createHash } from 'node:crypto';
import type { EventBus } from '../../mixins/bus/contract.ts';
import type { Config } from '../../mixins/shared/config.ts';
import type { EventSource } from '../../mixins/shared/event.ts';
import { ulid } from '../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { ExecutedReport, Frame, RunModel, TriggerInfo } from './interpreter/index.ts';
import type { Redactor } from './redaction.ts';
import { isNamed, isPosed } from './rights.ts';
import { effectRoot, type RunRequest } from './runs.ts';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A ULID that is the same whenever the same effect of the same run is performed again. */
export function derivedUlid(timeMs: number, text: string): string {
  let time = '';
  for (let i = 0, rest = Math.floor(timeMs); i < 10; i++, rest = Math.floor(rest / 32)) time = (CROCKFORD[rest % 32] as string) + time;
  const bytes = createHash('sha256').update(text).digest();
  let random = '';
  for (let i = 0; i < 16; i++) random += CROCKFORD[(bytes[i] as number) % 32];
  return time + random;
}

/** Milliseconds inside a ULID, or `fallback` for any other id. */
export function ulidTime(id: string | undefined, fallback: number): number {
  if (!id || !/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id)) return fallback;
  return [...id.slice(0, 10)].reduce((sum, c) => sum * 32 + CROCKFORD.indexOf(c), 0);
}

/** Source of everything a run causes at `frame`. `withUser`: native events tell who, custom events never do. */
export function sourceOf(request: RunRequest, frame: Frame, { withUser }: { withUser: boolean }): EventSource {
  const { run } = request;
  const { identity, instance } = frame;
  const source: EventSource = { workspaceId: request.workspaceId, correlationId: run.correlationId };
  if (withUser && identity.userId) source.userId = identity.userId;
  if (identity.sessionId) source.sessionId = identity.sessionId;
  if (run.socketId) source.socketId = String(run.socketId);
  if (run.sourceWorkspaceId) source.sourceWorkspaceId = String(run.sourceWorkspaceId);
  if (frame.appSlug) source.appSlug = frame.appSlug;
  if (instance) {
    source.appInstanceFullSlug = instance;
    source.appInstanceDepth = instance.split('.').length;
  }
  source.automationSlug = frame.automationSlug;
  source.automationDepth = frame.depth;
  if (isPosed(request, frame)) source.isPosed = true;
  return source;
}

export interface NativeEvents {
  /** `runtime.interactions.triggered`: a person, a schedule or the platform started something. */
  triggered(request: RunRequest): Promise<unknown>;
  executed(
    request: RunRequest,
    frame: Frame,
    model: RunModel | undefined,
    report: ExecutedReport,
    key: string,
    redactor: Redactor,
  ): Promise<unknown>;
  /** `error`, prefixed by the app instance. */
  error(
    request: RunRequest,
    frame: Frame,
    error: { error: string; message: string; details?: unknown },
    key: string,
    redactor: Redactor,
  ): Promise<unknown>;
  fetchFailed(request: RunRequest, frame: Frame, payload: JsonObject, key: string, redactor: Redactor): Promise<unknown>;
}

export function createNativeEvents(bus: EventBus, config: Config): NativeEvents {
  // Ids do not depend on when an effect is performed: repeated by a replay, it is the same event. What is never replayed needs no such id.
  const idOf = (request: RunRequest, key: string) =>
    request.isDurable ? derivedUlid(ulidTime(request.trigger.id, request.acceptedAt), `${effectRoot(request)}/${key}`) : ulid();
  return {
    triggered(request) {
      const { workspaceId, automation, trigger, run } = request;
      const payload: JsonObject = { workspaceId };
      if (run.sourceWorkspaceId) payload.sourceWorkspaceId = run.sourceWorkspaceId;
      if (run.authenticatedWorkspaceId) payload.authenticatedWorkspaceId = run.authenticatedWorkspaceId;
      payload.automation = automation;
      payload.trigger = triggerPayload(trigger, automation);
      payload.startedAt = new Date(request.acceptedAt).toISOString();
      const { userId, sessionId } = request.identity;
      const source: EventSource = { workspaceId, correlationId: run.correlationId };
      if (userId) source.userId = userId;
      if (sessionId) source.sessionId = sessionId;
      if (run.socketId) source.socketId = String(run.socketId);
      if (run.ip) source.ip = String(run.ip);
      // Of the run that called: who is told of calls, and calls, is limited as if he had called directly.
      if (run.depth) source.automationDepth = run.depth;
      if (isNamed(request.identity)) source.isPosed = true;
      return bus.send('runtime.interactions.triggered', payload, {
        id: idOf(request, 'triggered'),
        source,
        topic: 'runtime.interactions.triggered',
        isFinal: true,
      });
    },
    executed(request, frame, model, report, key, redactor) {
      const automation = model?.workspace.automations.get(report.slug);
      const hidden = automation?.redactPaths ?? { payload: [], output: [] };
      const { error, output } = report;
      const body: JsonObject = {
        slug: report.slug,
        startedAt: report.startedAt,
        duration: report.duration,
        break: report.break,
        payload: redactor.clean(without(reportedPayload(report.payload), hidden.payload)),
        trigger: triggerOf(report.trigger),
      };
      if (error) body.error = cleanedError(error, redactor);
      if (output !== undefined) body.output = redactor.clean(without(output, hidden.output));
      if (report.throttledMs > 0) body.throttled = report.throttledMs;
      return bus.send('runtime.automations.executed', body, {
        id: idOf(request, `executed/${key}`),
        source: sourceOf(request, frame, { withUser: true }),
        topic: 'runtime.automations.executed',
        // With the automation that began the run all is over, unless it was cut short: branches beside it may still be at work. One that was called has given
        // its output to variables of its caller.
        isFinal: frame.depth === request.run.depth + 1 && !error && !report.break,
        maxBytes: config.executedEventMaxBytes,
        shrink: ['payload', 'output', 'error'],
      });
    },
    error(request, frame, error, key, redactor) {
      const type = frame.instance ? `${frame.instance}.error` : 'error';
      return bus.send(type, cleanedError(error, redactor) as unknown as JsonObject, {
        id: idOf(request, `error/${key}`),
        source: sourceOf(request, frame, { withUser: true }),
        topic: type,
        shrink: ['details'],
      });
    },
    fetchFailed(request, frame, payload, key, redactor) {
      const cleaned = Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, redactor.clean(value)]));
      return bus.send('runtime.fetch.failed', cleaned, {
        id: idOf(request, `fetch/${key}`),
        source: sourceOf(request, frame, { withUser: true }),
        topic: 'runtime.fetch.failed',
        shrink: ['response', 'request'],
      });
    },
  };
}

/**
 * Secrets are looked for in what people wrote, never in the frame of an event: a secret such as `1` or `payload` would turn a duration or the
 * name of a field into a text that the event's schema refuses, and the event would be lost.
 */
const cleanedError = <E extends { message: string; details?: unknown }>(error: E, redactor: Redactor): E => ({
  ...error,
  message: redactor.clean(error.message),
  ...(error.details === undefined ? {} : { details: redactor.clean(error.details) }),
});

const triggerOf = ({ type, value, id }: TriggerInfo): JsonObject => (id ? { type, value, id } : { type, value });

function triggerPayload(trigger: TriggerInfo, automation: string): JsonObject {
  const dot = automation.lastIndexOf('.');
  const told = triggerOf(trigger);
  if (dot > 0) told.appInstanceSlug = automation.slice(0, dot);
  return told;
}

/** What a webhook was called with, without what belongs to its caller or to the wire. */
function reportedPayload(payload: unknown): unknown {
  if (!isPlainObject(payload)) return payload;
  const told: JsonObject = {};
  for (const name in payload) if (name !== '$http' && name !== 'rawBody') told[name] = payload[name];
  if (isPlainObject(told.headers) && Object.hasOwn(told.headers, 'authorization')) {
    const { authorization: _authorization, ...headers } = told.headers;
    told.headers = headers;
  }
  return told;
}

/** A copy without the fields at dotted `paths`. */
export function without(value: unknown, paths: string[]): unknown {
  if (paths.length === 0 || !isPlainObject(value)) return value;
  const copy: JsonObject = { ...value };
  for (const path of paths) {
    const [first, ...rest] = path.split('.') as [string, ...string[]];
    if (!Object.hasOwn(copy, first)) continue;
    if (rest.length) copy[first] = without(copy[first], [rest.join('.')]);
    else delete copy[first];
  }
  return copy;
}
