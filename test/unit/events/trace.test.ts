import { describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { buildTrace, type TraceNode } from '../../../services/events/trace.ts';

const START = Date.UTC(2026, 0, 1);
const at = (ms: number) => new Date(START + ms).toISOString();
const make = (id: string, type: string, ms: number, payload: object = {}, source: object = {}): PrismeEvent =>
  ({ id, type, createdAt: at(ms), size: 10, payload, source: { correlationId: 'c', workspaceId: 'w', ...source } }) as PrismeEvent;
const run = (id: string, slug: string, from: number, duration: number, depth: number, trigger: object, error?: object) =>
  make(
    id,
    'runtime.automations.executed',
    from + duration,
    { slug, duration, startedAt: at(from), trigger, ...(error && { error }) },
    { automationSlug: slug, automationDepth: depth },
  );

const outline = (nodes: TraceNode[]): unknown[] =>
  nodes.map(({ name, children }) => (children.length > 0 ? [name, outline(children)] : name));

describe('a trace', () => {
  const events = [
    make('i', 'runtime.interactions.triggered', 0, { automation: 'hello', trigger: { type: 'endpoint', value: 'hello' } }),
    make('e1', 'orders.paid', 30, {}, { automationSlug: 'hello', automationDepth: 1 }),
    run('r2', 'helper', 10, 15, 2, { type: 'automation', value: 'helper' }),
    run('r1', 'hello', 1, 50, 1, { type: 'endpoint', value: 'hello' }),
    run('r3', 'onPaid', 60, 20, 1, { type: 'event', value: 'orders.paid', id: 'e1' }),
    make(
      'f',
      'runtime.fetch.failed',
      70,
      { request: { url: 'http://x/y' }, error: { error: 'FetchError' } },
      { automationSlug: 'onPaid', automationDepth: 1 },
    ),
    make('x', 'error', 79, { error: 'Oops' }, { automationSlug: 'onPaid', automationDepth: 1 }),
  ];

  it('hangs called automations under their caller, runs under the event that started them, events under their run', () => {
    expect(outline(buildTrace('c', events.toReversed()).roots)).toEqual([
      ['hello', [['hello', ['helper', ['orders.paid', [['onPaid', ['http://x/y', 'error']]]]]]]],
    ]);
  });

  it('tells when things began, how long they took and what failed', () => {
    const trace = buildTrace('c', events);
    const hello = trace.roots[0]?.children[0] as TraceNode;

    expect(trace).toMatchObject({
      startedAt: at(0),
      endedAt: at(80),
      durationMs: 80,
      counts: { events: 7, runs: 3, errors: 2, fetches: 1, waits: 0 },
    });
    expect(hello).toMatchObject({ kind: 'run', startedAt: at(1), offsetMs: 1, durationMs: 50, bytes: 10 });
  });

  it('of nothing is empty, and runs that name each other do not go in circles', () => {
    expect(buildTrace('c', [])).toMatchObject({ roots: [], durationMs: 0, startedAt: null });
    const circle = [run('a', 'a', 0, 5, 1, { type: 'event', id: 'b' }), run('b', 'b', 0, 5, 1, { type: 'event', id: 'a' })];
    expect(buildTrace('c', circle).roots).toHaveLength(1);
  });

  it('of ten thousand events has each of them once, under its run', () => {
    const many = Array.from({ length: 10_000 }, (_, n) =>
      n % 5 === 0
        ? run(`r${n}`, `a${n % 7}`, n * 10, 30, 1, { type: 'event' })
        : make(`e${n}`, 'x.y', n * 10, {}, { automationSlug: `a${(n - (n % 5)) % 7}`, automationDepth: 1 }),
    );
    const { roots, counts } = buildTrace('c', many.toReversed());
    const ids = new Set<string>();
    const collect = (nodes: TraceNode[]) => {
      for (const { id, children } of nodes) {
        expect(ids.has(id)).toBe(false);
        ids.add(id);
        collect(children);
      }
    };
    collect(roots);

    expect(counts).toMatchObject({ events: 10_000, runs: 2_000 });
    expect(ids.size).toBe(10_000);
    // A run is open for 30 ms and 5 more: the first three of the four events after its start are its own.
    expect(roots.find(({ id }) => id === 'r500')?.children.map(({ id }) => id)).toEqual(['e501', 'e502', 'e503']);
    expect(roots.filter(({ kind }) => kind === 'event')).toHaveLength(2_000);
  });
});
