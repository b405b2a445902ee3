/**
 * acts — what each effect of a run does: contexts, events, HTTP, waits, modules and limits. Whether it is done at all, and what is kept of it, is the
 * matter of the world (world.ts).
 */
import { createHash } from 'node:crypto';
import type { EventBus } from '../../mixins/bus/contract.ts';
import { sleep } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { EventTarget, PrismeEvent } from '../../mixins/shared/event.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import type { Guard } from '../../mixins/shared/guard.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { ContextOwner, Contexts, LargeContext } from './contexts.ts';
import { isBefore } from './effect-keys.ts';
import { type FetchFailure, performFetch } from './fetch/index.ts';
import type { HttpAnswer } from './http-answer.ts';
import {
  type ContextName,
  type Effect,
  type FetchRequest,
  type Frame,
  type LiveStream,
  ORGANISATION,
  type RunIdentity,
  type RunModel,
  type RunOrganisation,
  type WaitRequest,
} from './interpreter/index.ts';
import type { Throttle } from './limits.ts';
import type { LoadedWorkspace } from './models.ts';
import { derivedUlid, type NativeEvents, sourceOf } from './native-events.ts';
import { maskHeaders, maskUrl, type Redactor } from './redaction.ts';
import { effectRoot, type RunRequest } from './runs.ts';
import { prefixed } from './triggers.ts';
import { EXECUTED, MAX_TAKEN, MAX_WAIT_MS, type Wait, type Waits } from './waits.ts';

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
  /** Replaces `$secret:…` references; tells the texts it put in. `isPast`: to know these only, whatever has become of the references since. */
  openReferences<T>(value: T, request: RunRequest, options?: { isPast?: boolean }): Promise<{ value: T; texts: string[] }>;
}

export interface ActServices {
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

export interface ActOptions {
  services: ActServices;
  request: RunRequest;
  loaded: LoadedWorkspace;
  redactor: Redactor;
  http?: HttpAnswer | undefined;
  control: AbortController;
  /** Told when one more wait of the run stands open, and asked when one has ended, before the run goes on. */
  onWaiting?: () => void;
  onWoken?: () => Promise<void> | undefined;
}

/** How deep a run calls, where the credential of the request does not say it. Signed: nobody outside makes a run end early. */
const RUN_HEADER = 'x-prismeai-run';

const WITH_ORGANISATION = new Set<ContextName>(['session', 'user', 'run']);

/** The variables are kept all the same: their owner is to know before they are too large to be. */
const largeContext = ({ context, bytes, maxBytes }: LargeContext) => ({
  error: 'LimitExceededError',
  message: `The context '${context}' has ${bytes} bytes, more than the ${maxBytes} it is meant for. It is kept; store what is large in a collection or a file.`,
  details: { context, bytes, maxBytes },
});

export class Acts {
  /** Waits that the run stands in now. */
  readonly openWaits: Wait[] = [];
  private readonly options: ActOptions;
  /** Most runs have neither. */
  private streams: LiveStream[] | undefined;
  private sending: Promise<unknown>[] | undefined;
  /** Waits asked for that events cannot find yet, by effect key. */
  private registering: Map<string, PromiseWithResolvers<void>> | undefined;
  /** The first event this run has caused: an answer to it may come before the run waits for it. */
  private emittedSince: string | undefined;
  /** What its waits have got, by their keys: a later wait is for another event. */
  private taken: { key: string; id: string }[] | undefined;
  private isSilent = false;

  constructor(options: ActOptions) {
    this.options = options;
  }

