import { describe, expect, it } from '@jest/globals';
import { maskHeaders, Redactor } from '../../../services/runtime/redaction.ts';

const hiding = (...texts: string[]) => {
  const redactor = new Redactor();
  redactor.add(texts);
  return redactor;
};

describe('secrets in what leaves a run', () => {
  it('are hidden inside texts, keys, and in their base64 and URL forms', () => {
    const secret = 'p@ss "quoted"';
    const redactor = hiding(secret);
    const value = {
      text: `a ${secret} b`,
      [secret]: 1,
      b64: Buffer.from(secret).toString('base64'),
      url: encodeURIComponent(secret),
      list: [secret],
    };

    expect(redactor.clean(value)).toEqual({ text: 'a REDACTED b', REDACTED: 1, b64: 'REDACTED', url: 'REDACTED', list: ['REDACTED'] });
  });

  it('that are short are hidden only as whole values, and the payload stays valid', () => {
    const redactor = hiding('1');

    expect(redactor.clean({ pin: '1', n: 1, text: '21 December', list: [10] })).toEqual({
      pin: 'REDACTED',
      n: 'REDACTED',
      text: '21 December',
      list: [10],
    });
  });

  it('of a model are hidden next to those of the run, in every form', () => {
    const redactor = new Redactor();
    const ofModel = ['model-secret'];
    redactor.addAll(ofModel);
    redactor.addAll(ofModel);
    redactor.add(['run-secret']);

    expect(redactor.clean(`run-secret ${Buffer.from('model-secret').toString('base64')} model-secret`)).toBe('REDACTED REDACTED REDACTED');
  });

  it('cost nothing when there are none, and leave the original alone', () => {
    const value = { a: { b: 'secret-value' } };

    expect(hiding().clean(value)).toBe(value);
    hiding('secret-value').clean(value);
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
