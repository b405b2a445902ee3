/**
 * world — performs the effects of one run: the only way from the interpreter to contexts, events, HTTP, modules and limits.
 *
 * Of a durable run every result is recorded, and what was recorded is answered without being done again (journal.ts). Of any other run
 * nothing is kept. Once a run is suspended or was taken over, `perform` never answers again: what is left of it in memory can change nothing.
 */
import { createHash } from 'node:crypto';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { sleep } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { EventTarget, PrismeEvent } from '../../mixins/shared/event.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import type { Guard } from '../../mixins/shared/guard.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { ContextOwner, Contexts, LargeContext } from './contexts.ts';
import { type FetchFailure, performFetch } from './fetch/index.ts';
import type { HttpAnswer } from './http-answer.ts';
import {
  type ContextName,
  type Effect,
  type EffectRequest,
  type FetchRequest,
  type Frame,
  isLiveStream,
  type LiveStream,
  ORGANISATION,
  type RunIdentity,
  type RunModel,
  type RunOrganisation,
  type WaitRequest,
  type World,
} from './interpreter/index.ts';
import { fromRecord, type Journal, recordedFault } from './journal.ts';
import type { Throttle } from './limits.ts';
import type { LoadedWorkspace } from './models.ts';
import { derivedUlid, type NativeEvents, sourceOf } from './native-events.ts';
import { maskHeaders, type Redactor } from './redaction.ts';
import { effectRoot, type RunRequest } from './runs.ts';
import { prefixed } from './triggers.ts';
import { MAX_WAIT_MS, type Wait, type Waits } from './waits.ts';

/** What a run may ask of the platform beyond its own stores. */
export interface PlatformCalls {
  identityOf(field: 'user.id' | 'session.id', value: string, request: RunRequest): Promise<RunIdentity>;
  /** What is left of a known session, milliseconds. */
  sessionLifeMs(sessionId: string): Promise<number | undefined>;
  /** `undefined`: nobody known, or nobody's organisation can be asked for now. */
  organisationOf(request: RunRequest): Promise<RunOrganisation | undefined>;
  authorize(action: string, frame: Frame, request: RunRequest): Promise<void>;
  mintToken(kind: 'delegated' | 'workspace', frame: Frame, request: RunRequest): Promise<{ jwt: string }>;
  apiKey(name: string, request: RunRequest): Promise<string>;
  configure(operations: (Effect & { type: 'config.write' })['operations'], frame: Frame, request: RunRequest): Promise<unknown>;
  topic(effect: Effect & { type: 'topic.create' | 'topic.join' }, frame: Frame, request: RunRequest): Promise<unknown>;
  module(effect: Effect & { type: 'module' }, frame: Frame, request: RunRequest, operation?: { key: string; at: number }): Promise<unknown>;
  rateLimit(effect: Effect & { type: 'rateLimit' }, request: RunRequest): Promise<unknown>;
  /** Replaces `$secret:…` references; tells the texts it put in. */
  openReferences<T>(value: T, request: RunRequest): Promise<{ value: T; texts: string[] }>;
}

export interface WorldServices {
  bus: EventBus;
  config: Config;
  contexts: Contexts;
  waits: Waits;
  guard: Guard;
  throttle: Throttle;
  events: NativeEvents;
  platform: PlatformCalls;
  log: (message: string, error: unknown) => void;
}

export interface WorldOptions {
  services: WorldServices;
  request: RunRequest;
  loaded: LoadedWorkspace;
  redactor: Redactor;
  /** Of durable runs only. */
  journal?: Journal;
  http?: HttpAnswer;
  control: AbortController;
  /** 32 hexadecimal characters. */
  seed: () => string;
  startedAt: number;
}

