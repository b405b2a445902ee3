import { describe, expect, it } from '@jest/globals';
import { matches } from '../../../mixins/filters/condition.ts';
import { parseDsl } from '../../../mixins/filters/dsl.ts';

const event = {
  id: '1',
  type: 'orders.paid',
  createdAt: '2026-06-10T10:00:00.000Z',
  source: { workspaceId: 'w', userId: 'u1' },
  payload: { status: 'late', duration: 40, note: 'a quarterly report' },
};

describe('the query language of searches', () => {
  it.each([
    ['match_all', { match_all: {} }, true],
    ['match_none', { match_none: {} }, false],
    ['an empty query', {}, true],
    ['term', { term: { type: 'orders.paid' } }, true],
    ['term with an object', { term: { 'type.keyword': { value: 'orders.paid' } } }, true],
    ['terms', { terms: { 'payload.status': ['late', 'lost'] } }, true],
    ['match', { match: { 'payload.status': 'lost' } }, false],
    ['range over numbers', { range: { 'payload.duration': { gte: 40, lt: 41 } } }, true],
    ['range over time', { range: { '@timestamp': { gt: '2026-06-10T00:00:00Z', lte: '2026-06-10T10:00:00Z' } } }, true],
    ['range with date math', { range: { createdAt: { gte: '2026-06-01||+9d', lt: '2026-06-01||+10d/d' } } }, true],
    ['exists', { exists: { field: 'payload.note' } }, true],
    ['prefix', { prefix: { type: 'orders.' } }, true],
    ['wildcard', { wildcard: { type: { value: '*paid' } } }, true],
    ['ids', { ids: { values: ['1'] } }, true],
    [
      'must, filter and must_not',
      {
        bool: {
          must: [{ term: { type: 'orders.paid' } }],
          filter: { exists: { field: 'id' } },
          must_not: { term: { 'payload.status': 'late' } },
        },
      },
      false,
    ],
    ['should alone needs one', { bool: { should: [{ term: { type: 'x' } }, { term: { type: 'y' } }] } }, false],
    ['should beside must needs none', { bool: { must: { match_all: {} }, should: [{ term: { type: 'x' } }] } }, true],
    ['should with a minimum', { bool: { must: { match_all: {} }, should: [{ term: { type: 'x' } }], minimum_should_match: 1 } }, false],
    ['a query string of words', { query_string: { query: 'quarterly nothing' } }, true],
    ['a query string with AND', { query_string: { query: 'quarterly AND nothing' } }, false],
    ['a query string with fields', { query_string: { query: 'type:orders.* AND payload.status:"late" AND NOT type:error' } }, true],
    ['a query string with parentheses', { query_string: { query: '(type:x OR type:orders.paid) AND payload.duration:>39' } }, true],
    ['words that must all hold', { simple_query_string: { query: 'quarterly report', default_operator: 'and' } }, true],
    ['a simple query with a minus', { simple_query_string: { query: 'quarterly -report', default_operator: 'and' } }, false],
  ])('%s', (_name, query, expected) => {
    expect(matches(parseDsl(query), event)).toBe(expected);
  });

  it.each([
    ['a script', { script: { script: 'true' } }],
    ['two clauses in one', { term: { a: 1 }, match: { b: 2 } }],
    ['an unknown operator of range', { range: { a: { near: 3 } } }],
    ['a field that reaches a prototype', { term: { 'a.__proto__.b': 1 } }],
    ['a clause that is no object', { bool: { must: ['x'] } }],
    ['an unknown occurrence', { bool: { might: [] } }],
    ['a nesting without end', Array.from({ length: 30 }).reduce<object>((inner) => ({ bool: { must: [inner] } }), { match_all: {} })],
    ['the name of a method', { constructor: {} }],
  ])('refuses %s', (_name, query) => {
    expect(() => parseDsl(query)).toThrow(expect.objectContaining({ type: 'SearchError' }));
  });

  it('ends on any query string', () => {
    for (const query of ['(((((', ')))', 'AND OR NOT', '"', 'a:b:c', '- + !', 'NOT', 'x '.repeat(500)])
      expect(() => matches(parseDsl({ query_string: { query } }), event)).not.toThrow();
  });
});