  /** @param time the run's clock, milliseconds */
  perform(key: string, effect: Effect, frame: Frame, time: number): unknown {
    const { services, request, loaded, redactor, control, http } = this.options;
    const { events, platform, throttle, contexts } = services;
    switch (effect.type) {
      case 'context.read':
        return this.readContexts(effect.contexts, frame);
      case 'context.write':
        return this.writer(effect.context, frame).then((owner) =>
          contexts.write(effect.context, effect.operations, owner, `${effectRoot(request)}/${key}`, Date.now(), (size) =>
            this.tell(events.error(request, frame, largeContext(size), `${key}/large`, redactor)),
          ),
        );
      case 'config.write':
        return platform.configure(effect.operations, frame, request);
      case 'identity.switch':
        return platform.identityOf(effect.field, effect.value, request);
      case 'emit':
        return this.emit(key, effect.event, effect.payload, frame, time, effect as { target?: EventTarget; options?: JsonObject });
      case 'wait':
        return this.wait(key, effect, frame, time);
      case 'fetch':
        return this.fetch(key, effect.request, frame, time);
      case 'module':
        return platform.module(effect, frame, request, request.isDurable ? { key: `${effectRoot(request)}/${key}`, at: time } : undefined);
      case 'rateLimit':
        return platform.rateLimit(effect, request);
      case 'throttle':
        return throttle(request.workspaceId, loaded.systemSecrets, effect.bucket, effect.tokens, control.signal);
      case 'auth':
        return platform.mintToken(effect.workspace ? 'workspace' : 'delegated', frame, request);
      case 'http':
        return http ? http.write(effect.message).then(() => null) : null;
      case 'topic.create':
      case 'topic.join':
        return platform.topic(effect, frame, request);
      case 'authorize':
        return platform.authorize(effect.action, frame, request);
      case 'sleep':
        return sleep(effect.ms, control.signal);
      case 'executed': {
        const model = modelAt(loaded, frame.instance);
        // The run's clock stands still between effects; its owner wants to know how long it really took.
        const duration = Math.max(effect.report.duration, Date.now() - Date.parse(effect.report.startedAt));
        return this.tell(events.executed(request, frame, model, { ...effect.report, duration }, key, redactor));
      }
      case 'error':
        return this.tell(events.error(request, frame, effect.error, key, redactor));
    }
  }

  /**
   * A wait was asked for. `all: [wait, emit]` is how an automation makes sure to hear what it causes: from now on nothing that may cause an event leaves
   * this run before the wait can be found.
   */
  announce(key: string): void {
    this.registering ??= new Map();
    this.registering.set(key, Promise.withResolvers());
  }

  /** Events find the wait, or it is over. */
  registered(key: string): void {
    this.registering?.get(key)?.resolve();
    this.registering?.delete(key);
  }

  /** An `emit` or `wait` that a replay found in the journal, with the event it made or got. */
  replayed(key: string, type: Effect['type'], event: { id?: string } | null | undefined): void {
    if (type === 'emit') this.emittedSince ??= event?.id;
    if (type === 'wait') this.took(key, event?.id);
  }

  /** A `fetch` that a replay found in the journal: its answer may hold what it was sent, so that is hidden from now on as it was before. */
  async refetched(asked: FetchRequest): Promise<void> {
    const { services, request, redactor } = this.options;
    redactor.add((await services.platform.openReferences(asked, request, { isPast: true })).texts);
  }

  /** The run goes on elsewhere: its waits stay registered. */
  silence(): void {
    this.isSilent = true;
    for (const wait of this.openWaits) this.options.services.waits.letGo(wait.id);
  }

  /** Native events that are still on their way; nothing when there are none. */
  settled(): Promise<void> | undefined {
    return this.sending && this.settle();
  }

  close(): void {
    for (const stream of this.streams ?? []) void stream.cancel().catch(() => {});
    for (const wait of this.openWaits) this.options.services.waits.letGo(wait.id);
  }

  private async settle(): Promise<void> {
    // What is told meanwhile is waited for too.
    for (let at = 0; at < (this.sending as Promise<unknown>[]).length; at++) await this.sending?.[at];
  }

  /** Native events leave on their own; the run ends when they are durable. */
  private tell(sent: Promise<unknown>): void {
    const tracked = sent.catch((error) => this.options.services.log('a native event was not accepted by the bus', error));
    if (this.sending) this.sending.push(tracked);
    else this.sending = [tracked];
  }

  private owner(frame: Frame): ContextOwner {
    const { request } = this.options;
    return {
      workspaceId: request.workspaceId,
      correlationId: request.run.correlationId,
      ...(frame.identity.userId ? { userId: frame.identity.userId } : {}),
      ...(frame.identity.sessionId ? { sessionId: frame.identity.sessionId } : {}),
      ...(request.run.socketId ? { socketId: String(request.run.socketId) } : {}),
    };
  }

