import { describe, expect, it } from '@jest/globals';
import { isBefore, isBeside } from '../../../services/runtime/effect-keys.ts';

describe('keys of effects', () => {
  it.each([
    ['1', '2', true],
    ['2', '1', false],
    ['2', '2', false],
    ['9', '10', true],
    // Into a branch, and out of it again.
    ['6', '7.0.0', true],
    ['7.0.5', '8', true],
    ['8', '7.0.5', false],
    // In one branch, and in branches side by side.
    ['7.0.0', '7.0.1', true],
    ['7.0.0', '7.1.1', false],
    ['7.1.0', '7.0.1', false],
    ['7.0.2.1.4', '7.0.3', true],
    ['7.0.3', '7.0.2.1.4', false],
    ['7.0.2.1.4', '7.1.3', false],
  ])('%s is before %s: %s', (a, b, expected) => {
    expect(isBefore(a, b)).toBe(expected);
  });

  it('tell what is asked beside others', () => {
    expect(['7', '7.0.1'].map(isBeside)).toEqual([false, true]);
  });
});
