/** event-history — a week of events of one workspace, made to measure: every figure a dashboard shows can be counted by hand. */
import { DAY, HOUR, MINUTE } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';

const id = (n: number) => `01A${String(n).padStart(23, '0')}`;

/** Newest last; `hour` is the beginning of an hour of today, after which nothing is. */
export function eventHistory(workspaceId: string, hour: number): PrismeEvent[] {
  let serial = 0;
  const event = (at: number, type: string, source: object, payload: object, more: object = {}): PrismeEvent =>
    ({
      id: id(serial++),
      type,
      createdAt: new Date(at).toISOString(),
      size: 200,
      source: {
        workspaceId,
        correlationId: `c${serial}`,
        serviceTopic: type,
        host: { service: 'prisme.ai-runtime', replica: 'r' },
        ...source,
      },
      payload,
      ...more,
    }) as PrismeEvent;

  // Ten interactions a minute for six minutes, thirty in the third.
  const interactions = Array.from({ length: 80 }, (_, i) => {
    const minute = i < 60 ? Math.floor(i / 10) : 2;
    return event(
      hour - HOUR + minute * MINUTE + (i % 10),
      'runtime.interactions.triggered',
      { userId: `u${i % 5}`, correlationId: `run${i}` },
      { workspaceId, automation: `entry-${i % 4}`, trigger: { type: ['endpoint', 'event', 'schedule'][i % 3], value: `t${i % 4}` } },
    );
  });
  // A hundred executions of 1 to 100 ms, forty fast, forty average and twenty slow ones, over four hours.
  const executions = Array.from({ length: 100 }, (_, i) => {
    const slug = i < 40 ? 'fast' : i < 80 ? 'average' : 'slow';
    const isCalled = i % 4 === 3;
    return event(
      hour - HOUR * (1 + (i % 4)) + i,
      'runtime.automations.executed',
      { correlationId: `run${i}`, automationSlug: slug },
      {
        slug,
        duration: i + 1,
        startedAt: new Date(hour - HOUR * (1 + (i % 4))).toISOString(),
        trigger: isCalled ? { type: 'automation', value: 'entry-1' } : { type: ['endpoint', 'event', 'schedule'][i % 4], value: 'x' },
      },
    );
  });
  // Twelve errors of four interactions, three days ago and in the last hour.
  const errors = Array.from({ length: 12 }, (_, i) =>
    event(
      i < 4 ? hour - 3 * DAY + i : hour - 30 * MINUTE + i,
      'error',
      { correlationId: `run${i % 4}`, automationSlug: i % 2 ? 'slow' : 'fast', appInstanceFullSlug: i % 3 ? 'shop' : 'shop.cart' },
      { error: i < 7 ? 'FetchError' : 'InvalidInstructionError', message: `number ${i}` },
    ),
  );
  const completions = [10, 20, 30].map((tokens, i) =>
    event(hour - 2 * HOUR + i, 'analytics.llm.completion', {}, { tokens, model: 'm' }, { aggPayload: { tokens, model: 'm' } }),
  );
  return [...executions, ...interactions, ...errors, ...completions];
}
