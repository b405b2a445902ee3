import { describe, expect, it } from '@jest/globals';
import { createRedactor, maskHeaders } from '../../../services/runtime/redaction.ts';

describe('secrets in what leaves a run', () => {
  it('are hidden inside texts, keys, and in their base64 and URL forms', () => {
    const secret = 'p@ss "quoted"';
    const { clean } = createRedactor([secret]);
    const value = {
      text: `a ${secret} b`,
      [secret]: 1,
      b64: Buffer.from(secret).toString('base64'),
      url: encodeURIComponent(secret),
      list: [secret],
    };

    expect(clean(value)).toEqual({ text: 'a REDACTED b', REDACTED: 1, b64: 'REDACTED', url: 'REDACTED', list: ['REDACTED'] });
  });

  it('that are short are hidden only as whole values, and the payload stays valid', () => {
    const { clean } = createRedactor(['1']);

    expect(clean({ pin: '1', n: 1, text: '21 December', list: [10] })).toEqual({
      pin: 'REDACTED',
      n: 'REDACTED',
      text: '21 December',
      list: [10],
    });
  });

  it('cost nothing when there are none, and leave the original alone', () => {
    const value = { a: { b: 'secret-value' } };

    expect(createRedactor([]).clean(value)).toBe(value);
    createRedactor(['secret-value']).clean(value);
    expect(value.a.b).toBe('secret-value');
  });

  it('of headers are masked by name', () => {
    expect(maskHeaders({ Authorization: 'x', 'X-Prismeai-Token': 'y', accept: '*/*' })).toEqual({
      Authorization: 'REDACTED',
      'X-Prismeai-Token': 'REDACTED',
      accept: '*/*',
    });
  });
});
