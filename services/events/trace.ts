/**
 * trace — everything of one correlation id as a tree: what a timeline draws.
 *
 * A run (`runtime.automations.executed`) spans from its start over its duration. A run started by an event hangs under that event, a called automation under
 * the run that was open one level above it, any other event under the innermost run that was open when it was sent.
 */
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';

export interface TraceNode {
  kind: 'run' | 'interaction' | 'event' | 'fetch' | 'wait' | 'error';
  id: string;
  type: string;
  /** Slug of the automation, type of the event, or URL of the fetch. */
  name: string;
  /** ISO 8601. */
  startedAt: string;
  /** Milliseconds; absent for what is a moment. */
  durationMs?: number;
  /** Milliseconds after the first node. */
  offsetMs: number;
  bytes: number;
  app?: string;
  trigger?: { type?: string; value?: string; id?: string };
  error?: unknown;
  children: TraceNode[];
}

export interface Trace {
  correlationId: string;
  startedAt: string | null;
  endedAt: string | null;
  durationMs: number;
  counts: { events: number; runs: number; errors: number; fetches: number; waits: number };
  roots: TraceNode[];
  /** The events, in order of time. */
  events: PrismeEvent[];
  nextCursor?: string;
}

const EXECUTED = 'runtime.automations.executed';
const KINDS: Record<string, TraceNode['kind']> = {
  [EXECUTED]: 'run',
  'runtime.interactions.triggered': 'interaction',
  'runtime.schedules.triggered': 'interaction',
  'runtime.webhooks.triggered': 'interaction',
  'runtime.fetch.failed': 'fetch',
  'runtime.waits.pending': 'wait',
  'runtime.waits.fulfilled': 'wait',
  error: 'error',
};

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const at = (value: unknown, name: string): unknown => (isPlainObject(value) && Object.hasOwn(value, name) ? value[name] : undefined);

function kindOf(type: string): TraceNode['kind'] {
  if (Object.hasOwn(KINDS, type)) return KINDS[type] as TraceNode['kind'];
  return type.endsWith('.error') ? 'error' : 'event';
}

function nameOf({ type, payload, source }: PrismeEvent): string {
  if (type === EXECUTED) return text(payload.slug) ?? source.automationSlug ?? type;
  if (type === 'runtime.interactions.triggered') return text(payload.automation) ?? type;
  if (type === 'runtime.fetch.failed') return text(at(payload.request, 'url')) ?? type;
  return type;
}

interface Span {
  node: TraceNode;
  event: PrismeEvent;
  from: number;
  to: number;
  depth: number;
}

function spanOf(event: PrismeEvent, first: number): Span {
  const { payload, source } = event;
  const created = Date.parse(event.createdAt);
  const isRun = event.type === EXECUTED;
  const duration = typeof payload.duration === 'number' ? payload.duration : 0;
  const started = isRun ? Date.parse(text(payload.startedAt) ?? '') : NaN;
  const from = isRun ? (Number.isFinite(started) ? started : created - duration) : created;
  const trigger = at(payload, 'trigger');
  const error = isRun ? payload.error : kindOf(event.type) === 'error' ? payload : at(payload, 'error');
  const node: TraceNode = {
    kind: kindOf(event.type),
    id: event.id,
    type: event.type,
    name: nameOf(event),
    startedAt: new Date(from).toISOString(),
    ...(isRun && { durationMs: duration }),
    offsetMs: from - first,
    bytes: event.size,
    ...(source.appInstanceFullSlug && { app: source.appInstanceFullSlug }),
    ...(isPlainObject(trigger) && { trigger: trigger as TraceNode['trigger'] }),
    ...(error !== undefined && error !== null && { error }),
    children: [],
  };
  return { node, event, from, to: isRun ? from + duration : from, depth: source.automationDepth ?? 0 };
}

/** The run a span belongs to: the innermost open one, of the same automation where the source names one. */
function runAround(span: Span, runs: Span[]): Span | undefined {
  const isRun = span.node.kind === 'run';
  let best: Span | undefined;
  for (const run of runs) {
    if (run === span || run.from > span.from) continue;
    // Events are written a moment after the instruction: a run's own end is open by a few milliseconds.
    if (run.to + 5 < span.from) continue;
    if (isRun ? run.depth !== span.depth - 1 : run.depth > span.depth) continue;
    if (!isRun && span.event.source.automationSlug && run.event.source.automationSlug !== span.event.source.automationSlug) continue;
    if (!best || run.depth > best.depth || (run.depth === best.depth && run.from >= best.from)) best = run;
  }
  return best;
}

const byStart = (a: TraceNode, b: TraceNode) => a.offsetMs - b.offsetMs || (a.id < b.id ? -1 : 1);

/** @param events of one correlation id, in any order */
export function buildTrace(correlationId: string, events: PrismeEvent[]): Trace {
  const ordered = [...events].sort((a, b) => (a.createdAt === b.createdAt ? (a.id < b.id ? -1 : 1) : a.createdAt < b.createdAt ? -1 : 1));
  const spans = ordered.map((event) => spanOf(event, 0));
  const first = spans.reduce((least, { from }) => Math.min(least, from), Number.POSITIVE_INFINITY);
  const last = spans.reduce((most, { to }) => Math.max(most, to), Number.NEGATIVE_INFINITY);
  for (const span of spans) span.node.offsetMs = span.from - first;

  const byId = new Map(spans.map((span) => [span.event.id, span]));
  const runs = spans.filter(({ node }) => node.kind === 'run');
  // Runs of one level and automation are few; looking each span up among the runs of its neighbourhood keeps long traces linear enough.
  const interactions = spans.filter(({ node }) => node.kind === 'interaction');
  const roots: TraceNode[] = [];
  for (const span of spans) {
    const trigger = span.node.kind === 'run' ? span.node.trigger : undefined;
    const cause = trigger?.id ? byId.get(trigger.id) : undefined;
    const interaction =
      span.node.kind === 'run' && span.depth <= 1 && !cause
        ? interactions.find(({ node, from }) => node.name === span.node.name && from <= span.from + 5)
        : undefined;
    const parent = (cause !== span ? cause : undefined) ?? runAround(span, runs) ?? interaction;
    if (parent && parent !== span && !isBelow(parent, span)) parent.node.children.push(span.node);
    else roots.push(span.node);
  }
  for (const { node } of spans) node.children.sort(byStart);
  const count = (kind: TraceNode['kind']) => spans.filter(({ node }) => node.kind === kind).length;
  return {
    correlationId,
    startedAt: spans.length > 0 ? new Date(first).toISOString() : null,
    endedAt: spans.length > 0 ? new Date(last).toISOString() : null,
    durationMs: spans.length > 0 ? last - first : 0,
    counts: {
      events: spans.length,
      runs: count('run'),
      errors: spans.filter(({ node }) => node.error !== undefined).length,
      fetches: count('fetch'),
      waits: count('wait'),
    },
    roots: roots.sort(byStart),
    events: ordered,
  };
}

/** Whether `parent` already hangs below `span`: two runs can not be each other's cause. */
function isBelow(parent: Span, span: Span): boolean {
  const open = [...span.node.children];
  for (let node = open.pop(); node; node = open.pop()) {
    if (node === parent.node) return true;
    open.push(...node.children);
  }
  return false;
}
