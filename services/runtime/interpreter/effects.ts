/**
 * effects — the one port between a run and the world. The interpreter is pure: everything it cannot compute from the program and the
 * values it already has is asked through `World.perform`, in a stable order, under a stable key. That seam gives tests a fake world,
 * and gives the runtime tracing, cancellation, budgets, de-duplication and crash-proof runs (a journal of results by key).
 *
 * Key of an effect: the path of its branch and its number there, e.g. `7`, `7.2.1`: parallel branches (`all`, `repeat.batch`, several
 * triggers) number their own effects, so that the order in which branches finish does not matter.
 */
import type { EventOptions, EventTarget } from '../../../mixins/shared/event.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';

export type ContextName = 'global' | 'user' | 'session' | 'socket' | 'run';
export const CONTEXT_NAMES: readonly ContextName[] = ['global', 'user', 'session', 'socket', 'run'];

/** A change of a persisted context; the shape of mixins/storage/cache PathOperation, plus a life for the path. */
export type ContextOperation = { path: (string | number)[]; lifespanS?: number } & (
  | { type: 'replace' | 'merge' | 'push'; value: unknown }
  | { type: 'increment'; by: number }
  | { type: 'delete' }
);

/** Who the run acts as; changes with `set user.id` / `set session.id`, for the current automation and those it calls. */
export interface RunIdentity {
  userId?: string;
  sessionId?: string;
  authData?: JsonObject;
  email?: string;
  /** The address was proven; absent in runs begun by earlier versions, which are judged without it. */
  emailVerified?: true;
  /** Role in the running workspace. */
  role?: string;
  /** Role on the platform; of the person who started the run himself, never of who he switched to. */
  platformRole?: 'superadmin';
  /** The caller himself was verified; absent where it is concluded from an event, or said by another run. */
  isProven?: true;
  /** An automation took this identity before the event that started the run: it has that person's data, and nobody's rights. */
  isPosed?: true;
  /** Another workspace called this one in the name of this person: the run has his data here, and nobody's rights. */
  isAway?: true;
}

/** The organisation a run is started in, as the one who started it stands there. */
export interface RunOrganisation {
  /** Whose it is: an identity the run switches to does not have it. */
  userId: string;
  /** `session.org` */
  org?: JsonObject;
  orgSlugs: string[];
  /** `run.permissions` */
  permissions: JsonObject;
  scopes: string[];
}

/** What a `context.read` brings beside the contexts it was asked for. */
export const ORGANISATION = '$organisation';

/** Key at the top of a context's document under which the world keeps the lives of its paths. Programs neither read nor write it. */
export const LIFESPANS = '$lifespans';

/** Where an effect happens: source fields of the events it causes, and the model whose config applies. */
export interface Frame {
  automationSlug: string;
  /** Dotted path of app instances; '' in the root workspace. */
  instance: string;
  appSlug?: string;
  depth: number;
  identity: RunIdentity;
}

export interface FetchRequest {
  url: string;
  method?: string;
  headers?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  multipart?: { fieldname: string; value: unknown; filename?: string; contentType?: string }[];
  prismeaiApiKey?: { name: string };
  auth?: {
    basic?: { user: string; password: string };
    awsv4?: { accessKeyId: string; secretAccessKey: string; service?: string; region?: string };
    prismeai?: { forwardWorkspaceAuth?: boolean };
  };
  allowSelfSignedCert?: boolean;
  emitErrors?: boolean;
  outputMode?: 'body' | 'detailed_response' | 'data_url' | 'base64';
  stream?: {
    event?: string;
    payload?: unknown;
    concatenate?: { path?: string; throttle?: number };
    target?: EventTarget;
    options?: EventOptions;
    endChunk?: unknown;
  };
}

export interface WaitRequest {
  oneOf?: { event: string; filters?: JsonObject; cancelTriggers?: boolean }[];
  timeoutS?: number;
  /** Accept an event emitted since the run began, not only since the wait registered. */
  sinceStart?: boolean;
}

export interface ExecutedReport {
  slug: string;
  payload: unknown;
  output: unknown;
  startedAt: string;
  /** Milliseconds. */
  duration: number;
  throttledMs: number;
  trigger: TriggerInfo;
  break: boolean;
  error?: { error: string; message: string; details?: unknown };
}

export interface TriggerInfo {
  type: 'event' | 'endpoint' | 'schedule' | 'automation';
  value: string;
  id?: string;
}