export interface RunWorld extends World {
  /** Effects asked and not answered; equal to the number of waits when the run can only be woken. */
  readonly pending: number;
  readonly openWaits: readonly Wait[];
  /** Milliseconds of the last question or answer. */
  readonly activeAt: number;
  /** Rejects when the run cannot go on here: a store fails, another node has taken it. */
  readonly broken: Promise<never>;
  /** From now on nothing is answered and nothing changes. */
  silence(): void;
  /** Native events that are still on their way. */
  settled(): Promise<void>;
  close(): void;
}

const NEVER = new Promise<never>(() => {});
/** Effects that change nothing outside: recorded lazily, performed without writing first. */
const READS = new Set(['context.read', 'throttle', 'sleep', 'authorize', 'identity.switch', 'http', 'executed', 'error', 'auth']);
/** Not recorded: done again by a replay, with the same result or none. */
const UNRECORDED = new Set(['throttle', 'http', 'executed', 'error', 'auth']);
/** Recorded at once: nobody else can tell that they were done. */
const EAGER = new Set(['fetch', 'module', 'wait', 'rateLimit']);

const WITH_ORGANISATION = new Set<ContextName>(['session', 'user', 'run']);

const isInfrastructure = (error: unknown): boolean => !isFault(error) || error.retryable === true;

/** The variables are kept all the same: their owner is to know before they are too large to be. */
const largeContext = ({ context, bytes, maxBytes }: LargeContext) => ({
  error: 'LimitExceededError',
  message: `The context '${context}' has ${bytes} bytes, more than the ${maxBytes} it is meant for. It is kept; store what is large in a collection or a file.`,
  details: { context, bytes, maxBytes },
});

