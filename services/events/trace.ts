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

/** Events are written a moment after the instruction: a run's own end is open by a few milliseconds. */
const LATE_MS = 5;

/**
 * The run each span belongs to: the innermost one open when it began; for events, of the same automation where the source names one.
 * One sweep over time with a stack of open runs per level, so that long traces cost their length: the top of a stack is its latest run, and what has ended before
 * the present moment has ended for all that follow.
 */
function runsAround(spans: Span[]): Map<Span, Span> {
  const isRun = ({ node }: Span) => node.kind === 'run';
  const order = [...spans].sort((a, b) => a.from - b.from || Number(isRun(b)) - Number(isRun(a)) || (isRun(a) ? a.depth - b.depth : 0));
  const stacks = new Map<string, Span[]>();
  const levels: number[] = [];
  const open = (key: string, at: number): Span | undefined => {
    const stack = stacks.get(key);
    while (stack?.length && (stack.at(-1) as Span).to + LATE_MS < at) stack.pop();
    return stack?.at(-1);
  };
  const push = (key: string, span: Span) => {
    const stack = stacks.get(key);
    if (stack) stack.push(span);
    else stacks.set(key, [span]);
  };
  const around = new Map<Span, Span>();
  for (const span of order) {
    const slug = span.event.source.automationSlug;
    if (isRun(span)) {
      const caller = open(`${span.depth - 1}`, span.from);
      if (caller) around.set(span, caller);
      if (!stacks.has(`${span.depth}`)) {
        levels.push(span.depth);
        levels.sort((a, b) => b - a);
      }
      push(`${span.depth}`, span);
      if (slug) push(`${span.depth}/${slug}`, span);
      continue;
    }
    for (const level of levels) {
      if (level > span.depth) continue;
      const run = open(slug ? `${level}/${slug}` : `${level}`, span.from);
      if (!run) continue;
      around.set(span, run);
      break;
    }
  }
  return around;
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
  const around = runsAround(spans);
  const interactions = new Map<string, Span>();
  for (const span of spans)
    if (span.node.kind === 'interaction' && !interactions.has(span.node.name)) interactions.set(span.node.name, span);
  const interactionOf = ({ node, from }: Span) => {
    const found = interactions.get(node.name);
    return found && found.from <= from + LATE_MS ? found : undefined;
  };
  const parents = new Map<Span, Span>();
  const roots: TraceNode[] = [];
  for (const span of spans) {
    const isRun = span.node.kind === 'run';
    const id = isRun ? span.node.trigger?.id : undefined;
    const cause = id ? byId.get(id) : undefined;
    const parent =
      (cause !== span ? cause : undefined) ?? around.get(span) ?? (isRun && span.depth <= 1 && !cause ? interactionOf(span) : undefined);
    if (parent && parent !== span && !isAbove(span, parent, parents)) {
      parents.set(span, parent);
      parent.node.children.push(span.node);
    } else roots.push(span.node);
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

/** Whether `span` is `below` or what `below` hangs under: two runs can not be each other's cause. */
function isAbove(span: Span, below: Span, parents: Map<Span, Span>): boolean {
  for (let at: Span | undefined = below; at; at = parents.get(at)) if (at === span) return true;
  return false;
}
