import { describe, expect, it } from '@jest/globals';
import { compile } from '../../../mixins/filters/condition.ts';
import { filterCondition } from '../../../services/runtime/waits.ts';

const event = { type: 't', payload: { n: 5, text: 'a-b', list: ['x'], none: null, star: 'a*' }, source: { correlationId: 'c' } };
const matches = (filters: object) => compile(filterCondition(filters as never))(event);

describe('filters of a wait', () => {
  it.each([
    [{}, true],
    [{ 'payload.n': 5 }, true],
    [{ 'payload.n': '5' }, true],
    [{ 'payload.n': 6 }, false],
    [{ 'payload.n': 5, 'source.correlationId': 'other' }, false],
    [{ 'payload.star': 'a*' }, true],
    [{ 'payload.text': 'a*' }, false],
    [{ 'payload.n': { $gt: 4, $lte: 5 } }, true],
    [{ 'payload.n': { $in: [1, 5] } }, true],
    [{ 'payload.n': { $nin: [1, 5] } }, false],
    [{ 'payload.n': { $ne: 5 } }, false],
    [{ 'payload.text': { $regex: '^a-' } }, true],
    [{ 'payload.missing': { $exists: false } }, true],
    [{ 'payload.n': { $exists: true } }, true],
    [{ 'payload.n': { $where: 'true' } }, false],
    [{ 'payload.with-dash': 1 }, false],
    [{ '__proto__.x': 1, a: 1 }, false],
    [{ 'payload.constructor': { $exists: true } }, false],
  ])('%j', (filters, expected) => {
    expect(matches(filters)).toBe(expected);
  });
});