/** What a run may ask. Values are plain data; results too, except live streams (opaque handles passed by reference, never journalled). */
export type Effect =
  /** Loads documents; asked once per context and identity, before the first instruction that may read it. Result: Record<ContextName, object>. */
  | { type: 'context.read'; contexts: ContextName[] }
  /** Result: the document after the operations (the run's own view continues from it). */
  | { type: 'context.write'; context: ContextName; operations: ContextOperation[] }
  /** `config` written by an app instance (newer.md 2.10): merged into the instance's stored configuration. */
  | { type: 'config.write'; operations: ContextOperation[] }
  /** `set user.id` / `set session.id`. Result: the new RunIdentity. */
  | { type: 'identity.switch'; field: 'user.id' | 'session.id'; value: string }
  /** Result: the event with its id. The world prefixes the type with the app instance. */
  | { type: 'emit'; event: string; payload: JsonObject; target?: EventTarget; options?: EventOptions }
  /** Result: the event, or null after the time-out. With no oneOf: a plain delay, result null. */
  | ({ type: 'wait' } & WaitRequest)
  /** Result: per outputMode; a network failure is a value `{error, message, details}`, never a throw. A kept stream is a `LiveStream`. */
  | { type: 'fetch'; request: FetchRequest }
  /** `run` instruction. Throws SecretsError and the like. */
  | { type: 'module'; module: string; function: string; parameters: JsonObject }
  | { type: 'rateLimit'; name: string; consumer?: string; windowS: number; limit: number; consume: number }
  /** Takes tokens of the workspace's bucket; result: milliseconds slept. */
  | { type: 'throttle'; bucket: 'automations' | 'emits' | 'fetchs' | 'repeats'; tokens: number }
  /** `auth` instruction. Result: `{ jwt }`. */
  | { type: 'auth'; workspace: boolean }
  /** `set $http`: status, headers, chunk, sseKeepAlive. Result: null. */
  | { type: 'http'; message: { status?: number; headers?: Record<string, unknown>; chunk?: unknown; sseKeepAlive?: number } }
  | { type: 'topic.create'; topic: string; userIds?: string[] }
  | { type: 'topic.join'; topic: string; userIds: string[]; create: boolean }
  /** Permission to execute an automation that names `authorizations.action`. @throws ForbiddenError */
  | { type: 'authorize'; action: string }
  /** Pause between batches of `repeat.batch`. */
  | { type: 'sleep'; ms: number }
  /** End of an automation: the native event runtime.automations.executed. */
  | { type: 'executed'; report: ExecutedReport }
  /** A native `error` event that does not fail the run (InvalidOutputError, InvalidEventError, `onError: emit`). */
  | { type: 'error'; error: { error: string; message: string; details?: unknown } };

export interface EffectRequest {
  key: string;
  effect: Effect;
  frame: Frame;
}

/** Iterated by `repeat`, at the reader's pace; `cancel` ends the source. Each item `{ index, chunk: { data: [] , event?, id? }, concatenated? }`. */
export interface LiveStream extends AsyncIterable<unknown> {
  readonly isLiveStream: true;
  cancel(): Promise<void>;
}

export const isLiveStream = (value: unknown): value is LiveStream =>
  typeof value === 'object' && value !== null && (value as LiveStream).isLiveStream === true;

export interface World {
  /**
   * Performs, or answers from the journal: the answer, or a promise of it when it takes time.
   * @throws a fault of the catalogue; RunCancelledError when the run was cancelled
   */
  perform(request: EffectRequest): unknown;
  /** An automation begins, before anything of it is done: its secrets and those of its arguments are known from now on. No effect. */
  entered?(frame: Frame, payload: JsonObject): void;
  /** A branch beside others begins: `undefined`, or when it is its turn. No effect. */
  begins?(): Promise<void> | undefined;
  /** The run pauses in the middle of its computing: resolves when it may go on, and lets none of its other branches go on before. */
  pausing?(pause: Promise<void>): Promise<void>;
  /** Milliseconds; frozen between effects, so that a replay computes the same. */
  now(): number;
  /** In [0, 1), from the run's seed. */
  random(): number;
  /** 32 hexadecimal characters from the run's seed. */
  uuid(): string;
  /** Aborted on cancellation and shutdown. */
  readonly signal: AbortSignal;
}