  /** Data of a session live as long as the session; who has no account is his session, whose life is a setting. */
  private async writer(context: string, frame: Frame): Promise<ContextOwner> {
    const who = this.owner(frame);
    if (context !== 'session' || !who.sessionId || who.sessionId === who.userId) return who;
    const sessionTtlMs = await this.options.services.platform.sessionLifeMs(who.sessionId);
    return sessionTtlMs === undefined ? who : { ...who, sessionTtlMs };
  }

  /** With what the one who started the run is in his organisation, where automations may look at that. */
  private async readContexts(names: ContextName[], frame: Frame): Promise<Record<string, JsonObject>> {
    const { services, request } = this.options;
    const [documents, organisation] = await Promise.all([
      services.contexts.read(names, this.owner(frame), Date.now()),
      names.some((name) => WITH_ORGANISATION.has(name)) ? services.platform.organisationOf(request) : undefined,
    ]);
    return organisation ? { ...documents, [ORGANISATION]: organisation as unknown as JsonObject } : documents;
  }

  private async allRegistered(): Promise<void> {
    await Promise.all([...(this.registering?.values() ?? [])].map(({ promise }) => promise));
  }

  private async emit(
    key: string,
    type: string,
    payload: JsonObject,
    frame: Frame,
    time: number,
    { target, options }: { target?: EventTarget; options?: JsonObject },
  ): Promise<PrismeEvent> {
    const { services, request } = this.options;
    if (this.registering?.size) await this.allRegistered();
    const event = await services.bus.send(prefixed(frame.instance, type), payload, {
      ...(request.isDurable ? { id: derivedUlid(time, `${effectRoot(request)}/${key}`) } : {}),
      source: { ...sourceOf(request, frame, { withUser: false }), serviceTopic: EMIT_TOPIC },
      topic: EMIT_TOPIC,
      ...(target ? { target } : {}),
      ...(options ? { options } : {}),
    });
    this.emittedSince ??= event.id;
    return event;
  }

  private async fetch(key: string, asked: FetchRequest, frame: Frame, time: number): Promise<unknown> {
    const { services, request, loaded, redactor, control } = this.options;
    const { platform, throttle, events, guard, config } = services;
    const { value: opened, texts } = await platform.openReferences(asked, request);
    redactor.add(texts);
    // What is called may answer by an event.
    if (this.registering?.size) await this.allRegistered();
    let items = 0;
    return performFetch(opened, guard, config, {
      signal: control.signal,
      idempotencyKey: createHash('sha256')
        .update(`${effectRoot(request)}/${key}`)
        .digest('hex')
        .slice(0, 32),
      now: Date.now,
      throttle: async () => void (await throttle(request.workspaceId, loaded.systemSecrets, 'fetchs', 1, control.signal)),
      async platformHeaders(fetched, headers) {
        const more: Record<string, string> = { 'x-correlation-id': headers['x-correlation-id'] ?? request.run.correlationId };
        if (fetched.prismeaiApiKey?.name) more['x-prismeai-api-key'] = await platform.apiKey(fetched.prismeaiApiKey.name, request);
        if (!headers.authorization && !headers['x-prismeai-token']) {
          const kind = fetched.auth?.prismeai?.forwardWorkspaceAuth ? 'workspace' : 'delegated';
          more.authorization = `Bearer ${(await platform.mintToken(kind, frame, request)).jwt}`;
        } else {
          // Whatever credential the author sends, also one that is nobody's: it is a run that calls, so that one which calls itself comes to an end. The token
          // is nobody's.
          more[RUN_HEADER] = (await platform.mintToken('delegated', frame, { ...request, identity: {} })).jwt;
        }
        return more;
      },
      onFailure: (failure: FetchFailure) => {
        // As written by the author: opened secrets are not part of it.
        const told = { ...asked, url: maskUrl(asked.url), headers: maskHeaders(asked.headers), auth: asked.auth ? 'REDACTED' : undefined };
        const response = failure.response && { ...failure.response, headers: maskHeaders(failure.response.headers) };
        const payload: JsonObject = {
          request: told,
          ...(response ? { response } : {}),
          ...(failure.error ? { error: failure.error } : {}),
        };
        this.tell(events.fetchFailed(request, frame, payload, key, redactor));
      },
      onItem: async (item) => {
        await throttle(request.workspaceId, loaded.systemSecrets, 'emits', 1, control.signal);
        await this.emit(`${key}/${items++}`, asked.stream?.event as string, { ...item }, frame, time, streamTarget(asked));
      },
      onEnd: async (endChunk) => {
        await this.emit(`${key}/end`, asked.stream?.event as string, { chunk: endChunk }, frame, time, streamTarget(asked));
      },
      keep: (stream) => {
        this.streams ??= [];
        this.streams.push(stream);
      },
    });
  }

