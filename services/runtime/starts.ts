/**
 * starts — how something that happened becomes runs: webhooks, tests, events and schedules → requests with derived ids, identities and
 * payloads.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { type Identity, isAway } from '../../mixins/auth/identity.ts';
import { isNative, type PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { WebhookParams } from './contract.ts';
import { visibleHeaders } from './http-answer.ts';
import type { RunIdentity, TriggerInfo } from './interpreter/index.ts';
import type { LoadedWorkspace } from './models.ts';
import type { RunRequest } from './runs.ts';
import { automationAt, eventMatches, type Match, prefixed } from './triggers.ts';

/** Native events that automations may listen to. `error` and `runtime.automations.executed` would loop. */
export const LISTENABLE = [
  'workspaces.configured',
  'workspaces.deleted',
  'workspaces.duplicated',
  'workspaces.imported',
  'workspaces.apps.installed',
  'workspaces.apps.configured',
  'workspaces.apps.uninstalled',
  'workspaces.automations.created',
  'workspaces.automations.updated',
  'workspaces.automations.deleted',
  'workspaces.versions.published',
  'workspaces.versions.deleted',
  'workspaces.versions.rollback',
  'workspaces.pages.permissions.shared',
  'workspaces.pages.permissions.deleted',
  'apps.published',
  'apps.deleted',
  'runtime.fetch.failed',
  'runtime.interactions.triggered',
  'runtime.webhooks.triggered',
  'runtime.schedules.triggered',
  'runtime.schedules.created',
  'runtime.automations.scheduled',
];

/** Native events that speak of one app instance, named in their payload. */
const OF_INSTANCE = new Set(['workspaces.apps.installed', 'workspaces.apps.configured', 'workspaces.apps.uninstalled']);

/** The instance an event tells about: it hears events that its parent hears. */
export function instanceConcerned(event: PrismeEvent): string | undefined {
  if (OF_INSTANCE.has(event.type)) {
    if (!isNative(event)) return undefined;
    const slug = event.payload.slug;
    return typeof slug === 'string' ? slug : undefined;
  }
  return event.source.appInstanceFullSlug;
}

/** Who a call runs as in a workspace. */
export function runIdentity(identity: Identity, workspaceId: string, role?: string): RunIdentity {
  // Somebody without account is known by his session.
  const userId = identity.userId ?? identity.sessionId;
  const as: RunIdentity = {};
  if (userId) as.userId = userId;
  if (identity.sessionId) as.sessionId = identity.sessionId;
  if (identity.authData) as.authData = identity.authData;
  if (identity.email) as.email = identity.email;
  if (identity.emailVerified) as.emailVerified = true;
  if (role) as.role = role;
  if (isAway(identity, workspaceId)) as.isAway = true;
  if (identity.kind === 'user' || identity.kind === 'anonymous' || identity.kind === 'service') as.isProven = true;
  // Not for what calls back: a delegated identity never has it.
  if (identity.kind === 'user' && identity.role === 'superadmin') as.platformRole = 'superadmin';
  return as;
}

function baseRun(identity: Identity, ip = identity.ip): RunRequest['run'] {
  const run: RunRequest['run'] = { correlationId: identity.correlationId, depth: identity.depth ?? 0 };
  if (ip) run.ip = ip;
  if (identity.sourceWorkspaceId) run.sourceWorkspaceId = identity.sourceWorkspaceId;
  if (identity.authenticatedWorkspaceId) run.authenticatedWorkspaceId = identity.authenticatedWorkspaceId;
  return run;
}

const asksRawBody = new WeakMap<object, boolean>();
/** Whether the automation speaks of `rawBody`: only then is it worth carrying. */
function wantsRawBody({ model, automation }: Match): boolean {
  let wants = asksRawBody.get(automation);
  if (wants === undefined) {
    wants = JSON.stringify(model.workspace.source.automations[automation.slug] ?? {}).includes('rawBody');
    asksRawBody.set(automation, wants);
  }
  return wants;
}

/** A body as it came: its text, or its bytes when they are no UTF-8, for a text made of them would have lost what a signature is checked against. */
function rawBodyOf(base64: string): string | Uint8Array {
  const bytes = Buffer.from(base64, 'base64');
  return isUtf8(bytes) ? bytes.toString('utf8') : bytes;
}

/** Ids of runs that nothing derives: this process, and a count. */
const PROCESS = hexId().slice(0, 16);
let count = 0;
const freshId = () => `${PROCESS}${(++count).toString(36)}`;

const digest = (...parts: string[]) => createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

/**
 * Headers that the same client changes from one attempt to the next, or that a proxy writes: they make nobody another caller. All others that the
 * automation can see do, for it may ask any of them who is calling. Cookies and `x-*` are not here because no automation sees them.
 */
const OF_THE_ATTEMPT = new Set([
  // of the connection and the hop
  ...[
    'connection',
    'keep-alive',
    'proxy-connection',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
    'expect',
    'via',
    'forwarded',
    'priority',
  ],
  // of the body, which has a fingerprint; the boundary of a form is new each time
  ...['content-length', 'content-type', 'content-encoding', 'accept-encoding'],
  // of the attempt itself: how it is to be answered, when it is made, by which release of the client, past which cache
  ...['idempotency-key', 'prefer', 'date', 'user-agent', 'cache-control', 'pragma'],
  // of tracing
  ...['traceparent', 'tracestate', 'baggage', 'sentry-trace', 'request-id', 'correlation-id'],
]);

