/** native-events — events the platform itself tells about runs: their source fields, sizes, and what is kept out of them. */
import { createHash } from 'node:crypto';
import type { EventBus } from '../../mixins/bus/contract.ts';
import type { Config } from '../../mixins/shared/config.ts';
import type { EventSource } from '../../mixins/shared/event.ts';
import { ulid } from '../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { ExecutedReport, Frame, RunModel, TriggerInfo } from './interpreter/index.ts';
import type { Redactor } from './redaction.ts';
import { isPosed } from './rights.ts';
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
  const { identity } = frame;
  const instanceDepth = frame.instance ? frame.instance.split('.').length : 0;
  return {
    workspaceId: request.workspaceId,
    correlationId: run.correlationId,
    ...(withUser && identity.userId ? { userId: identity.userId } : {}),
    ...(identity.sessionId ? { sessionId: identity.sessionId } : {}),
    ...(run.socketId ? { socketId: String(run.socketId) } : {}),
    ...(run.sourceWorkspaceId ? { sourceWorkspaceId: String(run.sourceWorkspaceId) } : {}),
    ...(frame.appSlug ? { appSlug: frame.appSlug } : {}),
    ...(frame.instance ? { appInstanceFullSlug: frame.instance, appInstanceDepth: instanceDepth } : {}),
    automationSlug: frame.automationSlug,
    automationDepth: frame.depth,
    ...(isPosed(request, frame) ? { isPosed: true as const } : {}),
  };
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
      const payload = {
        workspaceId,
        ...(run.sourceWorkspaceId ? { sourceWorkspaceId: run.sourceWorkspaceId } : {}),
        ...(run.authenticatedWorkspaceId ? { authenticatedWorkspaceId: run.authenticatedWorkspaceId } : {}),
        automation,
        trigger: triggerPayload(trigger, automation),
        startedAt: new Date(request.acceptedAt).toISOString(),
      };
      const { userId, sessionId } = request.identity;
      return bus.send('runtime.interactions.triggered', payload, {
        id: idOf(request, 'triggered'),
        source: {
          workspaceId,
          correlationId: run.correlationId,
          ...(userId ? { userId } : {}),
          ...(sessionId ? { sessionId } : {}),
          ...(run.socketId ? { socketId: String(run.socketId) } : {}),
          ...(run.ip ? { ip: String(run.ip) } : {}),
        },
        topic: 'runtime.interactions.triggered',
        isFinal: true,
      });
    },
    executed(request, frame, model, report, key, redactor) {
      const automation = model?.workspace.automations.get(report.slug);
      const hidden = automation?.redactPaths ?? { payload: [], output: [] };
      const { throttledMs, trigger, payload, output, ...rest } = report;
      const body = {
        ...rest,
        ...(rest.error ? { error: cleanedError(rest.error, redactor) } : {}),
        payload: redactor.clean(without(reportedPayload(payload), hidden.payload)),
        ...(output === undefined ? {} : { output: redactor.clean(without(output, hidden.output)) }),
        trigger: { type: trigger.type, value: trigger.value, ...(trigger.id ? { id: trigger.id } : {}) },
        ...(throttledMs > 0 ? { throttled: throttledMs } : {}),
      };
      return bus.send('runtime.automations.executed', body as JsonObject, {
        id: idOf(request, `executed/${key}`),
        source: sourceOf(request, frame, { withUser: true }),
        topic: 'runtime.automations.executed',
        // With the automation that began the run all is over, unless it was cut short: branches beside it may still be at work. One that was called has given
        // its output to variables of its caller.
        isFinal: frame.depth === request.run.depth + 1 && !rest.error && !rest.break,
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

function triggerPayload(trigger: TriggerInfo, automation: string): JsonObject {
  const dot = automation.lastIndexOf('.');
  return {
    type: trigger.type,
    value: trigger.value,
    ...(trigger.id ? { id: trigger.id } : {}),
    ...(dot > 0 ? { appInstanceSlug: automation.slice(0, dot) } : {}),
  };
}

/** What a webhook was called with, without what belongs to its caller or to the wire. */
function reportedPayload(payload: unknown): unknown {
  if (!isPlainObject(payload)) return payload;
  const { $http: _http, ...rest } = payload;
  if (isPlainObject(rest.headers)) {
    const { authorization: _authorization, ...headers } = rest.headers;
    rest.headers = headers;
  }
  if ('rawBody' in rest) delete rest.rawBody;
  return rest;
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
