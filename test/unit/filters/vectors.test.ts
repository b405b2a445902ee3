import { describe, expect, it } from '@jest/globals';
import { compile } from '../../../mixins/filters/condition.ts';
import { createMatcher } from '../../../mixins/filters/matcher.ts';
import { parseFilters } from '../../../mixins/filters/parse.ts';
import { conditionOf, vectorEvents, vectors } from '../../support/vectors.ts';

const names = Object.keys(vectorEvents);

describe('the filter language in memory', () => {
  it.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const test = compile(conditionOf(vector));

    expect(names.filter((name) => test(vectorEvents[name] as object))).toEqual(vector.matches);
  });
});

describe('the live matcher agrees with the conditions', () => {
  it.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const matcher = createMatcher();
    const terms = vector.where ? [{ condition: vector.where, currentSocketOnly: false }] : parseFilters(vector.filter);
    matcher.set('other', { terms: parseFilters({ types: ['something.else'] }) });
    // The current-socket rule has tests of its own.
    matcher.set('one', { terms: terms.map((term) => ({ ...term, currentSocketOnly: false })) });

    expect(names.filter((name) => matcher.match(vectorEvents[name] as never).includes('one'))).toEqual(vector.matches);
  });
});
