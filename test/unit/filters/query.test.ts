import { describe, expect, it } from '@jest/globals';
import { parseMoment } from '../../../mixins/filters/dates.ts';
import { filtersOfQuery, parseFilters } from '../../../mixins/filters/parse.ts';
import { parseEventsQuery } from '../../../mixins/filters/query.ts';

const NOW = Date.parse('2026-06-10T10:20:30.400Z');

describe('the parameters of GET events', () => {
  it('have the defaults of the reference', () => {
    expect(parseEventsQuery({}).request).toMatchObject({ limit: 50, page: 0, sort: [{ field: 'createdAt', order: 'desc' }] });
  });

  it('look no deeper than the first level of apps unless told', () => {
    const text = (query: Record<string, unknown>) => JSON.stringify(parseEventsQuery(query).request.where);

    expect(text({})).toContain('"value":1');
    expect(text({ appInstanceDepth: '3' })).toContain('"value":3');
    expect(text({ appInstanceDepth: '0' })).not.toContain('appInstanceDepth');
    expect(text({ 'source.appInstanceDepth': '2' })).toBe('{"field":"source.appInstanceDepth","op":"eq","value":"2"}');
  });

  it('bound the page and the wait', () => {
    expect(parseEventsQuery({ limit: '1000000', longpolling: '300' })).toMatchObject({ request: { limit: 10_000 }, longpollingS: 25 });
  });

  it.each([
    ['a page below zero', { page: '-1' }],
    ['a limit that is no number', { limit: 'x' }],
    ['a date that is none', { beforeDate: 'soon' }],
    ['alternatives that are no JSON', { payloadQuery: '{' }],
    ['a field that reaches a prototype', { 'payload.__proto__.x': '1' }],
  ])('refuse %s', (_name, query) => {
    expect(() => parseEventsQuery(query as Record<string, unknown>)).toThrow(expect.objectContaining({ type: 'BadParametersError' }));
  });
});

describe('filters', () => {
  it('of a query string leave out what belongs to the transport', () => {
    expect(filtersOfQuery({ EIO: '4', transport: 'websocket', t: 'x', sid: 'y', types: 'a,b', 'source.sessionId': 's' })).toEqual({
      types: ['a', 'b'],
      appInstanceDepth: 1,
      payloadQuery: { 'source.sessionId': 's' },
    });
  });

  it.each([
    ['text', 'x'],
    ['too many alternatives', { payloadQuery: Array.from({ length: 101 }, () => ({})) }],
    ['too many values', { payloadQuery: { a: Array.from({ length: 1001 }, () => 'x') } }],
    ['types that are no texts', { types: [1] }],
    ['a very long value', { payloadQuery: { a: 'x'.repeat(3000) } }],
  ])('are refused as %s', (_name, filters) => {
    expect(() => parseFilters(filters)).toThrow(expect.objectContaining({ type: 'BadParametersError' }));
  });
});

describe('dates', () => {
  it.each([
    ['2026-06-01', '2026-06-01T00:00:00.000Z'],
    ['1780272000000', '2026-06-01T00:00:00.000Z'],
    ['now', '2026-06-10T10:20:30.400Z'],
    ['now-1d/d', '2026-06-09T00:00:00.000Z'],
    ['now/w', '2026-06-08T00:00:00.000Z'],
    ['now+1M/M', '2026-07-01T00:00:00.000Z'],
    ['2026-01-31||+1d', '2026-02-01T00:00:00.000Z'],
  ])('%s', (text, expected) => {
    expect(new Date(parseMoment(text, 'date', NOW)).toISOString()).toBe(expected);
  });
  it.each([
    'soon',
    'now-1x',
    'now+99999999999y',
    '99999999999999999999',
    '2026-01-01||+9999999999M',
    1e20,
    Number.NaN,
  ])('refuses %s', (value) => {
    expect(() => parseMoment(value, 'beforeDate', NOW)).toThrow(expect.objectContaining({ type: 'BadParametersError' }));
  });
});
