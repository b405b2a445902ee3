import { describe, expect, it } from '@jest/globals';
import { readFields } from '../../../services/gateway/organisations/fields.ts';
import { provenValues, ruleFor } from '../../../services/gateway/organisations/joining.ts';
import type { JoinRule } from '../../../services/gateway/organisations/rows.ts';

const rule = (role: string, ...conditions: [field: string, operator: string, value: string][]): JoinRule => ({
  role,
  conditions: conditions.map(([field, operator, value]) => ({ field, operator, value })) as JoinRule['conditions'],
});
const person = {
  email: 'ada@corp.example',
  emailVerified: true,
  authData: { prismeai: { role: 'boss' }, google: { hd: 'corp.example', groups: ['a', 'b'] } },
};

describe('rules of joining', () => {
  it('the first one whose conditions all hold is taken', () => {
    const rules = [
      rule('one', ['domain', 'equals', 'corp.example'], ['email', 'startsWith', 'bob']),
      rule('two', ['email', 'endsWith', '@corp.example']),
      rule('three', ['email', 'matches', '.*']),
    ];
    expect(ruleFor(rules, person)?.role).toBe('two');
    expect(ruleFor(rules.slice(0, 1), person)).toBeUndefined();
  });

  it('a pattern must fit the whole value, takes no exponential time, and one that is none fits nobody', () => {
    expect(ruleFor([rule('r', ['domain', 'matches', 'corp'])], person)).toBeUndefined();
    expect(ruleFor([rule('r', ['email', 'matches', '('])], person)).toBeUndefined();
    expect(ruleFor([rule('r', ['email', 'matches', '(a+)+$'])], { ...person, email: `${'a'.repeat(60)}@x.example` })).toBeUndefined();
  });

  it('only what was proven counts: no unproven address, nothing our own accounts say of themselves', () => {
    expect(ruleFor([rule('r', ['domain', 'equals', 'corp.example'])], { ...person, emailVerified: false })).toBeUndefined();
    expect(provenValues(person, 'authData.prismeai.role')).toEqual([]);
    expect(provenValues(person, 'authData.google.groups')).toEqual(['a', 'b']);
    expect(provenValues(person, 'authData.google.constructor.name')).toEqual([]);
    for (const field of ['authData.prismeai.role', 'password', 'authData', 'id'])
      expect(() => readFields({ joinRules: [rule('r', [field, 'equals', 'x'])] }, [], ['joinRules'])).toThrow('joinRules');
  });
});