  private took(key: string, id: string | undefined): void {
    if (id === undefined) return;
    this.taken ??= [];
    this.taken.push({ key, id });
  }

  private async wait(key: string, asked: WaitRequest, frame: Frame, time: number): Promise<PrismeEvent | null> {
    const event = await this.waitFor(key, asked, frame, time);
    this.took(key, event?.id);
    return event;
  }

  private async waitFor(key: string, asked: WaitRequest, frame: Frame, time: number): Promise<PrismeEvent | null> {
    const { services, request, control } = this.options;
    const { waits, config, contexts } = services;
    // Waits side by side may get the same event, as those of two runs; one after the other is a conversation.
    const taken = (this.taken ?? []).filter((got) => isBefore(got.key, key)).map(({ id }) => id);
    const timeoutMs = Math.min(Math.max(0, (asked.timeoutS || config.waitTimeoutS) * 1000), MAX_WAIT_MS);
    const wait: Wait = {
      id: `${effectRoot(request)}/${key}`,
      workspaceId: request.workspaceId,
      runId: request.id,
      oneOf: (asked.oneOf ?? []).map((choice) => ({
        ...choice,
        event: choice.event === EXECUTED ? choice.event : prefixed(frame.instance, choice.event),
      })),
      deadline: time + timeoutMs,
      isDurable: request.isDurable,
      // Whoever matches may meet an event long after the look-back has: it is known to be taken there too.
      ...(taken.length > 0 ? { taken: taken.slice(-MAX_TAKEN) } : {}),
    };
    const before = request.isDurable ? await waits.outcome(wait) : null;
    if (before) return before.event;
    if (wait.deadline <= Date.now()) {
      const { event } = await waits.decide(wait, null);
      // Registered by the execution that was suspended; nobody else takes it out.
      if (!this.isSilent) await waits.remove(wait);
      return event;
    }
    await Promise.all([waits.register(wait).then(() => this.registered(key)), contexts.keepRun(this.owner(frame), timeoutMs)]);
    this.openWaits.push(wait);
    let event: PrismeEvent | null;
    try {
      await this.lookBack(wait, asked, new Set(taken));
      this.options.onWaiting?.();
      ({ event } = await Promise.race([waits.hold(wait), cancelled(control.signal)]));
    } finally {
      this.openWaits.splice(this.openWaits.indexOf(wait), 1);
      if (!this.isSilent) await waits.remove(wait);
    }
    await this.options.onWoken?.();
    return event;
  }

  /** An answer may be faster than the registration: what this run has caused since its first emission is looked at once more. */
  private async lookBack(wait: Wait, asked: WaitRequest, taken: Set<string>): Promise<void> {
    const { bus, waits } = this.options.services;
    const { trigger, workspaceId } = this.options.request;
    const since = asked.sinceStart ? (trigger.id ?? this.emittedSince) : this.emittedSince;
    const isSpecific = wait.oneOf.some(({ filters }) => filters && Object.keys(filters).length > 0);
    if (!since || (!asked.sinceStart && !isSpecific)) return;
    const past = await bus.replay(since, workspaceId, 1000);
    const found = past?.find((event) => !taken.has(event.id) && waits.accepts(wait, event));
    if (found) await waits.decide(wait, found);
  }
}

const streamTarget = ({ stream }: FetchRequest): { target?: EventTarget; options?: JsonObject } => ({
  ...(stream?.target ? { target: stream.target } : {}),
  ...(stream?.options ? { options: stream.options as JsonObject } : {}),
});

function cancelled(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(fault('RunCancelledError'));
    signal.addEventListener('abort', () => reject(fault('RunCancelledError')), { once: true });
  });
}

/** The model of an app instance, '' for the workspace's own. */
export function modelAt(loaded: LoadedWorkspace, instance: string): RunModel | undefined {
  let model: RunModel | undefined = loaded.root;
  if (instance) for (const slug of splitInstance(instance, loaded)) model = model?.child(slug);
  return model;
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
