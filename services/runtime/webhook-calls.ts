/**
 * webhook-calls — how the caller of a webhook gets his answer: at the end, as a stream, once for all repetitions, or not at all.
 */
import type { Context } from 'moleculer';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { MINUTE, SECOND, sleep } from '../../mixins/shared/clock.ts';
import { type FaultType, fault, isFault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { WebhookAnswer, WebhookParams } from './contract.ts';
import type { RunEnd, RunOptions } from './execution.ts';
import { HttpAnswer, type StreamedAnswer } from './http-answer.ts';
import type { LoadedWorkspace } from './models.ts';
import type { Runtime } from './open.ts';
import { FINAL_STATES, type RunRecord, type RunRequest, type RunSummary } from './runs.ts';

type Call = Context<WebhookParams, CallMeta>;

/**
 * How long a call with an Idempotency-Key waits for a run that is not in its hands: that of an earlier call, or its own that left memory to be woken. As long
 * as any caller of a webhook (the gateway ends the call then).
 */
const LOOKING_MS = 5 * MINUTE;
const FIRST_LOOK_MS = 100;
const LAST_LOOK_MS = SECOND;

/** The end of a run, or the stream that it began. */
async function firstOf(ctx: Call, http: HttpAnswer, ran: Promise<RunEnd>): Promise<RunEnd | { state: 'streams'; stream: unknown }> {
  const end = await new Promise<RunEnd | StreamedAnswer>((resolve, reject) => {
    http.onStarted(resolve);
    ran.then(resolve, reject);
  });
  if (!('stream' in end)) return end;
  void ran.then(
    (last) =>
      last.state === 'done' ? http.finish(last.output) : http.fail(last.state === 'failed' ? last.error : fault('RunCancelledError')),
    (error) => http.fail(error),
  );
  ctx.meta.$statusCode = end.status;
  ctx.meta.$responseHeaders = end.headers;
  return { state: 'streams', stream: end.stream };
}

/** Runs an automation for a caller who waits: the answer, or a stream as soon as the automation sends a chunk. */
export async function answer({ config, execution }: Runtime, ctx: Call, request: RunRequest, loaded: LoadedWorkspace): Promise<unknown> {
  const http = new HttpAnswer({ keepAliveMinMs: config.sseKeepAliveMs });
  const options: RunOptions = { http, loaded, isInteraction: true };
  if (typeof ctx.meta.callId === 'string') options.callId = ctx.meta.callId;
  const end = await firstOf(ctx, http, execution.run(request, options));
  if (end.state === 'streams') return end.stream;
  if (end.state === 'failed') throw end.error;
  if (end.state !== 'done') throw fault('RunCancelledError');
  return http.finish(end.output);
}

/**
 * The same for a call with an Idempotency-Key: a repetition gets the first run's answer, whichever node has it.
 * @param onTaken told once the request is known to be that of its key, with the record of its run
 */
export async function answerOnce(
  { config, execution, store }: Runtime,
  ctx: Call,
  request: RunRequest,
  onTaken: (record: RunRecord) => void,
): Promise<unknown> {
  const first = await store.create(execution.newRecord(request, undefined, 'running'));
  if (first) {
    onTaken(first.record);
    const http = new HttpAnswer({ keepAliveMinMs: config.sseKeepAliveMs });
    const end = await firstOf(ctx, http, execution.run(request, { http, held: first, isInteraction: true }));
    if (end.state === 'streams') return end.stream;
    if (end.state === 'failed') throw end.error;
    if (end.state === 'done') return http.finish(end.output);
  }
  let pauseMs = FIRST_LOOK_MS;
  for (const deadline = Date.now() + LOOKING_MS; Date.now() < deadline; await sleep(pauseMs)) {
    pauseMs = Math.min(pauseMs * 1.2, LAST_LOOK_MS);
    const record = (await store.find(request.workspaceId, request.id))?.record;
    if (record) assertSame(record, request);
    if (record && FINAL_STATES.includes(record.state)) {
      onTaken(record);
      return keptAnswer(record);
    }
  }
  throw fault('TimeoutError', { message: 'The run has not ended yet; repeat the request with its Idempotency-Key to get the answer.' });
}

function keptAnswer({ id, state, answer: kept, error: failure }: RunRecord): WebhookAnswer {
  if (state === 'done') {
    if (kept) return kept as WebhookAnswer;
    throw fault('IdempotencyKeyReused', {
      message: 'The request with this Idempotency-Key was answered by a stream, which is not kept.',
      data: { runId: id },
    });
  }
  const { error, message, details } = failure ?? {
    error: state === 'cancelled' ? 'RunCancelledError' : 'RunLostError',
    message: undefined,
    details: undefined,
  };
  throw isFault({ type: error })
    ? fault(error as FaultType, { ...(message ? { message } : {}), data: details as JsonObject })
    : fault('RunLostError');
}

/** @throws IdempotencyKeyReused when the run belongs to another request */
function assertSame(record: RunRecord, { fingerprint }: RunRequest): void {
  if (fingerprint !== undefined && record.request.fingerprint !== undefined && record.request.fingerprint !== fingerprint)
    throw fault('IdempotencyKeyReused', { data: { runId: record.id } });
}

export const prefersAsync = (headers: Record<string, string> | undefined): boolean => /\brespond-async\b/i.test(headers?.prefer ?? '');

/** `Prefer: respond-async`: the run is durable before the caller hears of it. @see https://www.rfc-editor.org/rfc/rfc7240#section-4.1 */
export async function accept(runtime: Runtime, request: RunRequest, onTaken: (record: RunRecord) => void): Promise<WebhookAnswer> {
  const record = await runtime.accept(request);
  assertSame(record, request);
  onTaken(record);
  const run: RunSummary = record;
  return {
    status: 202,
    headers: { 'content-type': 'application/json; charset=utf-8', 'preference-applied': 'respond-async' },
    body: { runId: run.id, state: run.state, correlationId: run.correlationId },
    encoding: 'json',
  };
}

export const callOf = ({ meta }: Context<any, CallMeta>): { callId?: string } =>
  typeof meta.callId === 'string' ? { callId: meta.callId } : {};
