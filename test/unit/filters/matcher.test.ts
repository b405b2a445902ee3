import { describe, expect, it } from '@jest/globals';
import { anchorsOf, createMatcher } from '../../../mixins/filters/matcher.ts';
import { parseFilters } from '../../../mixins/filters/parse.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';

const event = (over: object = {}): PrismeEvent =>
  ({
    id: '1',
    type: 'a.b',
    createdAt: '2026-01-01T00:00:00.000Z',
    size: 1,
    payload: {},
    ...over,
    source: { correlationId: 'c', workspaceId: 'w', ...(over as any).source },
  }) as PrismeEvent;
const session = { payloadQuery: { 'source.sessionId': 's1' } };

describe('the live matcher', () => {
  it('returns every subscription with the same filter', () => {
    const matcher = createMatcher();
    for (const id of ['1', '2', '3']) matcher.set(id, { terms: parseFilters(session) });

    expect(matcher.match(event({ source: { sessionId: 's1' } }))).toEqual(['1', '2', '3']);
    expect(matcher.match(event())).toEqual([]);
  });

  it('replaces all terms of a subscription, also one that wanted everything', () => {
    const matcher = createMatcher();
    matcher.set('1', { terms: parseFilters({}) });
    matcher.set('1', { terms: parseFilters({ types: ['x'] }) });

    expect(matcher.match(event())).toEqual([]);
    expect(matcher.match(event({ type: 'x' }))).toEqual(['1']);
  });

  it('keeps the old terms when the new ones cannot be compiled', () => {
    const matcher = createMatcher();
    matcher.set('1', { terms: parseFilters(session) });

    expect(() =>
      matcher.set('1', { terms: [{ condition: { field: 'type', op: 'regex', value: '(' }, currentSocketOnly: false }] }),
    ).toThrow();
    expect(matcher.match(event({ source: { sessionId: 's1' } }))).toEqual(['1']);
  });

  it('forgets a removed subscription', () => {
    const matcher = createMatcher();
    matcher.set('1', { terms: parseFilters(session) });
    matcher.remove('1');
    matcher.remove('1');

    expect(matcher.size).toBe(0);
    expect(matcher.match(event({ source: { sessionId: 's1' } }))).toEqual([]);
  });

  it('gives nothing to who may read nothing', () => {
    const matcher = createMatcher();
    matcher.set('none', { terms: parseFilters({}), readable: null });
    matcher.set('some', { terms: parseFilters({}), readable: { field: 'type', op: 'eq', value: 'a.b' } });

    expect(matcher.match(event())).toEqual(['some']);
    expect(matcher.match(event({ type: 'x' }))).toEqual([]);
  });

  it('sends answers to the socket that asked, per alternative', () => {
    const matcher = createMatcher();
    matcher.set('1', { terms: parseFilters(session), socketId: 'k1' });
    matcher.set('2', { terms: parseFilters(session), socketId: 'k2' });
    matcher.set('3', { terms: parseFilters({ payloadQuery: [{ 'source.sessionId': 's1' }, { type: 'a.*' }] }), socketId: 'k3' });
    const answer = { source: { sessionId: 's1', socketId: 'k1' } };

    expect(matcher.match(event(answer)).sort()).toEqual(['1', '3']);
    expect(matcher.match(event({ ...answer, target: { currentSocket: false } })).sort()).toEqual(['1', '2', '3']);
  });

  it('files subscriptions by what is rare', () => {
    expect(
      anchorsOf({
        all: [
          { field: 'source.workspaceId', op: 'eq', value: 'w' },
          {
            any: [
              { field: 'source.userId', op: 'eq', value: 'u' },
              { field: 'target.userId', op: 'eq', value: 'u' },
            ],
          },
        ],
      }),
    ).toEqual([
      ['source.userId', 'u'],
      ['target.userId', 'u'],
    ]);
    expect(
      anchorsOf({
        any: [
          { field: 'a', op: 'eq', value: 1 },
          { field: 'b', op: 'prefix', value: 'x' },
        ],
      }),
    ).toBeNull();
  });

  it('tries few of many subscriptions', () => {
    const matcher = createMatcher();
    for (let n = 0; n < 20_000; n++) matcher.set(String(n), { terms: parseFilters({ payloadQuery: { 'source.sessionId': `s${n}` } }) });
    const startedAt = performance.now();
    for (let n = 0; n < 1_000; n++) expect(matcher.match(event({ source: { sessionId: `s${n}` } }))).toHaveLength(1);

    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});