export function createWorld(options: WorldOptions): RunWorld {
  const { services, request, loaded, redactor, journal, http, control } = options;
  const { config, contexts, waits, events, throttle, platform } = services;
  const now = Date.now;
  let time = options.startedAt;
  let pending = 0;
  let activeAt = now();
  let isSilent = false;
  const openWaits: Wait[] = [];
  const streams: LiveStream[] = [];
  const sending = new Set<Promise<unknown>>();
  let emittedSince: string | undefined;
  let breakOff: (error: unknown) => void = () => {};
  const broken = new Promise<never>((_, reject) => (breakOff = reject));
  broken.catch(() => {});

  /** Native events leave on their own; the run ends when they are durable. */
  const tell = (sent: Promise<unknown>) => {
    const tracked = sent
      .catch((error) => services.log('a native event was not accepted by the bus', error))
      .finally(() => sending.delete(tracked));
    sending.add(tracked);
  };
  const modelAt = (instance: string): RunModel | undefined => {
    let model: RunModel | undefined = loaded.root;
    if (instance) for (const slug of splitInstance(instance, loaded)) model = model?.child(slug);
    return model;
  };
  const owner = (frame: Frame): ContextOwner => ({
    workspaceId: request.workspaceId,
    correlationId: request.run.correlationId,
    ...(frame.identity.userId ? { userId: frame.identity.userId } : {}),
    ...(frame.identity.sessionId ? { sessionId: frame.identity.sessionId } : {}),
    ...(request.run.socketId ? { socketId: String(request.run.socketId) } : {}),
  });

  /** Data of a session live as long as the session; who has no account is his session, whose life is a setting. */
  async function writer(context: string, frame: Frame): Promise<ContextOwner> {
    const who = owner(frame);
    if (context !== 'session' || !who.sessionId || who.sessionId === who.userId) return who;
    const sessionTtlMs = await platform.sessionLifeMs(who.sessionId);
    return sessionTtlMs === undefined ? who : { ...who, sessionTtlMs };
  }

  /** With what the one who started the run is in his organisation, where automations may look at that. */
  async function readContexts(names: ContextName[], frame: Frame): Promise<Record<string, JsonObject>> {
    const [documents, organisation] = await Promise.all([
      contexts.read(names, owner(frame), now()),
      names.some((name) => WITH_ORGANISATION.has(name)) ? platform.organisationOf(request) : undefined,
    ]);
    return organisation ? { ...documents, [ORGANISATION]: organisation as unknown as JsonObject } : documents;
  }

  async function emit(key: string, type: string, payload: JsonObject, frame: Frame, more: { target?: EventTarget; options?: JsonObject }) {
    const full = prefixed(frame.instance, type);
    const event = await services.bus.send(full, payload, {
      ...(journal ? { id: derivedUlid(time, `${effectRoot(request)}/${key}`) } : {}),
      source: { ...sourceOf(request, frame, { withUser: false }), serviceTopic: EMIT_TOPIC },
      topic: EMIT_TOPIC,
      ...(more.target ? { target: more.target } : {}),
      ...(more.options ? { options: more.options } : {}),
    });
    emittedSince ??= event.id;
    return event;
  }

  async function doFetch(key: string, asked: FetchRequest, frame: Frame): Promise<unknown> {
    const { value: opened, texts } = await platform.openReferences(asked, request);
    redactor.add(texts);
    let items = 0;
    return performFetch(opened, services.guard, config, {
      signal: control.signal,
      idempotencyKey: createHash('sha256')
        .update(`${effectRoot(request)}/${key}`)
        .digest('hex')
        .slice(0, 32),
      now,
      throttle: async () => void (await throttle(request.workspaceId, loaded.systemSecrets, 'fetchs', 1, control.signal)),
      async platformHeaders(fetched, headers) {
        const more: Record<string, string> = { 'x-correlation-id': headers['x-correlation-id'] ?? request.run.correlationId };
        if (fetched.prismeaiApiKey?.name) more['x-prismeai-api-key'] = await platform.apiKey(fetched.prismeaiApiKey.name, request);
        if (!headers.authorization && !headers['x-prismeai-token']) {
          const kind = fetched.auth?.prismeai?.forwardWorkspaceAuth ? 'workspace' : 'delegated';
          more.authorization = `Bearer ${(await platform.mintToken(kind, frame, request)).jwt}`;
        }
        return more;
      },
      onFailure: (failure: FetchFailure) => {
        // As written by the author: opened secrets are not part of it.
        const told = { ...asked, headers: maskHeaders(asked.headers), auth: asked.auth ? 'REDACTED' : undefined };
        const response = failure.response && { ...failure.response, headers: maskHeaders(failure.response.headers) };
        const payload: JsonObject = {
          request: told,
          ...(response ? { response } : {}),
          ...(failure.error ? { error: failure.error } : {}),
        };
        tell(events.fetchFailed(request, frame, payload, key, redactor));
      },
      async onItem(item) {
        await throttle(request.workspaceId, loaded.systemSecrets, 'emits', 1, control.signal);
        await emit(`${key}/${items++}`, asked.stream?.event as string, { ...item }, frame, streamTarget(asked));
      },
      async onEnd(endChunk) {
        await emit(`${key}/end`, asked.stream?.event as string, { chunk: endChunk }, frame, streamTarget(asked));
      },
      keep: (stream) => void streams.push(stream),
    });
  }

  async function doWait(key: string, asked: WaitRequest, frame: Frame): Promise<PrismeEvent | null> {
    const timeoutMs = Math.min(Math.max(0, (asked.timeoutS || config.waitTimeoutS) * 1000), MAX_WAIT_MS);
    const wait: Wait = {
      id: `${effectRoot(request)}/${key}`,
      workspaceId: request.workspaceId,
      runId: request.id,
      oneOf: (asked.oneOf ?? []).map((choice) => ({
        ...choice,
        event: choice.event === 'runtime.automations.executed' ? choice.event : prefixed(frame.instance, choice.event),
      })),
      deadline: time + timeoutMs,
      isDurable: journal !== undefined,
    };
    const before = journal ? await waits.outcome(wait) : null;
    if (before) return before.event;
    if (wait.deadline <= now()) return (await waits.decide(wait, null)).event;
    await Promise.all([waits.register(wait), contexts.keepRun(owner(frame), timeoutMs)]);
    openWaits.push(wait);
    try {
      await lookBack(wait, asked);
      const outcome = await Promise.race([waits.hold(wait), cancelled(control.signal)]);
      return outcome.event;
    } finally {
      openWaits.splice(openWaits.indexOf(wait), 1);
      if (!isSilent) await waits.remove(wait);
    }
  }

  /** An answer may be faster than the registration: what this run has caused since its first emission is looked at once more. */
  async function lookBack(wait: Wait, asked: WaitRequest): Promise<void> {
    const since = asked.sinceStart ? (request.trigger.id ?? emittedSince) : emittedSince;
    const isSpecific = wait.oneOf.some(({ filters }) => filters && Object.keys(filters).length > 0);
    if (!since || (!asked.sinceStart && !isSpecific)) return;
    const past = await services.bus.replay(since, request.workspaceId, 1000);
    const found = past?.find((event) => waits.accepts(wait, event));
    if (found) await waits.decide(wait, found);
  }

  async function act(key: string, effect: Effect, frame: Frame): Promise<unknown> {
    switch (effect.type) {
      case 'context.read':
        return readContexts(effect.contexts, frame);
      case 'context.write':
        return contexts.write(
          effect.context,
          effect.operations,
          await writer(effect.context, frame),
          `${effectRoot(request)}/${key}`,
          now(),
          (size) => tell(events.error(request, frame, largeContext(size), `${key}/large`, redactor)),
        );
      case 'config.write':
        return platform.configure(effect.operations, frame, request);
      case 'identity.switch':
        return platform.identityOf(effect.field, effect.value, request);
      case 'emit':
        return emit(key, effect.event, effect.payload, frame, effect as { target?: EventTarget; options?: JsonObject });
      case 'wait':
        return doWait(key, effect, frame);
      case 'fetch':
        return doFetch(key, effect.request, frame);
      case 'module':
        return platform.module(effect, frame, request, journal ? { key: `${effectRoot(request)}/${key}`, at: time } : undefined);
      case 'rateLimit':
        return platform.rateLimit(effect, request);
      case 'throttle':
        return throttle(request.workspaceId, loaded.systemSecrets, effect.bucket, effect.tokens, control.signal);
      case 'auth':
        return platform.mintToken(effect.workspace ? 'workspace' : 'delegated', frame, request);
      case 'http':
        await http?.write(effect.message);
        return null;
      case 'topic.create':
      case 'topic.join':
        return platform.topic(effect, frame, request);
      case 'authorize':
        return platform.authorize(effect.action, frame, request);
      case 'sleep':
        return sleep(effect.ms, control.signal);
      case 'executed': {
        const model = modelAt(frame.instance);
        // The run's clock stands still between effects; its owner wants to know how long it really took.
        const duration = Math.max(effect.report.duration, now() - Date.parse(effect.report.startedAt));
        return tell(events.executed(request, frame, model, { ...effect.report, duration }, key, redactor));
      }
      case 'error':
        return tell(events.error(request, frame, effect.error, key, redactor));
    }
  }

  async function durably(journal: Journal, key: string, effect: Effect, frame: Frame): Promise<unknown> {
    const recorded = journal.find(key, effect.type);
    if (recorded) {
      time = recorded.t;
      if (effect.type === 'emit') emittedSince ??= (recorded.v as { id?: string } | undefined)?.id;
      if (recorded.e) throw recordedFault(recorded);
      return fromRecord(recorded.v);
    }
    // What the run knows so far is durable before it changes the world: a replay takes the same path.
    if (!READS.has(effect.type)) await journal.flush();
    let value: unknown;
    try {
      value = await act(key, effect, frame);
    } catch (error) {
      if (isFault(error, 'RunCancelledError') || isInfrastructure(error)) throw error;
      time = now();
      if (!UNRECORDED.has(effect.type)) journal.record(key, effect.type, time, { error });
      throw error;
    }
    time = now();
    const isKept = !UNRECORDED.has(effect.type) && !holdsStream(value);
    if (isKept) journal.record(key, effect.type, time, { value });
    if (isKept && EAGER.has(effect.type)) await journal.flush();
    return value;
  }

  // Most runs ask for no randomness at all.
  let source: (() => number) | undefined;
  const random = () => {
    source ??= generator(options.seed());
    return source();
  };
  return {
    signal: control.signal,
    broken,
    get pending() {
      return pending;
    },
    get openWaits() {
      return openWaits;
    },
    get activeAt() {
      return activeAt;
    },
    entered({ instance, automationSlug }, payload) {
      const model = modelAt(instance);
      if (!model) return;
      redactor.add(model.secretTexts);
      redactor.add(secretArguments(model, automationSlug, payload));
    },
    now: () => time,
    random,
    uuid: () => Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join(''),
    async perform({ key, effect, frame }: EffectRequest) {
      if (isSilent) return NEVER;
      if (control.signal.aborted) throw fault('RunCancelledError');
      pending++;
      activeAt = now();
      try {
        if (journal) return await durably(journal, key, effect, frame);
        const value = await act(key, effect, frame);
        time = now();
        return value;
      } catch (error) {
        if (control.signal.aborted && !isFault(error, 'RunCancelledError')) throw fault('RunCancelledError', { cause: error });
        // A store that fails is no error of the automation: a durable run stops here and is executed again.
        if (!journal || isFault(error, 'RunCancelledError') || !isInfrastructure(error)) throw error;
        isSilent = true;
        breakOff(error);
        return NEVER;
      } finally {
        pending--;
        activeAt = now();
        if (isSilent) await NEVER;
      }
    },
    silence() {
      isSilent = true;
      for (const wait of openWaits) waits.letGo(wait.id);
    },
    async settled() {
      while (sending.size) await Promise.all(sending);
    },
    close() {
      for (const stream of streams) void stream.cancel().catch(() => {});
      for (const wait of openWaits) waits.letGo(wait.id);
    },
  };
}