/**
 * Who repeats himself under an Idempotency-Key. An answer is kept for one caller, and the automation itself may be the one that tells callers apart
 * (by a bearer token of somebody else, by a header of its own, by the workspace that was proven): whoever shows it something else is another caller.
 * A signature that is made anew for each attempt does that too: then the run is done again, which is the smaller harm.
 */
function callerOf(identity: Identity, headers: Record<string, string>): string {
  const { userId, sessionId, ip, apiKeyHash, sourceWorkspaceId, isAway, authenticatedWorkspaceId } = identity;
  const shown = Object.entries(headers).filter(([name]) => !OF_THE_ATTEMPT.has(name) && !name.startsWith('sec-'));
  shown.sort(([a], [b]) => (a < b ? -1 : 1));
  // Whoever is nobody shares a key with nobody else: not its answer, and not its fate.
  return JSON.stringify([userId ?? sessionId ?? `|${ip ?? ''}`, apiKeyHash, sourceWorkspaceId, isAway, authenticatedWorkspaceId, shown]);
}

/** A webhook call. With an idempotency key the run is durable, and the same for every repetition by the same caller. */
export function webhookRequest(match: Match, params: WebhookParams, identity: Identity, as: RunIdentity, workspaceId: string): RunRequest {
  const slug = prefixed(match.model.instance, match.automation.slug);
  const key = params.idempotencyKey;
  const headers = visibleHeaders(params.headers ?? {});
  const payload: JsonObject = {
    workspaceId,
    automationSlug: params.endpoint,
    body: params.body ?? {},
    headers,
    query: params.query ?? {},
    method: params.method.toUpperCase(),
  };
  if (match.pathParams) payload.pathParams = match.pathParams;
  if (params.rawBody && wantsRawBody(match)) payload.rawBody = rawBodyOf(params.rawBody);
  payload.$http = {};
  const request: RunRequest = {
    id: key ? `k-${digest(workspaceId, slug, params.method, params.endpoint, callerOf(identity, headers), key)}` : `w-${freshId()}`,
    workspaceId,
    automation: slug,
    payload,
    trigger: { type: 'endpoint', value: match.value },
    identity: as,
    run: baseRun(identity, params.ip),
    acceptedAt: Date.now(),
    isDurable: key !== undefined,
  };
  if (identity.kind === 'delegated') request.isNested = true;
  // A text may have lost bytes; a form and an object are the same in any writing.
  const sent = typeof params.body === 'string' ? (params.rawBody ?? params.body) : params.body;
  if (key !== undefined) request.fingerprint = digest(JSON.stringify([params.query ?? {}, sent ?? null]));
  return request;
}

/** A direct call by its owner. */
export function testRequest(match: Match, payload: JsonObject, identity: Identity, as: RunIdentity, workspaceId: string): RunRequest {
  const slug = prefixed(match.model.instance, match.automation.slug);
  return {
    id: `t-${freshId()}`,
    workspaceId,
    automation: slug,
    payload,
    trigger: { type: 'automation', value: slug },
    identity: as,
    run: baseRun(identity),
    acceptedAt: Date.now(),
    isDurable: false,
  };
}

/** An automation triggered by an event or a tick; its id is the event's and its own name: a redelivery is the same run. */
export function eventRequest(match: Match, event: PrismeEvent, trigger: TriggerInfo, as: RunIdentity): RunRequest {
  const { source } = event;
  const slug = prefixed(match.model.instance, match.automation.slug);
  return {
    id: `e-${event.id}-${digest(slug, trigger.value).slice(0, 12)}`,
    workspaceId: source.workspaceId as string,
    automation: slug,
    payload: { id: event.id, source: { ...source }, payload: event.payload },
    trigger,
    identity: as,
    run: {
      correlationId: source.correlationId,
      depth: Number(source.automationDepth ?? 0) || 0,
      ...(source.socketId ? { socketId: source.socketId } : {}),
      ...(source.ip ? { ip: source.ip } : {}),
      ...(source.sourceWorkspaceId ? { sourceWorkspaceId: source.sourceWorkspaceId } : {}),
    },
    acceptedAt: Date.parse(event.createdAt) || Date.now(),
    isDurable: true,
  };
}

export interface Start {
  match: Match;
  trigger: TriggerInfo;
}

/** The end or the copy of a workspace is the end or the beginning of each of its app instances. */
const SIMULATED = new Map([
  ['workspaces.deleted', 'workspaces.apps.uninstalled'],
  ['workspaces.duplicated', 'workspaces.apps.installed'],
]);

/** Automations an event starts, with what each is told about its trigger. */
export function startsOf({ root }: LoadedWorkspace, event: PrismeEvent): Start[] {
  const told = (match: Match): Start => ({ match, trigger: { type: 'event', value: match.value, id: event.id } });
  const starts = eventMatches(root, event.type, instanceConcerned(event)).map(told);
  // An automation may emit something called as the platform's own events are: nothing follows from it but what listens to that name.
  if (!isNative(event)) return starts;
  if (event.type === 'runtime.schedules.triggered') {
    const { automation, trigger } = event.payload as { automation?: string; trigger?: { type?: string; value?: string } };
    const match = trigger?.type === 'schedule' && automation ? automationAt(root, automation) : null;
    if (match) starts.push({ match, trigger: { type: 'schedule', value: String(trigger?.value ?? ''), id: event.id } });
  }
  const simulated = SIMULATED.get(event.type);
  if (simulated) for (const child of root.children.values()) starts.push(...eventMatches(child, simulated).map(told));
  return starts;
}