const streamTarget = ({ stream }: FetchRequest): { target?: EventTarget; options?: JsonObject } => ({
  ...(stream?.target ? { target: stream.target } : {}),
  ...(stream?.options ? { options: stream.options as JsonObject } : {}),
});

const holdsStream = (value: unknown): boolean =>
  isLiveStream(value) || (typeof value === 'object' && value !== null && isLiveStream((value as { body?: unknown }).body));

function cancelled(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(fault('RunCancelledError'));
    signal.addEventListener('abort', () => reject(fault('RunCancelledError')), { once: true });
  });
}

/** Slugs of the instances on the way to `instance`; a slug may itself hold dots. */
function splitInstance(instance: string, loaded: LoadedWorkspace): string[] {
  const path: string[] = [];
  let rest = instance;
  let model: RunModel | undefined = loaded.root;
  while (rest && model) {
    let end = rest.indexOf('.');
    while (end > 0 && !model.child(rest.slice(0, end))) end = rest.indexOf('.', end + 1);
    const slug = end > 0 ? rest.slice(0, end) : rest;
    path.push(slug);
    model = model.child(slug);
    rest = end > 0 ? rest.slice(end + 1) : '';
  }
  return path;
}

/** Texts at the `secret: true` arguments of an automation. */
export function secretArguments(model: RunModel | undefined, slug: string, payload: unknown): string[] {
  const paths = model?.workspace.automations.get(slug)?.secretPaths ?? [];
  return paths.flatMap((path) => {
    let value: unknown = payload;
    for (const segment of path.split('.'))
      value = typeof value === 'object' && value !== null && Object.hasOwn(value, segment) ? (value as JsonObject)[segment] : undefined;
    return typeof value === 'string' && value.trim() !== '' ? [value] : [];
  });
}

/** sfc32 from a seed of 32 hexadecimal characters. @see https://pracrand.sourceforge.net */
export function generator(seed: string): () => number {
  let [a, b, c, d] = [0, 8, 16, 24].map((at) => Number.parseInt(seed.slice(at, at + 8), 16) | 0) as [number, number, number, number];
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}
